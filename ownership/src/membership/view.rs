// SPDX-License-Identifier: Apache-2.0
//! The members as this speaker sees them, from the ring and from what the others tell directly, and whether this node may answer at all. A
//! synchronous value; the ring itself lives elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use members::{Standing, State};

use super::known_nodes::KnownNodes;
use crate::members::{RingSpeaker, RingSpeakers};
use crate::wire::metadata::NodeMetadata;

/// The time for which the addresses of dead members are tried again.
const REJOIN_TIME: Duration = Duration::from_secs(300);
/// The time between two such joins.
const REJOIN_INTERVAL: Duration = Duration::from_secs(2);

/// See the module's head.
#[derive(Debug)]
pub struct MembershipView {
    node: Arc<str>,
    metadata: NodeMetadata,
    /// Metadata that others sent directly, which is newer than that in the memberlist.
    told: BTreeMap<Arc<str>, NodeMetadata>,
    members: RingSpeakers,
    standing: Standing,
    /// This node may answer again, and has not decided everything since.
    resuming: bool,
    /// The members that are not heard while the link has the last word.
    lost: BTreeSet<Arc<str>>,
    known_nodes: KnownNodes,
    /// The addresses of members that died, with the time of death.
    died: BTreeMap<SocketAddr, Instant>,
    next_join: Option<Instant>,
}

impl MembershipView {
    /// Without a ring: every known node counts as running a speaker.
    #[must_use]
    pub fn disabled(node: Arc<str>) -> Self {
        Self {
            known_nodes: KnownNodes::new(Arc::clone(&node)),
            node,
            metadata: NodeMetadata::default(),
            told: BTreeMap::new(),
            members: RingSpeakers::Disabled,
            standing: Standing::Confirmed,
            resuming: false,
            lost: BTreeSet::new(),
            died: BTreeMap::new(),
            next_join: None,
        }
    }

    /// In a ring of which no other member is known yet. With `alone` there is nobody to wait for.
    #[must_use]
    pub fn new(node: Arc<str>, metadata: NodeMetadata, alone: bool) -> Self {
        let standing = if alone { Standing::Confirmed } else { Standing::Starting };
        let mut view = Self { metadata, standing, ..Self::disabled(node) };
        view.members = view.counted(BTreeMap::new());
        view
    }

    /// The nodes that take part.
    #[must_use]
    pub fn members(&self) -> &RingSpeakers {
        &self.members
    }

    /// This speaker's metadata.
    #[must_use]
    pub fn metadata(&self) -> &NodeMetadata {
        &self.metadata
    }

