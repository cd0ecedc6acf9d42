// SPDX-License-Identifier: Apache-2.0
//! The count that decides whether this member is with the majority of all known members, and so may answer. The owners of addresses are
//! decided elsewhere.

mod count;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use count::Count;

/// The conditions that silence a member (`--fencing`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fencing {
    /// A standstill of the member itself, or a count of fewer than half of the known members.
    Majority,
    /// As [`Fencing::Majority`], but a member with the minority asks its link, address by address, whether another station answers, and
    /// answers where none does. Also a member that was started and has met none of the members that are listed.
    #[default]
    Link,
    /// Only a standstill of the member itself.
    Stall,
    /// No condition.
    Off,
}

impl Fencing {
    /// True if a count of fewer than half of the known members matters.
    #[must_use]
    pub fn counts(self) -> bool {
        matches!(self, Self::Majority | Self::Link)
    }
}

impl std::str::FromStr for Fencing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "majority" => Ok(Self::Majority),
            "link" => Ok(Self::Link),
            "stall" => Ok(Self::Stall),
            "off" => Ok(Self::Off),
            other => Err(format!("{other:?} is none of majority, link, stall, off")),
        }
    }
}

/// The side of a ring that may be split on which a member is, by its own count; the member tells it in every datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The member has just started, and too few of the others know it yet; or it sees enough, and one of the members it sees says that it
    /// misses a majority.
    #[default]
    Undecided,
    /// The member is with the majority.
    Majority,
    /// The member was with the majority, and misses too many of its members.
    Minority,
}

/// The known members. Silence takes no member out: only a departure in order and the API's list do.
///
/// A member with the minority must not get a majority through members that join it: the others do not count them. So there are two counts,
/// and both must be enough: of all known members, and of the members known at the last majority. Nor does a member make a majority together
/// with one that misses its own and so knows more; a member that has just started has no such memory and goes by the others' word.
#[derive(Clone, Debug)]
pub struct Quorum {
    own: Arc<str>,
    fencing: Fencing,
    /// True if a majority is required of two members as well; otherwise both go on alone.
    of_two: bool,
    /// The members that have not left, each with true if it takes part in the count itself.
    known: BTreeMap<Arc<str>, bool>,
    /// Names that should be members by the API's list; names that were met are in `known` too.
    expected: BTreeSet<Arc<str>>,
    /// Names that are no members any more by the API's list.
    gone: BTreeSet<Arc<str>>,
    memory: Memory,
}

/// The memory of earlier counts.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The members known at the last majority, without members that too few of the others knew. A member that leaves while there is no
    /// majority and comes back is one of them again.
    core: BTreeSet<Arc<str>>,
    /// True if the last count was not enough, because members were missing.
    missing: bool,
    /// True if the last count was not enough, because it was disputed.
    disputed: bool,
}

impl Quorum {
    /// Only this member is known. With `of_two`, only the one with the smaller name goes on of two members that lost one another.
    #[must_use]
    pub fn new(own: Arc<str>, fencing: Fencing, of_two: bool) -> Self {
        let known = BTreeMap::from([(Arc::clone(&own), true)]);
        Self {
            own,
            fencing,
            of_two,
            known,
            expected: BTreeSet::new(),
            gone: BTreeSet::new(),
            memory: Memory::default(),
        }
    }

    /// The rule that this count was started with.
    #[must_use]
    pub fn fencing(&self) -> Fencing {
        self.fencing
    }

    /// Adds a member. `counts` is true if the member falls silent by itself when it is with the minority; the memberlist's other users do
    /// not.
    pub fn joined(&mut self, name: &Arc<str>, counts: bool) {
        if *name != self.own && self.known.get(name) != Some(&counts) {
            self.known.insert(Arc::clone(name), counts);
        }
    }

    /// Sets the names that should be members; they count like members that were met, until the next call.
    pub fn expect(&mut self, names: &BTreeSet<Arc<str>>) {
        if self.expected != *names {
            self.expected.clone_from(names);
        }
    }

    /// Removes a member that has left in order, or is to be forgotten.
    pub fn left(&mut self, name: &str) {
        if *name != *self.own {
            self.known.remove(name);
            self.expected.remove(name);
        }
    }

    /// Sets the names that are no members any more by the API's list; this counts for members that are silent.
    pub fn set_gone(&mut self, gone: BTreeSet<Arc<str>>) {
        self.gone = gone;
    }

    /// Counts. `side` gives the side of a member that is present. Exactly half is enough for the half with the smallest name. Any number is
    /// enough where only the stall rule holds: by choice, with up to two members, or while a member is present that would not fall silent.
    #[must_use]
    pub fn count(&self, side: impl Fn(&str) -> Option<Side>) -> Count {
        let present = |name: &Arc<str>| *name == self.own || side(name).is_some();
        let mixed = self.electorate(&present).any(|(name, counts)| !counts && present(name));
        let names = || self.electorate(&present).map(|(name, _)| name);
        let (core, all) = self.counts(names, present);
        if !self.fencing.counts() || mixed {
            return Count { enough: true, ..all };
        }
        if !core.enough || !all.enough {
            return if core.enough { all } else { core };
        }
        self.dispute(side).unwrap_or(all)
    }

