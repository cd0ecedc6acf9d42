// SPDX-License-Identifier: Apache-2.0
//! Who gets an address where owners stay (`--sticky`) or are spread (`--spread`), as a pure function of what the owners say themselves.
//!
//! An owner alone decides that it goes: while it holds an address and speaks, nobody else takes it, whatever they have heard of the
//! cluster. So news that arrive late make no second owner.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::election::{Candidate, Strategy, order};
use crate::members::{Member, Members};
use crate::table::OwnershipTable;

/// Which of the two is on. Each is only if all speakers of the ring were started with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    /// A node that comes back takes nothing back.
    pub sticky: bool,
    /// No node owns more than 1.25 times the mean, rounded up. An owner that has no more than that keeps what it has.
    pub spread: bool,
}

impl Modes {
    /// What all members say.
    #[must_use]
    pub fn of(members: &Members) -> Self {
        let Members::Alive(members) = members else { return Self::default() };
        let all = |says: fn(&crate::wire::metadata::NodeMetadata) -> bool| {
            members.values().all(|member| match member {
                Member::Ferrolb(metadata) => says(metadata),
                Member::MetalLb => false,
            })
        };
        Self { sticky: all(|metadata| metadata.sticky), spread: all(|metadata| metadata.spread) }
    }

    /// Whether any is on.
    #[must_use]
    pub fn any(self) -> bool {
        self.sticky || self.spread
    }
}

/// What an election depends on where owners stay or are spread.
#[derive(Clone, Debug)]
pub struct Placement<'a> {
    spread: bool,
    table: &'a OwnershipTable,
    members: &'a Members,
    loads: Loads,
}

/// How many addresses each node has, or will have by what was decided in this turn.
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

/// What becomes of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This node has it.
    Node(Arc<str>),
    /// It is without an owner as far as is known here, and this node would take it; but what that speaker holds is not known yet.
    Wait(Arc<str>),
}

impl<'a> Placement<'a> {
    /// Without a mode there is none.
    #[must_use]
    pub fn new(
        own: &str,
        modes: Modes,
        table: &'a OwnershipTable,
        members: &'a Members,
    ) -> Option<Self> {
        if !modes.any() {
            return None;
        }
        let mut loads = Loads::default();
        if modes.spread
            && let Members::Alive(members) = members
        {
            for (name, member) in members {
                // Whoever is being emptied is no place to spread to.
                if matches!(member, Member::Ferrolb(metadata) if !metadata.leaving && !metadata.silent && !metadata.drained)
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

    /// Who has this address. `candidates` are those that may, as this node sees it.
    #[must_use]
    pub fn choose(
        &self,
        strategy: Strategy,
        own: &str,
        candidates: &[Candidate<'_>],
        address: IpAddr,
    ) -> Option<Choice> {
        let node = |name: &str| Some(Choice::Node(name.into()));
        let eligible = candidates.iter().any(|candidate| candidate.node == own);
        // Of several the one in the highest term has taken it over from the others.
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
        // It has named another one, who did not think so.
        if self.spread && eligible && self.table.is_handoff_refused(address) {
            return node(own);
        }
        let settled: Vec<Candidate<'_>> = candidates
            .iter()
            .copied()
            .filter(|candidate| !self.members.is_behind(candidate.node))
            .collect();
        let heir =
            self.heir(strategy, if settled.is_empty() { candidates } else { &settled }, address)?;
        match self.table.unknown() {
            // Whoever has just given it away names the next one; to take it is another thing.
            Some(unknown) if heir == own && !settled.is_empty() => {
                Some(Choice::Wait(Arc::clone(unknown)))
            }
            _ => node(heir),
        }
    }

    /// Who takes an address that nobody holds.
    fn heir<'c>(
        &self,
        strategy: Strategy,
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

    /// Who relieves this node of an address, if it has too many.
    fn rebalance_target<'c>(
        &self,
        strategy: Strategy,
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
            .filter(|other| other.node != own && !self.members.is_behind(other.node))
            .filter(|other| self.loads.of(other.node) < limit)
            .collect();
        order(strategy, &others, address).first().map(|candidate| candidate.node)
    }

    /// Whether this node has more than its share.
    #[must_use]
    pub fn is_overloaded(&self, own: &str) -> bool {
        self.spread && self.loads.of(own) > self.loads.limit(self.loads.total)
    }

    /// An address was decided upon: the next decision of this turn counts it.
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
