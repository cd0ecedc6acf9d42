// SPDX-License-Identifier: Apache-2.0
//! Why a Service has no address, or keeps one that its request no longer fits: one enum that feeds the
//! event, the log, the metric and `explain`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use cluster::ObjectKey;

use crate::notice::{Notice, NoticeKind};
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
    /// The `ExternalIPPool` of the annotation does not exist.
    #[error("ExternalIPPool {0:?} does not exist")]
    UnknownExternalPool(String),
    /// It has no free address left.
    #[error("no available IPs in ExternalIPPool {pool:?} for {families} IPFamily")]
    ExternalPoolExhausted {
        /// Its name.
        pool: Arc<str>,
        /// ipv4, ipv6, dual or any.
        families: &'static str,
    },
    /// It has no range of the Service's families.
    #[error("ExternalIPPool {pool:?} has no range for {families} IPFamily")]
    NoFamilyInPool {
        /// Its name.
        pool: Arc<str>,
        /// ipv4, ipv6, dual or any.
        families: &'static str,
    },
    /// It does not hold the address of `spec.loadBalancerIP`, or never gives it.
    #[error("spec.loadBalancerIP {address} is not in ExternalIPPool {pool:?}")]
    NotInExternalPool {
        /// The address.
        address: IpAddr,
        /// The pool's name.
        pool: Arc<str>,
    },
    /// What would be left is held by pools of both kinds, and neither may give it.
    #[error("no new address is given from what {pools} and a pool of the other kind both hold")]
    Contested {
        /// The pools that the Service may use.
        pools: String,
    },
    /// Every pool that this Service may use is exhausted.
    #[error(
        "no available IPs: every pool that this Service may use is exhausted for {families}: {pools}"
    )]
    Exhausted {
        /// Those pools.
        pools: Names,
        /// ipv4, ipv6 or dual.
        families: &'static str,
    },
    /// There are pools, but none that this Service may use without asking for it.
    #[error(
        "no available IPs: no pool may be used by this Service{}",
        forbidden(families, manual, pinned, other_family)
    )]
    NoneAllowed {
        /// ipv4, ipv6 or dual.
        families: &'static str,
        /// Pools with `autoAssign: false`.
        manual: Names,
        /// Pools whose `serviceAllocation` leaves the Service out.
        pinned: Names,
        /// Pools that do not hold the families.
        other_family: Names,
    },
}

fn forbidden(families: &str, manual: &Names, pinned: &Names, other_family: &Names) -> String {
    let mut text = String::new();
    let mut say = |names: &Names, why: &str| {
        if !names.is_empty() {
            let separator = if text.is_empty() { ": " } else { "; " };
            text.push_str(&format!("{separator}{names} {why}"));
        }
    };
    say(manual, "(autoAssign is false)");
    say(pinned, "(serviceAllocation selects other Services)");
    say(other_family, &format!("(no addresses for {families})"));
    text
}

/// A few names, and how many more there are: a message must stay readable with 2,000 pools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    first: Vec<Arc<str>>,
    more: usize,
}

impl Names {
    const SHOWN: usize = 5;

    pub(crate) fn of(names: impl Iterator<Item = Arc<str>>) -> Self {
        let mut list = Self::default();
        for name in names {
            if list.first.len() < Self::SHOWN {
                list.first.push(name);
            } else {
                list.more += 1;
            }
        }
        list
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }
}

impl fmt::Display for Names {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.first.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(formatter, "{separator}{name:?}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(formatter, " and {more} more"),
        }
    }
}

impl Reason {
    cluster::named! {
        /// A short name without spaces, for logs and metrics.
        pub name,
        /// All short names, for the metric that has a series for each.
        pub NAMES,
        "noPools": Self::NoPools,
        "noClusterIPs": Self::NoClusterIps,
        "noFamily": Self::NoFamily(_),
        "notDualStack": Self::NotDualStack(_),
        "invalidRequest": Self::Request(_),
        "notInConfig": Self::NotInConfig(_),
        "poolNotCompatible": Self::PoolNotCompatible(_),
        "unknownPool": Self::UnknownPool(_),
        "invalidPool": Self::InvalidPool { .. },
        "otherPool": Self::OtherPool { .. },
        "sharing": Self::Sharing(_),
        "poolExhausted": Self::PoolExhausted { .. },
        "unknownExternalPool": Self::UnknownExternalPool(_),
        "externalPoolExhausted": Self::ExternalPoolExhausted { .. },
        "noFamilyInPool": Self::NoFamilyInPool { .. },
        "notInExternalPool": Self::NotInExternalPool { .. },
        "contested": Self::Contested { .. },
        "exhausted": Self::Exhausted { .. },
        "noneAllowed": Self::NoneAllowed { .. },
    }

    /// The same as a condition's reason has it: in CamelCase.
    #[must_use]
    pub fn condition(&self) -> String {
        let name = self.name();
        name.chars().take(1).flat_map(char::to_uppercase).chain(name.chars().skip(1)).collect()
    }

    /// The event that tells it (contract 2.9), if one does.
    #[must_use]
    pub fn notice(&self, key: &ObjectKey) -> Option<Notice> {
        match self {
            // Only for a moment, while the Service is being made.
            Self::NoClusterIps => None,
            Self::NotDualStack(_) => {
                Some(Notice::new(NoticeKind::NotEnoughClusterIps, self.to_string()))
            }
            Self::NoFamily(_) => Some(Notice::new(NoticeKind::NoClusterIpFamily, self.to_string())),
            Self::NoPools
            | Self::Request(_)
            | Self::NotInConfig(_)
            | Self::PoolNotCompatible(_)
            | Self::UnknownPool(_)
            | Self::InvalidPool { .. }
            | Self::OtherPool { .. }
            | Self::Sharing(_)
            | Self::PoolExhausted { .. }
            | Self::UnknownExternalPool(_)
            | Self::ExternalPoolExhausted { .. }
            | Self::NoFamilyInPool { .. }
            | Self::NotInExternalPool { .. }
            | Self::Contested { .. }
            | Self::Exhausted { .. }
            | Self::NoneAllowed { .. } => {
                let message = format!("Failed to allocate IP for {:?}: {self}", key.as_str());
                Some(Notice::new(NoticeKind::AllocationFailed, message))
            }
        }
    }
}

/// What about a Service changed, so that its addresses are taken back without an event: who changed it knows. Its text is the
/// log's, in MetalLB's words where MetalLB says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Change {
    /// It has lost its cluster addresses.
    #[error("No ClusterIPs")]
    NoClusterIps,
    /// Its families are others than those of its addresses.
    #[error("the addresses that are currently assigned are not of the families of the service")]
    Families,
    /// It asks for another pool.
    #[error("user requested a different pool than the one currently assigned")]
    Pool,
    /// It asks for other addresses.
    #[error("user requested a different IP than the one currently assigned")]
    Addresses,
    /// Its `ExternalIPPool` holds its addresses no longer.
    #[error("the ExternalIPPool does not hold the IP currently assigned")]
    NotInExternalPool,
}

impl Change {
    /// The value of `reason` in the log (contract 7.2).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoClusterIps => "noClusterIPs",
            Self::Families => "differentIPFamily",
            Self::Pool => "differentPoolRequested",
            Self::Addresses => "differentIPRequested",
            Self::NotInExternalPool => "notInExternalPool",
        }
    }
}
