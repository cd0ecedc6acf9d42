// SPDX-License-Identifier: Apache-2.0
//! The failure detector beside a ring. It finds the members that are dead before the memberlist knows, and decides whether this member may
//! answer at all. A synchronous value, driven by the [`Agent`](crate::Agent).

mod by_link;
mod membership;
mod presence;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::detection::Detection;
use crate::event::{Event, Standing};
use crate::heartbeat::wire::{Mark, Message, Opinion};
use crate::heartbeat::{self, Cause, Detector, PeerReport};
use crate::quorum::{Count, Fencing, Quorum};
use by_link::Lost;

/// The time between two reports to the ring on members that are heard.
const VOUCH_INTERVAL: Duration = Duration::from_millis(500);
/// The least time between two requests to tell the ring of this member anew, because another member does not count it.
const REAPPEAR_INTERVAL: Duration = Duration::from_millis(200);
/// The time by which the lease is shorter than the least time from a sign of life to the verdict. The lease is renewed whenever the thread
/// wakes, up to a heartbeat after the last sign of life: if only this thread stands still, the lease may end about 90 ms after the verdict.
const LEASE_MARGIN: Duration = Duration::from_millis(10);

/// One member of the ring that is not known to be dead, with the properties that the failure detector needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Neighbour {
    /// The member's name.
    pub(crate) name: Arc<str>,
    /// The address at which the member is reached.
    pub(crate) address: SocketAddr,
    /// True if the member uses the heartbeat.
    pub(crate) heartbeat: bool,
}

/// An action that the failure detector wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Seal this message and send it.
    Send { to: SocketAddr, message: Message },
    /// Tell this event to the layer above.
    Tell(Event),
    /// The ring is to count this member as dead and to tell all members.
    DeclareDead { name: Arc<str>, cause: Cause },
    /// The ring is to know that this member lives.
    Vouch(Arc<str>),
    /// Some member does not count this one: the ring is to tell of it anew.
    Reappear,
    /// The ring is to exchange states with this member, and to tell when it has.
    Exchange(Arc<str>),
    /// The ring is to join the member at this address.
    Join(SocketAddr),
}

/// See the module's head.
pub(crate) struct FailureDetector {
    name: Arc<str>,
    options: Detection,
    detector: Detector,
    quorum: Quorum,
    members: BTreeMap<Arc<str>, Neighbour>,
    /// Members that this one has found dead and not declared dead yet: this member itself may be cut off.
    held: BTreeMap<Arc<str>, Cause>,
    /// Names that should be members by the API's list; they count as soon as any member was met.
    expected: BTreeSet<Arc<str>>,
    met: bool,
    /// Members that answered over a stream after no datagram of theirs had come for long; the memberlist judges these.
    reached: BTreeSet<Arc<str>>,
    /// The times at which members were asked over a stream.
    tried: BTreeMap<Arc<str>, Instant>,
    /// The members of `reached` that were told as unheard.
    unheard: BTreeSet<Arc<str>>,
    /// The member with which an exchange was last wanted to settle a self-suspicion, and the time of it.
    exchange: Option<(Arc<str>, Instant)>,
    /// The last count, and whether its inputs have changed since.
    counted: Count,
    uncounted: bool,
    starting_until: Option<Instant>,
    /// True while joins are under way that may still find members.
    joining: bool,
    standing: Standing,
    next_vouch: Instant,
    last: Instant,
    reappeared: Option<Instant>,
    lost: Lost,
    actions: VecDeque<Action>,
}

impl FailureDetector {
    /// A failure detector that knows no other member.
    pub(crate) fn new(name: Arc<str>, options: Detection, now: Instant) -> Self {
        let detector = Detector::new(Arc::clone(&name), options.heartbeat, options.session, now);
        // Of two members that lost one another one at most may go on without asking the link.
        let of_two = options.fence_two || options.fencing == Fencing::Link;
        let quorum = Quorum::new(Arc::clone(&name), options.fencing, of_two);
        let Detection { alone, start_wait, .. } = options;
        let starting_until = (!alone).then(|| now + start_wait);
        Self {
            name,
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
            lost: Lost::new(now),
            actions: VecDeque::new(),
            options,
        }
    }

    /// This member may count as dead; with `--fencing=off` that does not silence it.
    fn suspect_self(&mut self, now: Instant) {
        if self.options.fencing != Fencing::Off {
            self.detector.suspect_self(now);
        }
    }

    /// States were exchanged with a member over a stream that was opened at `began`.
    fn exchanged(&mut self, now: Instant, name: &Arc<str>, began: Instant) {
        self.detector.exchanged(now, began);
        if self.detector.is_stranger(began, name) {
            self.reached.insert(Arc::clone(name));
            self.uncounted = true;
            self.tell_unheard(now);
        }
        self.settle(now);
    }

    /// Sets the mark that every heartbeat carries from now.
    pub(crate) fn set_mark(&mut self, mark: Mark) {
        self.detector.set_mark(mark);
    }

    /// Sends octets to one member, or to all that use the heartbeat.
    pub(crate) fn notify(&mut self, now: Instant, to: Option<&str>, bytes: &[u8]) {
        self.detector.notify(now, to, bytes);
        self.settle(now);
    }

