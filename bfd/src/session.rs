// SPDX-License-Identifier: Apache-2.0
//! One session: the state variables of RFC 5880 section 6.8.1 and what changes them. No packet is read or looked up here, and no
//! timer is stored: what is due follows from when something happened last and from the intervals in force now, so that a change
//! of an interval moves the timer at once, as section 6.8.7 asks.
//!
//! `receive` has the rules of reception and the state machine (6.8.6, 6.2), `timing` the intervals, Poll Sequences and deadlines
//! (6.5, 6.8.2 to 6.8.4, 6.8.7), `echo` the Echo function (6.4, 6.8.5, 6.8.8, 6.8.9).
#![deny(clippy::wildcard_enum_match_arm)]

mod echo;
mod receive;
mod timing;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::delay::Delays;
use crate::random::Random;
use crate::{
    ControlPacket, Counters, Diagnostic, EchoPacket, Hops, Profile, SessionKey, State, Status,
};
use echo::Echo;
use timing::{Poll, micros};

/// What happens to a session.
#[derive(Debug)]
pub(crate) enum Event {
    /// A control packet that was found to be of this session.
    Control(ControlPacket),
    /// An Echo packet that carries this session's discriminator.
    Echo(EchoPacket),
    /// Something that was due may be due now.
    Deadline,
    /// The wishes of our side changed.
    Profile(Profile),
    /// It is stopped by its administrator; the peer is told at once.
    AdminDown,
    /// A control packet left the host; `due` if it was one of the periodic ones.
    ControlSent(Option<Instant>),
    /// An Echo packet left the host; `due` as above.
    EchoSent(Option<Instant>),
    /// What keeps it from working changed.
    Problem(Option<Arc<str>>),
}

/// What a session wants.
#[derive(Debug)]
pub(crate) enum Output {
    /// Send a control packet; `due` if it is one of the periodic ones.
    Control { packet: ControlPacket, due: Option<Instant> },
    /// Send an Echo packet; `due` as above.
    Echo { packet: EchoPacket, due: Option<Instant> },
    /// The state changed, or the problem.
    Changed,
}

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    key: SessionKey,
    profile: Profile,
    random: Random,
    state: State,
    since: Instant,
    diagnostic: Diagnostic,
    local_discriminator: u32,
    remote: Remote,
    /// bfd.DesiredMinTxInterval: what we tell.
    desired_min_tx: Duration,
    /// bfd.RequiredMinRxInterval: what we tell.
    required_min_rx: Duration,
    /// What we go by: differs from what we tell while a Poll Sequence has not ended (6.8.3).
    used_min_tx: Duration,
    used_min_rx: Duration,
    poll: Poll,
    last_control: Option<Instant>,
    /// Part of the interval until the next periodic packet, in units of 1/100,000.
    jitter: u32,
    echo: Echo,
    outputs: VecDeque<Output>,
    counters: Counters,
    delays: Delays,
    problem: Option<Arc<str>>,
}

/// What the peer told last. Intervals are in microseconds.
#[derive(Clone, Copy, Debug)]
struct Remote {
    discriminator: u32,
    state: State,
    diagnostic: Diagnostic,
    demand: bool,
    desired_min_tx: u32,
    required_min_rx: u32,
    required_min_echo_rx: u32,
    detect_multiplier: u8,
    heard: Option<Instant>,
}

impl Remote {
    /// Before it was heard; the values are those of section 6.8.1.
    const UNHEARD: Self = Self {
        discriminator: 0,
        state: State::Down,
        diagnostic: Diagnostic::None,
        demand: false,
        desired_min_tx: 0,
        required_min_rx: 1,
        required_min_echo_rx: 0,
        detect_multiplier: 0,
        heard: None,
    };
}

impl Session {
    /// A session in state Down. Its first packet is due within the jitter of the slow interval, so that many sessions do not
    /// start in step.
    pub(crate) fn new(
        now: Instant,
        key: SessionKey,
        profile: Profile,
        local_discriminator: u32,
        seed: u64,
    ) -> Self {
        let profile = profile.within_ranges();
        let mut random = Random::new(seed);
        let cookie = random.next();
        let jitter = random.up_to(25_000);
        let desired_min_tx = profile.transmit_interval.max(timing::SLOW);
        Self {
            key,
            profile,
            random,
            state: State::Down,
            since: now,
            diagnostic: Diagnostic::None,
            local_discriminator,
            remote: Remote::UNHEARD,
            desired_min_tx,
            required_min_rx: profile.receive_interval,
            used_min_tx: desired_min_tx,
            used_min_rx: profile.receive_interval,
            poll: Poll::Idle,
            last_control: None,
            jitter,
            echo: Echo::new(cookie),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            delays: Delays::default(),
            problem: None,
        }
    }

