// SPDX-License-Identifier: Apache-2.0
//! The events that wait: for the first attempt, in the order in which they came, and after a failure for the next one. Neither list grows
//! without bound.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::time::Instant;

use super::object_event::ObjectEvent;
use crate::net::writer::{lock, now};
use crate::writer::RETRY;

/// How many distinct events may wait for the API; beyond that they are dropped, which the log tells.
pub(super) const QUEUE: usize = 16_384;

/// How often an event is tried to be written, in all.
pub(super) const ATTEMPTS: u32 = 5;

/// An event, how often it happened since it was written, and how often it was tried to write it.
pub(super) struct Raised {
    pub(super) event: ObjectEvent,
    pub(super) times: u32,
    pub(super) attempts: u32,
}

/// Events that wait to be written. One that happens again meanwhile is counted, not queued again: routes that change faster than the API
/// takes events must not push out those about something else.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Tells the same event.
    hasher: RandomState,
}

#[derive(Default)]
struct Waiting {
    events: HashMap<u64, Raised>,
    /// In the order in which they came.
    order: VecDeque<u64>,
}

impl Queue {
    /// False if there is no room for the event, which is dropped then.
    pub(super) fn add(&self, raised: Raised) -> bool {
        let ObjectEvent { regarding, warning, reason, message } = &raised.event;
        let hash = self.hasher.hash_one((regarding, warning, reason, message));
        let Waiting { events, order } = &mut *lock(&self.waiting);
        let full = events.len() >= QUEUE;
        match events.entry(hash) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.times += raised.times;
                known.attempts = known.attempts.max(raised.attempts);
            }
            Entry::Vacant(_) if full => {
                tracing::warn!(object = %regarding.key, reason, "event dropped: too many wait");
                return false;
            }
            Entry::Vacant(place) => {
                place.insert(raised);
                order.push_back(hash);
            }
        }
        true
    }

    /// The first so many with their hashes, and whether more wait.
    pub(super) fn take(&self, count: usize) -> (Vec<(u64, Raised)>, bool) {
        let mut waiting = lock(&self.waiting);
        let Waiting { events, order } = &mut *waiting;
        let hashes = order.drain(..count.min(order.len()));
        let taken = hashes.filter_map(|hash| Some((hash, events.remove(&hash)?))).collect();
        let more = !order.is_empty();
        if !more {
            // A burst must not hold its room for ever.
            *waiting = Waiting::default();
        }
        (taken, more)
    }
}

/// Events that could not be written; no more than may wait.
#[derive(Default)]
pub(super) struct Failed {
    events: Vec<Raised>,
    pub(super) due: Option<Instant>,
}

impl Failed {
    /// Those that are due, or in a hurry all.
    pub(super) fn take(&mut self, hurry: bool) -> Vec<Raised> {
        if !hurry && self.due.is_none_or(|due| due > now()) {
            return Vec::new();
        }
        self.due = None;
        std::mem::take(&mut self.events)
    }

    pub(super) fn add(&mut self, events: Vec<Raised>) {
        for event in events {
            if event.attempts < ATTEMPTS && self.events.len() < QUEUE {
                self.events.push(event);
            } else {
                let event = &event.event;
                tracing::warn!(object = %event.regarding.key, reason = event.reason,
                    "event dropped: it could not be written");
            }
        }
        if !self.events.is_empty() {
            self.due.get_or_insert_with(|| now() + RETRY);
        }
    }
}