    /// No other member is to be waited for, as none is known to anybody.
    pub(crate) fn alone(&mut self, now: Instant) {
        if self.members.is_empty() {
            self.starting_until = None;
        }
        self.lost.set_listed(BTreeSet::new());
        self.settle(now);
    }

    /// Notes whether hosts are being contacted for the first time: the start is not over before it is known whether they answer.
    fn set_joining(&mut self, now: Instant, joining: bool) {
        self.joining = joining;
        self.settle(now);
    }

    /// Another member says that this one is dead.
    fn accused(&mut self, now: Instant) {
        self.suspect_self(now);
        self.settle(now);
    }

    /// This member stood still until now, for this time by a clock that goes on in suspend.
    pub(crate) fn stalled(&mut self, now: Instant, time: Duration) {
        if time >= self.lease_time() {
            self.ask_anew();
            self.suspect_self(now);
        }
        self.settle(now);
    }

    /// A datagram has come; its seal is opened.
    pub(crate) fn handle(&mut self, now: Instant, from: SocketAddr, message: Message) {
        if self.answers_probe(now, from, &message) {
            return self.settle(now);
        }
        let unknown = matches!(message.view, Opinion::Unknown | Opinion::Dead);
        if unknown
            && self.members.contains_key(&message.from)
            && self.reappeared.is_none_or(|last| now >= last + REAPPEAR_INTERVAL)
        {
            self.reappeared = Some(now);
            self.actions.push_back(Action::Reappear);
        }
        self.detector.handle(now, from, message);
        self.settle(now);
    }

    /// The kernel says that nobody listens at this address.
    pub(crate) fn port_closed(&mut self, now: Instant, address: SocketAddr) {
        self.detector.port_closed(now, address);
        self.settle(now);
    }

    /// Does everything that has become due.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.detector.tick(now);
        if now >= self.next_vouch {
            self.next_vouch = now + VOUCH_INTERVAL;
            for name in self.members.keys() {
                if self.is_fresh(now, name) {
                    self.actions.push_back(Action::Vouch(Arc::clone(name)));
                }
            }
            self.try_strangers(now);
            self.tell_unheard(now);
        }
        self.probe_lost(now);
        self.settle(now);
    }

    /// The next action.
    pub(crate) fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The time at which [`Self::tick`] is due: never later than a heartbeat, which renews a lease in time.
    pub(crate) fn deadline(&self) -> Instant {
        let start = self.starting_until.filter(|_| !self.joining);
        let held =
            (!self.held.is_empty()).then(|| self.last + self.options.heartbeat.probe_interval);
        let others = [start, held, self.by_link_deadline()];
        others.into_iter().flatten().fold(self.detector.deadline(), Instant::min)
    }

    /// As [`Detector::set_time_of_day`].
    pub(crate) fn set_time_of_day(&mut self, now: Instant, since_epoch: Duration) {
        self.detector.set_time_of_day(now, since_epoch);
    }

    /// As [`Detector::gathers_until`], but none while this member may not answer or a death is to be declared.
    pub(crate) fn gathers_until(&self, now: Instant) -> Option<Instant> {
        let at_rest = self.standing.speaks() && self.held.is_empty();
        if at_rest { self.detector.gathers_until(now) } else { None }
    }

    /// The standing of this member.
    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }

    /// The time from now for which this member may answer without another renewal; none for ever.
    pub(crate) fn lease(&self) -> Option<Duration> {
        if self.options.fencing == Fencing::Off && self.standing.speaks() {
            return None;
        }
        let may_answer = self.standing.speaks() || self.standing.asks_link();
        Some(if may_answer { self.lease_time() } else { Duration::ZERO })
    }

    /// A report on the members that use the heartbeat, for people.
    pub(crate) fn report(&self, now: Instant) -> Vec<PeerReport> {
        self.detector.report(now)
    }

    fn lease_time(&self) -> Duration {
        self.options.heartbeat.detection_time().saturating_sub(LEASE_MARGIN)
    }

    fn settle(&mut self, now: Instant) {
        self.last = now;
        while let Some(output) = self.detector.poll() {
            match output {
                heartbeat::Output::Send { to, message } => {
                    self.actions.push_back(Action::Send { to, message });
                }
                heartbeat::Output::Dead { name, cause } => {
                    self.held.insert(name, cause);
                }
                heartbeat::Output::Back { name } => {
                    self.held.remove(&name);
                }
                heartbeat::Output::Forgotten => self.suspect_self(now),
                heartbeat::Output::Marked { name, mark } => {
                    self.actions.push_back(Action::Tell(Event::Marked { name, mark }));
                }
                heartbeat::Output::Notice { from, bytes } => {
                    let notice = Event::Notice { from, octets: bytes };
                    self.actions.push_back(Action::Tell(notice));
                }
            }
        }
        self.declare(now);
        self.ask_ring(now);
        let standing = self.stand(now);
        if standing != self.standing {
            self.standing = standing;
            self.actions.push_back(Action::Tell(Event::Standing(standing)));
        }
        self.tell_lost(now);
    }
}

#[cfg(test)]
mod tests;
