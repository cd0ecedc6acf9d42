// SPDX-License-Identifier: Apache-2.0
//! `L2Advertisement`, v1beta1 (contract 1.2).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// Which pools are announced, from which nodes and interfaces, for which Services.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "L2Advertisement",
    plural = "l2advertisements",
    singular = "l2advertisement",
    namespaced,
    status = "L2AdvertisementStatus",
    derive = "PartialEq",
    doc = "Announces the addresses of Services by ARP and NDP from one node each.",
    printcolumn(name = "IPAddressPools", type_ = "string", json_path = ".spec.ipAddressPools"),
    printcolumn(
        name = "IPAddressPool Selectors",
        type_ = "string",
        json_path = ".spec.ipAddressPoolSelectors"
    ),
    printcolumn(name = "Interfaces", type_ = "string", json_path = ".spec.interfaces"),
    printcolumn(
        name = "Node Selectors",
        type_ = "string",
        json_path = ".spec.nodeSelectors",
        priority = 10
    )
)]
#[serde(default, rename_all = "camelCase")]
pub struct L2AdvertisementSpec {
    /// The names of the pools to announce. With neither names nor selectors, every pool is announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_address_pools: Option<Vec<String>>,
    /// Labels of the pools to announce, in addition to those listed by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::selectors")]
    pub ip_address_pool_selectors: Option<Vec<LabelSelector>>,
    /// Labels of the nodes that may announce. Empty: every node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::selectors")]
    pub node_selectors: Option<Vec<LabelSelector>>,
    /// The names of the interfaces to announce from. Empty: every interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interfaces: Option<Vec<String>>,
    /// Labels of the Services to announce. Empty: every Service that has an address of the pools. Not
    /// for Services that share their address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::selectors")]
    pub service_selectors: Option<Vec<LabelSelector>>,
    /// Nodes that should announce rather than others, as long as they can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preferred_node_selectors: Option<Vec<PreferredNodeSelector>>,
    /// Which nodes serve an address: without it the one that answers for it; `nodes`: that one leads each
    /// connection to one of all nodes that may announce (ferrolb only; needs `--keep-connections` on every speaker).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
}

/// The nodes that serve an address (ferrolb only).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Spread {
    /// All nodes that may announce, each some of the connections.
    Nodes,
}

/// Nodes to prefer, and by how much.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreferredNodeSelector {
    /// Added to the score of each node that the preference matches; 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub weight: i32,
    /// Labels of the preferred nodes.
    #[schemars(schema_with = "schema::selector")]
    pub preference: LabelSelector,
}

/// Nothing is reported here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct L2AdvertisementStatus {}
