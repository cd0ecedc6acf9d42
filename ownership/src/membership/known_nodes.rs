// SPDX-License-Identifier: Apache-2.0
//! The nodes that count although silent: all that ever took part, and the ones whose pods the API lists, until the API says that they are
//! gone. A synchronous value.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::model::Node;

/// The time without being ready after which a node's speaker no longer counts, if it is silent as well.
const NOT_READY_TIME: Duration = Duration::from_secs(60);

/// The oldest that the list may be while it has pods that were never met: the state of these pods decides whether they count.
const UNMET_TIME: Duration = Duration::from_secs(30);

/// Another speaker's pod, as the API lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// The node that the pod is on, if it is on one.
    pub node: Option<Arc<str>>,
    /// The address at which the pod listens, if that is known.
    pub address: Option<SocketAddr>,
    /// True if the pod runs and is ready, by its status.
    pub ready: bool,
    /// The time until which the pod counts because it is young; none if that time is over or the pod's age is not known.
    pub young_until: Option<Instant>,
}

/// The places where other speakers should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The pods of the speakers; or the hosts, where there is no API.
    pub pods: Vec<Pod>,
    /// The conclusions that the list allows.
    pub listing: Listing,
}

/// The trust that a list of the speakers' pods deserves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listing {
    /// There is no API to ask.
    #[default]
    NoApi,
    /// The API failed a moment ago, so the watches may be out of date: a pod in the list is there, and a pod that is not in the list may be
    /// there as well.
    Unsettled,
    /// The API was asked at this time, and has answered everything for a while.
    Asked(Instant),
}

/// The API's judgement on the members that are silent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// The nodes that do not count while they are silent.
    pub(crate) gone: BTreeSet<Arc<str>>,
    /// The names that are no nodes any more and no members: nothing about them is to be kept. Each is returned once.
    pub(crate) forgotten: BTreeSet<Arc<str>>,
}

/// The state of a pod, which decides whether one that was never met counts.
#[derive(Clone, Copy, Debug, Default)]
struct Runs {
    ready: bool,
    young_until: Option<Instant>,
}

/// See the module's head.
#[derive(Debug)]
pub(crate) struct KnownNodes {
    own: Arc<str>,
    /// All nodes that ever took part.
    seen: BTreeSet<Arc<str>>,
    /// The nodes that take part now.
    present: BTreeSet<Arc<str>>,
    /// The nodes that took part and are dead, with the time of death.
    dead: BTreeMap<Arc<str>, Instant>,
    /// The nodes that other speakers' pods are on, by the newest list.
    pods: BTreeMap<Arc<str>, Runs>,
    /// The time at which the API was asked for the newest list that can be relied on.
    asked: Option<Instant>,
    has_api: bool,
    /// The nodes that are not ready, with the time at which they ceased to be.
    not_ready: BTreeMap<Arc<str>, Instant>,
    /// True once the nodes were looked at.
    looked: bool,
}

impl KnownNodes {
    /// At first no other node is known.
    pub(crate) fn new(own: Arc<str>) -> Self {
        Self {
            own,
            seen: BTreeSet::new(),
            present: BTreeSet::new(),
            dead: BTreeMap::new(),
            pods: BTreeMap::new(),
            asked: None,
            has_api: true,
            not_ready: BTreeMap::new(),
            looked: false,
        }
    }

    /// All nodes that ever took part.
    pub(crate) fn seen(&self) -> impl Iterator<Item = &Arc<str>> {
        self.seen.iter()
    }

