// SPDX-License-Identifier: Apache-2.0
//! `BGPAdvertisement`, v1beta1 (contract 1.3).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;
use crate::rules;

/// Which pools are announced, to which peers, with which attributes.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "BGPAdvertisement",
    root = "BgpAdvertisement",
    plural = "bgpadvertisements",
    singular = "bgpadvertisement",
    namespaced,
    status = "BgpAdvertisementStatus",
    derive = "PartialEq",
    doc = "Announces the addresses of Services by BGP from every node that can serve them.",
    printcolumn(name = "IPAddressPools", type_ = "string", json_path = ".spec.ipAddressPools"),
    printcolumn(
        name = "IPAddressPool Selectors",
        type_ = "string",
        json_path = ".spec.ipAddressPoolSelectors"
    ),
    printcolumn(name = "Peers", type_ = "string", json_path = ".spec.peers"),
    printcolumn(
        name = "Node Selectors",
        type_ = "string",
        json_path = ".spec.nodeSelectors",
        priority = 10
    )
)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = rules::BGP_ADVERTISEMENT))]
pub struct BgpAdvertisementSpec {
    /// The length of the IPv4 prefixes announced: 32 announces each address by itself, less announces
    /// the network that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 32, "minimum" = 1))]
    pub aggregation_length: Option<i32>,
    /// The length of the IPv6 prefixes announced.
    #[serde(rename = "aggregationLengthV6", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 128))]
    pub aggregation_length_v6: Option<i32>,
    /// The LOCAL_PREF attribute sent to iBGP peers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_pref: Option<u32>,
    /// Communities to attach: 64512:100, large:64512:1:2, the name of an alias defined by a Community,
    /// or a well-known name such as no-export.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub communities: Option<Vec<String>>,
    /// The names of the pools to announce. With neither names nor selectors, every pool is announced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_address_pools: Option<Vec<String>>,
    /// Labels of the pools to announce, in addition to those listed by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::selectors")]
    pub ip_address_pool_selectors: Option<Vec<LabelSelector>>,
    /// Labels of the nodes that announce. Empty: every node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::selectors")]
    pub node_selectors: Option<Vec<LabelSelector>>,
    /// The names of the BGPPeers to announce to. Empty: every peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers: Option<Vec<String>>,
    /// Labels of the Services to announce. Empty: every Service that has an address of the pools. Only
    /// together with the default aggregation lengths.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::selectors")]
    pub service_selectors: Option<Vec<LabelSelector>>,
    /// How many further times the own AS number is put in front of AS_PATH (ferrolb only).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "int32", "minimum" = 0, "maximum" = 10))]
    pub as_path_prepend: Option<u8>,
    /// The MULTI_EXIT_DISC attribute (ferrolb only).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "int64", "minimum" = 0, "maximum" = 4_294_967_295_u32))]
    pub med: Option<u32>,
    /// Extended communities to attach: rt:64512:100, soo:64512:100, link-bandwidth:64512:125000000 (bytes
    /// per second), or opaque:0123456789abcdef for all eight octets (ferrolb only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extended_communities: Option<Vec<String>>,
    /// The names of Antrea ExternalIPPools whose addresses are announced as well (ferrolb only).
    #[serde(rename = "externalIPPools", skip_serializing_if = "Option::is_none")]
    pub external_ip_pools: Option<Vec<String>>,
}

/// Nothing is reported here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BgpAdvertisementStatus {}
