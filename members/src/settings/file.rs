// SPDX-License-Identifier: Apache-2.0
//! MetalLB's `config.json`. Every duration must be there; a number or truth value that is missing is zero or false. As with Go's
//! decoder, names are taken in any case, null is as if missing, and unknown names are ignored.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{Settings, duration};

/// Why a `config.json` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It is not JSON.
    #[error("it is not JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    /// It is JSON, but not an object.
    #[error("it is not an object")]
    Object,
    /// A duration is not there.
    #[error("{field}: a duration is missing")]
    Missing {
        /// The field.
        field: &'static str,
    },
    /// A value is not what the field takes.
    #[error("{field}: {value} is not {expected}")]
    Value {
        /// The field.
        field: &'static str,
        /// What is there.
        value: String,
        /// What should be.
        expected: &'static str,
    },
}

impl Settings {
    /// The settings of a `config.json`.
    pub fn from_json(text: &str) -> Result<Self, SettingsError> {
        let Value::Object(fields) = serde_json::from_str(text)? else {
            return Err(SettingsError::Object);
        };
        let file = File(fields);
        Ok(Self {
            tcp_timeout: file.duration("TCPTimeout")?,
            indirect_checks: file.number("IndirectChecks")?,
            retransmit_mult: file.number("RetransmitMult")?,
            suspicion_mult: file.number("SuspicionMult")?,
            suspicion_max_timeout_mult: file.number("SuspicionMaxTimeoutMult")?,
            push_pull_interval: file.duration("PushPullInterval")?,
            probe_timeout: file.duration("ProbeTimeout")?,
            probe_interval: file.duration("ProbeInterval")?,
            disable_tcp_pings: file.boolean("DisableTcpPings")?,
            awareness_max_multiplier: file.number("AwarenessMaxMultiplier")?,
            gossip_nodes: file.number("GossipNodes")?,
            gossip_interval: file.duration("GossipInterval")?,
            gossip_to_the_dead_time: file.duration("GossipToTheDeadTime")?,
            gossip_verify_incoming: file.boolean("GossipVerifyIncoming")?,
            gossip_verify_outgoing: file.boolean("GossipVerifyOutgoing")?,
            enable_compression: file.boolean("EnableCompression")?,
            handoff_queue_depth: file.number("HandoffQueueDepth")?,
            udp_buffer_size: file.number::<usize>("UDPBufferSize")?,
            queue_check_interval: file.duration("QueueCheckInterval")?,
        })
    }
}

struct File(Map<String, Value>);

impl File {
    fn value(&self, field: &'static str) -> Option<&Value> {
        let exact = self.0.get(field);
        let any = || self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(field));
        exact.or_else(|| any().map(|(_, value)| value)).filter(|value| !value.is_null())
    }

    fn duration(&self, field: &'static str) -> Result<Duration, SettingsError> {
        let value = self.value(field).ok_or(SettingsError::Missing { field })?;
        let parsed = value.as_str().and_then(duration::parse);
        parsed.ok_or_else(|| wrong(field, value, "a duration as Go writes it, such as \"1.5s\""))
    }

    /// Negative numbers, which Go takes, are as zero wherever the library uses them.
    fn number<T: TryFrom<i64> + Default>(&self, field: &'static str) -> Result<T, SettingsError> {
        let Some(value) = self.value(field) else { return Ok(T::default()) };
        let number = value.as_i64().and_then(|number| T::try_from(number.max(0)).ok());
        number.ok_or_else(|| wrong(field, value, "a whole number"))
    }

    fn boolean(&self, field: &'static str) -> Result<bool, SettingsError> {
        let Some(value) = self.value(field) else { return Ok(false) };
        value.as_bool().ok_or_else(|| wrong(field, value, "true or false"))
    }
}

fn wrong(field: &'static str, value: &Value, expected: &'static str) -> SettingsError {
    SettingsError::Value { field, value: value.to_string(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURATIONS: &str = r#""TCPTimeout": "1s", "PushPullInterval": "2s", "ProbeTimeout": "3ms",
        "ProbeInterval": "4ms", "GossipInterval": "5ms", "GossipToTheDeadTime": "6ms", "QueueCheckInterval": "7ms""#;

    fn error(text: &str) -> String {
        Settings::from_json(text).unwrap_err().to_string()
    }

    #[test]
    fn durations_are_mandatory_and_all_else_is_zero_when_it_is_missing() {
        let settings = Settings::from_json(&format!("{{{DURATIONS}, \"Other\": 1}}")).unwrap();
        let milliseconds = Duration::from_millis;
        let expected = Settings {
            tcp_timeout: milliseconds(1000),
            push_pull_interval: milliseconds(2000),
            probe_timeout: milliseconds(3),
            probe_interval: milliseconds(4),
            gossip_interval: milliseconds(5),
            gossip_to_the_dead_time: milliseconds(6),
            queue_check_interval: milliseconds(7),
            indirect_checks: 0,
            retransmit_mult: 0,
            suspicion_mult: 0,
            suspicion_max_timeout_mult: 0,
            disable_tcp_pings: false,
            awareness_max_multiplier: 0,
            gossip_nodes: 0,
            gossip_verify_incoming: false,
            gossip_verify_outgoing: false,
            enable_compression: false,
            handoff_queue_depth: 0,
            udp_buffer_size: 0,
        };
        assert_eq!(settings, expected);
        for field in DURATIONS.split('"').filter(|word| word.starts_with(char::is_uppercase)) {
            let without = DURATIONS.replace(field, "Nothing");
            assert_eq!(error(&format!("{{{without}}}")), format!("{field}: a duration is missing"));
        }
    }

    #[test]
    fn everything_is_taken_and_names_in_any_case() {
        let text = format!(
            r#"{{{DURATIONS}, "indirectchecks": 1, "RetransmitMult": 2, "SuspicionMult": 3, "SuspicionMaxTimeoutMult": 4,
            "DisableTcpPings": true, "AwarenessMaxMultiplier": 5, "GossipNodes": 6, "GossipVerifyIncoming": true,
            "GossipVerifyOutgoing": true, "EnableCompression": true, "HandoffQueueDepth": -7, "UDPBufferSize": 8}}"#
        );
        let settings = Settings::from_json(&text).unwrap();
        let numbers = [
            settings.indirect_checks,
            settings.retransmit_mult,
            settings.suspicion_mult,
            settings.suspicion_max_timeout_mult,
            settings.awareness_max_multiplier,
            settings.gossip_nodes,
            settings.handoff_queue_depth,
        ];
        assert_eq!((numbers, settings.udp_buffer_size), ([1, 2, 3, 4, 5, 6, 0], 8));
        assert!(settings.disable_tcp_pings && settings.enable_compression);
        assert!(settings.gossip_verify_incoming && settings.gossip_verify_outgoing);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(error("[]"), "it is not an object");
        assert!(error("{").starts_with("it is not JSON"));
        let with = |field: &str| error(&format!("{{{field}, {DURATIONS}}}"));
        assert_eq!(
            with(r#""IndirectChecks": "3""#),
            r#"IndirectChecks: "3" is not a whole number"#
        );
        assert_eq!(with(r#""GossipNodes": 1.5"#), "GossipNodes: 1.5 is not a whole number");
        assert_eq!(with(r#""EnableCompression": 1"#), "EnableCompression: 1 is not true or false");
        let wrong = DURATIONS.replace("4ms", "4");
        let text = error(&format!("{{{wrong}}}"));
        assert!(text.starts_with("ProbeInterval: \"4\" is not a duration"), "{text}");
    }
}
