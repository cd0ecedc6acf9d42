// SPDX-License-Identifier: Apache-2.0
//! What the actions of a row do, and how octets from the peer become events.

use std::sync::Arc;

use super::negotiate::Refused;
use super::transition::{Action, Trigger};
use super::{BEFORE_OPEN, Cause, OPEN_HOLD_TIME, Report, Session, Surroundings, Timers, negotiate};
use crate::State;
use crate::status::{DownReason, NotificationText};
use crate::wire::iana::error;
use crate::wire::{
    HEADER_LENGTH, Message, MessageError, MessageType, Notification, next_message, write_keepalive,
};

impl Session {
    /// Octets from the peer.
    pub(crate) fn received(&mut self, surroundings: &mut Surroundings<'_>, octets: &[u8]) {
        self.input.extend_from_slice(octets);
        while self.connected {
            // RFC 8654 §4: who offers to take long messages takes them, also of a peer that takes none itself.
            let extended = self.sent_open.as_ref().is_some_and(negotiate::takes_extended_messages);
            match next_message(&mut self.input, extended) {
                Ok(None) => return,
                Ok(Some((kind, body))) => {
                    self.reports.push_back(Report::Received(kind, HEADER_LENGTH + body.len()));
                    match Message::decode(kind, body, self.context) {
                        Ok(message) => self.message(surroundings, message),
                        Err(error) => self.malformed(surroundings, kind, &error),
                    }
                }
                Err(error) => {
                    let cause = cause_of(&error);
                    self.trigger(surroundings, Trigger::BgpHeaderError, cause);
                }
            }
        }
        self.input.clear();
    }

    fn malformed(
        &mut self,
        surroundings: &mut Surroundings<'_>,
        kind: MessageType,
        error: &MessageError,
    ) {
        let (trigger, expected) = match kind {
            MessageType::Open => (Trigger::BgpOpenMessageError, self.state == State::OpenSent),
            MessageType::Update | MessageType::RouteRefresh => {
                (Trigger::UpdateMessageError, self.state == State::Established)
            }
            // RFC 4271 §6.4: an error in a NOTIFICATION is not answered.
            MessageType::Notification => {
                let cause = Cause::reason(DownReason::ClosedByPeer);
                return self.trigger(surroundings, Trigger::NotificationMessage, cause);
            }
            MessageType::Keepalive => (Trigger::BgpHeaderError, true),
        };
        // In a state in which the message should not have come at all, that is the error.
        let cause =
            if expected { cause_of(error) } else { Cause { message: Some(kind), ..Cause::NONE } };
        self.trigger(surroundings, trigger, cause);
    }

    fn message(&mut self, surroundings: &mut Surroundings<'_>, message: Message) {
        let came = |kind| Cause { message: Some(kind), ..Cause::NONE };
        match message {
            Message::Open(open) if self.state == State::OpenSent => {
                self.open(surroundings, open);
            }
            Message::Open(_) => {
                self.trigger(surroundings, Trigger::BgpOpen, came(MessageType::Open));
            }
            Message::Update(update) => {
                self.trigger(surroundings, Trigger::UpdateMessage, came(MessageType::Update));
                if self.state == State::Established {
                    self.reports.push_back(Report::Update(update));
                }
            }
            Message::Notification(notification) => self.notified(surroundings, &notification),
            Message::Keepalive => {
                let cause = came(MessageType::Keepalive);
                self.trigger(surroundings, Trigger::KeepaliveMessage, cause);
            }
            Message::RouteRefresh(refresh) => {
                let cause = came(MessageType::RouteRefresh);
                self.trigger(surroundings, Trigger::RouteRefreshMessage, cause);
                if let (State::Established, Some(refresh)) = (self.state, refresh) {
                    self.reports.push_back(Report::Refresh(refresh));
                }
            }
        }
    }

    fn open(&mut self, surroundings: &mut Surroundings<'_>, open: crate::wire::Open) {
        let Some(ours) = &self.sent_open else { return };
        match negotiate::negotiate(surroundings.config, ours, &open) {
            Ok(negotiated) => {
                self.context = negotiate::context(&open, &negotiated);
                self.negotiated = Some(Arc::new(negotiated));
                self.trigger(surroundings, Trigger::BgpOpen, Cause::NONE);
                self.reports.push_back(Report::Opened(open));
            }
            Err(refusal) => {
                let reason = DownReason::NotificationSent {
                    notification: text_of(&refusal.notification),
                    detail: refusal.detail,
                };
                let cause = Cause::notification(refusal.notification, reason);
                self.trigger(surroundings, Trigger::BgpOpenMessageError, cause);
            }
        }
    }

    fn notified(&mut self, surroundings: &mut Surroundings<'_>, notification: &Notification) {
        let reason = DownReason::NotificationReceived(text_of(notification));
        let version = (error::OPEN, error::UNSUPPORTED_VERSION);
        let trigger = if (notification.code, notification.subcode) == version {
            Trigger::NotificationVersionError
        } else {
            Trigger::NotificationMessage
        };
        let cause = Cause::notification(notification.clone(), reason);
        self.trigger(surroundings, trigger, cause);
    }

