// SPDX-License-Identifier: Apache-2.0
//! Whether this member is with the majority of all that are known. Not who owns what: only whether it may speak at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What makes a member fall silent (`--fencing`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fencing {
    /// A standstill of its own, and being with fewer than half of the members known.
    #[default]
    Majority,
    /// Only a standstill of its own.
    Stall,
    /// Nothing.
    Off,
}

impl std::str::FromStr for Fencing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "majority" => Ok(Self::Majority),
            "stall" => Ok(Self::Stall),
            "off" => Ok(Self::Off),
            other => Err(format!("{other:?} is none of majority, stall, off")),
        }
    }
}

/// The result of a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// How many are present, this one included.
    pub present: usize,
    /// How many are known, this one included.
    pub known: usize,
    /// Whether those are enough.
    pub enough: bool,
}

/// The members known. Silence takes nobody out: only leaving in order and what the API says.
#[derive(Clone, Debug)]
pub struct Quorum {
    own: Arc<str>,
    fencing: Fencing,
    /// Whether two members count as well; else both go on alone.
    of_two: bool,
    /// Who was a member and has not left, and whether it takes part in the count itself.
    known: BTreeMap<Arc<str>, bool>,
    /// Who should be a member by what the API says, and was not met.
    expected: BTreeSet<Arc<str>>,
    /// Who is a member no longer by what the API says.
    gone: BTreeSet<Arc<str>>,
}

impl Quorum {
    /// Only this member is known. `of_two`: whether of two members that lost one another only that with the smaller name goes on.
    #[must_use]
    pub fn new(own: Arc<str>, fencing: Fencing, of_two: bool) -> Self {
        let known = BTreeMap::from([(Arc::clone(&own), true)]);
        let (expected, gone) = (BTreeSet::new(), BTreeSet::new());
        Self { own, fencing, of_two, known, expected, gone }
    }

    /// What it was started with.
    #[must_use]
    pub fn fencing(&self) -> Fencing {
        self.fencing
    }

    /// This one is a member. `counts`: whether it falls silent by itself when it is with the few; of the
    /// memberlist's other users none does.
    pub fn joined(&mut self, name: &Arc<str>, counts: bool) {
        if *name != self.own && self.known.get(name) != Some(&counts) {
            self.known.insert(Arc::clone(name), counts);
        }
    }

    /// These should be members; they count like those that were met, until others are named.
    pub fn expect(&mut self, names: &BTreeSet<Arc<str>>) {
        if self.expected != *names {
            self.expected.clone_from(names);
        }
    }

    /// It has left in order, or is to be forgotten.
    pub fn left(&mut self, name: &str) {
        if *name != *self.own {
            self.known.remove(name);
            self.expected.remove(name);
        }
    }

    /// Of whom the API says that they are no members any more; it counts for those who are silent.
    pub fn set_gone(&mut self, gone: BTreeSet<Arc<str>>) {
        self.gone = gone;
    }

    /// Counts. Exactly half is enough for those who have the smallest name on their side. Nobody is too few where only the stall rule holds:
    /// by choice, with up to two members, or while somebody is present who would not fall silent.
    #[must_use]
    pub fn count(&self, present: impl Fn(&str) -> bool) -> Count {
        let present = |name: &Arc<str>| *name == self.own || present(name);
        let strangers = || self.expected.iter().filter(|name| !self.known.contains_key(*name));
        let electorate = || {
            let all = self.known.iter().map(|(name, counts)| (name, *counts));
            let all = all.chain(strangers().map(|name| (name, true)));
            all.filter(|(name, _)| present(name) || !self.gone.contains(*name))
        };
        let known = electorate().count();
        let here = electorate().filter(|(name, _)| present(name)).count();
        let smallest = electorate().min_by_key(|(name, _)| *name);
        let smallest_is_here = smallest.is_some_and(|(name, _)| present(name));
        let by_count = here * 2 > known || here * 2 == known && smallest_is_here;
        let few = known == 1 || known == 2 && !self.of_two;
        let mixed = electorate().any(|(name, counts)| !counts && present(name));
        let enough = by_count || few || mixed || self.fencing != Fencing::Majority;
        Count { present: here, known, enough }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quorum(own: &str, others: &[&str]) -> Quorum {
        let mut quorum = Quorum::new(own.into(), Fencing::Majority, false);
        for other in others {
            quorum.joined(&(*other).into(), true);
        }
        quorum
    }

    fn enough(quorum: &Quorum, present: &[&str]) -> bool {
        quorum.count(|name| present.contains(&name)).enough
    }

    #[test]
    fn one_and_two_go_on_alone() {
        assert!(enough(&quorum("a", &[]), &[]));
        assert!(enough(&quorum("a", &["b"]), &[]));
        assert!(enough(&quorum("b", &["a"]), &[]));
    }

    #[test]
    fn two_that_count() {
        let of_two = |own: &str, other: &str| {
            let mut quorum = Quorum::new(own.into(), Fencing::Majority, true);
            quorum.joined(&other.into(), true);
            quorum
        };
        assert!(enough(&of_two("a", "b"), &[]));
        assert!(!enough(&of_two("b", "a"), &[]));
    }

    #[test]
    fn three_to_five() {
        assert!(!enough(&quorum("a", &["b", "c"]), &[]));
        assert!(enough(&quorum("a", &["b", "c"]), &["c"]));
        assert!(enough(&quorum("a", &["b", "c", "d"]), &["d"]), "half, with the smallest name");
        assert!(!enough(&quorum("b", &["a", "c", "d"]), &["d"]), "half, without it");
        assert!(!enough(&quorum("a", &["b", "c", "d", "e"]), &["b"]));
        assert!(enough(&quorum("e", &["a", "b", "c", "d"]), &["c", "d"]));
    }

    #[test]
    fn silence_shrinks_nothing_but_leaving_does() {
        let mut quorum = quorum("a", &["b", "c"]);
        assert!(!enough(&quorum, &[]));
        quorum.left("b");
        assert!(enough(&quorum, &[]), "two are left");
        quorum.joined(&"b".into(), true);
        quorum.set_gone(["b".into(), "c".into()].into());
        assert_eq!(quorum.count(|_| false), Count { present: 1, known: 1, enough: true });
        // Whoever is there counts, whatever the API says.
        assert_eq!(quorum.count(|name| name == "b").known, 2);
    }

    #[test]
    fn beside_one_that_would_not_fall_silent_only_the_stall_rule_holds() {
        let mut quorum = quorum("a", &["b", "c", "d"]);
        quorum.joined(&"metallb".into(), false);
        assert!(enough(&quorum, &["metallb"]));
        assert!(!enough(&quorum, &["b"]), "it is known, and not present");
    }

    #[test]
    fn by_choice() {
        for fencing in [Fencing::Stall, Fencing::Off] {
            let mut quorum = Quorum::new("a".into(), fencing, false);
            quorum.joined(&"b".into(), true);
            quorum.joined(&"c".into(), true);
            assert!(enough(&quorum, &[]));
        }
        assert_eq!("stall".parse(), Ok(Fencing::Stall));
        assert!("quorum".parse::<Fencing>().unwrap_err().contains("majority"));
    }
}
