// SPDX-License-Identifier: Apache-2.0
//! Doubt of oneself: after a standstill, or when somebody had declared this member dead, it asks its partners what they think of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Detector;
use crate::heartbeat::wire::{Body, View};

/// How long answers are awaited at least: one that says no shall not come after those that say yes.
const LEAST: Duration = Duration::from_millis(20);
/// The time between two rounds of asking.
const PAUSE: Duration = Duration::from_millis(20);

/// A doubt that is not settled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doubt {
    since: Instant,
    /// Only an echo of something sent later shows a view of now.
    after: u64,
    next: Instant,
}

impl Doubt {
    pub(crate) fn deadline(&self) -> Instant {
        self.next
    }
}

impl Detector {
    /// This member has stood still for longer than it takes to be declared dead, or has heard that it was.
    pub fn doubt(&mut self, now: Instant) {
        self.doubt = Some(Doubt { since: now, after: self.sent, next: now });
        self.settle_doubt(now);
    }

    /// Whether its partners have not (yet) confirmed that they count this member as alive.
    #[must_use]
    pub fn is_in_doubt(&self) -> bool {
        self.doubt.is_some()
    }

    /// Settled when more than half of the partners that still count as present say that they see this member alive, and none
    /// of those who answered says otherwise.
    pub(super) fn settle_doubt(&mut self, now: Instant) {
        let Some(doubt) = &mut self.doubt else { return };
        let after = doubt.after;
        let since = doubt.since;
        let due = now >= doubt.next;
        if due {
            doubt.next = now + PAUSE;
        }
        let asked: Vec<Arc<str>> = self
            .partners(now)
            .filter(|(_, peer)| !peer.condemned)
            .map(|(name, _)| Arc::clone(name))
            .collect();
        let answered = || {
            asked
                .iter()
                .filter_map(|name| self.peers.get(name))
                .filter(|peer| peer.echoed() > after)
        };
        let yes = answered().filter(|peer| matches!(peer.view, View::Alive)).count();
        let no = answered().any(|peer| matches!(peer.view, View::Dead | View::Unknown));
        if now >= since + LEAST && !no && yes * 2 > asked.len() || asked.is_empty() {
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