    /// Checks the count against members that miss a majority, since this one knows less than they do, or hears more: without them the count
    /// has to be enough as well, and a new member has to see another one with a majority. None if that holds, or if the count is enough only
    /// by the API's list, which the others may not have heard.
    fn dispute(&self, side: impl Fn(&str) -> Option<Side>) -> Option<Count> {
        let says = |said| self.known.keys().any(|name| side(name) == Some(said));
        if !says(Side::Minority) {
            return None;
        }
        let everybody = || self.electorate(&|_: &Arc<str>| true).map(|(name, _)| name);
        let present = |name: &Arc<str>| *name == self.own || side(name).is_some();
        let (core, all) = self.counts(everybody, present);
        if !core.enough || !all.enough {
            return None;
        }
        let agrees = |name: &Arc<str>| present(name) && side(name) != Some(Side::Minority);
        let (core, all) = self.counts(everybody, agrees);
        let alone = self.is_new() && !says(Side::Majority);
        let missing = if core.enough { all } else { core };
        (alone || !missing.enough).then_some(Count { enough: false, disputed: true, ..missing })
    }

    /// The counts of these members: of the remembered ones, and of all.
    fn counts<'a, Names: Iterator<Item = &'a Arc<str>>>(
        &self,
        names: impl Fn() -> Names,
        present: impl Fn(&Arc<str>) -> bool + Copy,
    ) -> (Count, Count) {
        let few = |count: Count| count.known <= 1 || count.known == 2 && !self.of_two;
        let or_few = |count: Count| Count { enough: count.enough || few(count), ..count };
        let core = Count::of(names().filter(|name| self.memory.core.contains(*name)), present);
        (or_few(core), or_few(Count::of(names(), present)))
    }

    /// The memory to keep of a count, with the sides of the members present and the members that hear this one; none if it equals the present
    /// memory.
    #[must_use]
    pub fn recall(
        &self,
        count: Count,
        side: impl Fn(&str) -> Option<Side>,
        hears_us: impl Fn(&str) -> bool,
    ) -> Option<Memory> {
        let present = |name: &Arc<str>| *name == self.own || side(name).is_some();
        let core = &self.memory.core;
        let (missing, disputed) = (!count.enough && !count.disputed, count.disputed);
        let turned = (missing, disputed) != (self.memory.missing, self.memory.disputed);
        if !count.enough {
            return turned.then(|| Memory { core: core.clone(), missing, disputed });
        }
        let electorate = || self.electorate(&present).map(|(name, _)| name);
        // This member counts once the members that do not know it could be no majority without it.
        let others = || electorate().filter(|name| **name != self.own);
        let introduced = || !Count::of(others(), |name: &Arc<str>| !hears_us(name)).enough;
        let is_new = self.is_new();
        let all = is_new && introduced();
        let is_decided = |name: &str| side(name).is_some_and(|side| side != Side::Undecided);
        let settled = |name: &Arc<str>| {
            all || *name == self.own || !is_new && (core.contains(name) || is_decided(name))
        };
        let voters = || electorate().filter(|name| settled(name));
        let same = voters().all(|name| core.contains(name)) && voters().count() == core.len();
        let core = || voters().map(Arc::clone).collect();
        (turned || !same).then(|| Memory { core: core(), missing, disputed })
    }

    /// Keeps the result of [`Self::recall`].
    pub fn keep(&mut self, memory: Memory) {
        self.memory = memory;
    }

    /// The side of this member by the last count.
    #[must_use]
    pub fn side(&self) -> Side {
        match (self.is_new() || self.memory.disputed, self.memory.missing) {
            (true, _) => Side::Undecided,
            (false, false) => Side::Majority,
            (false, true) => Side::Minority,
        }
    }

    /// True if this member has not been with a majority of several members yet.
    fn is_new(&self) -> bool {
        self.memory.core.len() < 2
    }

    /// All members that count, each with true if it takes part in the count itself.
    fn electorate(
        &self,
        present: &impl Fn(&Arc<str>) -> bool,
    ) -> impl Iterator<Item = (&Arc<str>, bool)> {
        let strangers = self.expected.iter().filter(|name| !self.known.contains_key(*name));
        let all = self.known.iter().map(|(name, counts)| (name, *counts));
        let all = all.chain(strangers.map(|name| (name, true)));
        all.filter(|(name, _)| present(name) || !self.gone.contains(*name))
    }
}

#[cfg(test)]
mod tests;
