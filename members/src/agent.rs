// SPDX-License-Identifier: Apache-2.0
//! One member of a ring, whole: the memberlist, the failure detector beside it, the majority, and for how long this member may speak.
//! A synchronous value without sockets and clock: inputs go in, outputs are carried out in their order.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::detection::Detection;
use crate::event::{Event, Member, Output, Standing};
use crate::failure_detector::{Action, FailureDetector};
use crate::heartbeat::PeerReport;
use crate::heartbeat::wire::{Mark, Message};
use crate::quorum::Count;
use crate::ring::{Config, ConfigError, Ring};

/// One moment by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// By the clock that stands while the system is suspended.
    pub monotonic: Instant,
    /// By the clock that goes on then (`CLOCK_BOOTTIME`), since any beginning.
    pub boottime: Duration,
}

/// Who a member is, and how it behaves.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// For the memberlist.
    pub ring: Config,
    /// For the failure detector.
    pub detection: Detection,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// A packet of the memberlist came; label and encryption are off.
    Packet {
        /// From where.
        from: SocketAddr,
        /// The packet.
        octets: &'a [u8],
    },
    /// A message of the heartbeat came, its seal opened.
    Heartbeat {
        /// From where.
        from: SocketAddr,
        /// The message.
        message: Message,
    },
    /// The host at this address says that nobody listens on that port: an ICMP message which came from that address itself, and which quotes
    /// a datagram that was sent there a moment ago.
    PortClosed(SocketAddr),
    /// A packet of the memberlist to there could not be sent.
    Unreachable(SocketAddr),
    /// Somebody opened a stream and sent a message; label and encryption are off. It is answered by [`Output::Answer`] or
    /// [`Output::Refuse`], in the same turn.
    Request {
        /// The number that the caller gives the stream.
        stream: u64,
        /// The message.
        octets: &'a [u8],
    },
    /// The end of [`Output::Open`]: the answer, or why there is none. To be given once for each.
    Response {
        /// As in the output.
        stream: u64,
        /// The answer; label and encryption are off.
        result: Result<&'a [u8], &'a str>,
    },
    /// Those above ask for something.
    Command(Command),
    /// The deadline has passed.
    Deadline {
        /// The time of day, since the epoch, as far as this machine knows it.
        time_of_day: Option<Duration>,
    },
}

/// What those above ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// As [`Ring::join`].
    Join(Vec<SocketAddr>),
    /// As [`Ring::set_meta`]; more than [`META`](crate::META) octets are not told.
    SetMeta(Vec<u8>),
    /// Tell members that speak the heartbeat something directly, as [`Event::Notice`] there.
    Notify {
        /// Whom; none for all.
        to: Option<Arc<str>>,
        /// What, [`NOTICE_LIMIT`](crate::heartbeat::wire::NOTICE_LIMIT) octets at most.
        octets: Vec<u8>,
    },
    /// Let every heartbeat carry this from now, as [`Event::Marked`] there.
    Mark(Mark),
    /// These are no members any more, by what the API says.
    Gone(BTreeSet<Arc<str>>),
    /// Nothing is to be kept of these, unless they are members.
    Forget(BTreeSet<Arc<str>>),
    /// These should be members, by what the API says.
    Expect(BTreeSet<Arc<str>>),
    /// There is nobody to wait for.
    Alone,
    /// Those above know the members as they are now that this one may speak (again).
    Resume,
    /// As [`Ring::leave`].
    Leave,
}

/// Until when this member may speak, by the clock that goes on in suspend. The others act in its place only after that: a member that
/// stands still, or hears nobody, lets it run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// It may not.
    None,
    /// Until then (`CLOCK_BOOTTIME`), if it isn't renewed.
    Until(Duration),
    /// For ever.
    Unlimited,
}

