// SPDX-License-Identifier: Apache-2.0
//! One connection to a peer: it carries out the rows of [`transition`], owns the timers of RFC 4271 §10 and the octets in
//! both directions. Which connection may live, when to try again and what the peer is told are the peer's affair.

mod execute;
pub(crate) mod negotiate;
pub(crate) mod outbox;
pub(crate) mod transition;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use crate::config::Config;
use crate::jitter::Jitter;
use crate::status::{DownReason, Negotiated, State};
use crate::wire::iana::error;
use crate::wire::{Context, DecodedUpdate, MessageType, Notification, Open, RouteRefresh};
use negotiate::{Part, Refused};
use outbox::Outbox;
use transition::Trigger;

/// The large value of the HoldTimer before a Hold Time is negotiated (RFC 4271 §8.2.2): four minutes.
const OPEN_HOLD_TIME: Duration = Duration::from_mins(4);
/// The least SendHoldTime (RFC 9687 §3.3): eight minutes.
const SEND_HOLD_TIME: Duration = Duration::from_mins(8);
/// An attempt to connect gets no more than this, because TCP repeats its first packet ever more rarely: a peer that boots, or
/// whose cable is out, is asked every few seconds.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(3);

/// How messages are read before the peer's OPEN was accepted, when none depends on it.
const BEFORE_OPEN: Context =
    Context { four_octet_asn: true, internal: false, enhanced_route_refresh: false };

/// Which side opened the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// We did.
    Outgoing,
    /// The peer did.
    Incoming,
}

/// What a session needs to know of its peer while it handles something.
pub(crate) struct Surroundings<'a> {
    pub(crate) now: Instant,
    pub(crate) config: &'a Config,
    /// Whether OPEN has the R bit.
    pub(crate) restarting: bool,
    /// Parts of an OPEN that the peer refused.
    pub(crate) omitted: &'a BTreeSet<Part>,
    /// How long to stay in Active before trying again.
    pub(crate) pause: Duration,
    pub(crate) jitter: &'a mut Jitter,
}

/// What the session tells its peer.
#[derive(Debug)]
pub(crate) enum Report {
    /// Begin to connect.
    Connect,
    /// Write these last octets if TCP takes them, then close.
    Close(Vec<u8>),
    /// The peer's OPEN was accepted: time to look for a collision.
    Opened(Open),
    /// Up.
    Established(Arc<Negotiated>),
    /// An UPDATE.
    Update(DecodedUpdate),
    /// A ROUTE-REFRESH that is known.
    Refresh(RouteRefresh),
    /// Left `from` because of this.
    Down {
        from: State,
        reason: DownReason,
        /// The parts of our OPEN that the peer refused with it.
        refused: Refused,
        /// Whether it counts as a failure.
        failed: bool,
    },
    /// A message was received.
    Received(MessageType, usize),
    /// A message was put into the outbox.
    Sent(MessageType),
}

/// The timers of a connection; `None`: stopped.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    pub(crate) connect_retry: Option<Instant>,
    pub(crate) hold: Option<Instant>,
    pub(crate) keepalive: Option<Instant>,
    pub(crate) send_hold: Option<Instant>,
}

