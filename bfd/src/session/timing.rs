// SPDX-License-Identifier: Apache-2.0
//! Intervals, Poll Sequences and deadlines: RFC 5880 sections 6.5, 6.8.2 to 6.8.4 and 6.8.7.

use std::time::{Duration, Instant};

use super::{Output, Remote, Session};
use crate::{Diagnostic, State};

/// The least Desired Min TX Interval while not Up (6.8.3), and the Required Min RX Interval while Echo packets flow (6.8.3).
pub(super) const SLOW: Duration = Duration::from_secs(1);

/// A Poll Sequence (6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Poll {
    /// None.
    Idle,
    /// P is set until F is received.
    Active {
        /// The values changed meanwhile, so that F may be the answer to the older ones: another sequence follows.
        again: bool,
    },
    /// A packet without P is to stand between two sequences.
    Between,
}

impl Session {
    /// Brings what we tell in line with the profile, the state and the Echo function. While Up a Poll Sequence tells the peer;
    /// before, nothing is negotiated yet and each packet holds from the moment it is sent.
    pub(super) fn renegotiate(&mut self, now: Instant) {
        let is_up = self.state == State::Up;
        let slow = |interval: Duration, slow| if slow { interval.max(SLOW) } else { interval };
        let desired_min_tx = slow(self.profile.transmit_interval, !is_up);
        let required_min_rx = slow(self.profile.receive_interval, self.echo.is_active());
        if (desired_min_tx, required_min_rx) == (self.desired_min_tx, self.required_min_rx) {
            return;
        }
        self.desired_min_tx = desired_min_tx;
        self.required_min_rx = required_min_rx;
        if !is_up {
            return self.use_told_intervals();
        }
        // 6.8.3: to send less often, and to expect packets more often, waits for the end of the Poll Sequence.
        self.used_min_tx = self.used_min_tx.min(desired_min_tx);
        self.used_min_rx = self.used_min_rx.max(required_min_rx);
        self.poll = match self.poll {
            Poll::Idle => Poll::Active { again: false },
            Poll::Active { again: _ } => Poll::Active { again: true },
            Poll::Between => Poll::Between,
        };
        self.announce(now);
    }

    const fn use_told_intervals(&mut self) {
        self.used_min_tx = self.desired_min_tx;
        self.used_min_rx = self.required_min_rx;
    }

    /// F was received.
    pub(super) fn poll_answered(&mut self) {
        match self.poll {
            Poll::Active { again: true } => self.poll = Poll::Between,
            Poll::Active { again: false } => {
                self.poll = Poll::Idle;
                self.use_told_intervals();
            }
            // An answer to nothing, or the second answer of a sequence.
            Poll::Idle | Poll::Between => {}
        }
    }

    /// Sends a packet out of turn because what it says is new; the next periodic one counts from it.
    pub(super) fn announce(&mut self, now: Instant) {
        if self.transmits_periodically() {
            self.transmit(now, None);
        }
    }

    fn transmit(&mut self, now: Instant, due: Option<Instant>) {
        let poll = matches!(self.poll, Poll::Active { .. });
        if self.poll == Poll::Between {
            self.poll = Poll::Active { again: false };
        }
        self.last_control = Some(now);
        self.jitter = self.draw_jitter();
        self.outputs.push_back(Output::Control { packet: self.packet(poll, false), due });
    }

    /// 75 to 100 percent, or 90 when a single lost packet is too much already (6.8.7).
    pub(super) fn draw_jitter(&mut self) -> u32 {
        let spread = if self.profile.detect_multiplier == 1 { 15_000 } else { 25_000 };
        75_000 + self.random.up_to(spread)
    }

    /// Whether periodic packets are to be sent at all (6.8.7).
    pub(super) fn transmits_periodically(&self) -> bool {
        let waits = self.profile.passive_mode && self.remote.discriminator == 0;
        let unwanted = self.remote.required_min_rx == 0;
        let demanded = self.remote.demand
            && self.state == State::Up
            && self.remote.state == State::Up
            && self.poll == Poll::Idle;
        !(waits || unwanted || demanded)
    }

    /// The time between two packets of ours, before jitter (6.8.2).
    pub(super) fn transmit_interval(&self) -> Duration {
        self.used_min_tx.max(Duration::from_micros(self.remote.required_min_rx.into()))
    }

    /// The time between two packets of the peer, as agreed.
    pub(super) fn receive_interval(&self) -> Duration {
        self.used_min_rx.max(Duration::from_micros(self.remote.desired_min_tx.into()))
    }

    /// The Detection Time in asynchronous mode (6.8.4).
    pub(super) fn detection_time(&self) -> Duration {
        self.receive_interval() * u32::from(self.remote.detect_multiplier)
    }

    pub(super) fn transmit_due(&self) -> Option<Instant> {
        if !self.transmits_periodically() {
            return None;
        }
        let from = self.last_control.unwrap_or(self.since);
        Some(from + part(self.transmit_interval(), self.jitter))
    }

    pub(super) fn detection_due(&self) -> Option<Instant> {
        Some(self.remote.heard? + self.detection_time())
    }

    /// Does what is due. Detection comes first: what is sent then is true.
    pub(super) fn deadline_passed(&mut self, now: Instant) {
        let passed = |due: Option<Instant>| due.filter(|due| *due <= now);
        if passed(self.detection_due()).is_some() {
            self.unheard(now);
        }
        if passed(self.echo_detection_due()).is_some() {
            self.change_state(now, State::Down, Diagnostic::EchoFunctionFailed);
            self.announce(now);
        }
        if let Some(due) = passed(self.transmit_due()) {
            self.transmit(now, Some(due));
        }
        if let Some(due) = passed(self.echo_due()) {
            self.transmit_echo(now, Some(due));
        }
    }

    /// The Detection Time passed without a packet: the peer's discriminator is forgotten in every state (6.8.1), and with it all
    /// that the peer had said, since what comes next may be a new session.
    fn unheard(&mut self, now: Instant) {
        let diagnostic = self.remote.diagnostic;
        self.remote = Remote { diagnostic, ..Remote::UNHEARD };
        match self.state {
            State::Init | State::Up => {
                self.change_state(now, State::Down, Diagnostic::ControlDetectionTimeExpired);
                self.announce(now);
            }
            State::AdminDown | State::Down => {}
        }
    }
}

/// So many hundred-thousandths of an interval.
pub(super) fn part(interval: Duration, hundred_thousandths: u32) -> Duration {
    interval * hundred_thousandths / 100_000
}

/// As it stands in a packet.
pub(super) fn micros(interval: Duration) -> u32 {
    u32::try_from(interval.as_micros()).unwrap_or(u32::MAX)
}
