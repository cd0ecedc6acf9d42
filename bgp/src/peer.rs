// SPDX-License-Identifier: Apache-2.0
//! One peer: up to two connections of which one survives (RFC 4271 §6.8), when to try again, and what the peer is to be told.
//! A synchronous value: events in by [`Peer::handle`], what to do out by [`Peer::poll`], octets out by [`Peer::transmit`], the
//! next time to look by [`Peer::deadline`].

mod collision;
mod egress;
mod newcomer;
mod omission;
mod react;
mod status;
mod stop;

use std::collections::VecDeque;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;

use crate::adj_rib_out::{AdjRibOut, Filled, NextHops};
use crate::config::{Change, Config};
use crate::jitter::Jitter;
use crate::received::Received;
use crate::route::{Attributes, Routes};
use crate::session::transition::Trigger;
use crate::session::{Cause, Direction, Session, Surroundings};
use crate::status::{Counters, Down, DownReason, Negotiated, State, Stop};
use omission::Omission;

pub use newcomer::Admission;

/// The first pause after a failure; it doubles up to the connect time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// A session that lived so long was a success: the next attempt needs no pause.
const SUCCESS: Duration = Duration::from_secs(10);
/// After so long no connection is on its way any more that was begun before the session was up.
const SETTLED: Duration = Duration::from_secs(5);
/// The pause after an attempt that found no way to the peer: as it may be there again at any moment, this does not grow.
const UNREACHABLE_PAUSE: Duration = Duration::from_secs(3);
/// TCP repeats the first packet of a younger attempt soon enough by itself.
const YOUNG_ATTEMPT: Duration = Duration::from_secs(1);
/// For so long at most a peer whose connection failed in the protocol is not let in.
const LONGEST_REFUSAL: Duration = Duration::from_secs(5);
/// How long End-of-RIB waits for the caller if no restart time says otherwise.
const LONGEST_WAIT: Duration = Duration::from_mins(2);

/// What happens to a peer.
#[derive(Debug)]
pub enum Event<'a> {
    /// Begin.
    Start,
    /// End every connection and do nothing more.
    Stop(Stop),
    /// TCP connected.
    Connected {
        /// Who opened the connection.
        direction: Direction,
        /// Our end.
        local: SocketAddr,
        /// The peer's end.
        remote: SocketAddr,
        /// Addresses for next hops on the interface that it goes over.
        next_hops: NextHops,
    },
    /// TCP could not connect, or the connection ended; without a text the peer closed it.
    Disconnected {
        /// Which.
        direction: Direction,
        /// What failed.
        error: Option<String>,
    },
    /// TCP did not take what [`Peer::transmit`] gave: the connection has ended.
    Unsent {
        /// Which.
        direction: Direction,
        /// What failed.
        error: String,
    },
    /// Our attempt to connect found no way to the peer: it is asked again soon, however often that was in vain.
    Unreachable {
        /// What failed.
        error: String,
    },
    /// Octets came.
    Received {
        /// On which connection.
        direction: Direction,
        /// The octets.
        octets: &'a [u8],
    },
    /// So many of the octets of [`Peer::transmit`] were taken.
    Written {
        /// On which connection.
        direction: Direction,
        /// How many.
        count: usize,
    },
    /// The time of [`Peer::deadline`] has come.
    Timer,
    /// From now the peer shall have this.
    Routes(Arc<Routes>),
    /// From now it shall have these, and of those with `None` nothing.
    Changes(Vec<(IpNet, Option<Arc<Attributes>>)>),
    /// From now the session is to be like this.
    Configure(Arc<Config>),
    /// The routes are complete: End-of-RIB may be sent. Before `Start` it says that this is no restart.
    InitialSyncDone,
    /// BFD says that the path works, the link is back, or the peer was heard: an attempt is worth while, and one that began
    /// before that is begun anew.
    Reachable,
    /// BFD says that it does not.
    BfdDown,
    /// Announce GRACEFUL_SHUTDOWN, or no longer.
    Drain(bool),
    /// Addresses on the interface towards the peer have changed.
    NextHops(NextHops),
    /// What keeps the shell from connecting or listening, or that nothing does.
    Problem {
        /// From which of both.
        hindrance: Hindrance,
        /// What; `None`: nothing any more.
        text: Option<String>,
    },
    /// The neighbour of an unnumbered peer, which the session runs with, has moved to this address.
    Moved(Ipv6Addr),
}

