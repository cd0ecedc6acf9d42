// SPDX-License-Identifier: Apache-2.0
//! The heartbeat beside a ring: who of its members is dead before the memberlist knows it, and whether this member may speak for
//! itself at all. A synchronous value, driven by the thread that drives the ring.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::heartbeat::wire::{Mark, Message, View};
use crate::heartbeat::{self, Cause, Detector, PeerReport};
use crate::quorum::{Count, Fencing, Quorum, Side};

/// A member that was heard within this time is there, whoever else is not.
const FRESH: Duration = Duration::from_millis(150);
/// How often the ring is told of members that are heard.
const VOUCH: Duration = Duration::from_millis(500);
/// How often the ring is told anew because somebody doesn't count this member.
const REAPPEAR: Duration = Duration::from_millis(200);
/// The lease is so much shorter than the least time from a sign of life to the verdict. It is renewed whenever the thread wakes, up to a heartbeat
/// after the last sign of life: if only this thread stands still, it may end about 90 ms after the verdict.
const MARGIN: Duration = Duration::from_millis(10);
/// How often the ring is asked for an exchange that settles a doubt.
const EXCHANGE: Duration = Duration::from_secs(1);
/// How often a member that sends no heartbeat is asked over a stream, and how many are at a time.
const TRY: Duration = Duration::from_secs(10);
const TRIES: usize = 4;

/// How it is set up.
#[derive(Clone, Debug)]
pub struct WatchOptions {
    /// The own name.
    pub name: Arc<str>,
    /// How fast.
    pub heartbeat: heartbeat::Options,
    /// What makes this member fall silent.
    pub fencing: Fencing,
    /// Whether of two members that lost one another only that with the smaller name goes on.
    pub fence_two: bool,
    /// A random number that no earlier run has had.
    pub session: u64,
    /// How long a start waits for the ring at least; it goes on while hosts are being contacted for the first time.
    pub start_wait: Duration,
}

/// One member of the ring that is not known to be dead, as the watch needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is reached.
    pub address: SocketAddr,
    /// Whether it speaks the heartbeat.
    pub heartbeat: bool,
}

/// Whether this member may speak, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Confirmed,
    /// It has just started and has not met the ring yet.
    Starting,
    /// It stood still, or was declared dead, and the others have not confirmed it since.
    Doubtful,
    /// It is with the few.
    Minority {
        /// With how many, itself included.
        present: usize,
        /// Of how many.
        known: usize,
    },
}

impl Standing {
    /// Its name, for logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Starting => "starting",
            Self::Doubtful => "doubtful",
            Self::Minority { .. } => "minority",
        }
    }

    /// Whether it may answer and announce.
    #[must_use]
    pub fn speaks(self) -> bool {
        matches!(self, Self::Confirmed)
    }
}

/// What the watch wants done or known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchOutput {
    /// Seal this and send it.
    Send {
        /// Where to.
        to: SocketAddr,
        /// What.
        message: Message,
    },
    /// The ring shall count this member as dead and tell all.
    DeclareDead {
        /// Its name.
        name: Arc<str>,
        /// Why.
        cause: Cause,
    },
    /// The ring shall know that this member lives.
    Vouch(Arc<str>),
    /// Some member doesn't count this one: the ring shall tell it anew.
    Reappear,
    /// The ring shall exchange states with this member, and say when it has.
    Exchange(Arc<str>),
    /// These members speak the heartbeat and are not heard by it, although they answer over a stream; told when they are others.
    Unheard(BTreeSet<Arc<str>>),
    /// [`Watch::standing`] is another one.
    Standing(Standing),
    /// A member's mark is another one.
    Marked {
        /// Its name.
        name: Arc<str>,
        /// The mark.
        mark: Mark,
    },
    /// Another member tells something.
    Notice {
        /// Its name.
        from: Arc<str>,
        /// What.
        bytes: Vec<u8>,
    },
}

