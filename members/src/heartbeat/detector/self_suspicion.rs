// SPDX-License-Identifier: Apache-2.0
//! The doubt of a member about itself: after a standstill, or when another member had declared it dead, it asks its partners for their view
//! of it; without any partner that can be asked, the ring.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Detector;
use crate::heartbeat::peer::{ACQUAINTANCE, Peer};
use crate::heartbeat::wire::{Body, View};

/// The least time that answers are awaited: an answer that says no is not to come after the ones that say yes.
const LEAST_TIME: Duration = Duration::from_millis(20);
/// The time between two rounds of asking.
const ASK_INTERVAL: Duration = Duration::from_millis(20);
/// The longest time that the ring is asked: a member that takes no streams tells nothing, and this must not silence a member for ever.
const LONGEST_TIME: Duration = Duration::from_secs(5);

/// A doubt that is not settled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doubt {
    since: Instant,
    /// The counter of the last datagram before the doubt: only an echo of a later one shows a present view.
    after: u64,
    next: Instant,
    /// The time from which an exchange of states has to begin in order to show the ring's present view.
    contradicted: Instant,
    /// True once there was such an exchange, and it did not show this member as dead.
    exchanged: bool,
}

impl Doubt {
    pub(crate) fn deadline(&self) -> Instant {
        self.next
    }

    /// True if an answer of this peer is awaited: not from a dead one, nor from one that no datagram reaches, which only the memberlist can
    /// judge.
    fn awaits(&self, now: Instant, peer: &Peer) -> bool {
        let mute =
            now >= self.since + ACQUAINTANCE && peer.heard.is_none_or(|heard| heard < self.since);
        !peer.condemned && !peer.is_stranger(now) && !mute
    }
}

impl Detector {
    /// This member has stood still for longer than it takes to be declared dead, or has heard that it was.
    pub fn doubt(&mut self, now: Instant) {
        let (since, after) = (now, self.sent);
        let doubt = Doubt { since, after, next: now, contradicted: now, exchanged: false };
        self.doubt = Some(doubt);
        self.settle_doubt(now);
    }

    /// True if its partners have not (yet) confirmed that they count this member as alive.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// Notes whether the ring has members that do not use the heartbeat: their view counts if there are no others.
    pub fn set_mixed(&mut self, mixed: bool) {
        self.mixed = mixed;
    }

    /// True if no member can be asked by the heartbeat, so that only an exchange of states can settle the doubt.
    #[must_use]
    pub fn wants_exchange(&self, now: Instant) -> bool {
        let awaits = |doubt: &Doubt| self.partners(now).any(|(_, peer)| doubt.awaits(now, peer));
        self.doubt.is_some_and(|doubt| !doubt.exchanged && !awaits(&doubt)) && self.has_company(now)
    }

    /// States were exchanged with a member of the ring, over a stream that was opened at `began`.
    pub fn exchanged(&mut self, now: Instant, began: Instant) {
        if let Some(doubt) = &mut self.doubt {
            doubt.exchanged |= began >= doubt.contradicted;
        }
        self.settle_doubt(now);
    }

    /// The ring has just been told that this member is no suspect: its earlier word is void.
    pub fn contradicted(&mut self, now: Instant) {
        if let Some(doubt) = &mut self.doubt {
            (doubt.contradicted, doubt.exchanged) = (now, false);
        }
    }

    /// True if there is any member whose word might come by the ring.
    fn has_company(&self, now: Instant) -> bool {
        self.mixed || self.partners(now).any(|(_, peer)| !peer.condemned)
    }

    /// Settles the doubt when more than half of the partners whose answer is awaited say that they see this member alive, and none that
    /// answered says otherwise.
    pub(super) fn settle_doubt(&mut self, now: Instant) {
        let Some(doubt) = &mut self.doubt else { return };
        let due = now >= doubt.next;
        if due {
            doubt.next = now + ASK_INTERVAL;
        }
        let doubt = *doubt;
        let asked: Vec<Arc<str>> = self
            .partners(now)
            .filter(|(_, peer)| doubt.awaits(now, peer))
            .map(|(name, _)| Arc::clone(name))
            .collect();
        let answered = || {
            asked
                .iter()
                .filter_map(|name| self.peers.get(name))
                .filter(|peer| peer.echoed() > doubt.after)
        };
        let yes = answered().filter(|peer| matches!(peer.view, View::Alive)).count();
        let no = answered().any(|peer| matches!(peer.view, View::Dead | View::Unknown));
        let settled = if asked.is_empty() {
            doubt.exchanged || now >= doubt.since + LONGEST_TIME || !self.has_company(now)
        } else {
            now >= doubt.since + LEAST_TIME && !no && yes * 2 > asked.len()
        };
        if settled {
            self.doubt = None;
            return;
        }
        if due {
            for name in asked {
                self.send(&name, Body::Probe);
            }
        }
    }
}
