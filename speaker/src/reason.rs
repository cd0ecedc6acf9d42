// SPDX-License-Identifier: Apache-2.0
//! Why a Service is not announced from this node: one enum that feeds the log, the event, the metric and
//! `explain`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Why a node does not announce a Service by a protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Withhold {
    /// The Service is gone.
    #[error("the Service was deleted, or is of another type or class now")]
    ServiceDeleted,
    /// It has no address.
    #[error("the Service has no address")]
    NoAddress,
    /// An entry of `status.loadBalancer.ingress` is no address.
    #[error("status.loadBalancer.ingress holds {0:?}, which is not an IP address")]
    InvalidAddress(Box<str>),
    /// No single pool holds all its addresses.
    #[error("no pool of the configuration holds {0}")]
    NotAllowed(IpAddr),
    /// No endpoint anywhere is usable.
    #[error("no endpoint is ready")]
    NoEndpoints,
    /// IP sharing and serviceSelectors do not go together (contract 4.2).
    #[error(
        "the Service shares its address, and an L2Advertisement of its pool has serviceSelectors"
    )]
    SharedWithServiceSelector,
    /// No L2Advertisement selects the pool and the Service.
    #[error("no L2Advertisement selects pool {0:?} and this Service")]
    NotAdvertised(Arc<str>),
    /// Some advertisement does, but not on this node.
    #[error("no L2Advertisement for this Service selects this node")]
    NoMatchingAdvertisement,
    /// The `nodeSelector` of the Service's ExternalIPPool leaves this node out.
    #[error("the nodeSelector of ExternalIPPool {0:?} does not select this node")]
    NotInNodeSelector(Arc<str>),
    /// Another controller gave the addresses of a Service of Antrea's world.
    #[error(
        "no controller of ferrolb gave this Service its address: it has no condition ferrolb.io/Allocated"
    )]
    NotGivenHere,
    /// The node itself is not known to the API.
    #[error("this node is not known to the cluster")]
    NodeUnknown,
    /// The condition NetworkUnavailable is True here.
    #[error("this node's network is unavailable")]
    NodeNetworkUnavailable,
    /// The node has the exclude label.
    #[error("this node has the label node.kubernetes.io/exclude-from-external-load-balancers")]
    NodeExcluded,
    /// `externalTrafficPolicy: Local` and no usable endpoint here.
    #[error("externalTrafficPolicy is Local and no ready endpoint is on this node")]
    NoLocalEndpoints,
    /// Another node has it.
    #[error("node {0} announces it")]
    NotOwner(Arc<str>),
    /// No node at all may announce it.
    #[error("no node may announce it: {0}")]
    NoCandidates(Nobody),
    /// Services that share an address have one node, and that one cannot announce this Service.
    #[error("node {node} has its address for the Services that share it: {}", .why.there())]
    SharedElsewhere {
        /// The node that has the address.
        node: Arc<str>,
        /// Why that node does not announce this Service.
        why: Box<Self>,
    },
    /// No BGPAdvertisement selects the pool on this node.
    #[error("no BGPAdvertisement selects pool {0:?} and this node")]
    NoBgpAdvertisement(Arc<str>),
    /// Some BGPAdvertisement does, but not this Service.
    #[error("no BGPAdvertisement of pool {0:?} selects this Service")]
    NoMatchingBgpAdvertisement(Arc<str>),
    /// Two BGPAdvertisements for this Service want different LOCAL_PREFs for the same prefix.
    #[error(
        "BGPAdvertisements {0:?} and {1:?} want different localPref for the same prefix of this Service"
    )]
    ConflictingAdvertisements(Arc<str>, Arc<str>),
    /// Nobody could be told by BGP.
    #[error("{0}")]
    NoPeer(String),
    /// The node is being emptied (`ferrolb.io/drain`), and the time to go elsewhere is over.
    #[error("this node is drained")]
    NodeDrained,
    /// Its speaker is about to end.
    #[error("this node's speaker is about to end")]
    Leaving,
    /// Its speaker does not speak at the moment: it has just started, stood still, or sees too few of the others.
    #[error("this node's speaker is silent at the moment")]
    Silent,
    /// Owners stay or are spread, and it is not known yet whether this speaker has the address.
    #[error("nobody is known to have it, and what the speaker of node {0} has is not known yet")]
    Unsettled(Arc<str>),
    /// The node's links for the Service's addresses, which are of this pool, carry nothing, and another node has one that does.
    #[error("this node has no link that carries for pool {0:?}")]
    NoLink(Arc<str>),
    /// The interfaces that the advertisements name do not exist here. Nobody else takes over.
    #[error("none of the interfaces {0} exists on this node")]
    NoInterface(String),
}

