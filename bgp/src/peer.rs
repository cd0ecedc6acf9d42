// SPDX-License-Identifier: Apache-2.0
//! One peer: up to two connections of which one survives (RFC 4271 §6.8), when to try again, and what the peer is to be told.
//! A synchronous value: events in by [`Peer::handle`], what to do out by [`Peer::poll`], octets out by [`Peer::transmit`], the
//! next time to look by [`Peer::deadline`].

mod collision;
mod egress;
mod event;
mod newcomer;
mod omission;
mod react;
mod status;
mod stop;
mod timing;
mod transmit;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::adj_rib_out::{AdjRibOut, NextHops};
use crate::config::{Change, Config};
use crate::jitter::Jitter;
use crate::received::Received;
use crate::session::transition::Trigger;
use crate::session::{Cause, Direction, Session, Surroundings};
use crate::status::{Counters, Down, DownReason, State};
use omission::Omission;
use timing::SETTLED;

pub use event::{Event, Hindrance, Output};
pub use newcomer::Admission;

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

    /// Whether a connection that the peer opens now would be taken. While a session is up that is only so if the peer may have
    /// lost it without our noticing (RFC 4724 §5), and not just after both sides had tried to connect. [`Peer::judge`] says what then
    /// becomes of it.
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
}

#[cfg(test)]
mod tests;
