// SPDX-License-Identifier: Apache-2.0
//! The choice of an address's owner where owners stay (`--sticky`) or are spread (`--spread`), as a pure function of what the owners say
//! themselves.
//!
//! Only the owner decides that its address moves: while it owns the address and may answer, no other speaker takes it, whatever that speaker
//! has heard of the cluster. So late news makes no second owner.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::election::{Candidate, Strategy, order};
use crate::members::{RingSpeaker, RingSpeakers};
use crate::table::OwnershipTable;

/// The modes that are on. Each is on only if all speakers of the ring were started with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// A node that comes back takes no address back.
    pub sticky: bool,
    /// No node owns more than 1.25 times the mean, rounded up. An owner within this limit keeps its addresses.
    pub spread: bool,
}

impl Modes {
    /// The modes that all members were started with.
    #[must_use]
    pub fn of(members: &RingSpeakers) -> Self {
        let RingSpeakers::Alive(members) = members else { return Self::default() };
        let all = |says: fn(&crate::wire::metadata::NodeMetadata) -> bool| {
            members.values().all(|member| match member {
                RingSpeaker::Ferrolb(metadata) => says(metadata),
                RingSpeaker::MetalLb => false,
            })
        };
        Self { sticky: all(|metadata| metadata.sticky), spread: all(|metadata| metadata.spread) }
    }

    /// True if any mode is on.
    #[must_use]
    pub fn any(self) -> bool {
        self.sticky || self.spread
    }
}

/// The basis of an election where owners stay or are spread.
#[derive(Clone, Debug)]
pub struct Placement<'a> {
    spread: bool,
    table: &'a OwnershipTable,
    members: &'a RingSpeakers,
    loads: Loads,
}

/// The number of addresses that each node owns, or will own after the decisions of this turn.
#[derive(Clone, Debug, Default)]
struct Loads {
    nodes: BTreeMap<Arc<str>, usize>,
    total: usize,
}

impl Loads {
    fn of(&self, node: &str) -> usize {
        self.nodes.get(node).copied().unwrap_or(0)
    }

    /// 1.25 times the mean of this many addresses, rounded up.
    fn limit(&self, total: usize) -> usize {
        (5 * total).div_ceil(4 * self.nodes.len().max(1))
    }
}

/// The outcome for one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This node owns the address.
    Node(Arc<str>),
    /// The address has no known owner, and this node would take it; but the addresses of the speaker named here are not known yet.
    Wait(Arc<str>),
}

impl<'a> Placement<'a> {
    /// None if no mode is on.
    #[must_use]
    pub fn new(
        own: &str,
        modes: Modes,
        table: &'a OwnershipTable,
        members: &'a RingSpeakers,
    ) -> Option<Self> {
        if !modes.any() {
            return None;
        }
        let mut loads = Loads::default();
        if modes.spread
            && let RingSpeakers::Alive(members) = members
        {
            for (name, member) in members {
                // A node that is being drained gets no addresses to spread.
                if matches!(member, RingSpeaker::Ferrolb(metadata) if !metadata.leaving && !metadata.silent && !metadata.drained)
                {
                    loads.nodes.insert(Arc::clone(name), 0);
                }
            }
            let own = (own, table.count());
            for (name, count) in table.counts().map(|(name, count)| (&**name, count)).chain([own]) {
                loads.total += count;
                if let Some(load) = loads.nodes.get_mut(name) {
                    *load = count;
                }
            }
        }
        Some(Self { spread: modes.spread, table, members, loads })
    }

