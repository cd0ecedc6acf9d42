// SPDX-License-Identifier: Apache-2.0
//! `BGPPeer`, v1beta1: deprecated, still served; and the conversions from and to v1beta2 (contract 1.5).
//!
//! v1beta1 cannot say everything that v1beta2 can. What it cannot say is kept, on the way there, in the
//! annotation [`KEPT_ANNOTATION`] and put back on the way back, so that reading and writing a peer
//! through v1beta1 loses nothing. A hold or keepalive time that v1beta1 does not give, or gives as
//! zero, is absent in v1beta2: it does not become an explicit zero, which would mean "no keepalives".

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::bgp_peer::{BgpPeerSpec as HubSpec, BgpPeerStatus};
use super::duration::GoDuration;
use super::schema;
use crate::config::FieldPath;

/// Where the fields of v1beta2 that v1beta1 lacks are kept while an object is shown as v1beta1.
pub const KEPT_ANNOTATION: &str = "ferrolb.io/bgppeer-v1beta2-fields";

/// A router and how to speak with it.
#[derive(CustomResource, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "metallb.io",
    version = "v1beta1",
    kind = "BGPPeer",
    root = "BgpPeer",
    plural = "bgppeers",
    singular = "bgppeer",
    namespaced,
    storage = false,
    deprecated = "v1beta1 is deprecated, please use v1beta2",
    status = "BgpPeerStatus",
    derive = "PartialEq",
    doc = "A BGP router that the nodes hold sessions with.",
    printcolumn(name = "Address", type_ = "string", json_path = ".spec.peerAddress"),
    printcolumn(name = "ASN", type_ = "string", json_path = ".spec.peerASN"),
    printcolumn(name = "BFD Profile", type_ = "string", json_path = ".spec.bfdProfile"),
    printcolumn(name = "Multi Hops", type_ = "string", json_path = ".spec.ebgpMultiHop")
)]
#[serde(default, rename_all = "camelCase")]
#[schemars(extend("required" = ["myASN", "peerASN", "peerAddress"]))]
pub struct BgpPeerSpec {
    /// The AS number of our side.
    #[serde(rename = "myASN")]
    #[schemars(extend("format" = "int64", "minimum" = 0, "maximum" = 4_294_967_295_u32))]
    pub my_asn: u32,
    /// The AS number of the peer.
    #[serde(rename = "peerASN")]
    #[schemars(extend("format" = "int64", "minimum" = 0, "maximum" = 4_294_967_295_u32))]
    pub peer_asn: u32,
    /// The address to connect to.
    pub peer_address: String,
    /// The own address to connect from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_address: Option<String>,
    /// The TCP port to connect to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "int32", "minimum" = 0, "maximum" = 16_384))]
    pub peer_port: Option<u16>,
    /// The hold time to propose (RFC 4271 section 4.2), such as 90s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_time: Option<GoDuration>,
    /// The time between keepalives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keepalive_time: Option<GoDuration>,
    /// The BGP identifier of our side, written as an IPv4 address; one is chosen when absent.
    #[serde(rename = "routerID", skip_serializing_if = "Option::is_none")]
    pub router_id: Option<String>,
    /// Labels of the nodes that hold a session with this peer. Empty: every node.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::v1beta1_node_selectors")]
    pub node_selectors: Option<Vec<LabelSelector>>,
    /// The password of the session (RFC 2385).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The name of the BFDProfile that watches over the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bfd_profile: Option<String>,
    /// Whether the peer may be more than one hop away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ebgp_multi_hop: Option<bool>,
}

impl fmt::Debug for BgpPeerSpec {
    /// Without the password, so that no log can hold it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("BgpPeerSpec")
            .field("my_asn", &self.my_asn)
            .field("peer_asn", &self.peer_asn)
            .field("peer_address", &self.peer_address)
            .field("password", &self.password.as_ref().map(|_| "(hidden)"))
            .finish_non_exhaustive()
    }
}

/// A timer that is there and not zero.
fn set(timer: Option<GoDuration>) -> Option<GoDuration> {
    timer.filter(|timer| !timer.is_zero())
}

/// The `spec` of v1beta2: what v1beta1 says, and of the rest what was kept.
fn hub_spec(old: BgpPeerSpec, kept: HubSpec) -> HubSpec {
    HubSpec {
        my_asn: old.my_asn,
        peer_asn: Some(old.peer_asn).filter(|asn| *asn != 0),
        peer_address: Some(old.peer_address).filter(|address| !address.is_empty()),
        source_address: old.source_address,
        peer_port: old.peer_port.filter(|port| *port != 0),
        hold_time: set(old.hold_time).or(kept.hold_time),
        keepalive_time: set(old.keepalive_time).or(kept.keepalive_time),
        router_id: old.router_id,
        node_selectors: old.node_selectors.filter(|selectors| !selectors.is_empty()),
        password: old.password,
        bfd_profile: old.bfd_profile,
        ebgp_multi_hop: old.ebgp_multi_hop,
        ..kept
    }
}