    /// The standing of this node: whether it may answer, and why not.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// True if nothing is to be decided for L2 yet, because the ring has not been met.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        matches!(self.standing, Standing::Starting)
    }

    /// True if an address that goes to another speaker is kept until that speaker claims it: not in the first decision after this node could
    /// not answer.
    #[must_use]
    pub fn passes(&self) -> bool {
        !self.resuming && self.standing.speaks()
    }

    /// After a decision: returns true for the first one since this node may answer again.
    pub fn take_resuming(&mut self) -> bool {
        std::mem::take(&mut self.resuming)
    }

    /// All nodes that ever took part.
    pub fn seen(&self) -> impl Iterator<Item = &Arc<str>> {
        self.known_nodes.seen()
    }

    /// The nodes that count although silent.
    pub(crate) fn known_nodes(&mut self) -> &mut KnownNodes {
        &mut self.known_nodes
    }

    /// As [`KnownNodes::wants_list`].
    #[must_use]
    pub fn wants_list(&self, now: Instant) -> bool {
        self.known_nodes.wants_list(now)
    }

    /// The number of others that take part.
    #[must_use]
    pub fn others(&self) -> usize {
        match &self.members {
            RingSpeakers::Disabled => 0,
            RingSpeakers::Alive(members) => members.len().saturating_sub(1),
        }
    }

    /// The standing of this node has changed. To be called after [`Self::count`] with the members as they were then.
    pub fn set_standing(&mut self, standing: Standing) {
        let goes_on = self.standing.asks_link() && standing.asks_link();
        self.standing = standing;
        if !goes_on {
            self.resuming = standing.speaks() || standing.asks_link();
        }
    }

    /// Sets the members that are not heard while the link has the last word; the members are to be counted after this.
    pub fn set_lost(&mut self, lost: BTreeSet<Arc<str>>) {
        self.lost = lost;
    }

    /// Another speaker sends its metadata directly; the members are to be counted after this.
    pub fn handle_metadata(&mut self, from: Arc<str>, metadata: NodeMetadata) {
        let newer = |known: &NodeMetadata| metadata.generation >= known.generation;
        if self.told.get(&from).is_none_or(newer) {
            self.told.insert(from, metadata);
        }
    }

    /// Replaces this speaker's metadata.
    pub fn set_metadata(&mut self, metadata: NodeMetadata) {
        self.metadata = metadata;
        let own = self.own();
        if let RingSpeakers::Alive(members) = &mut self.members {
            members.insert(Arc::clone(&self.node), own);
        }
    }

    /// This node as a member in its own view: its announcements are decided also while it may not answer.
    fn own(&self) -> RingSpeaker {
        RingSpeaker::Ferrolb(NodeMetadata { silent: false, ..self.metadata.clone() })
    }

    /// Counts the members of the ring anew. Returns true if the members or their metadata have changed.
    pub fn count<'a>(
        &mut self,
        now: Instant,
        ring: impl Iterator<Item = &'a members::Member>,
    ) -> bool {
        let mut counted = BTreeMap::new();
        for member in ring {
            match member.state {
                State::Alive | State::Suspect => {
                    self.died.remove(&member.address);
                    counted.insert(Arc::clone(&member.name), RingSpeaker::parse(&member.meta));
                }
                State::Left => {
                    self.died.remove(&member.address);
                    self.known_nodes.left(now, &member.name);
                }
                State::Dead => {
                    self.died.entry(member.address).or_insert(now);
                    self.known_nodes.died(now, &member.name);
                }
            }
        }
        if !self.died.is_empty() {
            self.next_join.get_or_insert(now);
        }
        self.known_nodes.count(counted.keys());
        self.told.retain(|name, _| counted.contains_key(name));
        let members = self.counted(counted);
        let changed = members != self.members;
        self.members = members;
        changed
    }

    /// The addresses of members that died lately and are to be joined again now.
    pub fn rejoin(&mut self, now: Instant) -> Vec<SocketAddr> {
        if self.next_join.is_none_or(|at| now < at) {
            return Vec::new();
        }
        self.died.retain(|_, since| now < *since + REJOIN_TIME);
        self.next_join = (!self.died.is_empty()).then(|| now + REJOIN_INTERVAL);
        self.died.keys().copied().collect()
    }

    /// The time at which [`Self::rejoin`] or [`KnownNodes::look`] has something to return.
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        self.known_nodes.deadline(now).into_iter().chain(self.next_join).min()
    }

    fn counted(&self, mut counted: BTreeMap<Arc<str>, RingSpeaker>) -> RingSpeakers {
        for (name, member) in &mut counted {
            if let (RingSpeaker::Ferrolb(metadata), Some(told)) = (member, self.told.get(name))
                && told.generation > metadata.generation
            {
                metadata.clone_from(told);
            }
        }
        if counted.values().any(|member| matches!(member, RingSpeaker::MetalLb)) {
            // MetalLB's speakers know nothing of silence; beside them every election is theirs.
            for member in counted.values_mut() {
                if let RingSpeaker::Ferrolb(metadata) = member {
                    metadata.silent = false;
                }
            }
        }
        if self.standing.asks_link() {
            // The owners are elected among those that are heard and may ask the link as well.
            counted.retain(|name, _| !self.lost.contains(name));
            for member in counted.values_mut() {
                if let RingSpeaker::Ferrolb(metadata) = member {
                    metadata.silent &= !metadata.by_link;
                }
            }
        }
        counted.insert(Arc::clone(&self.node), self.own());
        RingSpeakers::Alive(counted)
    }
}
