// SPDX-License-Identifier: Apache-2.0
//! `BGPPeer`, v1beta2: the version that is stored (contract 1.4).

use std::fmt;

use k8s_openapi::api::core::v1::SecretReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration::GoDuration;
use super::schema;
use crate::rules;

/// A router and how to speak with it.
#[derive(CustomResource, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta2",
    kind = "BGPPeer",
    root = "BgpPeer",
    plural = "bgppeers",
    singular = "bgppeer",
    namespaced,
    status = "BgpPeerStatus",
    derive = "PartialEq",
    doc = "A BGP router that the nodes hold sessions with.",
    printcolumn(name = "Address", type_ = "string", json_path = ".spec.peerAddress"),
    printcolumn(name = "ASN", type_ = "string", json_path = ".spec.peerASN"),
    printcolumn(name = "BFD Profile", type_ = "string", json_path = ".spec.bfdProfile"),
    printcolumn(name = "Multi Hops", type_ = "string", json_path = ".spec.ebgpMultiHop")
)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend(
    "required" = ["myASN"],
    "x-kubernetes-validations" = rules::BGP_PEER,
))]
pub struct BgpPeerSpec {
    /// The AS number of our side.
    #[serde(rename = "myASN")]
    #[schemars(extend("format" = "int64", "minimum" = 0, "maximum" = 4_294_967_295_u32))]
    pub my_asn: u32,
    /// The AS number of the peer. Either this or dynamicASN.
    #[serde(rename = "peerASN", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "int64", "minimum" = 0, "maximum" = 4_294_967_295_u32))]
    pub peer_asn: Option<u32>,
    /// Accept whatever AS number the peer has, as long as it is our own (internal) or another one
    /// (external). Either this or peerASN.
    #[serde(rename = "dynamicASN", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["internal", "external"]))]
    pub dynamic_asn: Option<String>,
    /// The AS number to show to this peer in place of myASN.
    #[serde(rename = "localASN", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "int64", "minimum" = 1, "maximum" = 4_294_967_295_u32))]
    pub local_asn: Option<u32>,
    /// The address to connect to. Either this or interface.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_address: Option<String>,
    /// The interface of the node behind which the peer is found by itself (unnumbered peering). Either
    /// this or peerAddress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The own address to connect from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_address: Option<String>,
    /// The TCP port to connect to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = 179, "minimum" = 1, "maximum" = 16_384))]
    pub peer_port: Option<u16>,
    /// The hold time to propose (RFC 4271 section 4.2), such as 90s: zero, or at least three seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_time: Option<GoDuration>,
    /// The time between keepalives; a third of the hold time when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<GoDuration>,
    /// The time between attempts to connect, 1 to 65535 whole seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [
        {
            "message": "connect time should be between 1 seconds to 65535",
            "rule": "duration(self).getSeconds() >= 1 && duration(self).getSeconds() <= 65535",
        },
        {
            "message": "connect time should contain a whole number of seconds",
            "rule": "duration(self).getMilliseconds() % 1000 == 0",
        },
    ]))]
    pub connect_time: Option<GoDuration>,
    /// The BGP identifier of our side, written as an IPv4 address; one is chosen when absent.
    #[serde(rename = "routerID", skip_serializing_if = "Option::is_none")]
    pub router_id: Option<String>,
    /// Labels of the nodes that hold a session with this peer. Empty: every node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::selectors")]
    pub node_selectors: Option<Vec<LabelSelector>>,
    /// The password of the session (RFC 2385). Better kept in a Secret: see passwordSecret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The Secret of type kubernetes.io/basic-auth, in the namespace of this object, that holds the
    /// password of the session under the key password.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::secret_reference")]
    pub password_secret: Option<SecretReference>,
    /// The name of the BFDProfile that watches over the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bfd_profile: Option<String>,
    /// Whether the peer is asked to keep our routes while we restart (RFC 4724).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [{
        "message": "EnableGracefulRestart cannot be changed after creation",
        "rule": "self == oldSelf",
    }]))]
    pub enable_graceful_restart: Option<bool>,
    /// Whether the peer may be more than one hop away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ebgp_multi_hop: Option<bool>,
    /// The VRF in which the peer is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// Deprecated, and without effect: a session carries the family of its own addresses.
    #[serde(rename = "disableMP", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub disable_mp: Option<bool>,
    /// Whether the session carries IPv4 and IPv6 prefixes, whatever its own addresses are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("default" = false))]
    pub dual_stack_address_family: Option<bool>,
    /// Whether to wait for the peer to connect instead of connecting to it (ferrolb only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passive: Option<bool>,
    /// The TCP port on which connections of this peer are accepted; without it none are (ferrolb only).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub listen_port: Option<u16>,
    /// The number of hops to the peer: packets from further away are dropped (RFC 5082; ferrolb only).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 254))]
    pub ttl_security: Option<u8>,
    /// How long the peer keeps our routes while we restart, up to 4095s (RFC 4724; ferrolb only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graceful_restart_time: Option<GoDuration>,
    /// How long the peer keeps our routes as stale after that, up to 4660h20m15s (RFC 9494; ferrolb only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub long_lived_stale_time: Option<GoDuration>,
    /// What we are to the peer (RFC 9234; ferrolb only).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["provider", "rs", "rs-client", "customer", "peer"]))]
    pub role: Option<String>,
    /// The addresses that an IPv6 next hop is sent with: the global one and, to a peer on the same link, the link-local
    /// one too (global-and-link-local, 32 octets, the default), or the global one alone (global, 16 octets) for routers
    /// that refuse 32 octets (RFC 2545; ferrolb only).
    #[serde(rename = "ipv6NextHop", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["global-and-link-local", "global"]))]
    pub ipv6_next_hop: Option<String>,
    /// The session is closed when the peer sends more prefixes than this (ferrolb only).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "int64", "minimum" = 1, "maximum" = 4_294_967_295_u32))]
    pub max_prefixes: Option<u32>,
}

/// Nothing is reported here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BgpPeerStatus {}

impl fmt::Debug for BgpPeerSpec {
    /// Without the password, so that no log can hold it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BgpPeerSpec")
            .field("my_asn", &self.my_asn)
            .field("peer_asn", &self.peer_asn)
            .field("dynamic_asn", &self.dynamic_asn)
            .field("peer_address", &self.peer_address)
            .field("interface", &self.interface)
            .field("password", &self.password.as_ref().map(|_| "(hidden)"))
            .finish_non_exhaustive()
    }
}
