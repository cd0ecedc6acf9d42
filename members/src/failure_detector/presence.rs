// SPDX-License-Identifier: Apache-2.0
//! Who is present, who was only met over a stream, and what follows: verdicts that may be told, and whether this member may speak.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Action, FailureDetector};
use crate::event::{Event, Standing};
use crate::quorum::{Count, Side};

/// A member that was heard within this time is there, whoever else is not.
const FRESH_TIME: Duration = Duration::from_millis(150);
/// How often the ring is asked for an exchange that settles a doubt.
pub(super) const EXCHANGE_INTERVAL: Duration = Duration::from_secs(1);
/// How often a member that sends no heartbeat is asked over a stream, and how many are at a time.
const STRANGER_INTERVAL: Duration = Duration::from_secs(10);
const STRANGERS_AT_ONCE: usize = 4;

impl FailureDetector {
    /// The expected count as members, once there was another; those who are not expected any more and were never met do not.
    pub(super) fn count_expected(&mut self) {
        self.uncounted = true;
        if self.met {
            self.quorum.expect(&self.expected);
        }
    }

    /// With how many this member is, of how many.
    pub(crate) fn count(&self, now: Instant) -> Count {
        self.quorum.count(|name| self.side_of(now, name))
    }

    /// Whoever is in the ring counts from when it was first heard: of one that somebody else has met this member cannot say whether they are
    /// on the same side. Whoever misses its majority can say that they may not be.
    pub(super) fn admit(&mut self) {
        let minority = self.quorum.side() == Side::Minority;
        for (name, member) in &self.members {
            let heard = !member.heartbeat || self.detector.was_heard(name);
            if minority || heard || self.reached.contains(name) {
                self.quorum.joined(name, member.heartbeat);
            }
        }
    }

    /// Asks those over a stream that were never heard by the heartbeat: datagrams may be all that does not pass.
    pub(super) fn try_strangers(&mut self, now: Instant) {
        let due = |name: &&Arc<str>| {
            self.detector.is_stranger(now, name)
                && !self.reached.contains(*name)
                && self.tried.get(*name).is_none_or(|last| now >= *last + STRANGER_INTERVAL)
        };
        let names: Vec<Arc<str>> =
            self.members.keys().filter(due).take(STRANGERS_AT_ONCE).map(Arc::clone).collect();
        for name in names {
            self.tried.insert(Arc::clone(&name), now);
            self.actions.push_back(Action::Exchange(name));
        }
    }

    pub(super) fn tell_unheard(&mut self, now: Instant) {
        let unheard: BTreeSet<Arc<str>> =
            self.reached.iter().filter(|name| self.is_reached(now, name)).map(Arc::clone).collect();
        if unheard != self.unheard {
            self.unheard.clone_from(&unheard);
            self.actions.push_back(Action::Tell(Event::Unheard(unheard)));
        }
    }

    /// If only the ring can settle a doubt, one member after the other is asked.
    pub(super) fn ask_ring(&mut self, now: Instant) {
        let paused =
            self.exchange.as_ref().is_none_or(|(_, last)| now >= *last + EXCHANGE_INTERVAL);
        if !paused || !self.detector.wants_exchange(now) {
            return;
        }
        let last = self.exchange.as_ref().map(|(name, _)| name);
        let after = |name: &&Arc<str>| last.is_none_or(|last| **name > *last);
        let next = self.members.keys().find(after).or_else(|| self.members.keys().next());
        if let Some(name) = next.map(Arc::clone) {
            self.exchange = Some((Arc::clone(&name), now));
            self.actions.push_back(Action::Exchange(name));
        }
    }

    /// A member of the ring counts unless it speaks the heartbeat and is not heard, though datagrams of it have come, or could.
    fn is_present(&self, now: Instant, name: &str) -> bool {
        self.members.get(name).is_some_and(|member| {
            !member.heartbeat
                || self.is_heard_and_confirmed(now, name)
                || self.is_reached(now, name)
        })
    }

    /// On which side a member is that is present.
    fn side_of(&self, now: Instant, name: &str) -> Option<Side> {
        self.is_present(now, name).then(|| self.detector.side_of(name))
    }

    fn is_reached(&self, now: Instant, name: &str) -> bool {
        self.reached.contains(name) && self.detector.is_stranger(now, name)
    }

    fn is_heard_and_confirmed(&self, now: Instant, name: &str) -> bool {
        self.detector.was_heard(name) && self.detector.is_confirmed(now, name)
    }

    pub(super) fn is_fresh(&self, now: Instant, name: &str) -> bool {
        self.detector.silent_for(now, name).is_some_and(|time| time <= FRESH_TIME)
    }

    /// A verdict is told by whoever hears a majority at this moment: of those who hear nobody each finds all others dead.
    pub(super) fn declare(&mut self, now: Instant) {
        if self.held.is_empty() {
            return;
        }
        let heard = self.quorum.count(|name| {
            let other = self.members.get(name).is_some_and(|member| !member.heartbeat);
            (other || self.is_fresh(now, name)).then(|| self.detector.side_of(name))
        });
        if heard.enough && !self.detector.is_in_doubt() {
            for (name, cause) in std::mem::take(&mut self.held) {
                self.actions.push_back(Action::DeclareDead { name, cause });
            }
        } else {
            self.detector.call_all(now);
        }
    }

    fn recount(&mut self, now: Instant) {
        self.admit();
        self.counted = self.count(now);
        let side = |name: &str| self.side_of(now, name);
        let hears_us = |name: &str| self.detector.is_acquainted(name);
        if let Some(memory) = self.quorum.recall(self.counted, side, hears_us) {
            self.quorum.keep(memory);
        }
        self.detector.set_side(now, self.quorum.side());
    }

    pub(super) fn stand(&mut self, now: Instant) -> Standing {
        if let Some(until) = self.starting_until {
            if now < until || self.joining {
                return Standing::Starting;
            }
            self.starting_until = None;
        }
        // Most datagrams change nothing about who is present, and there may be many members.
        if self.detector.take_presence_changed() | std::mem::take(&mut self.uncounted) {
            self.recount(now);
        }
        if self.detector.is_in_doubt() {
            return Standing::Doubtful;
        }
        let Count { present, known, enough, .. } = self.counted;
        if enough && matches!(self.standing, Standing::Minority { .. }) {
            // It hears them again; they may have declared it dead meanwhile, and somebody else acts in its place.
            self.doubt(now);
            if self.detector.is_in_doubt() {
                return Standing::Doubtful;
            }
        }
        if enough { Standing::Confirmed } else { Standing::Minority { present, known } }
    }
}