/// What a problem keeps the shell from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hindrance {
    /// Connecting.
    Connecting,
    /// Listening.
    Listening,
}

/// What is to be done for a peer.
#[derive(Debug)]
pub enum Output {
    /// Connect to it, and give up an attempt that still runs.
    Connect,
    /// Write these octets if they are taken at once, then close the connection.
    Close {
        /// Which.
        direction: Direction,
        /// The last octets.
        octets: Vec<u8>,
    },
    /// The session is up.
    Established(Arc<Negotiated>),
    /// A session or an attempt ended.
    Down(Down),
}

/// One peer.
#[derive(Debug)]
pub struct Peer {
    config: Arc<Config>,
    jitter: Jitter,
    outgoing: Session,
    incoming: Option<Session>,
    next_hops: NextHops,
    rib: AdjRibOut,
    received: Received,
    counters: Counters,
    running: bool,
    restarting: bool,
    drain: bool,
    /// Parts of an OPEN that the peer refused since the last session.
    omitted: Omission,
    failures: u32,
    /// Since when we try to connect.
    attempt: Option<Instant>,
    /// The attempt that just failed found no way to the peer.
    unreachable: bool,
    /// IdleHoldTimer (RFC 4271 §8.1.1).
    idle_hold: Option<Instant>,
    /// Until then connections of the peer are refused.
    refusing: Option<Instant>,
    /// Until then End-of-RIB waits for the caller.
    complete_by: Option<Instant>,
    up: Option<Direction>,
    state: State,
    since: Instant,
    last_down: Option<Down>,
    last_drop: Option<Down>,
    established: u64,
    dropped: u64,
    connect_problem: Option<String>,
    listen_problem: Option<String>,
    revision: u64,
    outputs: VecDeque<Output>,
}

