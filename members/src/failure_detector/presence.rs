// SPDX-License-Identifier: Apache-2.0
//! The members that are present or were only met over a stream, and the consequences: verdicts that may be told, and the standing of this
//! member.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Action, FailureDetector};
use crate::event::{Event, Standing};
use crate::quorum::{Count, Fencing, Side};

/// The age of the last sign of life up to which a member is certainly there.
const FRESH_TIME: Duration = Duration::from_millis(150);
/// The time between two exchanges that the ring is asked for to settle a self-suspicion.
pub(super) const EXCHANGE_INTERVAL: Duration = Duration::from_secs(1);
/// The time between two attempts to ask a member that sends no heartbeat over a stream, and the number of members asked at a time.
const STRANGER_INTERVAL: Duration = Duration::from_secs(10);
const STRANGERS_AT_ONCE: usize = 4;

impl FailureDetector {
    /// Counts the expected names as members, once another member was met. Names that are not expected any more and were never met do not
    /// count.
    pub(super) fn count_expected(&mut self) {
        self.uncounted = true;
        if self.met || self.options.fencing == Fencing::Link {
            self.quorum.expect(&self.expected);
        }
    }

    /// The number of members present with this one, and the number known.
    pub(crate) fn count(&self, now: Instant) -> Count {
        self.quorum.count(|name| self.side_of(now, name))
    }

    /// Lets a member of the ring count once it was heard first: of a member that only others have met this one cannot tell the side. A member
    /// that misses its majority counts all, as it can tell that they may not be on its side.
    pub(super) fn admit(&mut self) {
        let minority = self.quorum.side() == Side::Minority;
        for (name, member) in &self.members {
            let heard = !member.heartbeat || self.detector.was_heard(name);
            if minority || heard || self.reached.contains(name) {
                self.quorum.joined(name, member.heartbeat);
            }
        }
    }

    /// Asks members that were never heard by the heartbeat over a stream: perhaps only datagrams do not pass.
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

    /// Asks one member after the other for an exchange, if only the ring can settle a self-suspicion.
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

    /// True if the member counts as present. A member of the ring does unless it uses the heartbeat and is not heard by it, though its
    /// datagrams have come, or could.
    pub(super) fn is_present(&self, now: Instant, name: &str) -> bool {
        self.members.get(name).is_some_and(|member| {
            !member.heartbeat
                || self.is_heard_and_confirmed(now, name)
                || self.is_reached(now, name)
        })
    }

    /// The side of a member that is present.
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

    /// Declares deaths if this member hears a majority at this moment: a member that hears nobody would find all others dead.
    pub(super) fn declare(&mut self, now: Instant) {
        if self.held.is_empty() {
            return;
        }
        let heard = self.quorum.count(|name| {
            let other = self.members.get(name).is_some_and(|member| !member.heartbeat);
            (other || self.is_fresh(now, name)).then(|| self.detector.side_of(name))
        });
        if heard.enough && !self.detector.suspects_itself() {
            for (name, cause) in std::mem::take(&mut self.held) {
                self.actions.push_back(Action::DeclareDead { name, cause });
            }
        } else {
            self.detector.ping_all(now);
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
        // Most datagrams do not change the presence of any member, and there may be many members.
        if self.detector.take_presence_changed() | std::mem::take(&mut self.uncounted) {
            self.recount(now);
        }
        if self.detector.suspects_itself() || self.is_meeting(now) {
            return Standing::Doubtful;
        }
        if let Some(known) = self.unmet() {
            return Standing::ByLink { present: 1, known, met: false };
        }
        let count = self.counted;
        let returns = match self.standing {
            Standing::Minority { .. } => count.enough,
            Standing::ByLink { present, .. } => count.enough || count.present > present,
            Standing::Confirmed | Standing::Starting | Standing::Doubtful => false,
        };
        if returns {
            // This member hears others again; they may have declared it dead meanwhile, and another one acts in its place.
            self.suspect_self(now);
            if self.detector.suspects_itself() {
                return Standing::Doubtful;
            }
        }
        if count.enough { Standing::Confirmed } else { self.without_majority(count) }
    }
}
