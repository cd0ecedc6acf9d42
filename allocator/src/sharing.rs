// SPDX-License-Identifier: Apache-2.0
//! When two Services may use one address (contract 2.7).

use std::net::IpAddr;
use std::sync::Arc;

use cluster::ObjectKey;
use cluster::model::{Service, ServicePort, TrafficPolicy};
use crds::config::PoolKind;

/// The sharing key and the backend key: Services share only when both are equal and the first is not empty. In Antrea's world,
/// where sharing is a matter of yes and no, the key says yes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sharing {
    world: PoolKind,
    key: Box<str>,
    backend: Box<str>,
}

impl Sharing {
    /// Whether it allows any sharing.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        !self.key.is_empty()
    }

    /// Whose rules it follows; nothing is shared between the worlds.
    #[must_use]
    pub fn world(&self) -> PoolKind {
        self.world
    }
}

/// What a Service brings to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// With whom it shares.
    pub sharing: Arc<Sharing>,
    /// Which ports it takes.
    pub ports: Box<[ServicePort]>,
}

impl Claim {
    /// The claim of a Service. With externalTrafficPolicy Local the backend key is its selector, since
    /// the node that holds the address must have endpoints of all that share it; with Cluster, and for a
    /// Local Service without a selector, it is empty.
    #[must_use]
    pub fn of(service: &Service) -> Self {
        let world = service.pool_kind();
        if world == PoolKind::ExternalIpPool {
            let key = if service.may_share_external() { "true" } else { "" };
            let sharing = Sharing { world, key: key.into(), backend: "".into() };
            return Self { sharing: Arc::new(sharing), ports: service.ports.clone() };
        }
        let backend = match service.traffic_policy {
            TrafficPolicy::Cluster => String::new(),
            TrafficPolicy::Local => service
                .selector
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect::<Vec<_>>()
                .join(","),
        };
        Self {
            sharing: Arc::new(Sharing {
                world,
                key: service.annotation("allow-shared-ip").unwrap_or_default().into(),
                backend: backend.into(),
            }),
            ports: service.ports.clone(),
        }
    }
}

/// Why a Service may not use an address that others use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SharingError {
    /// A sharing key is missing, or the keys or backends differ.
    #[error("can't change sharing key for {service:?}, address also in use by {others}")]
    Sharing {
        /// Who asked.
        service: String,
        /// Who has it, joined by commas.
        others: String,
    },
    /// In Antrea's world, the Service or one of those that have the address does not share.
    #[error(
        "{address} is in use by {others}, and not all of them and this Service have the annotation \
        service.antrea.io/allow-shared-load-balancer-ip: \"true\""
    )]
    Unshared {
        /// The address.
        address: IpAddr,
        /// Who has it, joined by commas.
        others: String,
    },
    /// A Service of the other world has it.
    #[error("{address} is in use by {others} from a pool of the other kind")]
    OtherWorld {
        /// The address.
        address: IpAddr,
        /// Who has it, joined by commas.
        others: String,
    },
    /// A protocol and port are taken.
    #[error("port {}/{} is already in use on \"{address}\"", port.protocol, port.port)]
    Port {
        /// The first port that both want.
        port: ServicePort,
        /// The address.
        address: IpAddr,
    },
}

impl SharingError {
    pub(crate) fn sharing<'a>(
        service: &ObjectKey,
        others: impl Iterator<Item = &'a ObjectKey>,
    ) -> Self {
        Self::Sharing { service: service.to_string(), others: joined(others) }
    }
}

pub(crate) fn joined<'a>(services: impl Iterator<Item = &'a ObjectKey>) -> String {
    services.map(ObjectKey::as_str).collect::<Vec<_>>().join(",")
}
