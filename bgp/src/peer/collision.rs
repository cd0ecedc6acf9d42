// SPDX-License-Identifier: Apache-2.0
//! Two connections with the same peer (RFC 4271 §6.8, RFC 6286 §2.3, RFC 4724 §5).

use std::net::Ipv4Addr;
use std::time::Instant;

use super::react::other;
use super::{Direction, Peer};
use crate::session::Cause;
use crate::session::negotiate::says_restarted;
use crate::session::transition::Trigger;
use crate::status::{DownReason, NotificationText, State};
use crate::wire::iana::error;
use crate::wire::{Notification, Open};

impl Peer {
    /// The OPEN of the peer came on this connection.
    pub(super) fn collide(&mut self, now: Instant, direction: Direction, open: &Open) {
        let rival = other(direction);
        let Some(state) = self.session(rival).map(crate::session::Session::state) else { return };
        match state {
            State::Established if self.is_replaced_by(rival, open) => {
                let text = if says_restarted(open) {
                    "the peer has restarted"
                } else {
                    "the peer opened another connection"
                };
                let reason = DownReason::Tcp(text.to_owned());
                self.with(now, rival, |session, around| session.abandon(around, reason));
            }
            State::Established => self.dump(now, direction),
            State::OpenConfirm => {
                let ours = (self.config.identifier, self.config.local_asn);
                let survivor = survivor(ours, (open.identifier, open.asn()));
                self.dump(now, other(survivor));
            }
            // Its own OPEN, when it comes, is compared with this connection.
            State::Idle | State::Connect | State::Active | State::OpenSent => {}
        }
    }

    /// Whether the peer's OPEN on another connection means that it has lost the session over this one without our noticing. The R
    /// bit says so, and so does the connection itself if the peer named families for graceful restart (RFC 4724 §4.2, §5), as it
    /// may have restarted without keeping anything. What both sides began at the same time is no longer on its way by then
    /// ([`Peer::accepts`]).
    pub(super) fn is_replaced_by(&self, session: Direction, open: &Open) -> bool {
        let negotiated = self.session(session).and_then(|session| session.negotiated());
        let restart = negotiated.and_then(|agreed| agreed.graceful_restart);
        says_restarted(open) || restart.is_some_and(|restart| !restart.families.is_empty())
    }

    /// The peer connected anew: what it opened before ends without a word, as it has forgotten it.
    pub(super) fn make_way(&mut self, now: Instant) {
        let reason = DownReason::Tcp("the peer opened another connection".to_owned());
        self.with(now, Direction::Incoming, |session, around| session.abandon(around, reason));
    }

    /// Closes a connection that lost (CEASE/7).
    pub(super) fn dump(&mut self, now: Instant, direction: Direction) {
        let notification = Notification::cease(error::COLLISION_RESOLUTION);
        let reason = DownReason::NotificationSent {
            notification: NotificationText {
                code: error::CEASE,
                subcode: error::COLLISION_RESOLUTION,
                hard_reset: false,
                communication: None,
            },
            detail: "another connection with the peer survives".to_owned(),
        };
        self.with(now, direction, |session, around| {
            let cause = Cause::notification(notification, reason);
            session.trigger(around, Trigger::OpenCollisionDump, cause);
        });
    }
}

/// The connection of the side with the higher identifier survives; with equal ones, that of the higher AS.
fn survivor(ours: (Ipv4Addr, u32), theirs: (Ipv4Addr, u32)) -> Direction {
    if ours < theirs { Direction::Incoming } else { Direction::Outgoing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_higher_identifier_wins_and_with_equal_ones_the_higher_as() {
        let low = Ipv4Addr::new(10, 0, 0, 255);
        let high = Ipv4Addr::new(10, 0, 1, 0);
        assert_eq!(survivor((low, 9), (high, 1)), Direction::Incoming);
        assert_eq!(survivor((high, 1), (low, 9)), Direction::Outgoing);
        assert_eq!(survivor((low, 1), (low, 2)), Direction::Incoming);
        assert_eq!(survivor((low, 2), (low, 1)), Direction::Outgoing);
    }
}
