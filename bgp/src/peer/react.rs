// SPDX-License-Identifier: Apache-2.0
//! What follows for the peer from what a session reports.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::timing::{FIRST_PAUSE, LONGEST_REFUSAL, LONGEST_WAIT, SUCCESS, UNREACHABLE_PAUSE};
use super::{Direction, Output, Peer};
use crate::session::negotiate::Refused;
use crate::session::transition::Trigger;
use crate::session::{Cause, Report, Session};
use crate::status::{Down, DownReason, Negotiated, State};
use crate::wire::iana::error;
use crate::wire::{DecodedUpdate, MessageType, Notification, RefreshKind, RouteRefresh};

impl Peer {
    /// Takes all reports of a session.
    pub(super) fn settle(&mut self, now: Instant, direction: Direction) {
        loop {
            let report = match direction {
                Direction::Outgoing => self.outgoing.poll(),
                Direction::Incoming => self.incoming.as_mut().and_then(Session::poll),
            };
            let Some(report) = report else { break };
            self.react(now, direction, report);
        }
    }

    fn react(&mut self, now: Instant, direction: Direction, report: Report) {
        match report {
            Report::Connect => {
                self.attempt = Some(now);
                self.outputs.push_back(Output::Connect);
            }
            Report::Close(octets) => {
                self.counters.sent.octets += u64::try_from(octets.len()).unwrap_or(u64::MAX);
                self.outputs.push_back(Output::Close { direction, octets });
            }
            Report::Opened(open) => self.collide(now, direction, &open),
            Report::Established(negotiated) => self.established(now, direction, negotiated),
            Report::Update(update) => self.update(now, direction, &update),
            Report::Refresh(refresh) => self.refresh(refresh),
            Report::Down { from, reason, refused, failed } => {
                self.down(now, direction, from, reason, refused, failed);
            }
            Report::Received(kind, length) => {
                let counters = &mut self.counters.received;
                counters.octets += u64::try_from(length).unwrap_or(u64::MAX);
                *counter(counters, kind) += 1;
            }
            Report::Sent(kind) => *counter(&mut self.counters.sent, kind) += 1,
        }
    }

    fn established(&mut self, now: Instant, direction: Direction, negotiated: Arc<Negotiated>) {
        self.up = Some(direction);
        self.established += 1;
        self.received.clear();
        self.omitted.succeeded();
        if let Some(egress) = self.egress() {
            self.rib.begin(egress);
        }
        if !self.rib.is_complete() {
            let restart = self.config.graceful_restart;
            let wait = restart.map_or(LONGEST_WAIT, |restart| restart.restart_time);
            self.complete_by = Some(now + wait);
        }
        self.outputs.push_back(Output::Established(negotiated));
        // The other connection has lost, whatever it was about to do.
        let other = other(direction);
        if self.session(other).is_some_and(|session| session.state() != State::Idle) {
            self.dump(now, other);
        }
        self.idle_hold = None;
    }

    fn update(&mut self, now: Instant, direction: Direction, update: &DecodedUpdate) {
        let limit = self.config.max_prefixes;
        let Err(too_many) = self.received.update(update, limit, &mut self.counters) else { return };
        let limit = limit.unwrap_or(0);
        // RFC 4486 §4: family and limit.
        let mut data = too_many.family.afi.to_be_bytes().to_vec();
        data.push(too_many.family.safi);
        data.extend(limit.to_be_bytes());
        let notification = Notification::new(error::CEASE, error::MAXIMUM_PREFIXES, data);
        let reason = DownReason::TooManyPrefixes { received: too_many.received, limit };
        self.with(now, direction, |session, around| {
            let cause = Cause::notification(notification, reason);
            session.trigger(around, Trigger::AutomaticStop, cause);
        });
    }

    fn refresh(&mut self, refresh: RouteRefresh) {
        if let (RefreshKind::Request, Some(family)) = (refresh.kind, refresh.family.family()) {
            self.rib.refresh(family);
        }
    }

    fn down(
        &mut self,
        now: Instant,
        direction: Direction,
        from: State,
        reason: DownReason,
        refused: Refused,
        failed: bool,
    ) {
        let mut lived = false;
        let was_up = self.up == Some(direction);
        if was_up {
            lived = self.state == State::Established
                && now.saturating_duration_since(self.since) >= SUCCESS;
            self.up = None;
            self.dropped += 1;
            self.rib.end();
            self.received.clear();
            self.complete_by = None;
            // What was refused once may be welcome to who comes back.
            self.omitted.clear();
        }
        let other_lives =
            self.session(other(direction)).is_some_and(|one| one.state() >= State::OpenSent);
        let offered = from >= State::OpenSent && failed && !was_up && !other_lives;
        let fallback = offered && self.omitted.failed(now, refused);
        if lived {
            self.failures = 0;
        } else if failed && !fallback && !self.unreachable {
            self.failures = self.failures.saturating_add(1);
        }
        let pause = if fallback {
            Duration::ZERO
        } else if self.unreachable {
            UNREACHABLE_PAUSE.min(self.config.connect_time.max(FIRST_PAUSE))
        } else {
            self.pause(self.failures)
        };
        if direction == Direction::Incoming {
            self.incoming = None;
            if failed && !fallback && from < State::Established {
                self.refusing = Some(now + pause.min(LONGEST_REFUSAL));
            }
        }
        if self.running
            && self.up.is_none()
            && self.outgoing.state() == State::Idle
            && self.idle_hold.is_none()
        {
            self.idle_hold = Some(now + self.jitter.spread(pause));
        }
        // A connection that lost against another is not the end of anything, unless it was the session.
        if self.running && !was_up && other_lives {
            return;
        }
        let down = Down { at: now, from, reason };
        self.outputs.push_back(Output::Down(down.clone()));
        if was_up {
            self.last_drop = Some(down.clone());
        }
        self.last_down = Some(down);
        self.revision += 1;
    }
}

pub(super) const fn other(direction: Direction) -> Direction {
    match direction {
        Direction::Outgoing => Direction::Incoming,
        Direction::Incoming => Direction::Outgoing,
    }
}

const fn counter(counters: &mut crate::MessageCounters, kind: MessageType) -> &mut u64 {
    match kind {
        MessageType::Open => &mut counters.opens,
        MessageType::Update => &mut counters.updates,
        MessageType::Notification => &mut counters.notifications,
        MessageType::Keepalive => &mut counters.keepalives,
        MessageType::RouteRefresh => &mut counters.route_refreshes,
    }
}
