// SPDX-License-Identifier: Apache-2.0
//! When two Services may use one address (contract 2.7).

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

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
    pub ports: Arc<[ServicePort]>,
}

impl Claim {
    /// The claim of a Service. With externalTrafficPolicy Local the backend key is its selector, since
    /// the node that holds the address must have endpoints of all that share it; with Cluster, and for a
    /// Local Service without a selector, it is empty.
    #[must_use]
    pub fn of(service: &Service) -> Self {
        let world = service.pool_kind();
        let key = match world {
            PoolKind::ExternalIpPool if service.may_share_external() => "true",
            PoolKind::ExternalIpPool => "",
            PoolKind::IpAddressPool => service.annotation("allow-shared-ip").unwrap_or_default(),
        };
        if key.is_empty() {
            return Self { sharing: unshared(world), ports: service.ports.clone() };
        }
        let backend = match (world, service.traffic_policy) {
            (PoolKind::IpAddressPool, TrafficPolicy::Local) => service
                .selector
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect::<Vec<_>>()
                .join(","),
            _ => String::new(),
        };
        let sharing = Sharing { world, key: key.into(), backend: backend.into() };
        Self { sharing: Arc::new(sharing), ports: service.ports.clone() }
    }
}

/// What all hold who share nothing: most Services, so that they hold the same.
fn unshared(world: PoolKind) -> Arc<Sharing> {
    static OF_METALLB: LazyLock<Arc<Sharing>> = LazyLock::new(|| none(PoolKind::IpAddressPool));
    static OF_ANTREA: LazyLock<Arc<Sharing>> = LazyLock::new(|| none(PoolKind::ExternalIpPool));
    fn none(world: PoolKind) -> Arc<Sharing> {
        Arc::new(Sharing { world, ..Sharing::default() })
    }
    Arc::clone(match world {
        PoolKind::IpAddressPool => &OF_METALLB,
        PoolKind::ExternalIpPool => &OF_ANTREA,
    })
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

/// The first names, joined by commas as MetalLB does, and that there are more: ten thousand names are no message.
pub(crate) fn joined<'a>(mut services: impl Iterator<Item = &'a ObjectKey>) -> String {
    const SHOWN: usize = 5;
    let first: Vec<&str> = services.by_ref().take(SHOWN).map(ObjectKey::as_str).collect();
    let more = if services.next().is_some() { " and more" } else { "" };
    first.join(",") + more
}
