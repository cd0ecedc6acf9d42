// SPDX-License-Identifier: Apache-2.0
//! The detector: who of the members that speak the heartbeat is silent, and for how long. A synchronous value.

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

/// How late the detector itself may be woken before it takes the silence for its own.
const LATENESS: Duration = Duration::from_millis(30);
/// How long somebody who sends heartbeats gets some, whatever the circle says.
const PARTNERSHIP: Duration = Duration::from_secs(1);
/// How long it is remembered of a member that is one no more whether it spoke: what was said of it before its death may go round as long.
const MEMORY: Duration = Duration::from_secs(30);
/// How often a datagram that proves nothing is answered.
const INTRODUCTION: Duration = Duration::from_millis(10);

/// How fast, and by how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The time between two heartbeats.
    pub interval: Duration,
    /// So many of them missing make a suspect.
    pub misses: u32,
    /// The time between two probes of a suspect.
    pub probe_interval: Duration,
    /// How long a suspect is probed.
    pub probe_time: Duration,
    /// How many watch each member.
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
    /// How long a member may be silent before it is a suspect: the heartbeats missed, and a tenth of one for the way.
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

/// Why a member counts as dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nobody who was asked hears it.
    Silent,
    /// Its node answers that nobody listens on the port: the process is gone.
    PortClosed,
}

/// What the detector wants done or known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this.
    Send {
        /// Where to.
        to: SocketAddr,
        /// What.
        message: Message,
    },
    /// A member that is watched here is dead. It is said once, until it is heard again.
    Dead {
        /// Its name.
        name: Arc<str>,
        /// Why.
        cause: Cause,
    },
    /// A member that was said to be dead, or was not heard in a roll call, is heard.
    Back {
        /// Its name.
        name: Arc<str>,
    },
    /// A member that hears this one, and counted it, counts it no more: it was declared dead.
    Forgotten,
    /// A member's mark is another one.
    Marked {
        /// Its name.
        name: Arc<str>,
        /// The mark.
        mark: Mark,
    },
    /// A notice of another member.
    Notice {
        /// Its name.
        from: Arc<str>,
        /// What it says.
        bytes: Vec<u8>,
    },
}

/// What is known of a member, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerReport {
    /// Its name.
    pub name: Arc<str>,
    /// How long ago it was heard; none if it never was.
    pub silent_for: Option<Duration>,
    /// Whether it is watched here.
    pub watched: bool,
    /// Whether it counts as present.
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
    /// Who spoke and is no member any more, and since when. If it is one again and silent, it is dead, or was never back.
    departed: BTreeMap<Arc<str>, Instant>,
    /// Those that are watched here; only they are probed.
    watched: Vec<Arc<str>>,
    circle: Circle,
    /// Who counts as present may be another since it was last asked.
    presence_changed: bool,
    /// Whether anybody is absent, until somebody's presence changes.
    absence: Cell<Option<bool>>,
    pace: Pace,
    roll_call: Option<RollCall>,
    last_roll_call: Option<Instant>,
    last_death: Option<Instant>,
    doubt: Option<Doubt>,
    /// Whether the ring has members that do not speak the heartbeat.
    mixed: bool,
    notices: Notices,
    /// How many datagrams were sent, to anybody.
    sent: u64,
    last_stranger: Option<Instant>,
    outputs: VecDeque<Output>,
}

impl Detector {
    /// One that knows nobody. `session` is a random number that no earlier run of this member has had.
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

