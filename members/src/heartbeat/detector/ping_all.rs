// SPDX-License-Identifier: Apache-2.0
//! The ping to all members: each is asked whether it is there. Watching covers a few members only, and a member that
//! may have been cut off from most of the others has to count them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Detector;
use crate::heartbeat::wire::Body;

/// The number of rounds in which members that were not heard since the beginning are asked, twice in each.
const ROUNDS: u8 = 3;
/// The time between two rounds; as long after the last one, a member that was not heard counts as absent.
const ANSWER_WAIT: Duration = Duration::from_millis(20);
/// The least time between the beginnings of two pings to all members.
const PING_ALL_INTERVAL: Duration = Duration::from_secs(1);
/// The same if a member has fallen silent since.
const SHORT_PING_ALL_INTERVAL: Duration = Duration::from_millis(100);
/// The time within which two deaths are more than an accident of one member.
const DEATHS_TOGETHER_TIME: Duration = Duration::from_secs(1);

/// A ping to all members that is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PingAll {
    since: Instant,
    next: Instant,
    round: u8,
    /// True if each member that is pinged is to ping all members as well.
    spreads: bool,
}

impl PingAll {
    pub(crate) fn postpone(&mut self, late: Duration) {
        self.next += late;
    }
}

impl Detector {
    /// A member died, found here or told by others. After the second death within a second a part of the network may be gone.
    pub fn news_of_death(&mut self, now: Instant) {
        let together = self.last_death.is_some_and(|last| now < last + DEATHS_TOGETHER_TIME);
        self.last_death = Some(now);
        if together {
            self.begin_ping_all(now, false, PING_ALL_INTERVAL);
        }
    }

    /// Pings all members if half of the partners or more are silent, including partners that are not watched here.
    pub(super) fn ping_all_if_many_are_silent(&mut self, now: Instant) {
        let patience = self.options.patience();
        let (mut partners, mut silent, mut lately) = (0, 0, false);
        for (_, peer) in self.partners(now) {
            partners += 1;
            let since = match peer.probing {
                Some(probing) => Some(probing.since),
                None => peer.heard.map(|heard| heard + patience).filter(|since| *since <= now),
            };
            if since.is_some() || peer.unconfirmed {
                silent += 1;
                let last = self.last_ping_all;
                lately |= since.is_some_and(|since| last.is_none_or(|last| since > last));
            }
        }
        if partners >= 2 && silent * 2 >= partners {
            self.begin_ping_all(
                now,
                true,
                if lately { SHORT_PING_ALL_INTERVAL } else { PING_ALL_INTERVAL },
            );
        }
    }

    /// Asks all members whether they are there, unless that was done a moment ago.
    pub fn ping_all(&mut self, now: Instant) {
        self.begin_ping_all(now, false, PING_ALL_INTERVAL);
    }

    /// Another member lost half of its partners. A member in the middle of a part that was cut off may miss none.
    pub(super) fn handle_ping_all(&mut self, now: Instant) {
        self.begin_ping_all(now, false, PING_ALL_INTERVAL);
    }

    fn begin_ping_all(&mut self, now: Instant, spreads: bool, pause: Duration) {
        let pausing = self.last_ping_all.is_some_and(|last| now < last + pause);
        if self.ping_all.is_none() && !pausing {
            self.ping_all = Some(PingAll { since: now, next: now, round: 0, spreads });
            self.last_ping_all = Some(now);
            self.continue_ping_all(now);
        }
    }

    /// Continues a ping to all members; and pings the absent members again once in a while, so that their return is
    /// noticed.
    pub(super) fn continue_ping_all(&mut self, now: Instant) {
        if self.ping_all.is_none() && self.repetition_deadline().is_some_and(|due| due <= now) {
            self.begin_ping_all(now, false, PING_ALL_INTERVAL);
            return;
        }
        let Some(ping_all) = &mut self.ping_all else { return };
        if now < ping_all.next {
            return;
        }
        let PingAll { since, round, spreads, .. } = *ping_all;
        let ended = round >= ROUNDS;
        ping_all.round += 1;
        ping_all.next = now + ANSWER_WAIT;
        if ended {
            self.ping_all = None;
        }
        let absent: Vec<Arc<str>> = self
            .peers
            .iter()
            .filter(|(_, peer)| {
                spreads && round == 0 || peer.heard.is_none_or(|heard| heard < since)
            })
            .map(|(name, _)| Arc::clone(name))
            .collect();
        for name in absent {
            if !ended {
                let body = if spreads { Body::PingAll } else { Body::Probe };
                self.send(&name, body.clone());
                self.send(&name, body);
            } else if let Some(peer) = self.peers.get_mut(&name)
                && peer.spoke
            {
                peer.unconfirmed = true;
                self.note_presence();
            }
        }
    }

    pub(super) fn ping_all_deadline(&self) -> Option<Instant> {
        self.ping_all.map(|ping_all| ping_all.next).or_else(|| self.repetition_deadline())
    }

    fn repetition_deadline(&self) -> Option<Instant> {
        let absent = self.absence.get().unwrap_or_else(|| {
            let absent = self.peers.values().any(|peer| peer.unconfirmed);
            self.absence.set(Some(absent));
            absent
        });
        self.last_ping_all.filter(|_| absent).map(|last| last + PING_ALL_INTERVAL)
    }
}
