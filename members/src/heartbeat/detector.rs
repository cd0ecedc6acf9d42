// SPDX-License-Identifier: Apache-2.0
//! The detector of members that use the heartbeat and are silent, with the time of their silence. A synchronous value.

mod doubt;
mod roll_call;
mod suspicion;

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::circle::Circle;
use super::notices::Notices;
use super::pace::Pace;
use super::peer::Peer;
use super::wire::{Body, Mark, Message, NOTICE_LIMIT, Stamp, View};
use crate::quorum::Side;
use doubt::Doubt;
use roll_call::RollCall;

/// The delay of the detector's own wake-up beyond which it takes the silence for its own.
const LATENESS: Duration = Duration::from_millis(30);
/// The time that a sender of heartbeats gets some in return, whatever the circle says.
const PARTNERSHIP: Duration = Duration::from_secs(1);
/// The time for which a former member is remembered as one that was heard: messages about it from before its death may go round as long.
const MEMORY: Duration = Duration::from_secs(30);
/// The least time between two answers to datagrams that prove nothing.
const INTRODUCTION: Duration = Duration::from_millis(10);

/// The times and numbers of the detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The time between two heartbeats.
    pub interval: Duration,
    /// The number of missing heartbeats that makes a member a suspect.
    pub misses: u32,
    /// The time between two probes of a suspect.
    pub probe_interval: Duration,
    /// The time that a suspect is probed.
    pub probe_time: Duration,
    /// The number of watchers of each member.
    pub watchers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(100),
            misses: 3,
            probe_interval: Duration::from_millis(10),
            probe_time: Duration::from_millis(80),
            watchers: 3,
        }
    }
}

impl Options {
    /// The time that a member may be silent before it is a suspect: the heartbeats missed, and a tenth of one for the way.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.interval * self.misses + self.interval / 10
    }

    /// The least time between the last sign of life and the verdict.
    #[must_use]
    pub fn detection_time(&self) -> Duration {
        self.patience() + self.probe_time
    }
}

/// The reason why a member counts as dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// None of the members that were asked hears it.
    Silent,
    /// The member's node answers that nobody listens on the port: the process is gone.
    PortClosed,
}

/// An action or an event that the detector wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this message.
    Send {
        /// The receiver's address.
        to: SocketAddr,
        /// The message.
        message: Message,
    },
    /// A member that is watched here is dead. Told once, until the member is heard again.
    Dead {
        /// The member's name.
        name: Arc<str>,
        /// The cause.
        cause: Cause,
    },
    /// A member that was told as dead, or was not heard in a roll call, is heard.
    Back {
        /// The member's name.
        name: Arc<str>,
    },
    /// A member that hears this one, and counted it, counts it no more: this one was declared dead.
    Forgotten,
    /// A member's mark has changed.
    Marked {
        /// The member's name.
        name: Arc<str>,
        /// The mark.
        mark: Mark,
    },
    /// A notice of another member.
    Notice {
        /// The member's name.
        from: Arc<str>,
        /// The content of the notice.
        bytes: Vec<u8>,
    },
}

