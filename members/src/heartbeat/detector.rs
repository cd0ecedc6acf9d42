// SPDX-License-Identifier: Apache-2.0
//! The detector of members that use the heartbeat and are silent, with the time of their silence. A synchronous value.

mod options;
mod output;
mod ping_all;
mod queries;
mod receiving;
mod self_suspicion;
mod sending;
mod suspicion;

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::notices::Notices;
use super::pace::Pace;
use super::peer::Peer;
use super::topology::MonitoringTopology;
use super::wire::{Body, Mark};
use crate::quorum::Side;
pub use options::Options;
pub use output::{Cause, Output, PeerReport};
use ping_all::PingAll;
use self_suspicion::SelfSuspicion;

/// The delay of the detector's own wake-up beyond which it takes the silence for its own.
const LATENESS: Duration = Duration::from_millis(30);
/// The time for which a former member is remembered as one that was heard: messages about it from before its death may go round as long.
const MEMORY: Duration = Duration::from_secs(30);

/// See the module's head.
pub struct Detector {
    name: Arc<str>,
    options: Options,
    session: u64,
    mark: Mark,
    side: Side,
    peers: BTreeMap<Arc<str>, Peer>,
    /// Former members that were heard, with the time since when they are none. One that is a member again and silent is dead, or was never
    /// back.
    departed: BTreeMap<Arc<str>, Instant>,
    /// The members that are watched here; only they are probed.
    watched: Vec<Arc<str>>,
    topology: MonitoringTopology,
    /// True if the set of present members may have changed since the last question.
    presence_changed: bool,
    /// True if any member is absent; cleared when a member's presence changes.
    absence: Cell<Option<bool>>,
    pace: Pace,
    ping_all: Option<PingAll>,
    last_ping_all: Option<Instant>,
    last_death: Option<Instant>,
    self_suspicion: Option<SelfSuspicion>,
    /// True if the ring has members that do not use the heartbeat.
    mixed: bool,
    notices: Notices,
    /// The number of datagrams that were sent, to all members together.
    sent: u64,
    last_stranger: Option<Instant>,
    outputs: VecDeque<Output>,
}

impl Detector {
    /// A detector that knows no other member. `session` is a random number that no earlier run of this member has had.
    #[must_use]
    pub fn new(name: Arc<str>, options: Options, session: u64, now: Instant) -> Self {
        Self {
            name,
            options,
            session: session.max(1),
            mark: Mark::default(),
            side: Side::default(),
            peers: BTreeMap::new(),
            departed: BTreeMap::new(),
            watched: Vec::new(),
            topology: MonitoringTopology::default(),
            presence_changed: true,
            absence: Cell::new(None),
            pace: Pace::new(
                options.interval,
                f64::from((session >> 32) as u32) / f64::from(u32::MAX),
                now,
            ),
            ping_all: None,
            last_ping_all: None,
            last_death: None,
            self_suspicion: None,
            mixed: false,
            notices: Notices::default(),
            sent: 0,
            last_stranger: None,
            outputs: VecDeque::new(),
        }
    }

    /// The options that the detector was started with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Sets the members that use the heartbeat and are not known to be dead, without this one.
    pub fn set_peers(
        &mut self,
        now: Instant,
        peers: impl IntoIterator<Item = (Arc<str>, SocketAddr)>,
    ) {
        let wanted: BTreeMap<Arc<str>, SocketAddr> =
            peers.into_iter().filter(|(name, _)| *name != self.name).collect();
        let gone = self.peers.keys().any(|name| !wanted.contains_key(name));
        for (name, peer) in self.peers.extract_if(.., |name, _| !wanted.contains_key(name)) {
            if peer.spoke {
                self.departed.insert(name, now);
            }
        }
        self.departed.retain(|_, since| now < *since + MEMORY);
        let sent = self.sent;
        for (name, address) in wanted {
            let spoke = !self.peers.contains_key(&name) && self.departed.remove(&name).is_some();
            let peer = self.peers.entry(name).or_insert_with(|| Peer::new(address, now, sent));
            peer.address = address;
            peer.spoke |= spoke;
        }
        let peers = &self.peers;
        self.notices.retain(|name| peers.contains_key(name));
        let everybody = self.peers.keys().chain([&self.name]).map(Arc::clone);
        self.topology = MonitoringTopology::new(everybody);
        let watched = self.topology.watched(&self.name, self.options.watchers);
        let watchers = self.topology.watchers(&self.name, self.options.watchers);
        let patience = self.options.patience();
        for (name, peer) in &mut self.peers {
            peer.watcher = watchers.contains(name);
            let before = std::mem::replace(&mut peer.watched, watched.contains(name));
            if peer.watched && !before {
                // A member that steps in for a dead watcher must not lose time; otherwise the first heartbeats may take theirs.
                peer.evidence = if gone { now.checked_sub(patience).unwrap_or(now) } else { now };
            }
            if !peer.watched {
                peer.probing = None;
            }
        }
        self.watched = watched.into_iter().collect();
        self.note_presence();
    }

