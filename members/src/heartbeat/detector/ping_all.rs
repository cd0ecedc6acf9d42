// SPDX-License-Identifier: Apache-2.0
//! The roll call: every member is asked once whether it is there. Watching covers a few members only, and a member that may have been cut off
//! from most of the others has to count them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Detector;
use crate::heartbeat::wire::Body;

/// The number of rounds in which members that were not heard since the beginning are asked, twice in each.
const ROUNDS: u8 = 3;
/// The time between two rounds; as long after the last one, a member that was not heard counts as absent.
const ANSWER_WAIT: Duration = Duration::from_millis(20);
/// The least time between the beginnings of two roll calls.
const CALL_INTERVAL: Duration = Duration::from_secs(1);
/// The same if a member has fallen silent since.
const SHORT_CALL_INTERVAL: Duration = Duration::from_millis(100);
/// The time within which two deaths are more than an accident of one member.
const DEATHS_TOGETHER_TIME: Duration = Duration::from_secs(1);

/// A roll call that is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RollCall {
    since: Instant,
    next: Instant,
    round: u8,
    /// True if the members that are called are to call as well.
    loud: bool,
}

impl RollCall {
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
            self.begin_call(now, false, CALL_INTERVAL);
        }
    }

    /// Begins a roll call if half of the partners or more are silent, including partners that are not watched here.
    pub(super) fn maybe_call(&mut self, now: Instant) {
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
                let last = self.last_roll_call;
                lately |= since.is_some_and(|since| last.is_none_or(|last| since > last));
            }
        }
        if partners >= 2 && silent * 2 >= partners {
            self.begin_call(now, true, if lately { SHORT_CALL_INTERVAL } else { CALL_INTERVAL });
        }
    }

    /// Asks all members whether they are there, unless that was done a moment ago.
    pub fn call_all(&mut self, now: Instant) {
        self.begin_call(now, false, CALL_INTERVAL);
    }

    /// Another member lost half of its partners. A member in the middle of a part that was cut off may miss none.
    pub(super) fn handle_call(&mut self, now: Instant) {
        self.begin_call(now, false, CALL_INTERVAL);
    }

    fn begin_call(&mut self, now: Instant, loud: bool, pause: Duration) {
        let pausing = self.last_roll_call.is_some_and(|last| now < last + pause);
        if self.roll_call.is_none() && !pausing {
            self.roll_call = Some(RollCall { since: now, next: now, round: 0, loud });
            self.last_roll_call = Some(now);
            self.call(now);
        }
    }

    /// Continues a roll call; and calls the absent members again once in a while, so that their return is noticed.
    pub(super) fn call(&mut self, now: Instant) {
        if self.roll_call.is_none() && self.recall_deadline().is_some_and(|due| due <= now) {
            self.begin_call(now, false, CALL_INTERVAL);
            return;
        }
        let Some(call) = &mut self.roll_call else { return };
        if now < call.next {
            return;
        }
        let RollCall { since, round, loud, .. } = *call;
        let ended = round >= ROUNDS;
        call.round += 1;
        call.next = now + ANSWER_WAIT;
        if ended {
            self.roll_call = None;
        }
        let absent: Vec<Arc<str>> = self
            .peers
            .iter()
            .filter(|(_, peer)| loud && round == 0 || peer.heard.is_none_or(|heard| heard < since))
            .map(|(name, _)| Arc::clone(name))
            .collect();
        for name in absent {
            if !ended {
                let body = if loud { Body::Call } else { Body::Probe };
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

    pub(super) fn call_deadline(&self) -> Option<Instant> {
        self.roll_call.map(|call| call.next).or_else(|| self.recall_deadline())
    }

    fn recall_deadline(&self) -> Option<Instant> {
        let absent = self.absence.get().unwrap_or_else(|| {
            let absent = self.peers.values().any(|peer| peer.unconfirmed);
            self.absence.set(Some(absent));
            absent
        });
        self.last_roll_call.filter(|_| absent).map(|last| last + CALL_INTERVAL)
    }
}