/// See the module's head.
pub struct Agent {
    ring: Ring,
    failure_detector: FailureDetector,
    /// When the last input came.
    now: Moment,
    /// When the failure detector was last asked, by the clock that goes on in suspend.
    awake: Duration,
    /// A standstill of that length may have cost this member its life.
    stall: Duration,
    /// Whether those above have looked at the members since this member may speak (again).
    resumed: bool,
    lease: Lease,
    outputs: VecDeque<Output>,
    /// Whether the members are others than was last told.
    changed: bool,
    /// What is told after them.
    told: VecDeque<Event>,
}

impl Agent {
    /// Begins, in a ring of one.
    ///
    /// # Errors
    /// When the name or the meta data is impossible.
    pub fn new(config: AgentConfig, now: Moment) -> Result<Self, ConfigError> {
        let AgentConfig { ring, detection } = config;
        let heartbeat = detection.heartbeat;
        let name = Arc::clone(&ring.name);
        Ok(Self {
            ring: Ring::new(ring, now.monotonic)?,
            failure_detector: FailureDetector::new(name, detection, now.monotonic),
            now,
            awake: now.boottime,
            stall: heartbeat.detection_time().saturating_sub(heartbeat.interval / 10),
            resumed: false,
            lease: Lease::None,
            outputs: VecDeque::new(),
            changed: false,
            told: VecDeque::new(),
        })
    }

    /// Takes one input in. A standstill is noticed with the inputs of the failure detector, before anything that they say is believed.
    pub fn handle(&mut self, now: Moment, input: Input<'_>) {
        self.now = now;
        let monotonic = now.monotonic;
        match input {
            Input::Packet { from, octets } => self.ring.receive(monotonic, from, octets),
            Input::Heartbeat { from, message } => {
                self.detect(|it, now| it.handle(now, from, message));
            }
            Input::PortClosed(to) => {
                self.ring.unreachable(monotonic, to, true);
                self.detect(|it, now| it.port_closed(now, to));
            }
            Input::Unreachable(to) => self.ring.unreachable(monotonic, to, false),
            Input::Request { stream, octets } => self.ring.request(monotonic, stream, octets),
            Input::Response { stream, result } => self.ring.response(monotonic, stream, result),
            Input::Command(command) => self.command(command),
            Input::Deadline { time_of_day } => self.expire(time_of_day),
        }
    }