/// A member as it is known, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerReport {
    /// The member's name.
    pub name: Arc<str>,
    /// The time since the member was last heard; none if it never was.
    pub silent_for: Option<Duration>,
    /// True if the member is watched here.
    pub watched: bool,
    /// True if the member counts as present.
    pub confirmed: bool,
}

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
    circle: Circle,
    /// True if the set of present members may have changed since the last question.
    presence_changed: bool,
    /// Whether any member is absent; cleared when a member's presence changes.
    absence: Cell<Option<bool>>,
    pace: Pace,
    roll_call: Option<RollCall>,
    last_roll_call: Option<Instant>,
    last_death: Option<Instant>,
    doubt: Option<Doubt>,
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
            circle: Circle::default(),
            presence_changed: true,
            absence: Cell::new(None),
            pace: Pace::new(
                options.interval,
                f64::from((session >> 32) as u32) / f64::from(u32::MAX),
                now,
            ),
            roll_call: None,
            last_roll_call: None,
            last_death: None,
            doubt: None,
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
        self.circle = Circle::new(everybody);
        let watched = self.circle.watched(&self.name, self.options.watchers);
        let watchers = self.circle.watchers(&self.name, self.options.watchers);
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

    /// Sets the mark that every datagram carries from now.
    pub fn set_mark(&mut self, mark: Mark) {
        self.mark = mark;
    }

    /// Sets the side of this member: every datagram tells it from now, and every member gets one.
    pub fn set_side(&mut self, now: Instant, side: Side) {
        if side != self.side {
            self.side = side;
            self.notify(now, None, &[]);
        }
    }

    /// The side of a member by its last word, whether the member is present or not.
    #[must_use]
    pub fn side_of(&self, name: &str) -> Side {
        self.peers.get(name).map_or(Side::default(), |peer| peer.side)
    }

    /// The mark of a member.
    #[must_use]
    pub fn mark_of(&self, name: &str) -> Option<Mark> {
        self.peers.get(name).map(|peer| peer.mark)
    }

    /// Sends a notice to one member or to all; copies are sent until it is confirmed or 1.2 s have gone. More than [`NOTICE_LIMIT`] bytes are
    /// not sent.
    pub fn notify(&mut self, now: Instant, to: Option<&str>, bytes: &[u8]) {
        debug_assert!(bytes.len() <= NOTICE_LIMIT, "a notice of {} bytes", bytes.len());
        if bytes.len() > NOTICE_LIMIT {
            return;
        }
        let bytes: Arc<[u8]> = bytes.into();
        let names: Vec<Arc<str>> = match to {
            Some(name) => self
                .peers
                .get_key_value(name)
                .map(|(name, _)| Arc::clone(name))
                .into_iter()
                .collect(),
            None => self.peers.keys().cloned().collect(),
        };
        for name in names {
            self.notices.add(now, name, Arc::clone(&bytes));
        }
        self.send_notices(now);
    }

    /// True while notices are on their way.
    #[must_use]
    pub fn is_notifying(&self) -> bool {
        !self.notices.is_empty()
    }

    /// A datagram has come; the caller has opened its seal.
    pub fn handle(&mut self, now: Instant, from: SocketAddr, message: Message) {
        self.forgive(now);
        let Message { from: name, stamp, echo, view, side, mark, body } = message;
        let ours = Stamp { session: self.session, counter: self.sent };
        let Some(peer) = self.peers.get_mut(&name) else {
            self.answer_stranger(now, from, stamp);
            return;
        };
        let echoed = peer.echoed();
        if !peer.is_news(stamp, echo, ours) {
            // A new session cannot prove itself before it has heard this member.
            let unknown = peer.echo() == Some(stamp);
            let due = peer.introduced.is_none_or(|last| now >= last + INTRODUCTION);
            if unknown && due {
                peer.introduced = Some(now);
                self.send(&name, Body::Answer);
            }
            return;
        }
        let acquainted = peer.is_acquainted();
        // A late datagram shows that its sender lives and hears this member; the rest of its content is old.
        let (view_said, side, mark) = match peer.is_newest(stamp) {
            true => (view, side, mark),
            false => (peer.view, peer.side, peer.mark),
        };
        let counted_us = std::mem::replace(&mut peer.view, view_said).counts();
        // The datagram is not old: its sender has got a datagram of this member meanwhile.
        let forgotten = counted_us && view_said == View::Unknown && peer.echoed() > echoed;
        let hears = peer.hears_us(now, view, echoed);
        let back = hears && (peer.unconfirmed || peer.condemned);
        let turned = std::mem::replace(&mut peer.side, side) != side;
        let mut presence =
            turned || hears && (back || peer.probing.is_some() || peer.heard.is_none());
        if hears {
            peer.is_heard(now, ours.counter);
        } else {
            peer.is_deaf();
        }
        presence |= peer.is_acquainted() != acquainted;
        let remarked = std::mem::replace(&mut peer.mark, mark) != mark;
        if matches!(body, Body::Heartbeat) {
            peer.partner_until = Some(now + PARTNERSHIP);
        }
        let askers = if hears { peer.take_askers(now) } else { Vec::new() };
        if presence {
            self.note_presence();
        }
        if forgotten {
            self.outputs.push_back(Output::Forgotten);
        }
        if back {
            self.outputs.push_back(Output::Back { name: Arc::clone(&name) });
        }
        if remarked {
            self.outputs.push_back(Output::Marked { name: Arc::clone(&name), mark });
        }
        for asker in askers {
            self.send(&asker, Body::Report { about: Arc::clone(&name), silent_for: Some(0) });
        }
        match body {
            Body::Heartbeat | Body::Answer => {}
            // Two copies, as an answer that is lost may cost a life.
            Body::Probe => {
                self.send(&name, Body::Answer);
                self.send(&name, Body::Answer);
            }
            Body::Call => {
                self.send(&name, Body::Answer);
                self.send(&name, Body::Answer);
                self.handle_call(now);
            }
            Body::Ask { about } => self.handle_ask(now, &name, &about),
            Body::Report { about, silent_for } => self.handle_report(now, &about, silent_for),
            Body::Notice { id, bytes } => {
                self.send(&name, Body::NoticeReceived { id });
                let new = self.peers.get_mut(&name).is_some_and(|peer| peer.is_new_notice(id));
                if new && !bytes.is_empty() {
                    self.outputs.push_back(Output::Notice { from: Arc::clone(&name), bytes });
                }
            }
            Body::NoticeReceived { id } => self.notices.confirm(id, &name),
        }
        self.settle_doubt(now);
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
        self.call(now);
        self.send_notices(now);
        self.settle_doubt(now);
    }

    /// The next output.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The time at which [`Self::tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let suspicion = self.suspicion_deadline();
        let call = self.call_deadline();
        let doubt = self.doubt.as_ref().map(Doubt::deadline);
        [suspicion, call, doubt, self.notices.deadline()]
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
            || self.roll_call.is_some()
            || self.doubt.is_some()
            || self.is_notifying();
        if busy { None } else { self.pace.gathers_until(now) }
    }

    /// True if this member counts as present: it was heard lately, or nothing speaks against it. A stranger does not count.
    #[must_use]
    pub fn is_confirmed(&self, now: Instant, name: &str) -> bool {
        self.peers.get(name).is_some_and(|peer| self.counts(now, peer))
    }

    /// True if this member was ever heard itself.
    #[must_use]
    pub fn was_heard(&self, name: &str) -> bool {
        self.peers.get(name).is_some_and(|peer| peer.heard.is_some())
    }

    /// True if this member had been a member for two seconds at that time, and was never heard itself.
    #[must_use]
    pub fn is_stranger(&self, at: Instant, name: &str) -> bool {
        self.peers.get(name).is_some_and(|peer| peer.is_stranger(at))
    }

    /// True if this member has heard this detector's own member, and counts it.
    #[must_use]
    pub fn is_acquainted(&self, name: &str) -> bool {
        self.peers.get(name).is_some_and(Peer::is_acquainted)
    }

    /// The time since this member was heard itself; none if it never was.
    #[must_use]
    pub fn silent_for(&self, now: Instant, name: &str) -> Option<Duration> {
        self.peers.get(name)?.silent_for(now)
    }

    /// A report on all members, for people.
    #[must_use]
    pub fn report(&self, now: Instant) -> Vec<PeerReport> {
        self.peers
            .iter()
            .map(|(name, peer)| PeerReport {
                name: Arc::clone(name),
                silent_for: peer.silent_for(now),
                watched: peer.watched,
                confirmed: self.counts(now, peer),
            })
            .collect()
    }

    fn partners(&self, now: Instant) -> impl Iterator<Item = (&Arc<str>, &Peer)> {
        self.peers.iter().filter(move |(_, peer)| peer.is_partner(now))
    }

    /// Greets members that were not heard yet, partners or not: only the silence of a member that was heard before means something.
    fn greet(&mut self) {
        let strange =
            self.peers.iter_mut().filter(|(_, peer)| peer.heard.is_none() && peer.greetings > 0);
        let mut names = Vec::new();
        for (name, peer) in strange {
            peer.greetings -= 1;
            names.push(Arc::clone(name));
        }
        for name in names {
            self.send(&name, Body::Probe);
        }
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
        if let Some(call) = &mut self.roll_call {
            call.postpone(late);
        }
        self.pace.postpone(now);
    }

    fn send(&mut self, name: &Arc<str>, body: Body) {
        let Some(peer) = self.peers.get_mut(name) else { return };
        self.sent += 1;
        let view = if peer.condemned {
            View::Dead
        } else if peer.probing.is_some() || peer.unconfirmed {
            View::Suspect
        } else {
            View::Alive
        };
        let message = Message {
            from: Arc::clone(&self.name),
            stamp: Stamp { session: self.session, counter: self.sent },
            echo: peer.echo(),
            view,
            side: self.side,
            mark: self.mark,
            body,
        };
        self.outputs.push_back(Output::Send { to: peer.address, message });
    }

    /// Answers a sender that is no member here, or counts as dead, so that it knows; at a rate that bounds the datagrams that strangers can
    /// cause.
    fn answer_stranger(&mut self, now: Instant, to: SocketAddr, stamp: Stamp) {
        if self.last_stranger.is_some_and(|last| now < last + INTRODUCTION) {
            return;
        }
        self.last_stranger = Some(now);
        self.sent += 1;
        let message = Message {
            from: Arc::clone(&self.name),
            stamp: Stamp { session: self.session, counter: self.sent },
            echo: Some(stamp),
            view: View::Unknown,
            side: self.side,
            mark: self.mark,
            body: Body::Answer,
        };
        self.outputs.push_back(Output::Send { to, message });
    }

    fn send_notices(&mut self, now: Instant) {
        for (id, to, bytes) in self.notices.due(now) {
            self.send(&to, Body::Notice { id, bytes: bytes.to_vec() });
        }
    }
}