    /// Returns true if the presence of some member may have changed since the last call.
    pub fn take_presence_changed(&mut self) -> bool {
        std::mem::take(&mut self.presence_changed) || self.pursued().next().is_some()
    }

    fn note_presence(&mut self) {
        self.presence_changed = true;
        self.absence.set(None);
    }

    /// The members whose silence is being looked into.
    fn pursued(&self) -> impl Iterator<Item = &Peer> {
        self.watched
            .iter()
            .filter_map(|name| self.peers.get(name))
            .filter(|peer| peer.probing.is_some())
    }

    /// Does everything that has become due.
    pub fn tick(&mut self, now: Instant) {
        self.forgive(now);
        if self.pace.advance(now) {
            let partners: Vec<Arc<str>> =
                self.partners(now).map(|(name, _)| Arc::clone(name)).collect();
            for name in partners {
                self.send(&name, Body::Heartbeat);
            }
            self.greet();
        }
        self.suspect(now);
        self.continue_ping_all(now);
        self.send_notices(now);
        self.settle_self_suspicion(now);
    }

    /// The next output.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The time at which [`Self::tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let suspicion = self.suspicion_deadline();
        let ping_all = self.ping_all_deadline();
        let self_suspicion = self.self_suspicion.as_ref().map(SelfSuspicion::deadline);
        [suspicion, ping_all, self_suspicion, self.notices.deadline()]
            .into_iter()
            .flatten()
            .fold(self.pace.next(), Instant::min)
    }

    /// Sets the time of day, since the epoch: members that have it in common send their heartbeats at the same moments. Without it, or if it
    /// differs, heartbeats are sent as often.
    pub fn set_time_of_day(&mut self, now: Instant, since_epoch: Duration) {
        self.pace.set_time_of_day(now, since_epoch);
    }

    /// The time until which datagrams may lie unread, to be read together: a 20th of an interval before and after the own heartbeat, while
    /// nothing is being found out or told.
    #[must_use]
    pub fn gathers_until(&self, now: Instant) -> Option<Instant> {
        let busy = self.pursued().next().is_some()
            || self.ping_all.is_some()
            || self.self_suspicion.is_some()
            || self.is_notifying();
        if busy { None } else { self.pace.gathers_until(now) }
    }

    fn partners(&self, now: Instant) -> impl Iterator<Item = (&Arc<str>, &Peer)> {
        self.peers.iter().filter(move |(_, peer)| peer.is_partner(now))
    }

    /// Forgives the other members the time by which this detector itself was late.
    fn forgive(&mut self, now: Instant) {
        let due = self.deadline();
        let Some(late) = now.checked_duration_since(due).filter(|late| *late > LATENESS) else {
            return;
        };
        for peer in self.peers.values_mut() {
            peer.evidence = (peer.evidence + late).min(now);
            peer.since = (peer.since + late).min(now);
            if let Some(probing) = &mut peer.probing {
                probing.since = (probing.since + late).min(now);
                probing.next = now;
                probing.closed = None;
            }
        }
        if let Some(ping_all) = &mut self.ping_all {
            ping_all.postpone(late);
        }
        self.pace.postpone(now);
    }
}
