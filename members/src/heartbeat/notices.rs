// SPDX-License-Identifier: Apache-2.0
//! Notices on their way: each is sent again until it is confirmed or it is too late for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The first pause before a copy is sent; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(160);
/// After this a notice is given up: what it says is a second old and more.
const LIFETIME: Duration = Duration::from_millis(1_200);
/// How many may be on their way, all receivers together; further ones push out the oldest.
const LIMIT: usize = 8_192;

struct Outgoing {
    to: Arc<str>,
    bytes: Arc<[u8]>,
    next: Instant,
    pause: Duration,
    until: Instant,
}

/// What was sent and not confirmed, by receiver-independent id.
#[derive(Default)]
pub(crate) struct Notices {
    outgoing: BTreeMap<u32, Outgoing>,
    last: u32,
}

impl Notices {
    /// A notice to one member; it is due at once.
    pub(crate) fn add(&mut self, now: Instant, to: Arc<str>, bytes: Arc<[u8]>) {
        if self.outgoing.len() >= LIMIT {
            self.outgoing.pop_first();
        }
        self.last = self.last.wrapping_add(1);
        let until = now + LIFETIME;
        self.outgoing
            .insert(self.last, Outgoing { to, bytes, next: now, pause: FIRST_PAUSE, until });
    }

    /// The receiver has it.
    pub(crate) fn confirm(&mut self, id: u32, by: &str) {
        if self.outgoing.get(&id).is_some_and(|notice| &*notice.to == by) {
            self.outgoing.remove(&id);
        }
    }

    /// Those that `keep` is true for stay.
    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.outgoing.retain(|_, notice| keep(&notice.to));
    }

    /// Whether anything is still on its way.
    pub(crate) fn is_empty(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// Those that have to be sent now.
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
