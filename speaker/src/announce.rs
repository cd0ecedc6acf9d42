// SPDX-License-Identifier: Apache-2.0
//! The decision whether this node announces a Service by L2 (contract 4.2 to 4.4), as a pure function.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use cluster::model::Service;
use cluster::{ObjectKey, Snapshot};
use jiff::Timestamp;
use l2::Scope;

mod entrant;
mod group;
mod spreading;

pub(crate) use group::{Around, Decided, decide};
pub use spreading::Spreading;

use crate::options::Options;
use crate::reason::Withhold;
use crate::sharing::ServicesByAddress;
use ownership::election::RingPlaces;
use ownership::{Placement, PoolOrder, RingSpeakers};

/// The Service annotation of `ferrolb move`: `NODE`, or `NODE@` and an RFC 3339 time until which the preference holds.
pub const PREFERRED_NODE_ANNOTATION: &str = "ferrolb.io/preferred-node";

/// The inputs of a decision besides the objects of the cluster.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The nodes that run a speaker.
    pub members: &'a RingSpeakers,
    /// The names of the node's interfaces that are not excluded.
    pub interfaces: &'a BTreeSet<Box<str>>,
    /// The node's interfaces with its InternalIPs; none where the node has no such address.
    pub transport: Option<&'a BTreeSet<Box<str>>>,
    /// The order of the pools in the members' metadata.
    pub pools: &'a PoolOrder,
    /// The places of the nodes on Antrea's ring, remembered from one decision to the next.
    pub places: &'a RingPlaces,
    /// The time, for annotations that end.
    pub time: Timestamp,
    /// The placement of addresses, where owners stay or are spread.
    pub placement: Option<&'a Placement<'a>>,
}

/// The announcement of a Service by L2 from this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The Service's addresses.
    pub addresses: Vec<IpAddr>,
    /// The interfaces on which they are announced.
    pub scope: Scope,
}

/// The outcome for a Service, as far as it was possible to find out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The announcement from this node, or the reason why there is none.
    pub local: Result<Announcement, Withhold>,
    /// The node that announces the Service, if one does.
    pub announcer: Option<Arc<str>>,
    /// The node that owns the Service's first address: the announcer, or the owner for the Services that share the address, where that node
    /// cannot announce this Service.
    pub owner: Option<Arc<str>>,
    /// The reason why nobody announces the Service, where it is the same on every node, unlike the reason in `local`.
    pub nobody: Option<Withhold>,
    /// Remarks about the sharing of an address.
    pub remarks: Vec<Remark>,
    /// The nodes that are to serve the Service's addresses together; none if the announcer is to serve them alone.
    pub spreading: Option<Arc<Spreading>>,
}

/// A disadvantage that a Service has because it shares an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Remark {
    /// An older Service asks for another node.
    #[error(
        "it asks for node {wish}, and Service {other}, which shares its address and is older, for node {node}"
    )]
    Overruled {
        /// The node that the Service asks for.
        wish: Arc<str>,
        /// The older Service.
        other: ObjectKey,
        /// The node that the older Service asks for.
        node: Arc<str>,
    },
    /// The node that announces the Service does not own all of its addresses.
    #[error("{address} is at node {node}, which has it for the Services that share it")]
    Elsewhere {
        /// The address.
        address: IpAddr,
        /// The node that owns it.
        node: Arc<str>,
    },
}

impl From<Withhold> for Verdict {
    fn from(reason: Withhold) -> Self {
        Self {
            local: Err(reason),
            announcer: None,
            owner: None,
            nobody: None,
            remarks: Vec::new(),
            spreading: None,
        }
    }
}

/// Decides for one Service. The Services that share an address with it are looked for among all; [`announce_sharers`] is for callers that
/// decide many.
#[must_use]
pub fn announce(
    key: &ObjectKey,
    service: &Service,
    snapshot: &Snapshot,
    circumstances: &Circumstances<'_>,
    options: &Options,
) -> Verdict {
    let around = Around { snapshot, circumstances, options };
    let verdicts = decide(key, service, &ServicesByAddress::of(snapshot), around).verdicts;
    let own = verdicts.into_iter().find(|(of, _)| of == key);
    own.map_or(Withhold::ServiceDeleted.into(), |(_, verdict)| verdict)
}

/// Decides for a Service and all Services linked to it by shared addresses, which are always decided together. `sharing` is that of the
/// snapshot.
#[must_use]
pub fn announce_sharers(
    key: &ObjectKey,
    sharing: &ServicesByAddress,
    snapshot: &Snapshot,
    circumstances: &Circumstances<'_>,
    options: &Options,
) -> BTreeMap<ObjectKey, Verdict> {
    let around = Around { snapshot, circumstances, options };
    match snapshot.service(key) {
        Some(service) => decide(key, service, sharing, around).verdicts.into_iter().collect(),
        None => BTreeMap::from([(key.clone(), Withhold::ServiceDeleted.into())]),
    }
}

/// The node that the annotation asks for, unless its time is over.
#[must_use]
pub fn preferred_node(service: &Service, time: Timestamp) -> Option<&str> {
    let text = service.annotations.get(PREFERRED_NODE_ANNOTATION)?;
    match text.split_once('@') {
        Some((node, until)) => {
            until.trim().parse::<Timestamp>().is_ok_and(|until| time < until).then(|| node.trim())
        }
        None => Some(text.trim()),
    }
}

/// The time at which a Service's preference for a node ends.
#[must_use]
pub fn preference_ends(service: &Service) -> Option<Timestamp> {
    service.annotations.get(PREFERRED_NODE_ANNOTATION)?.split_once('@')?.1.trim().parse().ok()
}
