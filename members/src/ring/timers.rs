// SPDX-License-Identifier: Apache-2.0
//! Everything that is due at some time, in one schedule, and the ring's work for each timer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Ring;
use crate::Settings;

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

impl Ring {
    /// Sets the first times of all periodic actions, at random so that members do not act in step.
    pub(super) fn start(&mut self, now: Instant) {
        let Settings { probe_interval, gossip_interval, push_pull_interval, .. } = self.settings;
        if !probe_interval.is_zero() {
            let first = now + self.random.time(probe_interval);
            self.timers.set(Timer::Probe, first);
        }
        if !gossip_interval.is_zero() && self.settings.gossip_nodes > 0 {
            let first = now + self.random.time(gossip_interval);
            self.timers.set(Timer::Gossip, first);
        }
        if !push_pull_interval.is_zero() {
            let first = now + self.random.time(push_pull_interval) + push_pull_interval;
            self.timers.set(Timer::PushPull, first);
        }
    }

    /// Does everything that is due. A late call means a stall (a stopped process, a suspended machine): answers may have been lost in that
    /// time, so everything is put off by it, and a member is asked for its state.
    pub fn expire(&mut self, now: Instant) {
        let late = self.timers.next().map(|due| now.saturating_duration_since(due));
        if let Some(late) =
            late.filter(|late| *late > self.settings.probe_timeout && !late.is_zero())
        {
            self.timers.postpone(late);
            for suspicion in self.records.values_mut().filter_map(|it| it.suspicion.as_mut()) {
                suspicion.postpone(late);
            }
            // Messages from that time will not come again.
            if !self.settings.push_pull_interval.is_zero() {
                self.timers.set(Timer::PushPull, now);
            }
        }
        while let Some(timer) = self.timers.due(now) {
            match timer {
                Timer::Probe => self.probe_next(now),
                Timer::Gossip => self.gossip(now),
                Timer::PushPull => self.push_pull(now),
                Timer::Meta => self.tell_meta(now),
                Timer::ProbeTimeout => self.probe_indirectly(now),
                Timer::ProbeEnd => self.probe_ended(now),
                Timer::Relay(sequence) => self.relay_ended(sequence),
                Timer::Suspicion(name) => {
                    let us = Arc::clone(&self.name);
                    self.bury(now, &name, &us);
                }
            }
        }
    }
}
