// SPDX-License-Identifier: Apache-2.0
//! An event as whoever publishes it says it: the object, the type, the reason and the message.

use crds::config::{PoolId, PoolKind};

use crate::ObjectKey;

/// The subject of an event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Regarding {
    pub(super) api_version: &'static str,
    pub(super) kind: &'static str,
    pub(super) key: ObjectKey,
    pub(super) uid: Box<str>,
}

impl Regarding {
    /// A Service.
    #[must_use]
    pub fn service(key: ObjectKey, uid: Box<str>) -> Self {
        Self { api_version: "v1", kind: "Service", key, uid }
    }

    /// A pool; one that is in no namespace has `default` in its key, as events on such objects have it.
    #[must_use]
    pub fn pool(pool: &PoolId, namespace: &str, uid: Box<str>) -> Self {
        let (api_version, namespace) = match pool.kind {
            PoolKind::IpAddressPool => ("metallb.io/v1beta1", namespace),
            PoolKind::ExternalIpPool => ("crd.antrea.io/v1beta1", "default"),
        };
        let key = ObjectKey::new(namespace, &pool.name);
        Self { api_version, kind: pool.kind.name(), key, uid }
    }

    /// As the object has it: none for one that is in no namespace.
    pub(super) fn namespace(&self) -> &str {
        if self.kind == PoolKind::ExternalIpPool.name() { "" } else { self.key.namespace() }
    }

    /// A `BGPPeer`.
    #[must_use]
    pub fn bgp_peer(key: ObjectKey, uid: Box<str>) -> Self {
        Self { api_version: "metallb.io/v1beta2", kind: "BGPPeer", key, uid }
    }
}

/// An event (contract 2.9).
#[derive(Clone, Debug)]
pub struct ObjectEvent {
    /// The subject of the event.
    pub regarding: Regarding,
    /// Whether it is of type Warning.
    pub warning: bool,
    /// The reason.
    pub reason: &'static str,
    /// The message.
    pub message: String,
}