/// See the module's head.
pub struct Watch {
    options: WatchOptions,
    detector: Detector,
    quorum: Quorum,
    members: BTreeMap<Arc<str>, Neighbour>,
    /// Dead by this member's watching, and not said: it may be this one that is cut off.
    held: BTreeMap<Arc<str>, Cause>,
    /// Who should be there by what the API says; they count as soon as anybody was met.
    expected: BTreeSet<Arc<str>>,
    met: bool,
    /// Members that answered over a stream when no datagram of theirs had come for long; the memberlist judges those.
    reached: BTreeSet<Arc<str>>,
    /// When they were asked to.
    tried: BTreeMap<Arc<str>, Instant>,
    /// Of them, those that were told.
    unheard: BTreeSet<Arc<str>>,
    /// With whom an exchange was wanted last to settle a doubt, and when.
    exchange: Option<(Arc<str>, Instant)>,
    /// The last count, and whether something has changed since that it depends on.
    counted: Count,
    uncounted: bool,
    starting_until: Option<Instant>,
    /// Members may be found yet by joins that are under way.
    joining: bool,
    standing: Standing,
    next_vouch: Instant,
    last: Instant,
    reappeared: Option<Instant>,
    outputs: VecDeque<WatchOutput>,
}

impl Watch {
    /// One that knows nobody. With `alone` there is nobody to wait for.
    #[must_use]
    pub fn new(options: WatchOptions, alone: bool, now: Instant) -> Self {
        let detector =
            Detector::new(Arc::clone(&options.name), options.heartbeat, options.session, now);
        let quorum = Quorum::new(Arc::clone(&options.name), options.fencing, options.fence_two);
        let starting_until = (!alone).then(|| now + options.start_wait);
        Self {
            detector,
            quorum,
            members: BTreeMap::new(),
            held: BTreeMap::new(),
            expected: BTreeSet::new(),
            met: false,
            reached: BTreeSet::new(),
            tried: BTreeMap::new(),
            unheard: BTreeSet::new(),
            exchange: None,
            counted: Count { present: 1, known: 1, enough: true, disputed: false },
            uncounted: true,
            starting_until,
            joining: false,
            standing: if alone { Standing::Confirmed } else { Standing::Starting },
            next_vouch: now,
            last: now,
            reappeared: None,
            outputs: VecDeque::new(),
            options,
        }
    }

    /// The members of the ring that are not known to be dead, without this one. `left` are those who have left in order since.
    pub fn set_members(&mut self, now: Instant, members: Vec<Neighbour>, left: &[Arc<str>]) {
        for name in left {
            self.quorum.left(name);
            self.expected.remove(name);
        }
        let members: BTreeMap<Arc<str>, Neighbour> =
            members.into_iter().map(|member| (Arc::clone(&member.name), member)).collect();
        let first = self.members.is_empty() && !members.is_empty();
        let died = self.members.keys().filter(|name| !members.contains_key(*name)).count();
        self.held.retain(|name, _| members.contains_key(name));
        self.reached.retain(|name| members.contains_key(name));
        self.tried.retain(|name, _| members.contains_key(name));
        self.met |= !members.is_empty();
        self.members = members;
        self.admit();
        self.count_expected();
        let peers = self.members.values().filter(|member| member.heartbeat);
        let peers: Vec<_> =
            peers.map(|member| (Arc::clone(&member.name), member.address)).collect();
        let nobody = peers.is_empty();
        self.detector.set_mixed(peers.len() < self.members.len());
        self.detector.set_peers(now, peers);
        for _ in 0..died.saturating_sub(left.len()) {
            self.detector.news_of_death(now);
        }
        if first && self.starting_until.take().is_some() && !nobody {
            // The ring is met; what remains is what the others say of this member.
            self.doubt(now);
        }
        self.settle(now);
    }

    /// Of whom the API says that they are no members any more.
    pub fn set_gone(&mut self, now: Instant, gone: BTreeSet<Arc<str>>) {
        self.quorum.set_gone(gone);
        self.uncounted = true;
        self.settle(now);
    }

