// SPDX-License-Identifier: Apache-2.0
//! Whether this node announces a Service by L2 (contract 4.2 to 4.4), as a pure function.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use cluster::model::Service;
use cluster::{ObjectKey, Snapshot};
use jiff::Timestamp;
use l2::Scope;

mod entrant;
mod group;

pub(crate) use group::{Around, Decided, decide};

use crate::options::Options;
use crate::reason::Withhold;
use crate::sharing::Sharing;
use ownership::{Members, Placement, PoolOrder};

/// The Service annotation of `ferrolb move`: `NODE`, or `NODE@` and an RFC 3339 time until which it holds.
pub const PREFERRED_NODE_ANNOTATION: &str = "ferrolb.io/preferred-node";

/// What a decision depends on besides the objects of the cluster.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// Which nodes run a speaker.
    pub members: &'a Members,
    /// The names of the node's interfaces that are not excluded.
    pub interfaces: &'a BTreeSet<Box<str>>,
    /// The node's interfaces with its InternalIPs; none where it has none.
    pub transport: Option<&'a BTreeSet<Box<str>>>,
    /// The order in which the members tell of their links.
    pub pools: &'a PoolOrder,
    /// The time, for annotations that end.
    pub time: Timestamp,
    /// Who has what, where owners stay or are spread.
    pub placement: Option<&'a Placement<'a>>,
}

/// What this node announces for a Service by L2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The Service's addresses.
    pub addresses: Vec<IpAddr>,
    /// On which interfaces.
    pub scope: Scope,
}

/// Who could announce a Service, as far as it was possible to find out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What this node does.
    pub local: Result<Announcement, Withhold>,
    /// The node that announces the Service, if one does.
    pub announcer: Option<Arc<str>>,
    /// The node that has the Service's first address: the announcer, or that of the Services that share the address, where that one
    /// cannot announce this one.
    pub owner: Option<Arc<str>>,
    /// Why nobody announces the Service, where that does not depend on the node that is asked. What `local` says does.
    pub nobody: Option<Withhold>,
    /// What else there is to know, where it shares an address.
    pub remarks: Vec<Remark>,
}

/// What a Service has to bear because it shares an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Remark {
    /// An older Service asks for another node.
    #[error(
        "it asks for node {wish}, and Service {other}, which shares its address and is older, for node {node}"
    )]
    Overruled {
        /// The node that it asks for.
        wish: Arc<str>,
        /// Who is older.
        other: ObjectKey,
        /// The node that that one asks for.
        node: Arc<str>,
    },
    /// The node that announces the Service does not have all of its addresses.
    #[error("{address} is at node {node}, which has it for the Services that share it")]
    Elsewhere {
        /// The address.
        address: IpAddr,
        /// The node that has it.
        node: Arc<str>,
    },
}

impl From<Withhold> for Verdict {
    fn from(reason: Withhold) -> Self {
        Self { local: Err(reason), announcer: None, owner: None, nobody: None, remarks: Vec::new() }
    }
}

/// Decides for one Service. Those that share an address with it are looked for among all: whoever decides for many uses
/// [`announce_sharers`].
#[must_use]
pub fn announce(
    key: &ObjectKey,
    service: &Service,
    snapshot: &Snapshot,
    circumstances: &Circumstances<'_>,
    options: &Options,
) -> Verdict {
    let around = Around { snapshot, circumstances, options };
    let verdicts = decide(key, service, &Sharing::of(snapshot), around).verdicts;
    let own = verdicts.into_iter().find(|(of, _)| of == key);
    own.map_or(Withhold::ServiceDeleted.into(), |(_, verdict)| verdict)
}

/// Decides for a Service and those whose addresses go with its own, which are always decided together. `sharing` is that of the
/// snapshot.
#[must_use]
pub fn announce_sharers(
    key: &ObjectKey,
    sharing: &Sharing,
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

/// When a Service's preference for a node ends.
#[must_use]
pub fn preference_ends(service: &Service) -> Option<Timestamp> {
    service.annotations.get(PREFERRED_NODE_ANNOTATION)?.split_once('@')?.1.trim().parse().ok()
}