    /// Takes one event in.
    pub(crate) fn handle(&mut self, now: Instant, event: Event) {
        let due = (self.transmit_due(), self.echo_due());
        match event {
            Event::Control(packet) => self.receive(now, &packet),
            Event::Echo(packet) => self.echo_returned(now, &packet),
            Event::Deadline => self.deadline_passed(now),
            Event::Profile(profile) => {
                self.profile = profile.within_ranges();
                self.echo_negotiated(now);
                self.renegotiate(now);
            }
            Event::AdminDown => {
                self.change_state(now, State::AdminDown, Diagnostic::AdministrativelyDown);
                self.announce(now);
            }
            Event::ControlSent(due) => {
                self.counters.control_packet_output += 1;
                self.measure(now, due);
            }
            Event::EchoSent(due) => {
                self.measure(now, due);
                self.echo_sent(now);
            }
            Event::Problem(problem) => {
                if self.problem != problem {
                    self.problem = problem;
                    self.outputs.push_back(Output::Changed);
                }
            }
        }
        self.catch_up(now, due);
    }

    fn measure(&mut self, now: Instant, due: Option<Instant>) {
        if let Some(due) = due {
            self.delays.add(now.saturating_duration_since(due));
        }
    }

    /// What became due in the past because an interval became shorter, or began to count, is sent now and is not late.
    fn catch_up(&mut self, now: Instant, before: (Option<Instant>, Option<Instant>)) {
        let moved = |before: Option<Instant>, after: Option<Instant>| {
            after.is_some_and(|at| at <= now) && before.is_none_or(|at| at > now)
        };
        if moved(before.0, self.transmit_due()) {
            self.announce(now);
        }
        if moved(before.1, self.echo_due()) {
            self.transmit_echo(now, None);
        }
    }

    /// The next thing to carry out.
    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Event::Deadline`] is to be given.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.transmit_due(), self.detection_due(), self.echo_due(), self.echo_detection_due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// All that can be told.
    pub(crate) fn status(&self) -> Status {
        Status {
            state: self.state,
            remote_state: self.remote.state,
            diagnostic: self.diagnostic,
            remote_diagnostic: self.remote.diagnostic,
            since: self.since,
            local_discriminator: self.local_discriminator,
            remote_discriminator: self.remote.discriminator,
            transmit_interval: self.transmits_periodically().then(|| self.transmit_interval()),
            receive_interval: self.remote.heard.map(|_| self.receive_interval()),
            detection_time: self.remote.heard.map(|_| self.detection_time()),
            echo_interval: self.echo.is_active().then(|| self.echo_interval()),
            counters: self.counters,
            transmit_delay: self.delays.figures(),
            problem: self.problem.clone(),
        }
    }

    /// What it is known by.
    pub(crate) const fn key(&self) -> &SessionKey {
        &self.key
    }

    /// The least TTL of a packet that may be taken (RFC 5881 section 5, RFC 5883 section 5).
    pub(crate) const fn minimum_ttl(&self) -> u8 {
        match self.key.hops {
            Hops::Single => 255,
            Hops::Multi => self.profile.minimum_ttl,
        }
    }

    /// The one place where the state changes.
    fn change_state(&mut self, now: Instant, state: State, diagnostic: Diagnostic) {
        if self.state == state {
            return;
        }
        match (self.state, state) {
            (_, State::Up) => self.counters.session_up_events += 1,
            (State::Up, State::AdminDown | State::Down | State::Init) => {
                self.counters.session_down_events += 1
            }
            (
                State::AdminDown | State::Down | State::Init,
                State::AdminDown | State::Down | State::Init,
            ) => {}
        }
        self.state = state;
        self.diagnostic = diagnostic;
        self.since = now;
        self.poll = Poll::Idle;
        self.echo.stop();
        self.outputs.push_back(Output::Changed);
        self.renegotiate(now);
    }

    /// The packet that tells how things are now.
    fn packet(&self, poll: bool, is_final: bool) -> ControlPacket {
        ControlPacket {
            diagnostic: self.diagnostic,
            state: self.state,
            poll,
            is_final,
            control_plane_independent: false,
            demand: false,
            detect_multiplier: self.profile.detect_multiplier,
            my_discriminator: self.local_discriminator,
            your_discriminator: self.remote.discriminator,
            desired_min_tx_interval: micros(self.desired_min_tx),
            required_min_rx_interval: micros(self.required_min_rx),
            required_min_echo_rx_interval: self.offered_echo_interval(),
        }
    }
}

#[cfg(test)]
mod tests;
