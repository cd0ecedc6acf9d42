// SPDX-License-Identifier: Apache-2.0
//! The parts of a Service that ferrolb keeps, and what they say; [`object`] reads them from the object of the API.

mod object;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use compact_str::CompactString;
use crds::address::core_address;
use crds::antrea;
use crds::config::{Family, PoolKind};
use crds::labels::Labels;

pub use object::ServiceObject;

use super::version::ResourceVersion;

/// The annotation that names the pool of the current addresses (contract 2.1).
pub const POOL_ANNOTATION: &str = "metallb.io/ip-allocated-from-pool";

/// `spec.type`: `LoadBalancer`, or another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceType {
    /// `LoadBalancer`.
    LoadBalancer,
    /// Any other.
    Other,
}

/// `spec.externalTrafficPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TrafficPolicy {
    /// Any node may take traffic for any endpoint. The default.
    Cluster,
    /// Only nodes with an endpoint of their own take traffic.
    Local,
}

/// `spec.ipFamilyPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyPolicy {
    /// One family. The default.
    SingleStack,
    /// Two when the cluster has them.
    PreferDualStack,
    /// Two or nothing.
    RequireDualStack,
}

/// `spec.ports[].protocol`; it is written as Kubernetes does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// `SCTP`.
    Sctp,
    /// `TCP`. The default.
    Tcp,
    /// `UDP`.
    Udp,
    /// A protocol that Kubernetes does not know today.
    Other(Box<str>),
}

impl From<&str> for Protocol {
    fn from(text: &str) -> Self {
        match text {
            "SCTP" => Self::Sctp,
            "TCP" => Self::Tcp,
            "UDP" => Self::Udp,
            other => Self::Other(other.into()),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Sctp => "SCTP",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Other(other) => other,
        })
    }
}

/// A protocol and port of `spec.ports`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServicePort {
    /// The port's protocol.
    pub protocol: Protocol,
    /// The Service's own port, not the node port.
    pub port: u16,
}

/// A Service, reduced to the parts that decisions need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// `metadata.uid`; empty in a folder.
    pub uid: Box<str>,
    /// `metadata.resourceVersion`.
    pub version: ResourceVersion,
    /// The `metadata.creationTimestamp` in seconds since the epoch: of two Services the older one keeps an address.
    pub created: Option<i64>,
    /// `metadata.labels`.
    pub labels: Labels,
    /// The annotations that ferrolb reads or writes.
    pub annotations: Labels,
    /// `spec.type`.
    pub service_type: ServiceType,
    /// `spec.loadBalancerClass`.
    pub load_balancer_class: Option<Box<str>>,
    /// `spec.loadBalancerIP`, unparsed; empty means unset.
    pub load_balancer_ip: Box<str>,
    /// `spec.clusterIPs`, else `spec.clusterIP`, as written (`None` for a headless Service).
    pub cluster_ips: Box<[CompactString]>,
    /// The family of `spec.ipFamilies[0]`.
    pub primary_family: Family,
    /// `spec.ipFamilyPolicy`.
    pub family_policy: FamilyPolicy,
    /// `spec.externalTrafficPolicy`.
    pub traffic_policy: TrafficPolicy,
    /// True for `spec.sessionAffinity: ClientIP`.
    pub client_affinity: bool,
    /// `spec.selector` of a Service that may share its addresses; no other decision needs it.
    pub selector: Labels,
    /// `spec.ports`.
    pub ports: Arc<[ServicePort]>,
    /// `status.loadBalancer.ingress`, in order.
    pub ingress: Box<[Ingress]>,
    /// The fingerprint of the condition `ferrolb.io/Allocated`; none without it.
    pub allocated: Option<u64>,
    /// The fingerprint of the condition `ferrolb.io/Announced`; none without it.
    pub announced: Option<u64>,
}

/// An entry of `status.loadBalancer.ingress`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ingress {
    /// The IP address as written; empty if the entry has only a hostname.
    pub ip: CompactString,
    /// The hostname, which ferrolb does not set for a MetalLB pool.
    pub hostname: CompactString,
}

/// The `hostname` that should stand beside each address of `status.loadBalancer.ingress`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hostname {
    /// No hostname: MetalLB's world has none.
    #[default]
    None,
    /// The present hostname stays: no node announces at the moment, or no speaker names one.
    Keep,
    /// The node that announces, as Antrea's world shows it.
    Node(Arc<str>),
}

impl Hostname {
    /// True if `there` is as it should be.
    #[must_use]
    pub fn is(&self, there: &str) -> bool {
        match self {
            Self::None => there.is_empty(),
            Self::Keep => true,
            Self::Node(node) => **node == *there,
        }
    }
}

impl Service {
    /// The addresses of the ingress list that parse, in order; entries with only a hostname are left out.
    pub fn ingress_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.ingress.iter().filter_map(|entry| core_address(&entry.ip)).map(|ip| ip.value)
    }

    /// The value of an annotation under its current prefix if present, else under the deprecated one
    /// (contract 2.1).
    #[must_use]
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations
            .get(&format!("metallb.io/{name}"))
            .or_else(|| self.annotations.get(&format!("metallb.universe.tf/{name}")))
    }

    /// The `ExternalIPPool` that Antrea's annotation asks for. The annotation makes the Service one of Antrea's world
    /// (contract C.1).
    #[must_use]
    pub fn external_pool(&self) -> Option<&str> {
        self.annotations.get(antrea::POOL_ANNOTATION).filter(|name| !name.is_empty())
    }

    /// The kind of pool that serves the Service.
    #[must_use]
    pub fn pool_kind(&self) -> PoolKind {
        match self.external_pool() {
            Some(_) => PoolKind::ExternalIpPool,
            None => PoolKind::IpAddressPool,
        }
    }

    /// True if Antrea's annotation lets the Service share an address (contract C.1).
    #[must_use]
    pub fn may_share_external(&self) -> bool {
        self.annotations.get(antrea::SHARING_ANNOTATION).is_some_and(antrea::is_true)
    }

    /// True if the Service is served where `class` is: Antrea's world knows no classes (contract C.1).
    #[must_use]
    pub fn is_served(&self, class: Option<&str>) -> bool {
        self.external_pool().is_some() || self.has_class(class)
    }

    /// True if the Service is of type `LoadBalancer` and of the class that is served: unset matches only unset
    /// (contract 2.2).
    #[must_use]
    pub fn has_class(&self, served: Option<&str>) -> bool {
        self.load_balancer_class.as_deref() == served
    }
}
