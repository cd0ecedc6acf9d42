// SPDX-License-Identifier: Apache-2.0
//! Everything that is due at some time, in one schedule.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An action that is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The next probe.
    Probe,
    /// The next round of gossip.
    Gossip,
    /// The next push/pull.
    PushPull,
    /// New metadata may be told.
    Meta,
    /// The probed member has not answered this one; others are asked.
    ProbeTimeout,
    /// Nobody has heard of the probed member.
    ProbeEnd,
    /// A member that was pinged for another one has not answered.
    Relay(u32),
    /// A suspicion was not refuted.
    Suspicion(Arc<str>),
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    schedule: BTreeSet<(Instant, Timer)>,
    times: BTreeMap<Timer, Instant>,
}

impl Timers {
    /// Sets a timer, or sets it anew.
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        if let Some(before) = self.times.insert(timer.clone(), at) {
            self.schedule.remove(&(before, timer.clone()));
        }
        self.schedule.insert((at, timer));
    }

    pub(super) fn cancel(&mut self, timer: &Timer) {
        if let Some(at) = self.times.remove(timer) {
            self.schedule.remove(&(at, timer.clone()));
        }
    }

    /// The time of the first timer.
    pub(super) fn next(&self) -> Option<Instant> {
        self.schedule.first().map(|(at, _)| *at)
    }

    /// Takes the first timer that is due.
    pub(super) fn due(&mut self, now: Instant) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        let (_, timer) = self.schedule.pop_first()?;
        self.times.remove(&timer);
        Some(timer)
    }

    /// Delays all timers.
    pub(super) fn postpone(&mut self, by: Duration) {
        self.schedule =
            std::mem::take(&mut self.schedule).into_iter().map(|(at, it)| (at + by, it)).collect();
        for at in self.times.values_mut() {
            *at += by;
        }
    }
}