    /// The owner of this address. `candidates` are the nodes that may own it, as this node sees it.
    #[must_use]
    pub fn choose(
        &self,
        strategy: Strategy<'_>,
        own: &str,
        candidates: &[Candidate<'_>],
        address: IpAddr,
    ) -> Option<Choice> {
        let node = |name: &str| Some(Choice::Node(name.into()));
        let eligible = candidates.iter().any(|candidate| candidate.node == own);
        // Of several owners the one with the highest term has taken the address over from the others.
        let holders = self.table.holders(address).map(|(term, name)| (Reverse(term), &**name));
        let held = self.table.term(address).filter(|_| eligible);
        let own_claim = held.map(|term| (Reverse(term), own));
        if let Some((_, keeper)) = holders.chain(own_claim).min() {
            if keeper == own
                && let Some(rebalance_target) =
                    self.rebalance_target(strategy, own, candidates, address)
            {
                return node(rebalance_target);
            }
            return node(keeper);
        }
        // This node has given the address to another one, which did not take it.
        if self.spread && eligible && self.table.is_handoff_refused(address) {
            return node(own);
        }
        let synchronised: Vec<Candidate<'_>> = candidates
            .iter()
            .copied()
            .filter(|candidate| !self.members.is_unsynchronised(candidate.node))
            .collect();
        let heir = self.heir(
            strategy,
            if synchronised.is_empty() { candidates } else { &synchronised },
            address,
        )?;
        match self.table.needs_sync() {
            // A speaker that has just given the address away may name the next owner; only to take it needs complete knowledge.
            Some(speaker) if heir == own && !synchronised.is_empty() => {
                Some(Choice::Wait(Arc::clone(speaker)))
            }
            _ => node(heir),
        }
    }

    /// The node that takes an address without an owner.
    fn heir<'c>(
        &self,
        strategy: Strategy<'_>,
        candidates: &[Candidate<'c>],
        address: IpAddr,
    ) -> Option<&'c str> {
        let ordered = order(strategy, candidates, address);
        let limit = self.loads.limit(self.loads.total + 1);
        let has_room = |candidate: &&Candidate<'_>| self.loads.of(candidate.node) < limit;
        let first = match self.spread {
            false => ordered.first(),
            true => ordered
                .iter()
                .find(has_room)
                .or_else(|| ordered.iter().min_by_key(|candidate| self.loads.of(candidate.node))),
        };
        first.map(|candidate| candidate.node)
    }

    /// The node that takes an address from this node, if this one has too many.
    fn rebalance_target<'c>(
        &self,
        strategy: Strategy<'_>,
        own: &str,
        candidates: &[Candidate<'c>],
        address: IpAddr,
    ) -> Option<&'c str> {
        let limit = self.loads.limit(self.loads.total);
        if !self.spread || self.loads.of(own) <= limit || self.table.is_handoff_refused(address) {
            return None;
        }
        let others: Vec<Candidate<'c>> = candidates
            .iter()
            .copied()
            .filter(|other| other.node != own && !self.members.is_unsynchronised(other.node))
            .filter(|other| self.loads.of(other.node) < limit)
            .collect();
        order(strategy, &others, address).first().map(|candidate| candidate.node)
    }

    /// True if this node has more addresses than the limit.
    #[must_use]
    pub fn is_overloaded(&self, own: &str) -> bool {
        self.spread && self.loads.of(own) > self.loads.limit(self.loads.total)
    }

    /// Counts the decision about an address for the next decisions of this turn.
    pub fn note(&mut self, own: &str, address: IpAddr, announcer: Option<&str>) {
        if !self.spread {
            return;
        }
        let holders = self.table.holders(address);
        let before = match self.table.term(address) {
            Some(_) => Some(own),
            None => holders.max_by_key(|(term, _)| *term).map(|(_, name)| &**name),
        };
        if before == announcer {
            return;
        }
        if let Some(before) = before {
            self.loads.total = self.loads.total.saturating_sub(1);
            if let Some(load) = self.loads.nodes.get_mut(before) {
                *load = load.saturating_sub(1);
            }
        }
        if let Some(announcer) = announcer {
            self.loads.total += 1;
            if let Some(load) = self.loads.nodes.get_mut(announcer) {
                *load += 1;
            }
        }
    }
}
