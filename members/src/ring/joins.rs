// SPDX-License-Identifier: Apache-2.0
//! The addresses to contact in order to be in one ring with the members there. Addresses of earlier calls come first; the addresses of one
//! call come in random order, so that no number of silent hosts, whatever their addresses, stands before a host that answers at every start.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use super::MEMBERS;
use crate::random::Random;

/// The number of joins under way at the same time, at most: a host that is off occupies one for as long as TCP may take.
pub(super) const AT_ONCE: usize = 64;
/// The number of these joins, at most, that repeat a join that failed or is under way. A new connection is there at once where an old one,
/// begun while nothing passed, would wait for seconds until it tries again.
pub(super) const REPEATED: usize = 32;

/// One attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Join {
    pub(super) to: SocketAddr,
    repeated: bool,
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Joins {
    /// A random sequence of its own, so that joins change no other choice that is left to chance.
    random: Random,
    /// The addresses that are contacted for the first time; then the ones that are repeated.
    first: VecDeque<SocketAddr>,
    repeated: VecDeque<SocketAddr>,
    waiting: BTreeSet<SocketAddr>,
    /// The numbers of joins under way: first and repeated ones.
    under_way: (usize, usize),
    /// The addresses that were contacted, unless they have answered since.
    tried: BTreeSet<SocketAddr>,
    /// The last news: true if any address is contacted for the first time.
    told: bool,
}

impl Joins {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(!seed),
            first: VecDeque::new(),
            repeated: VecDeque::new(),
            waiting: BTreeSet::new(),
            under_way: (0, 0),
            tried: BTreeSet::new(),
            told: false,
        }
    }

    /// Adds these addresses, except the ones that wait already.
    pub(super) fn add(&mut self, addresses: impl IntoIterator<Item = SocketAddr>) {
        let mut fresh = Vec::new();
        for address in addresses {
            if self.waiting.len() < MEMBERS && self.waiting.insert(address) {
                fresh.push(address);
            }
        }
        self.random.shuffle(&mut fresh);
        let tried = &self.tried;
        let (repeated, first): (Vec<_>, Vec<_>) =
            fresh.into_iter().partition(|address| tried.contains(address));
        self.first.extend(first);
        self.repeated.extend(repeated);
    }

    /// The next join, which is under way from now.
    pub(super) fn next(&mut self) -> Option<Join> {
        let (first, repeated) = &mut self.under_way;
        if *first + *repeated >= AT_ONCE {
            return None;
        }
        let join = match self.first.pop_front() {
            Some(to) => {
                *first += 1;
                Join { to, repeated: false }
            }
            None if *repeated < REPEATED => {
                let to = self.repeated.pop_front()?;
                *repeated += 1;
                Join { to, repeated: true }
            }
            None => return None,
        };
        self.waiting.remove(&join.to);
        if self.tried.len() < MEMBERS {
            self.tried.insert(join.to);
        }
        Some(join)
    }

    /// A join has ended.
    pub(super) fn ended(&mut self, join: Join, answered: bool) {
        let (first, repeated) = &mut self.under_way;
        let count = if join.repeated { repeated } else { first };
        *count = count.saturating_sub(1);
        if answered {
            self.tried.remove(&join.to);
        }
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way.0 + self.under_way.1
    }

    /// Whether any address is or will be contacted for the first time; none if that is no news.
    pub(super) fn news(&mut self) -> Option<bool> {
        let first = self.under_way.0 > 0 || !self.first.is_empty();
        (std::mem::replace(&mut self.told, first) != first).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 7946).into()
    }

    fn started(joins: &mut Joins) -> Vec<Join> {
        std::iter::from_fn(|| joins.next()).collect()
    }

    #[test]
    fn those_of_one_call_come_in_random_order_after_those_of_earlier_ones() {
        let mut orders = BTreeSet::new();
        for seed in 0..20 {
            let mut joins = Joins::new(seed);
            joins.add((100..110).map(address));
            joins.add((1..10).map(address));
            joins.add((1..10).map(address));
            let order: Vec<_> = started(&mut joins).iter().map(|join| join.to).collect();
            let early: BTreeSet<_> = order[..10].iter().copied().collect();
            assert_eq!(early, (100..110).map(address).collect());
            assert_eq!(order.len(), 19, "none waits twice");
            orders.insert(order);
        }
        assert!(orders.len() > 10, "{} orders of 20", orders.len());
    }

    #[test]
    fn a_first_attempt_is_told_from_a_repetition() {
        let mut joins = Joins::new(1);
        assert_eq!(joins.news(), None);
        joins.add((1..=2).map(address));
        assert_eq!((joins.news(), joins.news()), (Some(true), None));
        let begun = started(&mut joins);
        joins.ended(begun[0], false);
        assert_eq!(joins.news(), None, "the second is still under way");
        // A new connection to this address need not wait for the old one's end.
        joins.add([begun[0].to, begun[1].to]);
        assert_eq!((started(&mut joins).len(), joins.under_way()), (2, 3));
        joins.ended(begun[1], false);
        assert_eq!(joins.news(), Some(false), "what goes on was in vain before");
        joins.add([address(3)]);
        assert_eq!(joins.news(), Some(true));
    }

    #[test]
    fn as_many_as_may_be_are_under_way_and_those_that_were_in_vain_leave_room() {
        let mut joins = Joins::new(1);
        let off: Vec<_> = (0..60).map(address).collect();
        for _ in 0..3 {
            joins.add(off.iter().copied());
            for join in started(&mut joins) {
                joins.ended(join, false);
            }
        }
        joins.add(off.iter().copied());
        assert_eq!(started(&mut joins).len(), REPEATED);
        joins.add((100..200).map(address));
        let first = started(&mut joins);
        assert_eq!((first.len(), joins.under_way()), (AT_ONCE - REPEATED, AT_ONCE));
        assert!(first.iter().all(|join| !off.contains(&join.to)));
        joins.ended(first[0], true);
        assert!(joins.next().is_some() && joins.next().is_none());
    }
}