/// The `spec` of v1beta1, and what it has no place for.
fn old_spec(hub: HubSpec) -> (BgpPeerSpec, HubSpec) {
    let is_zero = |timer: Option<GoDuration>| timer.filter(|timer| timer.is_zero());
    let kept = HubSpec {
        my_asn: 0,
        peer_asn: None,
        peer_address: None,
        source_address: None,
        peer_port: None,
        hold_time: is_zero(hub.hold_time),
        keepalive_time: is_zero(hub.keepalive_time),
        router_id: None,
        node_selectors: None,
        password: None,
        bfd_profile: None,
        ebgp_multi_hop: None,
        ..hub.clone()
    };
    let old = BgpPeerSpec {
        my_asn: hub.my_asn,
        peer_asn: hub.peer_asn.unwrap_or_default(),
        peer_address: hub.peer_address.unwrap_or_default(),
        source_address: hub.source_address,
        peer_port: hub.peer_port,
        hold_time: set(hub.hold_time),
        keepalive_time: set(hub.keepalive_time),
        router_id: hub.router_id,
        node_selectors: hub.node_selectors,
        password: hub.password,
        bfd_profile: hub.bfd_profile,
        ebgp_multi_hop: hub.ebgp_multi_hop,
    };
    (old, kept)
}

/// Why an object could not be converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// It is asked for in a version that there is none of, or it is in one.
    #[error("BGPPeer has no version {0:?}")]
    Version(String),
    /// The object is not what its version says.
    #[error("BGPPeer can not be read: {0}")]
    Object(#[from] serde_json::Error),
    /// A field of the `spec` is not what its version says.
    #[error("BGPPeer can not be read: {}", .0.inner())]
    Spec(#[from] serde_path_to_error::Error<serde_json::Error>),
}

impl ConvertError {
    /// The field within `spec`; empty when that is not known, or the whole is not what it should be.
    #[must_use]
    pub fn field(&self) -> FieldPath {
        match self {
            Self::Version(_) | Self::Object(_) => FieldPath::default(),
            Self::Spec(error) => error.path().into(),
        }
    }
}

/// Converts a `BGPPeer` object to `desired`, such as `metallb.io/v1beta2`: what the conversion webhook
/// is asked for. Status and metadata come over as they are, but for the annotation of our own.
///
/// # Errors
/// When a version is unknown, or the `spec` is not of its version.
pub fn convert(object: Value, desired: &str) -> Result<Value, ConvertError> {
    const OLD: &str = "metallb.io/v1beta1";
    const NEW: &str = "metallb.io/v1beta2";
    let current = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default().to_owned();
    if current == desired {
        return Ok(object);
    }
    let mut object: Map<String, Value> = serde_json::from_value(object)?;
    let spec: Map<String, Value> = match object.remove("spec") {
        None | Some(Value::Null) => Map::new(),
        Some(spec) => serde_json::from_value(spec)?,
    };
    let spec = Value::Object(spec);
    let spec = match (current.as_str(), desired) {
        (OLD, NEW) => {
            let kept = take_kept(&mut object).unwrap_or_default();
            serde_json::to_value(hub_spec(serde_path_to_error::deserialize(spec)?, kept))?
        }
        (NEW, OLD) => {
            let (old, kept) = old_spec(serde_path_to_error::deserialize(spec)?);
            if kept != HubSpec::default() {
                put_kept(&mut object, serde_json::to_string(&kept)?);
            }
            serde_json::to_value(old)?
        }
        (OLD | NEW, _) => return Err(ConvertError::Version(desired.to_owned())),
        _ => return Err(ConvertError::Version(current)),
    };
    object.insert("spec".into(), spec);
    object.insert("apiVersion".into(), desired.into());
    Ok(Value::Object(object))
}

/// Takes our annotation off the object, if it can be read.
fn take_kept(object: &mut Map<String, Value>) -> Option<HubSpec> {
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    let annotations = metadata.get_mut("annotations")?.as_object_mut()?;
    let kept = serde_json::from_str(annotations.get(KEPT_ANNOTATION)?.as_str()?).ok()?;
    annotations.remove(KEPT_ANNOTATION);
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    Some(kept)
}

fn put_kept(object: &mut Map<String, Value>, text: String) {
    let make_object = |map: &mut Map<String, Value>, key: &str| {
        let value = map.entry(key).or_insert(Value::Null);
        if value.is_null() {
            *value = json!({});
        }
    };
    make_object(object, "metadata");
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    make_object(metadata, "annotations");
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.insert(KEPT_ANNOTATION.into(), text.into());
    }
}

#[cfg(test)]
mod tests;
