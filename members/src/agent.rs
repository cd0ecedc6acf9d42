// SPDX-License-Identifier: Apache-2.0
//! One member of a ring, whole: the memberlist, the failure detector beside it, the majority, and the time until which
//! this member may answer. A synchronous value without sockets and clock: inputs go in, outputs are carried out in
//! their order.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::detection::Detection;
use crate::event::{Event, Member, Output, Standing};
use crate::failure_detector::{Action, FailureDetector};
use crate::heartbeat::wire::{Mark, Message};
use crate::heartbeat::{Cause, PeerReport};
use crate::quorum::Count;
use crate::ring::{Config, ConfigError, Ring};

/// One moment by two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The moment by the clock that stands while the system is suspended.
    pub monotonic: Instant,
    /// The moment by the clock that goes on in suspend (`CLOCK_BOOTTIME`), since any beginning.
    pub boottime: Duration,
}

/// The identity and the behaviour of a member.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The configuration of the memberlist.
    pub ring: Config,
    /// The configuration of the failure detector.
    pub detection: Detection,
}

/// An input of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// A packet of the memberlist came; label and encryption are off.
    Packet {
        /// The sender's address.
        from: SocketAddr,
        /// The packet.
        octets: &'a [u8],
    },
    /// A message of the heartbeat came, its seal opened.
    Heartbeat {
        /// The sender's address.
        from: SocketAddr,
        /// The message.
        message: Message,
    },
    /// The host at this address says that no program listens on the port: an ICMP message that came from the host
    /// itself, and that quotes a datagram sent there a moment ago.
    PortClosed(SocketAddr),
    /// A packet of the memberlist to this address could not be sent.
    Unreachable(SocketAddr),
    /// Another member opened a stream and sent a message; label and encryption are off. The answer is
    /// [`Output::Answer`] or [`Output::Refuse`], in the same turn.
    Request {
        /// The number that the caller gives the stream.
        stream: u64,
        /// The message.
        octets: &'a [u8],
    },
    /// The end of [`Output::Open`]: the answer, or the reason why there is none. To be given once for each.
    Response {
        /// The number in the output.
        stream: u64,
        /// The answer, without label and encryption; or the reason why there is none.
        result: Result<&'a [u8], &'a str>,
    },
    /// The layer above has a command.
    Command(Command),
    /// The deadline has passed.
    Deadline {
        /// The time of day, since the epoch, as far as this machine knows it.
        time_of_day: Option<Duration>,
    },
}

/// A command of the layer above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// As [`Ring::join`].
    Join(Vec<SocketAddr>),
    /// As [`Ring::set_meta`]; metadata of more than [`META`](crate::META) octets is not told.
    SetMeta(Vec<u8>),
    /// Sends octets directly to members that use the heartbeat, where they arrive as [`Event::Notice`].
    Notify {
        /// The receiver; none for all.
        to: Option<Arc<str>>,
        /// The octets, [`NOTICE_LIMIT`](crate::heartbeat::wire::NOTICE_LIMIT) at most.
        octets: Vec<u8>,
    },
    /// Puts this mark into every heartbeat from now; the receivers get it as [`Event::Marked`].
    Mark(Mark),
    /// The API's list says that these names are no members any more.
    Gone(BTreeSet<Arc<str>>),
    /// Forget everything about these names, unless they are members.
    Forget(BTreeSet<Arc<str>>),
    /// The API's list says that these names should be members.
    Expect {
        /// The names that count like members that were met.
        names: BTreeSet<Arc<str>>,
        /// The addresses at which members should be.
        addresses: BTreeSet<SocketAddr>,
    },
    /// Wait for no other member.
    Alone,
    /// The layer above knows the present members, now that this member may answer (again).
    Resume {
        /// The way in which the layer above is prepared to answer: true if for [`Standing::ByLink`]. In another standing the command does
        /// nothing.
        by_link: bool,
    },
    /// As [`Ring::leave`].
    Leave,
}

/// The time until which this member may answer, by the clock that goes on in suspend. The others act in its place only
/// after that time: a member that stands still, or hears nobody, lets the lease run out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// The member may not answer.
    None,
    /// The member may answer until this time (`CLOCK_BOOTTIME`), unless the lease is renewed.
    Until(Duration),
    /// The member may answer for ever.
    Unlimited,
}

/// The way in which a member may answer. The layer above has to prepare for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// For everything that it owns.
    Confirmed,
    /// For the addresses for which the link has no other station.
    ByLink,
}

impl Way {
    fn of(standing: Standing) -> Option<Self> {
        match standing {
            Standing::Confirmed => Some(Self::Confirmed),
            Standing::ByLink { .. } => Some(Self::ByLink),
            Standing::Starting | Standing::Doubtful | Standing::Minority { .. } => None,
        }
    }
}