    /// The next thing to carry out. [`Event::MembersChanged`] and what is told after it come when there is nothing else.
    pub fn poll(&mut self) -> Option<Output> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
            if let Some(output) = self.ring.poll() {
                if let Output::Event(event) = &output {
                    self.changed |= event.changes_members();
                    self.detect(|it, now| it.member_event(now, event));
                }
                return Some(output);
            }
            let now = self.now.monotonic;
            match self.failure_detector.poll() {
                Some(Action::Send { to, message }) => {
                    return Some(Output::Heartbeat { to, message });
                }
                Some(Action::DeclareDead { name, cause }) => {
                    self.ring.declare_dead(now, &name);
                    return Some(Output::DeclaredDead { name, cause });
                }
                Some(Action::Vouch(name)) => self.ring.vouch(now, &name),
                Some(Action::Reappear) => self.ring.reappear(now),
                Some(Action::Exchange(name)) => self.ring.exchange(now, &name),
                Some(Action::Tell(event)) => self.told.push_back(event),
                None if std::mem::take(&mut self.changed) => {
                    return Some(Output::Event(Event::MembersChanged));
                }
                None => return self.told.pop_front().map(Output::Event),
            }
        }
    }

    /// When [`Input::Deadline`] is to be given.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.ring.deadline().into_iter().fold(self.failure_detector.deadline(), Instant::min)
    }

    /// Until when datagrams may lie unread, for a few milliseconds at most, because more is expected by then.
    #[must_use]
    pub fn gathers_until(&self, now: Instant) -> Option<Instant> {
        self.failure_detector.gathers_until(now)
    }

    /// Until when this member may speak. It is renewed with every input of the failure detector, and with no other: a packet of the
    /// memberlist does not show how long this member stood still.
    #[must_use]
    pub const fn lease(&self) -> Lease {
        self.lease
    }

    /// Whether this member may speak, and why not.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.failure_detector.standing()
    }

    /// With how many this member is, of how many.
    #[must_use]
    pub fn count(&self, now: Instant) -> Count {
        self.failure_detector.count(now)
    }

    /// What is known of the members that speak the heartbeat, for people.
    #[must_use]
    pub fn report(&self, now: Instant) -> Vec<PeerReport> {
        self.failure_detector.report(now)
    }

    /// All members, the dead ones that are still remembered and ourselves included, by name.
    pub fn members(&self) -> impl Iterator<Item = Member> + '_ {
        self.ring.members()
    }

    /// A member.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<Member> {
        self.ring.member(name)
    }

    /// As [`Ring::stream_message`].
    #[must_use]
    pub fn stream_message(&self, stream: u64) -> Option<Vec<u8>> {
        self.ring.stream_message(stream)
    }

    /// Zero if we do well; higher the more answers we missed.
    #[must_use]
    pub const fn health_score(&self) -> u32 {
        self.ring.health_score()
    }

    /// Packets and messages of the memberlist that could not be read.
    #[must_use]
    pub const fn discarded(&self) -> u64 {
        self.ring.discarded()
    }

    fn command(&mut self, command: Command) {
        let now = self.now.monotonic;
        match command {
            Command::Join(addresses) => self.ring.join(now, addresses),
            // Its length is for the caller to look at.
            Command::SetMeta(meta) => drop(self.ring.set_meta(now, &meta)),
            Command::Notify { to, octets } => {
                self.detect(|it, now| it.notify(now, to.as_deref(), &octets));
            }
            Command::Mark(mark) => self.detect(|it, _| it.set_mark(mark)),
            Command::Gone(names) => self.detect(|it, now| it.set_gone(now, names)),
            Command::Forget(names) => self.detect(|it, now| it.forget(now, &names)),
            Command::Expect(names) => self.detect(|it, now| it.set_expected(now, names)),
            Command::Alone => self.detect(FailureDetector::alone),
            Command::Resume => {
                self.wake();
                self.resumed = true;
                self.renew();
            }
            Command::Leave => self.ring.leave(now),
        }
    }

    fn expire(&mut self, time_of_day: Option<Duration>) {
        let now = self.now.monotonic;
        if self.ring.deadline().is_some_and(|at| at <= now) {
            self.ring.expire(now);
        }
        if self.failure_detector.deadline() <= now {
            self.detect(|it, now| {
                if let Some(time) = time_of_day {
                    it.set_time_of_day(now, time);
                }
                it.tick(now);
            });
        }
    }

    /// Gives the failure detector an input.
    fn detect(&mut self, act: impl FnOnce(&mut FailureDetector, Instant)) {
        self.wake();
        act(&mut self.failure_detector, self.now.monotonic);
        self.renew();
    }

    /// Before anything is believed: whether this member stood still.
    fn wake(&mut self) {
        let Moment { monotonic, boottime } = self.now;
        let gap = boottime.saturating_sub(std::mem::replace(&mut self.awake, boottime));
        if gap >= self.stall {
            self.failure_detector.stalled(monotonic, gap);
            self.outputs.push_back(Output::StoodStill(gap));
        }
        self.renew();
    }

    /// After everything: the lease as it is now.
    fn renew(&mut self) {
        self.resumed &= self.standing().speaks();
        self.lease = match self.failure_detector.lease() {
            _ if !self.resumed => Lease::None,
            None => Lease::Unlimited,
            Some(Duration::ZERO) => Lease::None,
            Some(time) => Lease::Until(self.now.boottime + time),
        };
    }
}

#[cfg(test)]
mod tests;
