// SPDX-License-Identifier: Apache-2.0
//! The parts of an EndpointSlice that ferrolb keeps: the places of usable endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crds::config::Family;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use crate::key::ObjectKey;

/// The usable endpoints of one slice (contract 2.10): ready is true or unset, else serving is true.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Slice {
    /// Nodes with a usable endpoint, in order.
    pub nodes: Box<[Arc<str>]>,
    /// The number of usable endpoints on each of them, in the same order.
    pub endpoints: Box<[u32]>,
    /// Nodes with a usable endpoint that has an address, in order; BGP asks for one (contract 5.3).
    pub nodes_with_address: Box<[Arc<str>]>,
    /// Nodes with an endpoint that is not ready and does not say whether it serves: Antrea counts those (contract C.6).
    pub nodes_unsaid: Box<[Arc<str>]>,
    /// The family of the slice's addresses.
    pub family: Option<Family>,
    /// True if any endpoint is usable, also one that names no node.
    pub any: bool,
    /// True if any usable endpoint has an address.
    pub any_with_address: bool,
}

/// The object as it comes over the wire.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct EndpointSliceObject {
    /// Standard metadata.
    pub metadata: ObjectMeta,
    #[serde(default, rename = "addressType")]
    address_type: Option<String>,
    #[serde(default)]
    endpoints: Option<Vec<EndpointObject>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct EndpointObject {
    addresses: Option<Vec<serde::de::IgnoredAny>>,
    conditions: Option<Conditions>,
    node_name: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Conditions {
    ready: Option<bool>,
    serving: Option<bool>,
}

impl EndpointObject {
    fn is_usable(&self) -> bool {
        let Some(conditions) = &self.conditions else { return true };
        conditions.ready.unwrap_or(true) || conditions.serving.unwrap_or(false)
    }
}

impl EndpointSliceObject {
    /// The slice's own key; none without a name.
    #[must_use]
    pub fn key(&self) -> Option<ObjectKey> {
        Some(ObjectKey::new(self.namespace(), self.metadata.name.as_deref()?))
    }

    /// The Service to which the slice belongs, by its label `kubernetes.io/service-name`; none for a slice without a
    /// Service.
    #[must_use]
    pub fn service(&self) -> Option<ObjectKey> {
        let service = self.metadata.labels.as_ref()?.get("kubernetes.io/service-name")?;
        Some(ObjectKey::new(self.namespace(), service))
    }

    fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or("default")
    }

    /// Reduces the object to the parts that are kept; node names are shared with the caller's through `intern`.
    #[must_use]
    pub fn reduce(self, intern: impl Fn(&str) -> Arc<str>) -> Slice {
        let family = match self.address_type.as_deref() {
            Some("IPv4") => Some(Family::V4),
            Some("IPv6") => Some(Family::V6),
            _ => None,
        };
        let mut slice = Slice { family, ..Slice::default() };
        let mut nodes: BTreeMap<Arc<str>, u32> = BTreeMap::new();
        let mut nodes_with_address = BTreeSet::new();
        let mut nodes_unsaid = BTreeSet::new();
        for endpoint in self.endpoints.unwrap_or_default() {
            if !endpoint.is_usable() {
                if endpoint.conditions.is_some_and(|conditions| conditions.serving.is_none()) {
                    nodes_unsaid.extend(endpoint.node_name.as_deref().map(&intern));
                }
                continue;
            }
            let has_address = endpoint.addresses.is_some_and(|addresses| !addresses.is_empty());
            slice.any = true;
            slice.any_with_address |= has_address;
            if let Some(name) = endpoint.node_name {
                let name = intern(&name);
                if has_address {
                    nodes_with_address.insert(Arc::clone(&name));
                }
                *nodes.entry(name).or_default() += 1;
            }
        }
        slice.nodes_unsaid = nodes_unsaid.into_iter().collect();
        slice.endpoints = nodes.values().copied().collect();
        slice.nodes = nodes.into_keys().collect();
        slice.nodes_with_address = nodes_with_address.into_iter().collect();
        slice
    }
}