impl Timers {
    fn earliest(&self) -> Option<Instant> {
        [self.connect_retry, self.hold, self.keepalive, self.send_hold].into_iter().flatten().min()
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Session {
    state: State,
    timers: Timers,
    input: BytesMut,
    outbox: Outbox,
    sent_open: Option<Open>,
    negotiated: Option<Arc<Negotiated>>,
    /// How messages are to be read.
    context: Context,
    addresses: Option<(SocketAddr, SocketAddr)>,
    connected: bool,
    reports: VecDeque<Report>,
}

/// Why something happens, for NOTIFICATION and status.
#[derive(Debug)]
pub(crate) struct Cause {
    /// What to tell the peer; without it the FSM error of the state.
    pub(crate) notification: Option<Notification>,
    /// What to tell everybody else.
    pub(crate) reason: Option<DownReason>,
    /// The message that came, if one did.
    pub(crate) message: Option<MessageType>,
}

impl Cause {
    /// Nothing but the event itself.
    pub(crate) const NONE: Self = Self { notification: None, reason: None, message: None };

    pub(crate) const fn reason(reason: DownReason) -> Self {
        Self { notification: None, reason: Some(reason), message: None }
    }

    pub(crate) const fn notification(notification: Notification, reason: DownReason) -> Self {
        Self { notification: Some(notification), reason: Some(reason), message: None }
    }
}

impl Session {
    /// In Idle.
    pub(crate) fn new() -> Self {
        Self {
            state: State::Idle,
            timers: Timers::default(),
            input: BytesMut::new(),
            outbox: Outbox::default(),
            sent_open: None,
            negotiated: None,
            context: BEFORE_OPEN,
            addresses: None,
            connected: false,
            reports: VecDeque::new(),
        }
    }

    pub(crate) const fn state(&self) -> State {
        self.state
    }

    pub(crate) const fn negotiated(&self) -> Option<&Arc<Negotiated>> {
        self.negotiated.as_ref()
    }

    /// Our end and the peer's, while TCP is connected.
    pub(crate) const fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        self.addresses
    }

    pub(crate) fn poll(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timers.earliest()
    }

    /// The octets that TCP shall take next.
    pub(crate) fn waiting(&self) -> &[u8] {
        self.outbox.waiting()
    }

    /// Whether an UPDATE, or a part of one, has not been taken yet.
    pub(crate) fn holds_update(&self) -> bool {
        self.outbox.holds(MessageType::Update)
    }

    /// Where UPDATEs may be appended now; `None` if the session is not up or enough is waiting.
    pub(crate) fn room(&mut self) -> Option<&mut Vec<u8>> {
        (self.state == State::Established && !self.outbox.is_full()).then(|| self.outbox.end())
    }

    /// UPDATEs were appended: they are as good as a KEEPALIVE (RFC 4271 §8.2.2, Established).
    pub(crate) fn appended(&mut self, surroundings: &mut Surroundings<'_>) {
        self.start_keepalive_timer(surroundings);
        self.watch_sending(surroundings.now);
    }

    /// TCP took so many octets.
    pub(crate) fn written(&mut self, now: Instant, count: usize) {
        self.outbox.take(count);
        // RFC 9687 §3.2: the timer starts anew with everything that the peer takes.
        self.timers.send_hold = None;
        self.watch_sending(now);
    }

    /// Sends a KEEPALIVE now: the peer's TCP answers with a reset if the session is gone there.
    pub(crate) fn probe(&mut self, surroundings: &mut Surroundings<'_>) {
        if self.timers.keepalive.is_some() {
            self.trigger(surroundings, Trigger::KeepaliveTimerExpires, Cause::NONE);
        }
    }

    /// Another keepalive or connect time takes effect.
    pub(crate) fn reconfigure(&mut self, surroundings: &mut Surroundings<'_>) {
        if let Some(negotiated) = &self.negotiated {
            let hold = negotiated.hold_time.duration();
            let keepalive_time = negotiate::keepalive_time(surroundings.config, hold);
            if keepalive_time != negotiated.keepalive_time {
                let mut changed = Negotiated::clone(negotiated);
                changed.keepalive_time = keepalive_time;
                self.negotiated = Some(Arc::new(changed));
                if self.timers.keepalive.is_some() {
                    self.start_keepalive_timer(surroundings);
                }
            }
        }
        if self.timers.connect_retry.is_some() {
            self.start_connect_retry_timer(surroundings);
        }
    }

    /// TCP is there, opened by us or by the peer.
    pub(crate) fn connected(
        &mut self,
        surroundings: &mut Surroundings<'_>,
        direction: Direction,
        local: SocketAddr,
        remote: SocketAddr,
    ) {
        self.addresses = Some((local, remote));
        self.connected = true;
        let trigger = match direction {
            Direction::Outgoing => Trigger::TcpConnectionRequestAcked,
            Direction::Incoming => Trigger::TcpConnectionConfirmed,
        };
        self.trigger(surroundings, trigger, Cause::NONE);
    }

    /// TCP could not connect, or the connection ended.
    pub(crate) fn failed(&mut self, surroundings: &mut Surroundings<'_>, reason: DownReason) {
        self.connected = false;
        self.trigger(surroundings, Trigger::TcpConnectionFails, Cause::reason(reason));
    }

    /// Closes without a word, as if TCP had failed.
    pub(crate) fn abandon(&mut self, surroundings: &mut Surroundings<'_>, reason: DownReason) {
        self.trigger(surroundings, Trigger::TcpConnectionFails, Cause::reason(reason));
    }

    /// Whatever needs no more than a cause.
    pub(crate) fn trigger(
        &mut self,
        surroundings: &mut Surroundings<'_>,
        trigger: Trigger,
        cause: Cause,
    ) {
        let (next, actions) = transition::transition(self.state, trigger);
        let from = self.state;
        self.state = next;
        self.execute(surroundings, from, actions, cause);
    }

    /// Fires what has expired.
    pub(crate) fn expire(&mut self, surroundings: &mut Surroundings<'_>) {
        let now = surroundings.now;
        let take = |timer: &mut Option<Instant>| timer.take_if(|at| *at <= now).is_some();
        if take(&mut self.timers.connect_retry) {
            self.trigger(surroundings, Trigger::ConnectRetryTimerExpires, Cause::NONE);
        }
        if take(&mut self.timers.hold) {
            let hold = self.negotiated.as_ref().and_then(|n| n.hold_time.duration());
            let reason = DownReason::HoldTimerExpired(hold.unwrap_or(OPEN_HOLD_TIME));
            let notification = Notification::new(error::HOLD_TIMER_EXPIRED, 0, []);
            let cause = Cause::notification(notification, reason);
            self.trigger(surroundings, Trigger::HoldTimerExpires, cause);
        }
        if take(&mut self.timers.send_hold) {
            let code = error::SEND_HOLD_TIMER_EXPIRED;
            let reason =
                DownReason::SendHoldTimerExpired(self.send_hold_time().unwrap_or(SEND_HOLD_TIME));
            let notification = Notification::new(code, 0, []);
            let cause = Cause::notification(notification, reason);
            self.trigger(surroundings, Trigger::SendHoldTimerExpires, cause);
        }
        if take(&mut self.timers.keepalive) {
            self.trigger(surroundings, Trigger::KeepaliveTimerExpires, Cause::NONE);
        }
    }

    /// The greater of eight minutes and twice the Hold Time; `None` with Hold Time zero (RFC 9687 §3.3).
    fn send_hold_time(&self) -> Option<Duration> {
        let hold = self.negotiated.as_ref()?.hold_time.duration()?;
        Some(SEND_HOLD_TIME.max(hold * 2))
    }

    /// Runs the SendHoldTimer while something waits.
    fn watch_sending(&mut self, now: Instant) {
        if self.outbox.is_empty() || self.state != State::Established {
            self.timers.send_hold = None;
        } else if self.timers.send_hold.is_none() {
            self.timers.send_hold = self.send_hold_time().map(|time| now + time);
        }
    }

    fn start_keepalive_timer(&mut self, surroundings: &mut Surroundings<'_>) {
        let time = self.negotiated.as_ref().and_then(|negotiated| negotiated.keepalive_time);
        self.timers.keepalive =
            time.map(|time| surroundings.now + surroundings.jitter.spread(time));
    }

    fn start_connect_retry_timer(&mut self, surroundings: &mut Surroundings<'_>) {
        let time = if self.state == State::Connect {
            surroundings.config.connect_time.min(LONGEST_ATTEMPT)
        } else {
            surroundings.pause
        };
        let time = time.max(Duration::from_secs(1));
        self.timers.connect_retry = Some(surroundings.now + surroundings.jitter.spread(time));
    }
}
