// SPDX-License-Identifier: Apache-2.0
//! The times of a peer: when to try again, how long to pause after failures, and what is due.

use std::time::{Duration, Instant};

use super::{Direction, Peer};
use crate::session::transition::Trigger;
use crate::session::{Cause, Session};
use crate::status::State;

/// The first pause after a failure; it doubles up to the connect time.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// A session that lived so long was a success: the next attempt needs no pause.
pub(super) const SUCCESS: Duration = Duration::from_secs(10);
/// After so long no connection is on its way any more that was begun before the session was up.
pub(super) const SETTLED: Duration = Duration::from_secs(5);
/// The pause after an attempt that found no way to the peer: as it may be there again at any moment, this does not grow.
pub(super) const UNREACHABLE_PAUSE: Duration = Duration::from_secs(3);
/// TCP repeats the first packet of a younger attempt soon enough by itself.
const YOUNG_ATTEMPT: Duration = Duration::from_secs(1);
/// For so long at most a peer whose connection failed in the protocol is not let in.
pub(super) const LONGEST_REFUSAL: Duration = Duration::from_secs(5);
/// How long End-of-RIB waits for the caller if no restart time says otherwise.
pub(super) const LONGEST_WAIT: Duration = Duration::from_mins(2);

impl Peer {
    /// When [`super::Event::Timer`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let incoming = self.incoming.as_ref().and_then(Session::deadline);
        let own = [self.idle_hold, self.complete_by];
        [self.outgoing.deadline(), incoming].into_iter().chain(own).flatten().min()
    }

    /// Does what is due by now.
    pub(super) fn expire(&mut self, now: Instant) {
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

    /// Begins an attempt to connect, or only waits for the peer to connect.
    pub(super) fn start(&mut self, now: Instant, trigger: Trigger) {
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

    /// The peer may be reachable again: no pause lasts, and an attempt that waits for TCP to repeat is begun anew.
    pub(super) fn reachable(&mut self, now: Instant) {
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

    /// How long to wait after so many failures in a row.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        let doubled = FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16));
        if failures == 0 {
            Duration::ZERO
        } else {
            doubled.min(self.config.connect_time.max(FIRST_PAUSE))
        }
    }
}