    /// What it was started with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The members that speak the heartbeat and are not known to be dead, without this one.
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
                // Whoever steps in for a watcher that died must not lose time; else the first heartbeats may take theirs.
                peer.evidence = if gone { now.checked_sub(patience).unwrap_or(now) } else { now };
            }
            if !peer.watched {
                peer.probing = None;
            }
        }
        self.watched = watched.into_iter().collect();
        self.note_presence();
    }

    /// Whether somebody may count as present, or not, who did not (or did) when this was last asked.
    pub fn take_presence_changed(&mut self) -> bool {
        std::mem::take(&mut self.presence_changed) || self.pursued().next().is_some()
    }

    fn note_presence(&mut self) {
        self.presence_changed = true;
        self.absence.set(None);
    }

    /// Those whose silence is being looked into.
    fn pursued(&self) -> impl Iterator<Item = &Peer> {
        self.watched
            .iter()
            .filter_map(|name| self.peers.get(name))
            .filter(|peer| peer.probing.is_some())
    }

    /// What every datagram from now carries.
    pub fn set_mark(&mut self, mark: Mark) {
        self.mark = mark;
    }

    /// On which side this member is: every datagram from now says it, and everybody gets one.
    pub fn set_side(&mut self, now: Instant, side: Side) {
        if side != self.side {
            self.side = side;
            self.notify(now, None, &[]);
        }
    }

    /// On which side a member is by what it said last; that says nothing of whether it is present.
    #[must_use]
    pub fn side_of(&self, name: &str) -> Side {
        self.peers.get(name).map_or(Side::default(), |peer| peer.side)
    }

    /// The mark of a member.
    #[must_use]
    pub fn mark_of(&self, name: &str) -> Option<Mark> {
        self.peers.get(name).map(|peer| peer.mark)
    }

    /// Tells one member or all of them; copies are sent until it is confirmed or 1.2 s have gone. More than [`NOTICE_LIMIT`] bytes are
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

    /// Whether notices are still on their way.
    #[must_use]
    pub fn is_notifying(&self) -> bool {
        !self.notices.is_empty()
    }

    /// A datagram has come. Whoever calls has opened its seal.
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
            // A new session cannot prove itself before it has heard us.
            let unknown = peer.echo() == Some(stamp);
            let due = peer.introduced.is_none_or(|last| now >= last + INTRODUCTION);
            if unknown && due {
                peer.introduced = Some(now);
                self.send(&name, Body::Answer);
            }
            return;
        }
        let acquainted = peer.is_acquainted();
        // What has come late shows that it lives, and that it hears us; what it says is old.
        let (view_said, side, mark) = match peer.is_newest(stamp) {
            true => (view, side, mark),
            false => (peer.view, peer.side, peer.mark),
        };
        let counted_us = std::mem::replace(&mut peer.view, view_said).counts();
        // It is no old message: it has got something of ours meanwhile.
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
            // Two copies: an answer that is lost may cost a life.
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

    /// Does what has become due.
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

    /// What has to be done or known next.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Self::tick`] is due.
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

    /// The time of day, since the epoch: members that have it in common send their heartbeats at the same moments. Without it, or if it
    /// differs, they are sent as often.
    pub fn set_time_of_day(&mut self, now: Instant, since_epoch: Duration) {
        self.pace.set_time_of_day(now, since_epoch);
    }

    /// Until when datagrams may lie unread, to be read together: a 20th of an interval before and after the own heartbeat, while nothing
    /// is being found out or told.
    #[must_use]
    pub fn gathers_until(&self, now: Instant) -> Option<Instant> {
        let busy = self.pursued().next().is_some()
            || self.roll_call.is_some()
            || self.doubt.is_some()
            || self.is_notifying();
        if busy { None } else { self.pace.gathers_until(now) }
    }

    /// Whether this member counts as present: it was heard lately, or nothing speaks against it. A stranger doesn't.
    #[must_use]
    pub fn is_confirmed(&self, now: Instant, name: &str) -> bool {
        self.peers.get(name).is_some_and(|peer| self.counts(now, peer))
    }

    /// Whether this member was ever heard itself.
    #[must_use]
    pub fn was_heard(&self, name: &str) -> bool {
        self.peers.get(name).is_some_and(|peer| peer.heard.is_some())
    }

    /// Whether this member was there for two seconds by then, and was never heard itself.
    #[must_use]
    pub fn is_stranger(&self, at: Instant, name: &str) -> bool {
        self.peers.get(name).is_some_and(|peer| peer.is_stranger(at))
    }

    /// Whether this member has heard this one, and counts it.
    #[must_use]
    pub fn is_acquainted(&self, name: &str) -> bool {
        self.peers.get(name).is_some_and(Peer::is_acquainted)
    }

    /// How long ago this member was heard itself; none if it never was.
    #[must_use]
    pub fn silent_for(&self, now: Instant, name: &str) -> Option<Duration> {
        self.peers.get(name)?.silent_for(now)
    }

    /// Everything known, for people.
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

    /// Everybody is heard once, partner or not: only the silence of one who spoke before says something.
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

    /// The time by which this detector itself was late is nobody else's silence.
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

    /// Somebody who is no member here, or counts as dead, shall know that, by whatever it sends; and nobody can make us send much.
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
