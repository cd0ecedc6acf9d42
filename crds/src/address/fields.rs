// SPDX-License-Identifier: Apache-2.0
//! Where addresses stand in the core kinds that ferrolb reads, and what there is to say of each text.

use serde_json::Value;

use super::{Advice, core_address, core_prefix};

/// Something to say of one text of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreText {
    /// The field, as `spec.externalIPs[0]`.
    pub field: String,
    /// What stands there.
    pub text: String,
    /// What there is to say.
    pub finding: Finding,
}

/// What there is to say of a text in a core field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The API server refuses it; the words say what is wrong.
    Refused(&'static str),
    /// The API server takes it, and it had better be written otherwise.
    Advice(Advice),
}

const NO_ADDRESS: &str = "it is not an IP address";
const NO_PREFIX: &str = "it is not a network such as 192.0.2.0/24";

/// How the API server looks at a field.
#[derive(Clone, Copy)]
enum Rule {
    Address,
    /// As it stands it is taken; the API server only warns.
    Unchecked,
    Prefix,
}

/// Each text of an object of a core kind that the API server refuses or would have otherwise, in the order of the fields. The fields
/// and rules are those of Kubernetes 1.34.
#[must_use]
pub fn core_texts(kind: &str, object: &Value) -> Vec<CoreText> {
    let mut found = Vec::new();
    let mut judge = |field: String, text: &str, rule: Rule| {
        let finding = match rule {
            Rule::Address => verdict(core_address(text).map(|it| it.advice), Some(NO_ADDRESS)),
            Rule::Unchecked => verdict(core_address(text).map(|it| it.advice), None),
            Rule::Prefix => verdict(core_prefix(text).map(|it| it.advice), Some(NO_PREFIX)),
        };
        if let Some(finding) = finding {
            found.push(CoreText { field, text: text.to_owned(), finding });
        }
    };
    match kind {
        "Service" => {
            for (index, text) in texts(object, "/spec/clusterIPs") {
                if !text.is_empty() && text != "None" {
                    judge(format!("spec.clusterIPs[{index}]"), text, Rule::Address);
                }
            }
            for (index, text) in texts(object, "/spec/externalIPs") {
                judge(format!("spec.externalIPs[{index}]"), text, Rule::Address);
            }
            for (index, text) in texts(object, "/spec/loadBalancerSourceRanges") {
                // The API server cuts spaces here, and here only.
                judge(format!("spec.loadBalancerSourceRanges[{index}]"), text.trim(), Rule::Prefix);
            }
            for (index, entry) in entries(object, "/status/loadBalancer/ingress") {
                if let Some(text) = entry.get("ip").and_then(Value::as_str)
                    && !text.is_empty()
                {
                    judge(format!("status.loadBalancer.ingress[{index}].ip"), text, Rule::Address);
                }
            }
        }
        "EndpointSlice" => {
            let is_names = object.get("addressType").and_then(Value::as_str) == Some("FQDN");
            for (index, endpoint) in entries(object, "/endpoints").filter(|_| !is_names) {
                for (inner, text) in texts(endpoint, "/addresses") {
                    judge(format!("endpoints[{index}].addresses[{inner}]"), text, Rule::Address);
                }
            }
        }
        "Node" => {
            for (index, entry) in entries(object, "/status/addresses") {
                let kind = entry.get("type").and_then(Value::as_str);
                if let (Some("InternalIP" | "ExternalIP"), Some(text)) =
                    (kind, entry.get("address").and_then(Value::as_str))
                {
                    judge(format!("status.addresses[{index}].address"), text, Rule::Unchecked);
                }
            }
        }
        _ => {}
    }
    found
}

/// None where there is nothing to say.
fn verdict(advice: Option<Option<Advice>>, refused: Option<&'static str>) -> Option<Finding> {
    match advice {
        None => refused.map(Finding::Refused),
        Some(advice) => advice.map(Finding::Advice),
    }
}

fn entries<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = (usize, &'a Value)> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten().enumerate()
}

fn texts<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = (usize, &'a str)> {
    entries(object, pointer).filter_map(|(index, value)| Some((index, value.as_str()?)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(kind: &str, object: &Value) -> Vec<String> {
        core_texts(kind, object)
            .into_iter()
            .map(|it| match it.finding {
                Finding::Refused(why) => format!("{} {:?} refused: {why}", it.field, it.text),
                Finding::Advice(advice) => format!("{} {:?}: {advice}", it.field, it.text),
            })
            .collect()
    }

    #[test]
    fn each_text_of_a_service_is_judged_by_its_field() {
        let service = json!({
            "spec": {
                "clusterIPs": ["10.96.0.010", "", "None"],
                "externalIPs": ["192.0.2.1", "192.0.2.300"],
                "loadBalancerSourceRanges": [" 10.0.0.0/8 ", "10.1.2.3/8", "2001:DB8::/32", "10.0.0.0"],
            },
            "status": { "loadBalancer": { "ingress": [
                { "ip": "::ffff:192.0.2.64" }, { "hostname": "a.example" }, { "ip": "a" },
            ] } },
        });
        assert_eq!(
            said("Service", &service),
            [
                "spec.clusterIPs[0] \"10.96.0.010\": a later Kubernetes refuses this form: write 10.96.0.10",
                "spec.externalIPs[1] \"192.0.2.300\" refused: it is not an IP address",
                "spec.loadBalancerSourceRanges[1] \"10.1.2.3/8\": it is taken for 10.0.0.0/8: write that, or 10.1.2.3/32",
                "spec.loadBalancerSourceRanges[2] \"2001:DB8::/32\": the canonical form is 2001:db8::/32 (RFC 5952)",
                "spec.loadBalancerSourceRanges[3] \"10.0.0.0\" refused: it is not a network such as 192.0.2.0/24",
                "status.loadBalancer.ingress[0].ip \"::ffff:192.0.2.64\": a later Kubernetes refuses this form: write 192.0.2.64",
                "status.loadBalancer.ingress[2].ip \"a\" refused: it is not an IP address",
            ]
        );
    }

    #[test]
    fn names_in_slices_and_what_nodes_say_are_not_refused() {
        let slice = |kind: &str| json!({ "addressType": kind, "endpoints": [{ "addresses": ["a.example", "10.0.0.01"] }] });
        assert_eq!(said("EndpointSlice", &slice("FQDN")), [""; 0]);
        assert_eq!(
            said("EndpointSlice", &slice("IPv4")),
            [
                "endpoints[0].addresses[0] \"a.example\" refused: it is not an IP address",
                "endpoints[0].addresses[1] \"10.0.0.01\": a later Kubernetes refuses this form: write 10.0.0.1",
            ]
        );
        let node = json!({ "status": { "addresses": [
            { "type": "Hostname", "address": "010.0.0.1" },
            { "type": "InternalIP", "address": "n1" },
            { "type": "InternalIP", "address": "10.0.0.01" },
        ] } });
        assert_eq!(
            said("Node", &node),
            [
                "status.addresses[2].address \"10.0.0.01\": a later Kubernetes refuses this form: write 10.0.0.1"
            ]
        );
    }
}
