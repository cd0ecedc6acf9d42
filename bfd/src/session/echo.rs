// SPDX-License-Identifier: Apache-2.0
//! The Echo function: RFC 5880 sections 6.4, 6.8.5, 6.8.8 and 6.8.9. Echo packets flow while the session is Up and both sides want
//! them; the session goes down when they do not come back. Before the first one has left the host (its way there may not be
//! known) the function is not active, and the asynchronous mode alone decides.

use std::time::{Duration, Instant};

use super::timing::{micros, part};
use super::{Output, Session};
use crate::{EchoPacket, Hops, State};

/// What is known of our Echo packets.
#[derive(Debug)]
pub(super) struct Echo {
    cookie: u64,
    /// Of the last one that was handed out; zero before the first.
    sequence: u64,
    /// Of the last one that came back.
    returned: u64,
    last: Option<Instant>,
    jitter: u32,
    /// From when on one is to come back; `None` while the function is not active.
    watched: Option<Instant>,
}

impl Echo {
    pub(super) const fn new(cookie: u64) -> Self {
        Self { cookie, sequence: 0, returned: 0, last: None, jitter: 0, watched: None }
    }

    pub(super) const fn is_active(&self) -> bool {
        self.watched.is_some()
    }

    pub(super) const fn stop(&mut self) {
        self.last = None;
        self.watched = None;
    }
}

impl Session {
    fn has_echo(&self) -> bool {
        self.profile.echo_mode && self.key.hops == Hops::Single
    }

    fn sends_echo(&self) -> bool {
        self.has_echo() && self.state == State::Up && self.remote.required_min_echo_rx != 0
    }

    /// What we offer to loop back; zero for nothing.
    pub(super) fn offered_echo_interval(&self) -> u32 {
        if self.has_echo() { micros(self.profile.echo_interval) } else { 0 }
    }

    /// The time between two Echo packets, before jitter (6.8.9).
    pub(super) fn echo_interval(&self) -> Duration {
        let least = Duration::from_micros(self.remote.required_min_echo_rx.into());
        self.profile.echo_interval.max(least)
    }

    pub(super) fn echo_due(&self) -> Option<Instant> {
        if !self.sends_echo() {
            return None;
        }
        let from = self.echo.last.unwrap_or(self.since);
        Some(from + part(self.echo_interval(), self.echo.jitter))
    }

    pub(super) fn echo_detection_due(&self) -> Option<Instant> {
        let multiplier = u32::from(self.profile.detect_multiplier);
        Some(self.echo.watched? + self.echo_interval() * multiplier)
    }

    /// The peer or the profile may have ended it.
    pub(super) fn echo_negotiated(&mut self, now: Instant) {
        if self.echo.is_active() && !self.sends_echo() {
            self.echo.stop();
            self.renegotiate(now);
        }
    }

    pub(super) fn transmit_echo(&mut self, now: Instant, due: Option<Instant>) {
        self.echo.sequence += 1;
        self.echo.last = Some(now);
        self.echo.jitter = self.draw_jitter();
        let packet = EchoPacket {
            discriminator: self.local_discriminator,
            sequence: self.echo.sequence,
            cookie: self.echo.cookie,
        };
        self.outputs.push_back(Output::Echo { packet, due });
    }

    pub(super) fn echo_sent(&mut self, now: Instant) {
        self.counters.echo_packet_output += 1;
        if self.echo.watched.is_none() && self.sends_echo() {
            self.echo.watched = Some(now);
            self.renegotiate(now);
        }
    }

    pub(super) fn echo_returned(&mut self, now: Instant, packet: &EchoPacket) {
        let fresh = self.echo.returned < packet.sequence && packet.sequence <= self.echo.sequence;
        if packet.cookie != self.echo.cookie || !fresh {
            return;
        }
        self.counters.echo_packet_input += 1;
        self.echo.returned = packet.sequence;
        if let Some(watched) = &mut self.echo.watched {
            *watched = now;
        }
    }
}