    /// Nothing is to be kept of these, unless they are members of the ring.
    pub fn forget(&mut self, now: Instant, names: &BTreeSet<Arc<str>>) {
        for name in names.iter().filter(|name| !self.members.contains_key(*name)) {
            self.quorum.left(name);
            self.expected.remove(name);
        }
        self.uncounted = true;
        self.settle(now);
    }

    /// Who is a member by what the API says. Whoever has just started and meets only a part of them is not with the majority for that.
    pub fn set_expected(&mut self, now: Instant, expected: BTreeSet<Arc<str>>) {
        self.expected = expected;
        self.count_expected();
        self.settle(now);
    }

    /// The expected count as members, once there was another; those who are not expected any more and were never met do not.
    fn count_expected(&mut self) {
        self.uncounted = true;
        if self.met {
            self.quorum.expect(&self.expected);
        }
    }

    /// This member may count as dead; with `--fencing=off` that silences nobody.
    fn doubt(&mut self, now: Instant) {
        if self.options.fencing != Fencing::Off {
            self.detector.doubt(now);
        }
    }

    /// States were exchanged with a member over a stream that was opened at `began`.
    pub fn exchanged(&mut self, now: Instant, name: &Arc<str>, began: Instant) {
        self.detector.exchanged(now, began);
        if self.detector.is_stranger(began, name) {
            self.reached.insert(Arc::clone(name));
            self.uncounted = true;
            self.tell_unheard(now);
        }
        self.settle(now);
    }

    /// As [`Detector::contradicted`].
    pub fn contradicted(&mut self, now: Instant) {
        self.detector.contradicted(now);
    }

    /// What every heartbeat from now carries.
    pub fn set_mark(&mut self, mark: Mark) {
        self.detector.set_mark(mark);
    }

    /// Tells one member, or all that speak the heartbeat.
    pub fn notify(&mut self, now: Instant, to: Option<&str>, bytes: &[u8]) {
        self.detector.notify(now, to, bytes);
        self.settle(now);
    }

    /// Whether something told is not confirmed yet.
    #[must_use]
    pub fn is_notifying(&self) -> bool {
        self.detector.is_notifying()
    }

    /// There is nobody to wait for: no other member is known to anybody.
    pub fn alone(&mut self, now: Instant) {
        if self.members.is_empty() {
            self.starting_until = None;
        }
        self.settle(now);
    }

    /// Whether hosts are being contacted for the first time: a start is not over before it is known whether they answer.
    pub fn set_joining(&mut self, now: Instant, joining: bool) {
        self.joining = joining;
        self.settle(now);
    }

    /// Somebody says that this member is dead.
    pub fn accused(&mut self, now: Instant) {
        self.doubt(now);
        self.settle(now);
    }

    /// This member stood still until now, for so long by a clock that goes on in suspend.
    pub fn stalled(&mut self, now: Instant, time: Duration) {
        if time >= self.lease_time() {
            self.doubt(now);
        }
        self.settle(now);
    }

    /// A datagram, its seal opened.
    pub fn handle(&mut self, now: Instant, from: SocketAddr, message: Message) {
        let unknown = matches!(message.view, View::Unknown | View::Dead);
        if unknown
            && self.members.contains_key(&message.from)
            && self.reappeared.is_none_or(|last| now >= last + REAPPEAR)
        {
            self.reappeared = Some(now);
            self.outputs.push_back(WatchOutput::Reappear);
        }
        self.detector.handle(now, from, message);
        self.settle(now);
    }

    /// The kernel says that nobody listens there.
    pub fn port_closed(&mut self, now: Instant, address: SocketAddr) {
        self.detector.port_closed(now, address);
        self.settle(now);
    }

    /// Does what has become due.
    pub fn tick(&mut self, now: Instant) {
        self.detector.tick(now);
        if now >= self.next_vouch {
            self.next_vouch = now + VOUCH;
            for name in self.members.keys() {
                if self.is_fresh(now, name) {
                    self.outputs.push_back(WatchOutput::Vouch(Arc::clone(name)));
                }
            }
            self.try_strangers(now);
            self.tell_unheard(now);
        }
        self.settle(now);
    }

    /// What has to be done or known next.
    pub fn poll(&mut self) -> Option<WatchOutput> {
        self.outputs.pop_front()
    }