impl Withhold {
    cluster::named! {
        /// The value of `reason` in the log (contract 7.2).
        pub name,
        /// The names of all reasons but that of a Service that is gone.
        pub NAMES,
        "noIPAllocated": Self::NoAddress,
        "invalidIP": Self::InvalidAddress(_),
        "ipNotAllowed": Self::NotAllowed(_),
        "notOwner": Self::NoEndpoints
            | Self::NotOwner(_)
            | Self::NoCandidates(_)
            | Self::NoBgpAdvertisement(_),
        "sharedIPWithServiceSelector": Self::SharedWithServiceSelector,
        "noMatchingAdvertisement": Self::NotAdvertised(_)
            | Self::NoMatchingAdvertisement
            | Self::NoMatchingBgpAdvertisement(_)
            | Self::NodeUnknown,
        "nodeNotInPool": Self::NotInNodeSelector(_),
        "notGivenHere": Self::NotGivenHere,
        "conflictingAdvertisements": Self::ConflictingAdvertisements(..),
        "nodeNetworkUnavailable": Self::NodeNetworkUnavailable,
        "nodeLabeledExcludeBalancers": Self::NodeExcluded,
        "noLocalEndpoints": Self::NoLocalEndpoints,
        "noPeer": Self::NoPeer(_),
        "nodeDrained": Self::NodeDrained,
        "leaving": Self::Leaving,
        "silent": Self::Silent,
        "unsettled": Self::Unsettled(_),
        "noLink": Self::NoLink(_),
        "noInterface": Self::NoInterface(_),
        also Self::NO_ENDPOINTS,
        unlisted Self::ServiceDeleted => "serviceDeleted",
        // The node's own reason, which is one of those above.
        unlisted Self::SharedElsewhere { why, .. } => why.name(),
    }

    /// That there is no endpoint, as BGP names it.
    const NO_ENDPOINTS: &'static str = "noEndpoints";

    /// The same for BGP, which tells "no endpoint" from "another's" (contract 5.3).
    #[must_use]
    pub fn name_by_bgp(&self) -> &'static str {
        match self {
            Self::NoEndpoints => Self::NO_ENDPOINTS,
            other => other.name(),
        }
    }

    /// The concern of the reason: where it is said, and by whom.
    pub(crate) fn concern(&self) -> Concern {
        match self {
            Self::ServiceDeleted => Concern::Gone,
            Self::NoAddress => Concern::Address,
            Self::NoMatchingAdvertisement | Self::NotInNodeSelector(_) => Concern::Selection,
            Self::Leaving => Concern::Leaving,
            Self::InvalidAddress(_)
            | Self::NotAllowed(_)
            | Self::NoEndpoints
            | Self::SharedWithServiceSelector
            | Self::NotAdvertised(_)
            | Self::NotGivenHere
            | Self::NodeUnknown
            | Self::NodeNetworkUnavailable
            | Self::NodeExcluded
            | Self::NoLocalEndpoints
            | Self::NotOwner(_)
            | Self::NoCandidates(_)
            | Self::SharedElsewhere { .. }
            | Self::NoBgpAdvertisement(_)
            | Self::NoMatchingBgpAdvertisement(_)
            | Self::ConflictingAdvertisements(..)
            | Self::NoPeer(_)
            | Self::NodeDrained
            | Self::Silent
            | Self::Unsettled(_)
            | Self::NoLink(_)
            | Self::NoInterface(_) => Concern::Announcement,
        }
    }

    /// The same, said on another node than the one that it is about.
    fn there(&self) -> &'static str {
        match self {
            Self::NoLocalEndpoints => {
                "externalTrafficPolicy is Local and no ready endpoint is on that node"
            }
            Self::NoMatchingAdvertisement => {
                "no L2Advertisement for this Service selects that node"
            }
            Self::NotInNodeSelector(_) => {
                "the nodeSelector of its ExternalIPPool does not select that node"
            }
            Self::NodeNetworkUnavailable => "that node's network is unavailable",
            Self::NoLink(_) => "that node has no link that carries for its pool",
            Self::ServiceDeleted
            | Self::NoAddress
            | Self::InvalidAddress(_)
            | Self::NotAllowed(_)
            | Self::NoEndpoints
            | Self::SharedWithServiceSelector
            | Self::NotAdvertised(_)
            | Self::NotGivenHere
            | Self::NodeUnknown
            | Self::NodeExcluded
            | Self::NotOwner(_)
            | Self::NoCandidates(_)
            | Self::SharedElsewhere { .. }
            | Self::NoBgpAdvertisement(_)
            | Self::NoMatchingBgpAdvertisement(_)
            | Self::ConflictingAdvertisements(..)
            | Self::NoPeer(_)
            | Self::NodeDrained
            | Self::Leaving
            | Self::Silent
            | Self::Unsettled(_)
            | Self::NoInterface(_) => "that node may not announce this Service",
        }
    }
}

/// The concern of a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Concern {
    /// The Service is none that is served: nothing is told.
    Gone,
    /// The Service has no address: the controller tells why.
    Address,
    /// A node selector leaves this node out: said also where no node announces the Service.
    Selection,
    /// This node leaves: the same, on this node alone.
    Leaving,
    /// Anything else that keeps a node from announcing. Where no node announces, the furthest node's reason is said.
    Announcement,
}

/// Why no node at all may announce a Service: where the node stopped that came furthest in the list of what is asked of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nobody {
    /// The reason that stopped this node, and all that came as far.
    pub why: &'static str,
    /// That node, of several the first by name; none if no node came further than any other.
    pub furthest: Option<Arc<str>>,
}

impl fmt::Display for Nobody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.why)?;
        match &self.furthest {
            Some(node) => write!(formatter, " ({node} came furthest)"),
            None => Ok(()),
        }
    }
}
