// SPDX-License-Identifier: Apache-2.0
//! `ExternalIPPool`, v1beta1 (contract C.2). The schema is Antrea's; what one object can break by itself and a schema can say with
//! the same message is said in CEL beside it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::rules;

/// The addresses of the pool, and the nodes that may announce them.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "crd.antrea.io",
    version = "v1beta1",
    kind = "ExternalIPPool",
    root = "ExternalIpPool",
    plural = "externalippools",
    singular = "externalippool",
    shortname = "eip",
    status = "ExternalIpPoolStatus",
    derive = "PartialEq",
    doc = "External IP addresses for Services of type LoadBalancer, and the nodes that may host them.",
    printcolumn(name = "Total", type_ = "integer", json_path = ".status.usage.total"),
    printcolumn(name = "Used", type_ = "integer", json_path = ".status.usage.used"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["ipRanges", "nodeSelector"]))]
pub struct ExternalIpPoolSpec {
    /// The addresses of this pool, IPv4 and IPv6, used in this order.
    #[schemars(schema_with = "ranges")]
    pub ip_ranges: Vec<IpRange>,
    /// The subnet that the addresses are of. Of no use for Services, but that they are not given its gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "subnet")]
    pub subnet_info: Option<SubnetInfo>,
    /// The nodes that may host the addresses; an empty selector selects all.
    #[schemars(schema_with = "node_selector")]
    pub node_selector: LabelSelector,
}

/// A CIDR, or the first and the last address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct IpRange {
    /// Such as 10.10.0.0/24.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cidr: String,
    /// The first address, where there is no CIDR.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub start: String,
    /// The last address, where there is no CIDR.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub end: String,
}

/// The subnet of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SubnetInfo {
    /// Its gateway.
    pub gateway: String,
    /// The length of its prefix.
    pub prefix_length: i32,
    /// Its VLAN, which Services have no use for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<i32>,
}

/// How much of the pool is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ExternalIpPoolStatus {
    /// Counted over both families.
    #[schemars(schema_with = "usage")]
    pub usage: Usage,
}

/// Numbers of addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// The number of addresses that can be given.
    pub total: i64,
    /// The number of addresses that are in use; one that is shared counts once.
    pub used: i64,
}

fn usage(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "properties": {
            "total": { "type": "integer", "description": "The number of addresses that can be given." },
            "used": {
                "type": "integer",
                "description": "The number of addresses in use; one that is shared counts once.",
            },
        },
    })
}

fn address(description: &str) -> Value {
    json!({
        "type": "string",
        "description": description,
        "oneOf": [{ "format": "ipv4" }, { "format": "ipv6" }],
    })
}

/// An end of a range. No text of an address is longer: the API server wants a limit where a rule looks into a text.
fn end(description: &str) -> Value {
    let mut end = address(description);
    if let Some(schema) = end.as_object_mut() {
        schema.insert("maxLength".into(), 45.into());
    }
    end
}

/// The rule is one of Antrea's webhook (contract C.3 rule 2), without the addresses. An IPv6 text with an IPv4 address in it (::ffff:a00:1)
/// counts as IPv4 there: what may be one is left to the webhook. The limits are for the API server, which multiplies the rule by
/// them: what is longer is more than etcd takes.
fn ranges(_: &mut SchemaGenerator) -> Schema {
    let mapped = ["self.start", "self.end"]
        .map(|end| format!("{end}.startsWith(':') || {end}.startsWith('0')"))
        .join(" || ");
    let rule = format!(
        "!has(self.start) || !has(self.end) || self.start.contains(':') == self.end.contains(':') || {mapped}"
    );
    json_schema!({
        "type": "array",
        "maxItems": 100_000,
        "items": {
            "type": "object",
            "description": "A CIDR, or a range from the first to the last address.",
            "oneOf": [{ "required": ["cidr"] }, { "required": ["start", "end"] }],
            "properties": {
                "cidr": {
                    "type": "string",
                    "format": "cidr",
                    "description": "A CIDR such as 10.10.0.0/24: its first address, and of IPv4 its last, are left out.",
                },
                "start": end("The first address."),
                "end": end("The last address."),
            },
            "x-kubernetes-validations": [{
                "rule": rule,
                "message": "range start and range end should belong to same family",
            }],
        },
    })
}

/// The gateway's own format is the schema's.
fn subnet(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["gateway", "prefixLength"],
        "properties": {
            "gateway": address("The gateway of the subnet."),
            "prefixLength": {
                "type": "integer",
                "minimum": 1,
                "maximum": 127,
                "description": "The length of the subnet's prefix.",
            },
            "vlan": {
                "type": "integer",
                "minimum": 0,
                "maximum": 4094,
                "description": "The VLAN of the subnet.",
            },
        },
        "x-kubernetes-validations": rules::SUBNET_INFO,
    })
}

fn node_selector(_: &mut SchemaGenerator) -> Schema {
    let value = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";
    json_schema!({
        "type": "object",
        "properties": {
            "matchLabels": {
                "type": "object",
                "description": "Labels and the values that they must have.",
                "additionalProperties": { "type": "string", "pattern": value },
            },
            "matchExpressions": {
                "type": "array",
                "description": "Conditions, all of which must hold.",
                "items": {
                    "type": "object",
                    "description": "A condition on one label.",
                    "properties": {
                        "key": { "type": "string", "description": "The label." },
                        "operator": {
                            "type": "string",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                            "description": "How the label is compared.",
                        },
                        "values": {
                            "type": "array",
                            "description": "The values for In and NotIn.",
                            "items": { "type": "string", "pattern": value },
                        },
                    },
                },
            },
        },
    })
}
