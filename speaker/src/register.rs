// SPDX-License-Identifier: Apache-2.0
//! Who counts although silent: everybody who ever took part, and those whose pods the API lists, until the API says that they are no
//! more. A synchronous value.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::model::Node;

/// After this time without being ready a node's speaker no longer counts, if it is silent as well.
const NOT_READY: Duration = Duration::from_secs(60);

/// What is known of a list of the speakers' pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listing {
    /// There is no API that could be asked.
    #[default]
    NoApi,
    /// It failed a moment ago, so that what the watches have told may be old: who is in the list is there, who is not may be as well.
    Unsettled,
    /// The API was asked then, and has answered everything for a while.
    Asked(Instant),
}

/// What the API says of those who are silent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// They do not count while they are silent.
    pub(crate) gone: BTreeSet<Arc<str>>,
    /// They are no nodes any more and no members: nothing of them is to be kept. They are told once.
    pub(crate) forgotten: BTreeSet<Arc<str>>,
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct Register {
    own: Arc<str>,
    /// Everybody who ever took part.
    seen: BTreeSet<Arc<str>>,
    /// Who takes part now.
    present: BTreeSet<Arc<str>>,
    /// Since when those are dead that took part.
    dead: BTreeMap<Arc<str>, Instant>,
    /// On which nodes other speakers' pods are, by the newest list.
    pods: BTreeSet<Arc<str>>,
    /// When the API was asked for the newest list that can be relied on.
    asked: Option<Instant>,
    has_api: bool,
    /// Since when nodes are not ready.
    not_ready: BTreeMap<Arc<str>, Instant>,
    /// Whether the nodes were looked at.
    looked: bool,
}

impl Register {
    /// Nobody is known.
    pub(crate) fn new(own: Arc<str>) -> Self {
        Self {
            own,
            seen: BTreeSet::new(),
            present: BTreeSet::new(),
            dead: BTreeMap::new(),
            pods: BTreeSet::new(),
            asked: None,
            has_api: true,
            not_ready: BTreeMap::new(),
            looked: false,
        }
    }

    /// Everybody who ever took part.
    pub(crate) fn seen(&self) -> impl Iterator<Item = &Arc<str>> {
        self.seen.iter()
    }

