// SPDX-License-Identifier: Apache-2.0
//! How sessions end by our will, and what the peer is told of it.

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::Instant;

use super::{Direction, Peer};
use crate::config::Config;
use crate::session::Cause;
use crate::session::transition::Trigger;
use crate::status::{DownReason, State, Stop};
use crate::wire::Notification;
use crate::wire::iana::error;

impl Peer {
    /// Ends everything and stays that way.
    pub(super) fn stop(&mut self, now: Instant, stop: &Stop) {
        self.running = false;
        self.idle_hold = None;
        self.complete_by = None;
        for direction in [Direction::Outgoing, Direction::Incoming] {
            let reason = DownReason::Stopped(stop.clone());
            let notification = match stop {
                Stop::Shutdown(text) => self.final_word(direction, Notification::shutdown(text)),
                Stop::PeerDeconfigured => {
                    self.final_word(direction, Notification::cease(error::PEER_DECONFIGURED))
                }
                Stop::Restarting(text) => {
                    if self.restart_is_expected(direction) {
                        self.with(now, direction, |session, around| {
                            session.abandon(around, reason)
                        });
                        continue;
                    }
                    Notification::shutdown(text)
                }
            };
            self.with(now, direction, |session, around| {
                let cause = Cause::notification(notification, reason);
                session.trigger(around, Trigger::ManualStop, cause);
            });
        }
    }

    /// Begins anew with another configuration (CEASE/6), maybe with another router.
    pub(super) fn reset(&mut self, now: Instant, config: Arc<Config>, text: String) {
        let old = &self.config;
        // That router is left for good and must not keep our routes.
        let elsewhere = old.remote != config.remote
            || old.port != config.port
            || old.bind_interface != config.bind_interface;
        for direction in [Direction::Outgoing, Direction::Incoming] {
            let mut notification = Notification::cease(error::CONFIGURATION_CHANGE);
            if elsewhere {
                notification = self.final_word(direction, notification);
            }
            let reason = DownReason::ConfigurationChanged(text.clone());
            self.with(now, direction, |session, around| {
                let cause = Cause::notification(notification, reason);
                session.trigger(around, Trigger::ManualStop, cause);
            });
        }
        self.config = config;
        self.omitted.clear();
        self.failures = 0;
        self.refusing = None;
        self.connect_problem = None;
        self.listen_problem = None;
        self.idle_hold = self.running.then_some(now);
    }

    /// The session's other end is not where the neighbour is any more: waiting for the Hold Time would be in vain.
    pub(super) fn moved(&mut self, now: Instant, address: Ipv6Addr) {
        let Some(direction) = self.up else { return };
        let text = format!("changed: the neighbour's address is now {address}");
        self.with(now, direction, |session, around| {
            let notification = Notification::cease(error::CONFIGURATION_CHANGE);
            let cause = Cause::notification(notification, DownReason::ConfigurationChanged(text));
            session.trigger(around, Trigger::ManualStop, cause);
        });
        self.idle_hold = self.running.then_some(now);
    }

    /// CEASE/10 (RFC 9384). As packets do not reach us the routes must go, so graceful restart must not keep them (RFC 9384 §3).
    pub(super) fn bfd_down(&mut self, now: Instant) {
        let Some(direction) = self.up else {
            // A connection that is half way would wait for the next repetition of TCP after the path is back.
            for direction in [Direction::Outgoing, Direction::Incoming] {
                if self.session(direction).is_some_and(|one| one.state() >= State::OpenSent) {
                    self.with(now, direction, |session, around| {
                        session.abandon(around, DownReason::BfdDown);
                    });
                }
            }
            return;
        };
        let notification = self.final_word(direction, Notification::cease(error::BFD_DOWN));
        self.with(now, direction, |session, around| {
            let cause = Cause::notification(notification, DownReason::BfdDown);
            session.trigger(around, Trigger::AutomaticStop, cause);
        });
    }

    /// As Hard Reset where the peer would otherwise keep our routes (RFC 8538 §3.1).
    fn final_word(&self, direction: Direction, notification: Notification) -> Notification {
        let negotiated = self.session(direction).and_then(|session| session.negotiated());
        let restart = negotiated.and_then(|negotiated| negotiated.graceful_restart);
        if restart.is_some_and(|restart| restart.notification) {
            notification.hard_reset()
        } else {
            notification
        }
    }

    fn restart_is_expected(&self, direction: Direction) -> bool {
        self.session(direction).is_some_and(|session| {
            session.state() == State::Established
                && session.negotiated().is_some_and(|agreed| agreed.graceful_restart.is_some())
        })
    }
}
