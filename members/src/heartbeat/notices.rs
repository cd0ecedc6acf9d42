// SPDX-License-Identifier: Apache-2.0
//! Notices on their way: each is sent again until it is confirmed or given up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The first pause before a copy is sent; each pause is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(160);
/// The time after which a notice is given up: by then its content is more than a second old.
const LIFETIME: Duration = Duration::from_millis(1_200);
/// The number of notices on their way to all receivers together, at most; further ones push out the oldest.
const LIMIT: usize = 8_192;

struct Outgoing {
    to: Arc<str>,
    bytes: Arc<[u8]>,
    next: Instant,
    pause: Duration,
    until: Instant,
}

/// The notices that were sent and not confirmed, by an id that is unique over all receivers.
#[derive(Default)]
pub(crate) struct Notices {
    outgoing: BTreeMap<u32, Outgoing>,
    last: u32,
}

impl Notices {
    /// Adds a notice to one member, which is due at once.
    pub(crate) fn add(&mut self, now: Instant, to: Arc<str>, bytes: Arc<[u8]>) {
        if self.outgoing.len() >= LIMIT {
            self.outgoing.pop_first();
        }
        self.last = self.last.wrapping_add(1);
        let until = now + LIFETIME;
        self.outgoing
            .insert(self.last, Outgoing { to, bytes, next: now, pause: FIRST_PAUSE, until });
    }

    /// The receiver has confirmed the notice.
    pub(crate) fn confirm(&mut self, id: u32, by: &str) {
        if self.outgoing.get(&id).is_some_and(|notice| &*notice.to == by) {
            self.outgoing.remove(&id);
        }
    }

    /// Keeps the notices to members for which `keep` is true.
    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.outgoing.retain(|_, notice| keep(&notice.to));
    }

    /// True if no notice is on its way.
    pub(crate) fn is_empty(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// The notices that have to be sent now.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<(u32, Arc<str>, Arc<[u8]>)> {
        self.outgoing.retain(|_, notice| now < notice.until);
        let mut due = Vec::new();
        for (id, notice) in &mut self.outgoing {
            if notice.next <= now {
                notice.next = now + notice.pause;
                notice.pause = (notice.pause * 2).min(LONGEST_PAUSE);
                due.push((*id, Arc::clone(&notice.to), Arc::clone(&notice.bytes)));
            }
        }
        due
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.outgoing.values().map(|notice| notice.next.min(notice.until)).min()
    }
}