impl Peer {
    /// In Idle; it begins with [`Event::Start`]. Peers must not share a seed, or they try in step.
    #[must_use]
    pub fn new(now: Instant, config: Arc<Config>, seed: u64) -> Self {
        Self {
            config,
            jitter: Jitter::new(seed),
            outgoing: Session::new(),
            incoming: None,
            next_hops: NextHops::default(),
            rib: AdjRibOut::default(),
            received: Received::default(),
            counters: Counters::default(),
            running: false,
            restarting: true,
            drain: false,
            omitted: Omission::default(),
            failures: 0,
            attempt: None,
            unreachable: false,
            idle_hold: None,
            refusing: None,
            complete_by: None,
            up: None,
            state: State::Idle,
            since: now,
            last_down: None,
            last_drop: None,
            established: 0,
            dropped: 0,
            connect_problem: None,
            listen_problem: None,
            revision: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Takes an event.
    pub fn handle(&mut self, now: Instant, event: Event<'_>) {
        match event {
            Event::Start => {
                self.running = true;
                self.start(now, Trigger::ManualStart);
            }
            Event::Stop(stop) => self.stop(now, &stop),
            Event::Connected { direction, local, remote, next_hops } => {
                self.connected(now, direction, local, remote, next_hops);
            }
            Event::Disconnected { direction, error } => {
                let reason = error.map_or(DownReason::ClosedByPeer, DownReason::Tcp);
                self.with(now, direction, |session, around| session.failed(around, reason));
            }
            Event::Unsent { direction, error } => {
                self.with(now, direction, |session, around| {
                    let reason = if session.holds_update() {
                        DownReason::UpdateUnsent(error)
                    } else {
                        DownReason::Tcp(error)
                    };
                    session.failed(around, reason);
                });
            }
            Event::Unreachable { error } => {
                self.unreachable = true;
                let reason = DownReason::Tcp(error);
                self.with(now, Direction::Outgoing, |session, around| {
                    session.failed(around, reason);
                });
                self.unreachable = false;
            }
            Event::Received { direction, octets } => {
                self.with(now, direction, |session, around| session.received(around, octets));
            }
            Event::Written { direction, count } => {
                self.counters.sent.octets += u64::try_from(count).unwrap_or(u64::MAX);
                self.with(now, direction, |session, _| session.written(now, count));
            }
            Event::Timer => self.expire(now),
            Event::Routes(routes) => {
                self.rib.set_routes(routes);
                self.revision += 1;
            }
            Event::Changes(changes) => {
                self.rib.change_routes(changes);
                self.revision += 1;
            }
            Event::Configure(config) => self.configure(now, config),
            Event::InitialSyncDone => {
                self.complete_by = None;
                self.rib.set_complete();
                if !self.running {
                    self.restarting = false;
                }
            }
            Event::Reachable => self.reachable(now),
            Event::BfdDown => self.bfd_down(now),
            Event::Drain(drain) => {
                self.drain = drain;
                self.renew_egress();
                self.revision += 1;
            }
            Event::NextHops(next_hops) => {
                self.next_hops = next_hops;
                self.renew_egress();
            }
            Event::Problem { hindrance, text } => {
                let problem = match hindrance {
                    Hindrance::Connecting => &mut self.connect_problem,
                    Hindrance::Listening => &mut self.listen_problem,
                };
                if *problem != text {
                    *problem = text;
                    self.revision += 1;
                }
            }
            Event::Moved(address) => self.moved(now, address),
        }
        self.observe(now);
    }

    /// What to do next.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Event::Timer`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let incoming = self.incoming.as_ref().and_then(Session::deadline);
        let own = [self.idle_hold, self.complete_by];
        [self.outgoing.deadline(), incoming].into_iter().chain(own).flatten().min()
    }

    /// The octets that the connection shall carry next. UPDATEs are made here, only as many as there is room for: tell by
    /// [`Event::Written`] what was taken and call it again.
    pub fn transmit(&mut self, now: Instant, direction: Direction) -> &[u8] {
        if self.up == Some(direction) {
            self.fill(now, direction);
        }
        self.session(direction).map_or(&[], Session::waiting)
    }

    /// Whether a connection that the peer opens now would be taken. While a session is up that is only so if the peer may have
    /// lost it without our noticing (RFC 4724 §5), and not just after both sides had tried to connect. What then becomes of it
    /// says [`Peer::judge`].
    #[must_use]
    pub fn accepts(&self, now: Instant) -> bool {
        let up = self.up.and_then(|direction| self.session(direction));
        let replaceable = up.is_none_or(|session| {
            session.negotiated().is_some_and(|agreed| agreed.graceful_restart.is_some())
                && now.saturating_duration_since(self.since) >= SETTLED
        });
        self.running && replaceable && self.refusing.is_none_or(|until| until <= now)
    }

    /// The configuration that it runs with.
    #[must_use]
    pub const fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Whether a session is up.
    #[must_use]
    pub const fn is_established(&self) -> bool {
        self.up.is_some()
    }

    /// Whether it was stopped, or not begun.
    #[must_use]
    pub const fn is_stopped(&self) -> bool {
        !self.running
    }

    fn fill(&mut self, now: Instant, direction: Direction) {
        let session = match direction {
            Direction::Outgoing => Some(&mut self.outgoing),
            Direction::Incoming => self.incoming.as_mut(),
        };
        let Some(session) = session else { return };
        let mut appended = false;
        while let Some(out) = session.room()
            && let Some(filled) = self.rib.fill(out)
        {
            appended = true;
            match filled {
                Filled::Update { announced, withdrawn } => {
                    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
                    self.counters.sent.updates += 1;
                    self.counters.prefixes_announced += count(announced);
                    self.counters.prefixes_withdrawn += count(withdrawn);
                }
                Filled::Refresh => self.counters.sent.route_refreshes += 1,
            }
        }
        if appended {
            if self.rib.initial_update_sent() {
                self.restarting = false;
            }
            self.revision += 1;
            self.with(now, direction, |session, around| session.appended(around));
        }
    }

    fn expire(&mut self, now: Instant) {
        for direction in [Direction::Outgoing, Direction::Incoming] {
            self.with(now, direction, |session, around| session.expire(around));
        }
        if self.complete_by.take_if(|at| *at <= now).is_some() {
            self.rib.set_complete();
        }
        if self.idle_hold.take_if(|at| *at <= now).is_some() && self.running {
            self.start(now, Trigger::IdleHoldTimerExpires);
        }
    }

    fn start(&mut self, now: Instant, trigger: Trigger) {
        self.idle_hold = None;
        self.omitted.expire(now);
        let trigger = if self.config.passive {
            Trigger::ManualStartWithPassiveTcpEstablishment
        } else {
            trigger
        };
        self.with(now, Direction::Outgoing, |session, around| {
            session.trigger(around, trigger, Cause::NONE);
        });
    }

    fn reachable(&mut self, now: Instant) {
        self.failures = 0;
        self.refusing = None;
        if self.idle_hold.is_some() {
            self.idle_hold = Some(now);
            return;
        }
        let stale = match self.outgoing.state() {
            // What TCP waits for by now is the next of its ever rarer repetitions.
            State::Connect => self
                .attempt
                .is_none_or(|since| now.saturating_duration_since(since) >= YOUNG_ATTEMPT),
            State::Active => !self.config.passive,
            State::Idle | State::OpenSent | State::OpenConfirm | State::Established => false,
        };
        if stale && self.running && self.up.is_none() {
            self.with(now, Direction::Outgoing, |session, around| {
                session.trigger(around, Trigger::ConnectRetryTimerExpires, Cause::NONE);
            });
        }
    }

    fn connected(
        &mut self,
        now: Instant,
        direction: Direction,
        local: SocketAddr,
        remote: SocketAddr,
        next_hops: NextHops,
    ) {
        self.omitted.expire(now);
        if direction == Direction::Incoming {
            self.make_way(now);
            let mut session = Session::new();
            self.next_hops = next_hops;
            let trigger = Trigger::ManualStartWithPassiveTcpEstablishment;
            session.trigger(&mut self.surroundings(now), trigger, Cause::NONE);
            self.incoming = Some(session);
        }
        self.next_hops = next_hops;
        self.with(now, direction, |session, around| {
            session.connected(around, direction, local, remote);
        });
    }

    fn configure(&mut self, now: Instant, config: Arc<Config>) {
        if self.config.listens_on() != config.listens_on() {
            self.listen_problem = None;
        }
        match self.config.change(&config) {
            Change::None => self.config = config,
            Change::Soft(_) => {
                let mode = self.config.passive != config.passive;
                let key = self.config.password != config.password;
                self.config = config;
                self.renew_egress();
                for direction in [Direction::Outgoing, Direction::Incoming] {
                    self.with(now, direction, |session, around| session.reconfigure(around));
                }
                if let Some(direction) = self.up.filter(|_| key) {
                    // A router that begins anew for its own change of the key cannot tell us: its last message has the old one.
                    self.with(now, direction, |session, around| session.probe(around));
                }
                if mode
                    && self.running
                    && self.outgoing.state() < State::OpenSent
                    && self.up.is_none()
                {
                    self.with(now, Direction::Outgoing, |session, around| {
                        session.trigger(around, Trigger::ManualStop, Cause::NONE);
                    });
                    self.idle_hold = Some(now);
                }
            }
            Change::Reset(text) => self.reset(now, config, text),
        }
        self.revision += 1;
    }

    const fn session(&self, direction: Direction) -> Option<&Session> {
        match direction {
            Direction::Outgoing => Some(&self.outgoing),
            Direction::Incoming => self.incoming.as_ref(),
        }
    }

    /// Has a session do something, then does what follows from that.
    fn with(
        &mut self,
        now: Instant,
        direction: Direction,
        work: impl FnOnce(&mut Session, &mut Surroundings<'_>),
    ) {
        let pause = self.pause(self.failures + 1);
        let session = match direction {
            Direction::Outgoing => Some(&mut self.outgoing),
            Direction::Incoming => self.incoming.as_mut(),
        };
        let Some(session) = session else { return };
        let mut surroundings = Surroundings {
            now,
            config: &self.config,
            restarting: self.restarting,
            omitted: self.omitted.parts(),
            pause,
            jitter: &mut self.jitter,
        };
        work(session, &mut surroundings);
        self.settle(now, direction);
    }

    fn surroundings(&mut self, now: Instant) -> Surroundings<'_> {
        Surroundings {
            now,
            pause: self.pause(self.failures + 1),
            config: &self.config,
            restarting: self.restarting,
            omitted: self.omitted.parts(),
            jitter: &mut self.jitter,
        }
    }

    /// How long to wait after so many failures in a row.
    fn pause(&self, failures: u32) -> Duration {
        let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
        if failures == 0 {
            Duration::ZERO
        } else {
            doubled.min(self.config.connect_time.max(FIRST_PAUSE))
        }
    }
}

#[cfg(test)]
mod tests;
