// SPDX-License-Identifier: Apache-2.0
//! The parts of a Node and of a Namespace that ferrolb keeps.

use std::net::IpAddr;

use crds::address::core_address;
use crds::labels::Labels;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

/// The label that keeps a node from announcing, whatever its value (contract 3.5).
pub const EXCLUDE_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// The annotation that drains a node, whatever its value: its addresses and routes move away.
pub const DRAIN_ANNOTATION: &str = "ferrolb.io/drain";

/// A Node, reduced to the parts that decisions need. NotReady, cordon and taints do not count (contract 3.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// `metadata.labels`.
    pub labels: Labels,
    /// True if the condition `NetworkUnavailable` is `True`.
    pub network_unavailable: bool,
    /// True if the condition `Ready` is `True`, or absent.
    pub ready: bool,
    /// The `lastTransitionTime` of the condition `Ready` in seconds since the epoch, if that condition is not `True`.
    pub not_ready_since: Option<i64>,
    /// `spec.unschedulable`: the node is cordoned.
    pub cordoned: bool,
    /// True if the annotation `ferrolb.io/drain` is there: the node's addresses and routes are to move away.
    pub draining: bool,
    /// `InternalIP` addresses, which tell the node that answers for an address wrongly.
    pub internal_addresses: Box<[IpAddr]>,
}

impl Node {
    /// True if the exclude label is present.
    #[must_use]
    pub fn is_excluded(&self) -> bool {
        self.labels.contains_key(EXCLUDE_LABEL)
    }

    /// True if everything but the readiness is equal.
    #[must_use]
    pub(crate) fn differs_in_readiness_only(&self, other: &Self) -> bool {
        let (ready, not_ready_since) = (other.ready, other.not_ready_since);
        Self { ready, not_ready_since, ..self.clone() } == *other
    }
}

/// The object as it comes over the wire.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct NodeObject {
    /// Standard metadata.
    pub metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    unschedulable: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    conditions: Option<Vec<Condition>>,
    addresses: Option<Vec<Address>>,
}

#[derive(Clone, Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    condition_type: String,
    #[serde(default)]
    status: String,
    #[serde(default, rename = "lastTransitionTime")]
    last_transition_time: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct Address {
    #[serde(rename = "type")]
    address_type: String,
    #[serde(default)]
    address: String,
}

impl NodeObject {
    /// Reduces the object to the parts that are kept.
    #[must_use]
    pub fn reduce(self) -> Node {
        let annotations = self.metadata.annotations.unwrap_or_default();
        let not_ready =
            self.status.conditions.iter().flatten().find(|condition| {
                condition.condition_type == "Ready" && condition.status != "True"
            });
        let ready = not_ready.is_none();
        let not_ready_since = not_ready
            .and_then(|condition| condition.last_transition_time.as_deref())
            .and_then(|time| time.parse::<jiff::Timestamp>().ok())
            .map(jiff::Timestamp::as_second);
        Node {
            cordoned: self.spec.unschedulable.unwrap_or(false),
            draining: annotations.contains_key(DRAIN_ANNOTATION),
            labels: self.metadata.labels.unwrap_or_default().into(),
            network_unavailable: self.status.conditions.unwrap_or_default().iter().any(
                |condition| {
                    condition.condition_type == "NetworkUnavailable" && condition.status == "True"
                },
            ),
            ready,
            not_ready_since,
            internal_addresses: self
                .status
                .addresses
                .unwrap_or_default()
                .iter()
                .filter(|address| address.address_type == "InternalIP")
                .filter_map(|address| core_address(&address.address))
                .map(|address| address.value)
                .collect(),
        }
    }
}

/// A Namespace as it comes over the wire: only its labels are kept.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct NamespaceObject {
    /// Standard metadata.
    pub metadata: ObjectMeta,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(ready: &serde_json::Value) -> Node {
        let object = json!({ "metadata": { "name": "a" }, "status": { "conditions": [ready] } });
        serde_json::from_value::<NodeObject>(object).unwrap().reduce()
    }

    #[test]
    fn since_when_a_node_is_not_ready() {
        let time = "1970-01-01T00:01:00Z";
        let with = |status: &str, time: &str| {
            let node =
                node(&json!({ "type": "Ready", "status": status, "lastTransitionTime": time }));
            (node.ready, node.not_ready_since)
        };
        assert_eq!(with("True", time), (true, None));
        assert_eq!(with("Unknown", time), (false, Some(60)));
        assert_eq!(with("False", "yesterday"), (false, None), "it is a node all the same");
    }
}