    /// When [`Self::tick`] is due. It never is later than a heartbeat, by which a lease is renewed in time.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let start = self.starting_until.filter(|_| !self.joining);
        let held =
            (!self.held.is_empty()).then(|| self.last + self.options.heartbeat.probe_interval);
        [start, held].into_iter().flatten().fold(self.detector.deadline(), Instant::min)
    }

    /// As [`Detector::set_time_of_day`].
    pub fn set_time_of_day(&mut self, now: Instant, since_epoch: Duration) {
        self.detector.set_time_of_day(now, since_epoch);
    }

    /// As [`Detector::gathers_until`], and not before this member may speak or while somebody's death is to be told.
    #[must_use]
    pub fn gathers_until(&self, now: Instant) -> Option<Instant> {
        let at_rest = self.standing.speaks() && self.held.is_empty();
        if at_rest { self.detector.gathers_until(now) } else { None }
    }

    /// Whether this member may speak.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// For how long from now this member may speak without being told again; none for ever.
    #[must_use]
    pub fn lease(&self) -> Option<Duration> {
        if self.options.fencing == Fencing::Off && self.standing.speaks() {
            return None;
        }
        Some(if self.standing.speaks() { self.lease_time() } else { Duration::ZERO })
    }

    /// With how many this member is, of how many.
    #[must_use]
    pub fn count(&self, now: Instant) -> Count {
        self.quorum.count(|name| self.side_of(now, name))
    }

    /// What is known of the members that speak the heartbeat, for people.
    #[must_use]
    pub fn report(&self, now: Instant) -> Vec<PeerReport> {
        self.detector.report(now)
    }

    /// Whoever is in the ring counts from when it was first heard: of one that somebody else has met this member cannot say whether they are
    /// on the same side. Whoever misses its majority can say that they may not be.
    fn admit(&mut self) {
        let minority = self.quorum.side() == Side::Minority;
        for (name, member) in &self.members {
            let heard = !member.heartbeat || self.detector.was_heard(name);
            if minority || heard || self.reached.contains(name) {
                self.quorum.joined(name, member.heartbeat);
            }
        }
    }

    /// Asks those over a stream that were never heard by the heartbeat: datagrams may be all that does not pass.
    fn try_strangers(&mut self, now: Instant) {
        let due = |name: &&Arc<str>| {
            self.detector.is_stranger(now, name)
                && !self.reached.contains(*name)
                && self.tried.get(*name).is_none_or(|last| now >= *last + TRY)
        };
        let names: Vec<Arc<str>> =
            self.members.keys().filter(due).take(TRIES).map(Arc::clone).collect();
        for name in names {
            self.tried.insert(Arc::clone(&name), now);
            self.outputs.push_back(WatchOutput::Exchange(name));
        }
    }

    fn tell_unheard(&mut self, now: Instant) {
        let unheard: BTreeSet<Arc<str>> =
            self.reached.iter().filter(|name| self.is_reached(now, name)).map(Arc::clone).collect();
        if unheard != self.unheard {
            self.unheard.clone_from(&unheard);
            self.outputs.push_back(WatchOutput::Unheard(unheard));
        }
    }

    /// If only the ring can settle a doubt, one member after the other is asked.
    fn ask_ring(&mut self, now: Instant) {
        let paused = self.exchange.as_ref().is_none_or(|(_, last)| now >= *last + EXCHANGE);
        if !paused || !self.detector.wants_exchange(now) {
            return;
        }
        let last = self.exchange.as_ref().map(|(name, _)| name);
        let after = |name: &&Arc<str>| last.is_none_or(|last| **name > *last);
        let next = self.members.keys().find(after).or_else(|| self.members.keys().next());
        if let Some(name) = next.map(Arc::clone) {
            self.exchange = Some((Arc::clone(&name), now));
            self.outputs.push_back(WatchOutput::Exchange(name));
        }
    }

    fn lease_time(&self) -> Duration {
        self.options.heartbeat.detection_time().saturating_sub(MARGIN)
    }

    /// A member of the ring counts unless it speaks the heartbeat and is not heard, though datagrams of it have come, or could.
    fn is_present(&self, now: Instant, name: &str) -> bool {
        self.members.get(name).is_some_and(|member| {
            !member.heartbeat
                || self.is_heard_and_confirmed(now, name)
                || self.is_reached(now, name)
        })
    }

    /// On which side a member is that is present.
    fn side_of(&self, now: Instant, name: &str) -> Option<Side> {
        self.is_present(now, name).then(|| self.detector.side_of(name))
    }

    fn is_reached(&self, now: Instant, name: &str) -> bool {
        self.reached.contains(name) && self.detector.is_stranger(now, name)
    }

    fn is_heard_and_confirmed(&self, now: Instant, name: &str) -> bool {
        self.detector.was_heard(name) && self.detector.is_confirmed(now, name)
    }

    fn is_fresh(&self, now: Instant, name: &str) -> bool {
        self.detector.silent_for(now, name).is_some_and(|time| time <= FRESH)
    }

    fn settle(&mut self, now: Instant) {
        self.last = now;
        while let Some(output) = self.detector.poll() {
            match output {
                heartbeat::Output::Send { to, message } => {
                    self.outputs.push_back(WatchOutput::Send { to, message });
                }
                heartbeat::Output::Dead { name, cause } => {
                    self.held.insert(name, cause);
                }
                heartbeat::Output::Back { name } => {
                    self.held.remove(&name);
                }
                heartbeat::Output::Forgotten => self.doubt(now),
                heartbeat::Output::Marked { name, mark } => {
                    self.outputs.push_back(WatchOutput::Marked { name, mark });
                }
                heartbeat::Output::Notice { from, bytes } => {
                    self.outputs.push_back(WatchOutput::Notice { from, bytes });
                }
            }
        }
        self.declare(now);
        self.ask_ring(now);
        let standing = self.stand(now);
        if standing != self.standing {
            self.standing = standing;
            self.outputs.push_back(WatchOutput::Standing(standing));
        }
    }

    /// A verdict is told by whoever hears a majority at this moment: of those who hear nobody each finds all others dead.
    fn declare(&mut self, now: Instant) {
        if self.held.is_empty() {
            return;
        }
        let heard = self.quorum.count(|name| {
            let other = self.members.get(name).is_some_and(|member| !member.heartbeat);
            (other || self.is_fresh(now, name)).then(|| self.detector.side_of(name))
        });
        if heard.enough && !self.detector.is_in_doubt() {
            for (name, cause) in std::mem::take(&mut self.held) {
                self.outputs.push_back(WatchOutput::DeclareDead { name, cause });
            }
        } else {
            self.detector.call_all(now);
        }
    }

    fn recount(&mut self, now: Instant) {
        self.admit();
        self.counted = self.count(now);
        let side = |name: &str| self.side_of(now, name);
        let hears_us = |name: &str| self.detector.is_acquainted(name);
        if let Some(memory) = self.quorum.recall(self.counted, side, hears_us) {
            self.quorum.keep(memory);
        }
        self.detector.set_side(now, self.quorum.side());
    }

    fn stand(&mut self, now: Instant) -> Standing {
        if let Some(until) = self.starting_until {
            if now < until || self.joining {
                return Standing::Starting;
            }
            self.starting_until = None;
        }
        // Most datagrams change nothing about who is present, and there may be many members.
        if self.detector.take_presence_changed() | std::mem::take(&mut self.uncounted) {
            self.recount(now);
        }
        if self.detector.is_in_doubt() {
            return Standing::Doubtful;
        }
        let Count { present, known, enough, .. } = self.counted;
        if enough && matches!(self.standing, Standing::Minority { .. }) {
            // It hears them again; they may have declared it dead meanwhile, and somebody else acts in its place.
            self.doubt(now);
            if self.detector.is_in_doubt() {
                return Standing::Doubtful;
            }
        }
        if enough { Standing::Confirmed } else { Standing::Minority { present, known } }
    }
}

#[cfg(test)]
mod tests;
