// SPDX-License-Identifier: Apache-2.0
//! Self-suspicion: after a standstill, or when another member had declared it dead, a member asks its partners for
//! their view of it; without any partner that can be asked, the ring.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Detector;
use crate::heartbeat::peer::{ACQUAINTANCE, Peer};
use crate::heartbeat::wire::{Body, Opinion};

/// The least time that answers are awaited: an answer that says no is not to come after the ones that say yes.
const LEAST_TIME: Duration = Duration::from_millis(20);
/// The time between two rounds of asking.
const ASK_INTERVAL: Duration = Duration::from_millis(20);
/// The longest time that the ring is asked: a member that takes no streams tells nothing, and this must not silence a member for ever.
const LONGEST_TIME: Duration = Duration::from_secs(5);

/// A self-suspicion that is not settled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SelfSuspicion {
    since: Instant,
    /// The counter of the last datagram before the self-suspicion: only an echo of a later one shows a present view.
    after: u64,
    next: Instant,
    /// The time from which an exchange of states has to begin in order to show the ring's present view.
    contradicted: Instant,
    /// True once there was such an exchange, and it did not show this member as dead.
    exchanged: bool,
}

impl SelfSuspicion {
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
    pub fn suspect_self(&mut self, now: Instant) {
        let (since, after) = (now, self.sent);
        let suspicion =
            SelfSuspicion { since, after, next: now, contradicted: now, exchanged: false };
        self.self_suspicion = Some(suspicion);
        self.settle_self_suspicion(now);
    }

    /// True if its partners have not (yet) confirmed that they count this member as alive.
    #[must_use]
    pub fn suspects_itself(&self) -> bool {
        self.self_suspicion.is_some()
    }

    /// Notes whether the ring has members that do not use the heartbeat: their view counts if there are no others.
    pub fn set_mixed(&mut self, mixed: bool) {
        self.mixed = mixed;
    }

    /// True if no member can be asked by the heartbeat, so that only an exchange of states can settle the
    /// self-suspicion.
    #[must_use]
    pub fn wants_exchange(&self, now: Instant) -> bool {
        let awaits = |suspicion: &SelfSuspicion| {
            self.partners(now).any(|(_, peer)| suspicion.awaits(now, peer))
        };
        self.self_suspicion.is_some_and(|suspicion| !suspicion.exchanged && !awaits(&suspicion))
            && self.has_company(now)
    }

    /// States were exchanged with a member of the ring, over a stream that was opened at `began`.
    pub fn exchanged(&mut self, now: Instant, began: Instant) {
        if let Some(suspicion) = &mut self.self_suspicion {
            suspicion.exchanged |= began >= suspicion.contradicted;
        }
        self.settle_self_suspicion(now);
    }

    /// The ring has just been told that this member is no suspect: its earlier word is void.
    pub fn contradicted(&mut self, now: Instant) {
        if let Some(suspicion) = &mut self.self_suspicion {
            (suspicion.contradicted, suspicion.exchanged) = (now, false);
        }
    }

    /// True if there is any member whose word might come by the ring.
    fn has_company(&self, now: Instant) -> bool {
        self.mixed || self.partners(now).any(|(_, peer)| !peer.condemned)
    }

    /// Settles the self-suspicion when more than half of the partners whose answer is awaited say that they see this
    /// member alive, and none that answered says otherwise.
    pub(super) fn settle_self_suspicion(&mut self, now: Instant) {
        let Some(suspicion) = &mut self.self_suspicion else { return };
        let due = now >= suspicion.next;
        if due {
            suspicion.next = now + ASK_INTERVAL;
        }
        let suspicion = *suspicion;
        let asked: Vec<Arc<str>> = self
            .partners(now)
            .filter(|(_, peer)| suspicion.awaits(now, peer))
            .map(|(name, _)| Arc::clone(name))
            .collect();
        let answered = || {
            asked
                .iter()
                .filter_map(|name| self.peers.get(name))
                .filter(|peer| peer.echoed() > suspicion.after)
        };
        let yes = answered().filter(|peer| matches!(peer.view, Opinion::Alive)).count();
        let no = answered().any(|peer| matches!(peer.view, Opinion::Dead | Opinion::Unknown));
        let settled = if asked.is_empty() {
            suspicion.exchanged || now >= suspicion.since + LONGEST_TIME || !self.has_company(now)
        } else {
            now >= suspicion.since + LEAST_TIME && !no && yes * 2 > asked.len()
        };
        if settled {
            self.self_suspicion = None;
            return;
        }
        if due {
            for name in asked {
                self.send(&name, Body::Probe);
            }
        }
    }
}
