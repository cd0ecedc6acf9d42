// SPDX-License-Identifier: Apache-2.0
//! Why a Service has no address, or keeps one that its request no longer fits: one enum that feeds the
//! event, the log, the metric and `explain`.

use std::net::IpAddr;
use std::sync::Arc;

use crate::request::{RequestError, quoted};
use crate::sharing::SharingError;

/// Why addresses cannot be given. Its text is the `<err>` of contract 2.9's messages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// There is no pool object at all.
    #[error("no pools defined")]
    NoPools,
    /// The Service has no cluster address yet.
    #[error("service has no clusterIPs")]
    NoClusterIps,
    /// The cluster addresses do not say which families are wanted (a headless Service).
    #[error("cannot determine the ipFamily of the service from its clusterIPs {0}")]
    NoFamily(String),
    /// `RequireDualStack` on a cluster that gave it one address.
    #[error("Service requires dual stack but not enough clusterips {0}")]
    NotDualStack(String),
    /// The request is nonsense.
    #[error("invalid requested loadbalancer IPs: {0}")]
    Request(#[from] RequestError),
    /// Addresses that no single pool holds.
    #[error("{} is not allowed in config", quoted(.0))]
    NotInConfig(Vec<IpAddr>),
    /// The pool's serviceAllocation leaves this Service out.
    #[error("pool {0} not compatible for ip assignment")]
    PoolNotCompatible(Arc<str>),
    /// The requested pool does not exist.
    #[error("unknown pool {0:?}")]
    UnknownPool(String),
    /// The requested pool exists but is invalid, so nothing is given from it.
    #[error("pool {pool:?} is not valid: {reason}")]
    InvalidPool {
        /// Its name.
        pool: Arc<str>,
        /// What is wrong with it.
        reason: Arc<str>,
    },
    /// The requested addresses are not of the requested pool.
    #[error(
        "requested loadBalancer IP(s) {} is not compatible with requested address pool {pool}",
        quoted(addresses)
    )]
    OtherPool {
        /// The addresses.
        addresses: Vec<IpAddr>,
        /// The pool's name.
        pool: String,
    },
    /// The sharing rules forbid it.
    #[error(transparent)]
    Sharing(#[from] SharingError),
    /// The requested pool is exhausted for this family.
    #[error("no available IPs in pool {pool:?} for {families} IPFamily")]
    PoolExhausted {
        /// Its name.
        pool: Arc<str>,
        /// ipv4, ipv6 or dual.
        families: &'static str,
    },
    /// Every pool that this Service may use is exhausted, or there is none.
    #[error("no available IPs")]
    Exhausted,
}

impl Reason {
    /// A short name without spaces, for logs and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoPools => "noPools",
            Self::NoClusterIps => "noClusterIPs",
            Self::NoFamily(_) => "noFamily",
            Self::NotDualStack(_) => "notDualStack",
            Self::Request(_) => "invalidRequest",
            Self::NotInConfig(_) => "notInConfig",
            Self::PoolNotCompatible(_) => "poolNotCompatible",
            Self::UnknownPool(_) => "unknownPool",
            Self::InvalidPool { .. } => "invalidPool",
            Self::OtherPool { .. } => "otherPool",
            Self::Sharing(_) => "sharing",
            Self::PoolExhausted { .. } => "poolExhausted",
            Self::Exhausted => "exhausted",
        }
    }
}

/// An event on the Service (contract 2.9).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Notice {
    /// Whether it is of type Warning; Normal otherwise.
    pub warning: bool,
    /// The event's reason.
    pub reason: &'static str,
    /// The event's message.
    pub message: String,
}

impl Notice {
    /// The value of `event` in the log (contract 7.2).
    #[must_use]
    pub fn event(&self) -> &'static str {
        match self.reason {
            "IPAllocated" => "ipAllocated",
            "ClearAssignment" => "clearAssignment",
            "deprecatedAnnotation" => "deprecatedAnnotation",
            _ => "allocationFailed",
        }
    }

    pub(crate) fn normal(reason: &'static str, message: String) -> Self {
        Self { warning: false, reason, message }
    }

    pub(crate) fn warning(reason: &'static str, message: String) -> Self {
        Self { warning: true, reason, message }
    }
}