    pub(super) fn execute(
        &mut self,
        surroundings: &mut Surroundings<'_>,
        from: State,
        actions: &[Action],
        cause: Cause,
    ) {
        let mut last = Vec::new();
        let mut closes = false;
        let told = actions.contains(&Action::Notify);
        // A NOTIFICATION that was received may say what to leave out.
        let refused = match (&cause.notification, &self.sent_open) {
            (Some(notification), Some(ours)) if !told => {
                negotiate::refused(notification, surroundings.config, ours)
            }
            (_, _) => Refused::default(),
        };
        let mut reason = cause.reason;
        for action in actions {
            match action {
                Action::Connect => self.reports.push_back(Report::Connect),
                Action::StartConnectRetryTimer => self.start_connect_retry_timer(surroundings),
                Action::StopConnectRetryTimer => self.timers.connect_retry = None,
                Action::SendOpen => self.send_open(surroundings),
                Action::SendKeepalive => self.send_keepalive(surroundings),
                Action::RestartHoldTimer => {
                    let time = self.negotiated.as_ref().and_then(|n| n.hold_time.duration());
                    self.timers.hold = time.map(|time| surroundings.now + time);
                }
                Action::Establish => {
                    if let Some(negotiated) = &self.negotiated {
                        self.reports.push_back(Report::Established(Arc::clone(negotiated)));
                    }
                }
                // The message is reported by whoever decoded it.
                Action::Deliver => {}
                Action::Notify => {
                    let notification = cause
                        .notification
                        .clone()
                        .unwrap_or_else(|| unexpected(from, cause.message));
                    reason.get_or_insert_with(|| DownReason::NotificationSent {
                        notification: text_of(&notification),
                        detail: cause.message.map_or_else(
                            || format!("event not expected in {from}"),
                            |kind| format!("{kind:?} message not expected in {from}"),
                        ),
                    });
                    notification.encode(&mut last);
                    self.reports.push_back(Report::Sent(MessageType::Notification));
                }
                Action::Close => {
                    closes = true;
                    self.close(std::mem::take(&mut last), from);
                }
                Action::CountFailure | Action::ForgetFailures => {}
            }
        }
        // A reconnect in Connect is not an end.
        if closes && self.state != State::Connect {
            let failed = actions.contains(&Action::CountFailure);
            let reason = reason.unwrap_or_else(|| DownReason::Tcp("timed out".to_owned()));
            self.reports.push_back(Report::Down { from, reason, refused, failed });
        }
    }

    fn close(&mut self, last: Vec<u8>, from: State) {
        let mut octets = std::mem::take(&mut self.outbox).into_rest_of_message();
        octets.extend(last);
        if self.connected || from == State::Connect {
            self.reports.push_back(Report::Close(octets));
        }
        self.connected = false;
        self.addresses = None;
        self.input.clear();
        self.sent_open = None;
        self.negotiated = None;
        self.context = BEFORE_OPEN;
        self.timers = Timers { connect_retry: self.timers.connect_retry, ..Timers::default() };
    }

    fn send_open(&mut self, surroundings: &mut Surroundings<'_>) {
        let open =
            negotiate::offer(surroundings.config, surroundings.restarting, surroundings.omitted);
        open.encode(self.outbox.end());
        self.reports.push_back(Report::Sent(MessageType::Open));
        self.sent_open = Some(open);
        self.timers.hold = Some(surroundings.now + OPEN_HOLD_TIME);
    }

    fn send_keepalive(&mut self, surroundings: &mut Surroundings<'_>) {
        // What waits to be read says as much, and a peer that does not read must not make this grow.
        if self.state != State::Established || self.outbox.is_empty() {
            write_keepalive(self.outbox.end());
            self.reports.push_back(Report::Sent(MessageType::Keepalive));
        }
        self.start_keepalive_timer(surroundings);
        self.watch_sending(surroundings.now);
    }
}

/// RFC 6608 §3: the subcode names the state, the data the message.
fn unexpected(state: State, message: Option<MessageType>) -> Notification {
    let subcode = match state {
        State::OpenSent => error::UNEXPECTED_IN_OPEN_SENT,
        State::OpenConfirm => error::UNEXPECTED_IN_OPEN_CONFIRM,
        State::Established => error::UNEXPECTED_IN_ESTABLISHED,
        State::Idle | State::Connect | State::Active => error::UNSPECIFIC,
    };
    let data: Vec<u8> = message.map(MessageType::octet).into_iter().collect();
    Notification::new(error::STATE_MACHINE, subcode, data)
}

fn cause_of(error: &MessageError) -> Cause {
    let notification = error.notification().clone();
    let reason = DownReason::NotificationSent {
        notification: text_of(&notification),
        detail: error.detail().to_owned(),
    };
    Cause::notification(notification, reason)
}

/// A NOTIFICATION in words, what is inside if it is a Hard Reset.
pub(crate) fn text_of(notification: &Notification) -> NotificationText {
    let inside = notification.inside_hard_reset();
    let shown = inside.as_ref().unwrap_or(notification);
    NotificationText {
        code: shown.code,
        subcode: shown.subcode,
        hard_reset: inside.is_some(),
        communication: shown.communication(),
    }
}
