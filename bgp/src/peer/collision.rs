// SPDX-License-Identifier: Apache-2.0
//! Two connections with the same peer (RFC 4271 §6.8, RFC 6286 §2.3, RFC 4724 §5).

use std::net::Ipv4Addr;
use std::time::Instant;

use super::react::other;
use super::{Direction, Peer};
use crate::session::Cause;
use crate::session::transition::Trigger;
use crate::status::{DownReason, NotificationText, State};
use crate::wire::iana::error;
use crate::wire::{Capability, Notification, Open};

impl Peer {
    /// The OPEN of the peer came on this connection.
    pub(super) fn collide(&mut self, now: Instant, direction: Direction, open: &Open) {
        let rival = other(direction);
        let Some(state) = self.session(rival).map(crate::session::Session::state) else { return };
        match state {
            // Connections are let in beside a session only if it may be one of a peer that restarted.
            State::Established if says_restarted(open) => {
                let reason = DownReason::Tcp("the peer has restarted".to_owned());
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

/// The R bit (RFC 4724 §3).
pub(super) fn says_restarted(open: &Open) -> bool {
    let restarted = |capability: &Capability| {
        matches!(capability, Capability::GracefulRestart { restarted: true, .. })
    };
    open.capabilities.iter().any(restarted)
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
