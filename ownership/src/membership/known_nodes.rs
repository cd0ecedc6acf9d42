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

/// The time after an orderly departure in which the pods are listed often, and the time between two of these lists: the speaker may run again
/// without being heard.
const RETURN_TIME: Duration = Duration::from_secs(60);
const RETURN_INTERVAL: Duration = Duration::from_secs(5);

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
    /// The nodes that have left in order and are not back, with the time since then; none if nobody waits for them.
    left: Option<BTreeMap<Arc<str>, Instant>>,
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
            left: None,
            not_ready: BTreeMap::new(),
            looked: false,
        }
    }

    /// From now, a node that has left in order counts again when a later list shows its pod ready, and it is no member: its speaker runs, and
    /// this one does not hear it.
    pub(crate) fn follow_departures(&mut self) {
        self.left = Some(BTreeMap::new());
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
        if let Some(left) = &mut self.left {
            left.retain(|name, _| !present.contains(name));
        }
    }

    /// A node that took part is dead.
    pub(crate) fn died(&mut self, now: Instant, name: &Arc<str>) {
        if self.seen.contains(name) && !self.dead.contains_key(name) {
            self.dead.insert(Arc::clone(name), now);
        }
    }

    /// A node has left in order: it does not count, whatever the API says.
    pub(crate) fn left(&mut self, now: Instant, name: &Arc<str>) {
        self.dead.remove(name);
        if let Some(left) = &mut self.left {
            left.entry(Arc::clone(name)).or_insert(now);
        }
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
        let counts = |(name, runs): &(&Arc<str>, &Runs)| match self.left_at(name) {
            Some(left) => runs.ready && self.asked.is_some_and(|asked| asked > left),
            None => runs.ready || young(runs) || self.seen.contains(*name),
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
        let due = unmet && old || self.unmet().any(grown) || self.departure_is_due(now);
        self.has_api && (due || self.named().any(undecided))
    }

    /// The time at which [`Self::look`] or [`Self::wants_list`] may return something new.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let due = self.not_ready.values().map(|since| *since + NOT_READY_TIME);
        let grown = self.unmet().filter_map(|runs| runs.young_until);
        let old = self.asked.filter(|_| self.unmet().next().is_some()).map(|at| at + UNMET_TIME);
        let departures = self.departures().map(|left| self.next_look(left));
        due.chain(grown).chain(old).chain(departures).filter(|at| *at > now).min()
    }

    fn left_at(&self, name: &str) -> Option<Instant> {
        self.left.as_ref()?.get(name).copied()
    }

    /// The times at which nodes left whose pods are still listed.
    fn departures(&self) -> impl Iterator<Item = Instant> {
        let listed = |(name, _): &(&Arc<str>, &Instant)| self.pods.contains_key(*name);
        self.left.iter().flatten().filter(listed).map(|(_, left)| *left)
    }

    /// The time of the next look at the pods after a departure: at once, since a rolling update goes on as soon as the last pod is ready; then
    /// often for a while.
    fn next_look(&self, left: Instant) -> Instant {
        let Some(asked) = self.asked.filter(|asked| *asked >= left) else { return left };
        asked + if asked < left + RETURN_TIME { RETURN_INTERVAL } else { UNMET_TIME }
    }

    fn departure_is_due(&self, now: Instant) -> bool {
        self.departures().any(|left| self.next_look(left) <= now)
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
mod tests;