    /// These take part.
    pub(crate) fn count<'a>(&mut self, present: impl Iterator<Item = &'a Arc<str>>) {
        self.present = present.cloned().collect();
        self.seen.extend(self.present.iter().cloned());
        let present = &self.present;
        self.dead.retain(|name, _| !present.contains(name));
    }

    /// One that took part is dead.
    pub(crate) fn died(&mut self, now: Instant, name: &Arc<str>) {
        if self.seen.contains(name) && !self.dead.contains_key(name) {
            self.dead.insert(Arc::clone(name), now);
        }
    }

    /// One has left in order: it does not count, whatever the API says.
    pub(crate) fn left(&mut self, name: &str) {
        self.dead.remove(name);
    }

    /// On which nodes other speakers' pods are.
    pub(crate) fn take_list(&mut self, pods: BTreeSet<Arc<str>>, listing: Listing) {
        self.pods = pods;
        self.has_api = listing != Listing::NoApi;
        if let Listing::Asked(asked) = listing {
            self.asked = Some(asked);
        }
    }

    /// What the API says, with the nodes as they are now; `time` is that of the wall, in microseconds since 1970.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        time: u64,
        nodes: &BTreeMap<Arc<str>, Node>,
    ) -> Judgement {
        self.note_readiness(now, time, nodes);
        let stranger = |name: &&Arc<str>| {
            !nodes.contains_key(*name) && !self.present.contains(*name) && **name != self.own
        };
        let mut forgotten = BTreeSet::new();
        if self.has_api {
            forgotten.extend(self.seen.iter().filter(stranger).cloned());
        }
        self.seen.retain(|name| !forgotten.contains(name));
        self.dead.retain(|name, _| !forgotten.contains(name));
        let gone = |name: &&Arc<str>| {
            !nodes.contains_key(*name)
                || self.is_long_not_ready(now, name)
                || self.has_lost_its_pod(name)
        };
        let gone = self.named().filter(gone).cloned().collect();
        Judgement { gone, forgotten }
    }

    /// Whether a list of the pods would decide something.
    pub(crate) fn wants_list(&self, now: Instant) -> bool {
        let newer = |than: Instant| self.asked.is_none_or(|asked| asked < than);
        let not_ready = |name: &Arc<str>| {
            self.not_ready.get(name).map(|since| *since + NOT_READY).filter(|at| *at <= now)
        };
        let undecided = |name: &Arc<str>| {
            not_ready(name).is_some_and(newer) || self.dead.get(name).copied().is_some_and(newer)
        };
        self.has_api && self.named().any(undecided)
    }

    /// When [`Self::look`] or [`Self::wants_list`] has something new to say.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let due = self.not_ready.values().map(|since| *since + NOT_READY);
        due.filter(|at| *at > now).min()
    }

    fn named(&self) -> impl Iterator<Item = &Arc<str>> {
        self.seen.union(&self.pods)
    }

    /// Whoever starts believes the API since when a node is not ready; later the own clock counts.
    fn note_readiness(&mut self, now: Instant, time: u64, nodes: &BTreeMap<Arc<str>, Node>) {
        self.not_ready.retain(|name, _| nodes.get(name).is_some_and(|node| !node.ready));
        let first = !std::mem::replace(&mut self.looked, true);
        for (name, node) in nodes.iter().filter(|(_, node)| !node.ready) {
            let since = || {
                let since = node.not_ready_since.filter(|_| first)?;
                let seconds = i64::try_from(time / 1_000_000).ok()?.checked_sub(since)?;
                now.checked_sub(Duration::from_secs(u64::try_from(seconds).ok()?).min(NOT_READY))
            };
            if !self.not_ready.contains_key(name) {
                self.not_ready.insert(Arc::clone(name), since().unwrap_or(now));
            }
        }
    }

    /// While the API is away nobody knows whether the node is ready again: it has to have answered after the time was over.
    fn is_long_not_ready(&self, now: Instant, name: &str) -> bool {
        let Some(due) = self.not_ready.get(name).map(|since| *since + NOT_READY) else {
            return false;
        };
        if self.has_api { self.asked.is_some_and(|asked| asked >= due) } else { now >= due }
    }

    /// A pod that is there and dead counts; one that was not there in a list which was asked for after the death does not.
    fn has_lost_its_pod(&self, name: &str) -> bool {
        let listed = |died: &Instant| self.asked.is_some_and(|asked| asked >= *died);
        self.has_api && !self.pods.contains(name) && self.dead.get(name).is_some_and(listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const TIME: u64 = 1_700_000_000_000_000;

    #[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
    fn beginning() -> Instant {
        Instant::now()
    }

    fn names(names: &[&str]) -> BTreeSet<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    fn nodes(ready: &[&str], not_ready: &[&str]) -> BTreeMap<Arc<str>, Node> {
        let node = |ready| Node { ready, ..Node::default() };
        let all = ready.iter().map(|name| (Arc::from(*name), node(true)));
        all.chain(not_ready.iter().map(|name| (Arc::from(*name), node(false)))).collect()
    }

    /// "a", which has met "b" and "c".
    fn register(now: Instant) -> Register {
        let mut register = Register::new("a".into());
        register.count(names(&["a", "b", "c"]).iter());
        register.take_list(names(&["b", "c"]), Listing::Asked(now));
        register
    }

    #[test]
    fn whoever_was_only_expected_is_gone_with_its_node() {
        let now = beginning();
        let mut register = Register::new("a".into());
        register.take_list(names(&["b", "c"]), Listing::Asked(now));
        let judgement = register.look(now, TIME, &nodes(&["a", "b"], &[]));
        assert_eq!(judgement, Judgement { gone: names(&["c"]), forgotten: names(&[]) });
    }

    #[test]
    fn who_starts_believes_the_api_since_when_a_node_is_not_ready() {
        let now = beginning();
        let mut register = Register::new("a".into());
        register.take_list(names(&["b", "c", "d"]), Listing::Asked(now));
        let mut nodes = nodes(&["a"], &["b", "c", "d"]);
        let since = [("b", 3_600), ("c", 50)];
        for (name, ago) in since {
            nodes.get_mut(name).unwrap().not_ready_since = Some(1_700_000_000 - ago);
        }
        assert_eq!(register.look(now, TIME, &nodes).gone, names(&["b"]));
        let later = now + SECOND * 10;
        assert_eq!(register.deadline(now), Some(later));
        assert!(register.wants_list(later) && !register.wants_list(now));
        register.take_list(names(&["b", "c", "d"]), Listing::Asked(later));
        assert_eq!(register.look(later, TIME, &nodes).gone, names(&["b", "c"]));
        // What happens later is measured by the own clock: the other one may be wrong.
        nodes.get_mut("a").unwrap().ready = false;
        nodes.get_mut("a").unwrap().not_ready_since = Some(0);
        register.take_list(names(&["a", "b", "c", "d"]), Listing::Asked(later + SECOND));
        assert_eq!(register.look(later + SECOND, TIME, &nodes).gone, names(&["b", "c"]));
    }

    #[test]
    fn while_the_api_does_not_answer_nobody_is_gone_for_not_being_ready() {
        let now = beginning();
        let mut register = register(now);
        let nodes = nodes(&["a", "b"], &["c"]);
        register.look(now, TIME, &nodes);
        let later = now + SECOND * 120;
        assert!(register.wants_list(later));
        assert_eq!(register.look(later, TIME, &nodes).gone, names(&[]), "nobody has asked since");
        register.take_list(names(&["b", "c"]), Listing::Unsettled);
        assert_eq!(register.look(later, TIME, &nodes).gone, names(&[]));
        register.take_list(names(&["b", "c"]), Listing::Asked(later));
        assert_eq!(register.look(later, TIME, &nodes).gone, names(&["c"]));
        assert!(!register.wants_list(later));
        // It stays so when the API goes.
        register.take_list(names(&["b", "c"]), Listing::Unsettled);
        assert_eq!(register.look(later, TIME, &nodes).gone, names(&["c"]));
    }

    #[test]
    fn without_an_api_the_own_clock_is_enough() {
        let now = beginning();
        let mut register = register(now);
        register.take_list(names(&[]), Listing::NoApi);
        let nodes = nodes(&["a", "b"], &["c"]);
        register.look(now, TIME, &nodes);
        register.died(now, &"b".into());
        let later = now + NOT_READY;
        assert!(!register.wants_list(later));
        assert_eq!(register.look(later, TIME, &nodes).gone, names(&["c"]));
    }

    #[test]
    fn one_that_died_counts_until_a_later_list_has_no_pod_on_its_node() {
        let now = beginning();
        let mut register = register(now);
        let nodes = nodes(&["a", "b", "c"], &[]);
        register.count(names(&["a", "b"]).iter());
        register.died(now + SECOND / 2, &"c".into());
        assert!(register.wants_list(now + SECOND));
        register.take_list(names(&["b"]), Listing::Asked(now));
        assert_eq!(register.look(now, TIME, &nodes).gone, names(&[]), "asked before it died");
        register.take_list(names(&["b", "c"]), Listing::Asked(now + SECOND));
        assert_eq!(register.look(now, TIME, &nodes).gone, names(&[]), "its pod is there");
        assert!(!register.wants_list(now + SECOND));
        register.take_list(names(&["b"]), Listing::Asked(now + SECOND * 2));
        assert_eq!(register.look(now, TIME, &nodes).gone, names(&["c"]));
        register.take_list(names(&["b", "c"]), Listing::Asked(now + SECOND * 3));
        assert_eq!(register.look(now, TIME, &nodes).gone, names(&[]), "there is a new one");
        register.count(names(&["a", "b", "c"]).iter());
        register.take_list(names(&["b"]), Listing::Asked(now + SECOND * 4));
        assert_eq!(register.look(now, TIME, &nodes).gone, names(&[]), "it lives");
    }

    #[test]
    fn a_name_without_node_is_forgotten_when_it_is_no_member() {
        let now = beginning();
        let mut register = register(now);
        let nodes = nodes(&["a", "b"], &[]);
        assert_eq!(register.look(now, TIME, &nodes).gone, names(&["c"]), "it is still there");
        register.count(names(&["a", "b"]).iter());
        register.died(now, &"c".into());
        register.take_list(names(&["b"]), Listing::Asked(now));
        let judgement = register.look(now, TIME, &nodes);
        assert_eq!(judgement, Judgement { gone: names(&[]), forgotten: names(&["c"]) });
        assert!(register.dead.is_empty() && !register.seen.contains("c"));
        assert_eq!(register.look(now, TIME, &nodes), Judgement::default(), "it is told once");
    }
}
