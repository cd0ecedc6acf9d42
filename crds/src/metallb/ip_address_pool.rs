// SPDX-License-Identifier: Apache-2.0
//! `IPAddressPool`, v1beta1 (contract 1.1).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;
use crate::rules;

/// The addresses of the pool and who may have them.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "IPAddressPool",
    root = "IpAddressPool",
    plural = "ipaddresspools",
    singular = "ipaddresspool",
    namespaced,
    status = "IpAddressPoolStatus",
    derive = "PartialEq",
    doc = "A pool of IP addresses that Services of type LoadBalancer are given.",
    printcolumn(name = "Auto Assign", type_ = "boolean", json_path = ".spec.autoAssign"),
    printcolumn(name = "Avoid Buggy IPs", type_ = "boolean", json_path = ".spec.avoidBuggyIPs"),
    printcolumn(name = "Addresses", type_ = "string", json_path = ".spec.addresses")
)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend(
    "required" = ["addresses"],
    "x-kubernetes-validations" = rules::IP_ADDRESS_POOL,
))]
pub struct IpAddressPoolSpec {
    /// The addresses of this pool, IPv4 and IPv6. An entry is a CIDR such as 192.0.2.0/28, or a range
    /// from the first to the last address such as 192.0.2.10-192.0.2.20. Entries are used in this order.
    pub addresses: Vec<String>,
    /// Whether a Service that asks for no particular pool or address may be given one from here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = true))]
    pub auto_assign: Option<bool>,
    /// Whether IPv4 addresses that end in .0 or .255 are left unused, as some old devices drop traffic
    /// to them.
    #[serde(rename = "avoidBuggyIPs", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub avoid_buggy_ips: Option<bool>,
    /// Limits the pool to some namespaces and Services. Absent: it serves all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_allocation: Option<ServiceAllocationSpec>,
}

/// Which Services a pool is pinned to, and its precedence among the pools pinned to the same Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceAllocationSpec {
    /// The pool with the lowest positive number is used first; zero, or none, comes last.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::integer")]
    pub priority: Option<i64>,
    /// The names of the namespaces whose Services may use the pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,
    /// Labels of the namespaces whose Services may use the pool, in addition to those listed by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::selectors")]
    pub namespace_selectors: Option<Vec<LabelSelector>>,
    /// Labels of the Services that may use the pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::selectors")]
    pub service_selectors: Option<Vec<LabelSelector>>,
}

/// How much of the pool is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IpAddressPoolStatus {
    /// The number of IPv4 addresses in use.
    #[serde(rename = "assignedIPv4")]
    pub assigned_ipv4: i64,
    /// The number of IPv6 addresses in use.
    #[serde(rename = "assignedIPv6")]
    pub assigned_ipv6: i64,
    /// The number of IPv4 addresses that are free.
    #[serde(rename = "availableIPv4")]
    pub available_ipv4: i64,
    /// The number of IPv6 addresses that are free.
    #[serde(rename = "availableIPv6")]
    pub available_ipv6: i64,
}