/// One member of a ring, whole.
pub struct Agent {
    ring: Ring,
    failure_detector: FailureDetector,
    /// The moment of the last input.
    now: Moment,
    /// The last time at which the failure detector had an input, by the clock that goes on in suspend.
    awake: Duration,
    /// The length of a standstill that may have made the others declare this member dead.
    stall: Duration,
    /// The layer above has looked at the members since this member may answer (again): in this way.
    resumed: Option<Way>,
    lease: Lease,
    outputs: VecDeque<Output>,
    /// True if the members have changed since the last event about them.
    changed: bool,
    /// Events that are told after the members.
    told: VecDeque<Event>,
}

impl Agent {
    /// Begins, in a ring of one.
    ///
    /// # Errors
    /// The name or the metadata is impossible.
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
            resumed: None,
            lease: Lease::None,
            outputs: VecDeque::new(),
            changed: false,
            told: VecDeque::new(),
        })
    }

    /// Takes in one input. The agent notices a standstill with the inputs of the failure detector, before it believes
    /// their content.
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

    /// The next output to carry out. [`Event::MembersChanged`] and the events after it come when there is nothing else.
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
                    if cause == Cause::PortClosed {
                        self.outputs.push_back(Output::Event(Event::Ended(Arc::clone(&name))));
                    }
                    return Some(Output::DeclaredDead { name, cause });
                }
                Some(Action::Vouch(name)) => self.ring.vouch(now, &name),
                Some(Action::Reappear) => self.ring.reappear(now),
                Some(Action::Exchange(name)) => self.ring.exchange(now, &name),
                Some(Action::Join(address)) => self.ring.join(now, vec![address]),
                Some(Action::Tell(event)) => self.told.push_back(event),
                None if std::mem::take(&mut self.changed) => {
                    return Some(Output::Event(Event::MembersChanged));
                }
                None => return self.told.pop_front().map(Output::Event),
            }
        }
    }

    /// The time at which [`Input::Deadline`] is to be given.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.ring.deadline().into_iter().fold(self.failure_detector.deadline(), Instant::min)
    }

    /// The time until which datagrams may lie unread, a few milliseconds at most, because more are expected by then.
    #[must_use]
    pub fn gathers_until(&self, now: Instant) -> Option<Instant> {
        self.failure_detector.gathers_until(now)
    }

    /// The lease of this member. Every input of the failure detector renews it, and no other input does: a packet of
    /// the memberlist does not show how long this member stood still.
    #[must_use]
    pub const fn lease(&self) -> Lease {
        self.lease
    }

    /// The standing of this member: whether it may answer, and why not.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.failure_detector.standing()
    }

    /// The number of members present with this one, and the number known.
    #[must_use]
    pub fn count(&self, now: Instant) -> Count {
        self.failure_detector.count(now)
    }

    /// A report on the members that use the heartbeat, for people.
    #[must_use]
    pub fn report(&self, now: Instant) -> Vec<PeerReport> {
        self.failure_detector.report(now)
    }

    /// All members by name, this one and the dead ones that are still remembered included.
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

    /// Zero if this member does well; the higher, the more answers it has missed.
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
            // The caller has to check the length.
            Command::SetMeta(meta) => drop(self.ring.set_meta(now, &meta)),
            Command::Notify { to, octets } => {
                self.detect(|it, now| it.notify(now, to.as_deref(), &octets));
            }
            Command::Mark(mark) => self.detect(|it, _| it.set_mark(mark)),
            Command::Gone(names) => self.detect(|it, now| it.set_gone(now, names)),
            Command::Forget(names) => self.detect(|it, now| it.forget(now, &names)),
            Command::Expect { names, addresses } => {
                self.detect(|it, now| it.set_expected(now, names, addresses));
            }
            Command::Alone => self.detect(FailureDetector::alone),
            Command::Resume { by_link } => {
                self.wake();
                self.resumed = Some(if by_link { Way::ByLink } else { Way::Confirmed });
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

    /// Notices a standstill, before any input is believed.
    fn wake(&mut self) {
        let Moment { monotonic, boottime } = self.now;
        let gap = boottime.saturating_sub(std::mem::replace(&mut self.awake, boottime));
        if gap >= self.stall {
            self.failure_detector.stalled(monotonic, gap);
            if self.standing().asks_link() {
                self.resumed = None;
            }
            self.outputs.push_back(Output::StoodStill(gap));
        }
        self.renew();
    }

    /// Updates the lease after every input.
    fn renew(&mut self) {
        let (standing, way) = (self.standing(), Way::of(self.standing()));
        if self.resumed.is_some() && standing.keeps_announced() {
            // The layer above announces nothing else until it has heard of this.
            self.resumed = way;
        } else if self.resumed != way {
            self.resumed = None;
        }
        self.lease = match self.failure_detector.lease() {
            _ if self.resumed.is_none() => Lease::None,
            None => Lease::Unlimited,
            Some(Duration::ZERO) => Lease::None,
            Some(time) => Lease::Until(self.now.boottime + time),
        };
    }
}

#[cfg(test)]
mod tests;