    /// These nodes take part.
    pub(crate) fn count<'a>(&mut self, present: impl Iterator<Item = &'a Arc<str>>) {
        self.present = present.cloned().collect();
        self.seen.extend(self.present.iter().cloned());
        let present = &self.present;
        self.dead.retain(|name, _| !present.contains(name));
    }

    /// A node that took part is dead.
    pub(crate) fn died(&mut self, now: Instant, name: &Arc<str>) {
        if self.seen.contains(name) && !self.dead.contains_key(name) {
            self.dead.insert(Arc::clone(name), now);
        }
    }

    /// A node has left in order: it does not count, whatever the API says.
    pub(crate) fn left(&mut self, name: &str) {
        self.dead.remove(name);
    }

    /// The pods of the other speakers.
    pub(crate) fn handle_list(&mut self, pods: &[Pod], listing: Listing) {
        self.pods.clear();
        for pod in pods {
            // While a node's pod is replaced there may be two: a single one that runs is enough.
            let Some(node) = &pod.node else { continue };
            let runs = self.pods.entry(Arc::clone(node)).or_default();
            runs.ready |= pod.ready;
            runs.young_until = runs.young_until.max(pod.young_until);
        }
        self.has_api = listing != Listing::NoApi;
        if let Listing::Asked(asked) = listing {
            self.asked = Some(asked);
        }
    }

    /// The nodes that should be members by the API's list: those with a pod that is ready, or young, or was met at any time. A pod that
    /// cannot start, or starts again and again, would otherwise take the majority away from the members that run.
    pub(crate) fn expected(&self) -> BTreeSet<Arc<str>> {
        let young = |runs: &Runs| {
            runs.young_until.is_some_and(|until| self.asked.is_none_or(|asked| asked < until))
        };
        let counts = |(name, runs): &(&Arc<str>, &Runs)| {
            runs.ready || young(runs) || self.seen.contains(*name)
        };
        self.pods.iter().filter(counts).map(|(name, _)| Arc::clone(name)).collect()
    }

    /// True if the node is known not to be ready. False for a node that is not known.
    pub(crate) fn is_not_ready(&self, node: &str) -> bool {
        self.not_ready.contains_key(node)
    }

    /// The API's judgement, with the nodes as they are now. `time` is that of the wall clock, in microseconds since 1970.
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

    /// True if a list of the pods would decide something.
    pub(crate) fn wants_list(&self, now: Instant) -> bool {
        let newer = |than: Instant| self.asked.is_none_or(|asked| asked < than);
        let not_ready = |name: &Arc<str>| {
            self.not_ready.get(name).map(|since| *since + NOT_READY_TIME).filter(|at| *at <= now)
        };
        let undecided = |name: &Arc<str>| {
            not_ready(name).is_some_and(newer) || self.dead.get(name).copied().is_some_and(newer)
        };
        let unmet = self.unmet().next().is_some();
        let old = self.asked.is_none_or(|asked| now >= asked + UNMET_TIME);
        let grown = |runs: &Runs| runs.young_until.is_some_and(|at| at <= now && newer(at));
        let due = unmet && old || self.unmet().any(grown);
        self.has_api && (due || self.named().any(undecided))
    }

    /// The time at which [`Self::look`] or [`Self::wants_list`] may return something new.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let due = self.not_ready.values().map(|since| *since + NOT_READY_TIME);
        let grown = self.unmet().filter_map(|runs| runs.young_until);
        let old = self.asked.filter(|_| self.unmet().next().is_some()).map(|at| at + UNMET_TIME);
        due.chain(grown).chain(old).filter(|at| *at > now).min()
    }

    fn named(&self) -> impl Iterator<Item = &Arc<str>> {
        self.seen.iter().chain(self.pods.keys().filter(|name| !self.seen.contains(*name)))
    }

    /// The pods that are listed and were never met.
    fn unmet(&self) -> impl Iterator<Item = &Runs> {
        let unmet = |(name, _): &(&Arc<str>, &Runs)| !self.seen.contains(*name);
        self.pods.iter().filter(unmet).map(|(_, runs)| runs)
    }

    /// A speaker that starts takes the API's word for the time since which a node is not ready; later its own clock counts.
    fn note_readiness(&mut self, now: Instant, time: u64, nodes: &BTreeMap<Arc<str>, Node>) {
        self.not_ready.retain(|name, _| nodes.get(name).is_some_and(|node| !node.ready));
        let first = !std::mem::replace(&mut self.looked, true);
        for (name, node) in nodes.iter().filter(|(_, node)| !node.ready) {
            let since = || {
                let since = node.not_ready_since.filter(|_| first)?;
                let seconds = i64::try_from(time / 1_000_000).ok()?.checked_sub(since)?;
                now.checked_sub(
                    Duration::from_secs(u64::try_from(seconds).ok()?).min(NOT_READY_TIME),
                )
            };
            if !self.not_ready.contains_key(name) {
                self.not_ready.insert(Arc::clone(name), since().unwrap_or(now));
            }
        }
    }

    /// While the API is away nobody knows whether the node is ready again, so the API has to have answered after the time was over.
    fn is_long_not_ready(&self, now: Instant, name: &str) -> bool {
        let Some(due) = self.not_ready.get(name).map(|since| *since + NOT_READY_TIME) else {
            return false;
        };
        if self.has_api { self.asked.is_some_and(|asked| asked >= due) } else { now >= due }
    }

    /// A dead node with a pod counts. A dead node does not count if a list that was asked for after its death has no pod on it.
    fn has_lost_its_pod(&self, name: &str) -> bool {
        let listed = |died: &Instant| self.asked.is_some_and(|asked| asked >= *died);
        self.has_api && !self.pods.contains_key(name) && self.dead.get(name).is_some_and(listed)
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

    /// Pods that run on these nodes.
    fn pods(nodes: &[&str]) -> Vec<Pod> {
        nodes.iter().map(|node| pod(node, true, None)).collect()
    }

    fn pod(node: &str, ready: bool, young_until: Option<Instant>) -> Pod {
        Pod { node: Some(node.into()), address: None, ready, young_until }
    }

    fn nodes(ready: &[&str], not_ready: &[&str]) -> BTreeMap<Arc<str>, Node> {
        let node = |ready| Node { ready, ..Node::default() };
        let all = ready.iter().map(|name| (Arc::from(*name), node(true)));
        all.chain(not_ready.iter().map(|name| (Arc::from(*name), node(false)))).collect()
    }

    /// The known nodes of "a", which has met "b" and "c".
    fn known_nodes(now: Instant) -> KnownNodes {
        let mut known_nodes = KnownNodes::new("a".into());
        known_nodes.count(names(&["a", "b", "c"]).iter());
        known_nodes.handle_list(&pods(&["b", "c"]), Listing::Asked(now));
        known_nodes
    }

    #[test]
    fn whoever_was_only_expected_is_gone_with_its_node() {
        let now = beginning();
        let mut known_nodes = KnownNodes::new("a".into());
        known_nodes.handle_list(&pods(&["b", "c"]), Listing::Asked(now));
        let judgement = known_nodes.look(now, TIME, &nodes(&["a", "b"], &[]));
        assert_eq!(judgement, Judgement { gone: names(&["c"]), forgotten: names(&[]) });
    }

    #[test]
    fn who_starts_believes_the_api_since_when_a_node_is_not_ready() {
        let now = beginning();
        let mut known_nodes = KnownNodes::new("a".into());
        known_nodes.handle_list(&pods(&["b", "c", "d"]), Listing::Asked(now));
        let mut nodes = nodes(&["a"], &["b", "c", "d"]);
        let since = [("b", 3_600), ("c", 50)];
        for (name, ago) in since {
            nodes.get_mut(name).unwrap().not_ready_since = Some(1_700_000_000 - ago);
        }
        assert_eq!(known_nodes.look(now, TIME, &nodes).gone, names(&["b"]));
        let later = now + SECOND * 10;
        assert_eq!(known_nodes.deadline(now), Some(later));
        assert!(known_nodes.wants_list(later) && !known_nodes.wants_list(now));
        known_nodes.handle_list(&pods(&["b", "c", "d"]), Listing::Asked(later));
        assert_eq!(known_nodes.look(later, TIME, &nodes).gone, names(&["b", "c"]));
        // Later changes are timed by the own clock: the other one may be wrong.
        nodes.get_mut("a").unwrap().ready = false;
        nodes.get_mut("a").unwrap().not_ready_since = Some(0);
        known_nodes.handle_list(&pods(&["a", "b", "c", "d"]), Listing::Asked(later + SECOND));
        assert_eq!(known_nodes.look(later + SECOND, TIME, &nodes).gone, names(&["b", "c"]));
    }

    #[test]
    fn while_the_api_does_not_answer_nobody_is_gone_for_not_being_ready() {
        let now = beginning();
        let mut known_nodes = known_nodes(now);
        let nodes = nodes(&["a", "b"], &["c"]);
        known_nodes.look(now, TIME, &nodes);
        let later = now + SECOND * 120;
        assert!(known_nodes.wants_list(later));
        assert_eq!(
            known_nodes.look(later, TIME, &nodes).gone,
            names(&[]),
            "nobody has asked since"
        );
        known_nodes.handle_list(&pods(&["b", "c"]), Listing::Unsettled);
        assert_eq!(known_nodes.look(later, TIME, &nodes).gone, names(&[]));
        known_nodes.handle_list(&pods(&["b", "c"]), Listing::Asked(later));
        assert_eq!(known_nodes.look(later, TIME, &nodes).gone, names(&["c"]));
        assert!(!known_nodes.wants_list(later));
        // The node stays gone when the API goes away.
        known_nodes.handle_list(&pods(&["b", "c"]), Listing::Unsettled);
        assert_eq!(known_nodes.look(later, TIME, &nodes).gone, names(&["c"]));
    }

    #[test]
    fn without_an_api_the_own_clock_is_enough() {
        let now = beginning();
        let mut known_nodes = known_nodes(now);
        known_nodes.handle_list(&pods(&[]), Listing::NoApi);
        let nodes = nodes(&["a", "b"], &["c"]);
        known_nodes.look(now, TIME, &nodes);
        known_nodes.died(now, &"b".into());
        let later = now + NOT_READY_TIME;
        assert!(!known_nodes.wants_list(later));
        assert_eq!(known_nodes.look(later, TIME, &nodes).gone, names(&["c"]));
    }

    #[test]
    fn one_that_died_counts_until_a_later_list_has_no_pod_on_its_node() {
        let now = beginning();
        let mut known_nodes = known_nodes(now);
        let nodes = nodes(&["a", "b", "c"], &[]);
        known_nodes.count(names(&["a", "b"]).iter());
        known_nodes.died(now + SECOND / 2, &"c".into());
        assert!(known_nodes.wants_list(now + SECOND));
        known_nodes.handle_list(&pods(&["b"]), Listing::Asked(now));
        assert_eq!(known_nodes.look(now, TIME, &nodes).gone, names(&[]), "asked before it died");
        known_nodes.handle_list(&pods(&["b", "c"]), Listing::Asked(now + SECOND));
        assert_eq!(known_nodes.look(now, TIME, &nodes).gone, names(&[]), "its pod is there");
        assert!(!known_nodes.wants_list(now + SECOND));
        known_nodes.handle_list(&pods(&["b"]), Listing::Asked(now + SECOND * 2));
        assert_eq!(known_nodes.look(now, TIME, &nodes).gone, names(&["c"]));
        known_nodes.handle_list(&pods(&["b", "c"]), Listing::Asked(now + SECOND * 3));
        assert_eq!(known_nodes.look(now, TIME, &nodes).gone, names(&[]), "there is a new one");
        known_nodes.count(names(&["a", "b", "c"]).iter());
        known_nodes.handle_list(&pods(&["b"]), Listing::Asked(now + SECOND * 4));
        assert_eq!(known_nodes.look(now, TIME, &nodes).gone, names(&[]), "it lives");
    }

    #[test]
    fn a_name_without_node_is_forgotten_when_it_is_no_member() {
        let now = beginning();
        let mut known_nodes = known_nodes(now);
        let nodes = nodes(&["a", "b"], &[]);
        assert_eq!(known_nodes.look(now, TIME, &nodes).gone, names(&["c"]), "it is still there");
        known_nodes.count(names(&["a", "b"]).iter());
        known_nodes.died(now, &"c".into());
        known_nodes.handle_list(&pods(&["b"]), Listing::Asked(now));
        let judgement = known_nodes.look(now, TIME, &nodes);
        assert_eq!(judgement, Judgement { gone: names(&[]), forgotten: names(&["c"]) });
        assert!(known_nodes.dead.is_empty() && !known_nodes.seen.contains("c"));
        assert_eq!(known_nodes.look(now, TIME, &nodes), Judgement::default(), "it is told once");
    }

    #[test]
    fn a_pod_that_was_never_met_counts_while_it_runs_or_is_young() {
        let now = beginning();
        let mut known_nodes = KnownNodes::new("a".into());
        let until = now + SECOND * 20;
        let list = [pod("b", true, None), pod("c", false, None), pod("d", false, Some(until))];
        known_nodes.handle_list(&list, Listing::Asked(now));
        assert_eq!(known_nodes.expected(), names(&["b", "d"]));
        assert!(!known_nodes.wants_list(now) && known_nodes.deadline(now) == Some(until));
        // Only the API can say that the pod still does not run when it is no longer young.
        assert!(known_nodes.wants_list(until));
        assert_eq!(known_nodes.expected(), names(&["b", "d"]));
        known_nodes.handle_list(&list, Listing::Unsettled);
        assert_eq!(known_nodes.expected(), names(&["b", "d"]));
        known_nodes.handle_list(&list, Listing::Asked(until));
        assert_eq!(known_nodes.expected(), names(&["b"]));
        // The state of the pods is looked at again.
        assert!(!known_nodes.wants_list(until + UNMET_TIME - SECOND));
        assert!(known_nodes.wants_list(until + UNMET_TIME));
        known_nodes.count(names(&["a", "b", "c", "d"]).iter());
        known_nodes.count(names(&["a"]).iter());
        assert_eq!(known_nodes.expected(), names(&["b", "c", "d"]), "they were met");
        assert!(
            !known_nodes.wants_list(until + UNMET_TIME) && known_nodes.deadline(until).is_none()
        );
    }

    #[test]
    fn of_two_pods_of_a_node_one_that_runs_is_enough() {
        let now = beginning();
        let mut known_nodes = KnownNodes::new("a".into());
        for list in [
            [pod("b", true, None), pod("b", false, None)],
            [pod("b", false, None), pod("b", true, None)],
        ] {
            known_nodes.handle_list(&list, Listing::Asked(now));
            assert_eq!(known_nodes.expected(), names(&["b"]));
        }
    }
}
