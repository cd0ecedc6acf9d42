// SPDX-License-Identifier: Apache-2.0
//! When to replace an attached filter. A new address must pass at once, so a filter that lacks it is replaced before the
//! address is announced; but a thousand addresses in a second shall not cost a thousand filters. So while addresses keep
//! coming, each replacement covers wider blocks around them, and after a quiet second the exact filter is put in their
//! place. Addresses that leave wait for that, too.

use std::time::{Duration, Instant};

use super::{MOST_RANGES, Range, cover};

/// So long after the last change the filter is made exact.
const QUIET: Duration = Duration::from_secs(1);
/// But not longer than this after the first.
const LONGEST: Duration = Duration::from_secs(5);
/// Each replacement in a busy time widens the blocks by so many bits.
const STEP: u32 = 8;

/// The state of the filter of one socket.
#[derive(Debug)]
pub struct FilterPlan {
    attached: Vec<Range>,
    widen: u32,
    most: usize,
    busy_since: Option<Instant>,
    last_change: Option<Instant>,
    lacks: bool,
}

impl Default for FilterPlan {
    fn default() -> Self {
        Self {
            attached: Vec::new(),
            widen: 0,
            most: MOST_RANGES,
            busy_since: None,
            last_change: None,
            lacks: false,
        }
    }
}

impl FilterPlan {
    /// A key that must pass from now.
    pub fn add(&mut self, now: Instant, key: u32) {
        if !self.passes(key) {
            self.lacks = true;
        }
        self.changed(now);
    }

    /// A key that need not pass any more.
    pub fn remove(&mut self, now: Instant) {
        self.changed(now);
    }

    /// Whether the filter has to be replaced now, without delay.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.lacks || self.deadline().is_some_and(|at| at <= now)
    }

    /// When it is to be made exact.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let (busy, last) = (self.busy_since?, self.last_change?);
        Some((busy + LONGEST).min(last + QUIET))
    }

    /// The ranges to attach now, for all keys; `None` when those attached are the same.
    pub fn replace(&mut self, now: Instant, keys: Vec<u32>) -> Option<Vec<Range>> {
        if self.deadline().is_some_and(|at| at <= now) {
            self.widen = 0;
            self.busy_since = None;
            self.last_change = None;
        }
        let ranges = cover(keys, self.widen, self.most);
        if self.lacks && self.busy_since.is_some() {
            self.widen = (self.widen + STEP).min(32);
        }
        self.lacks = false;
        if ranges == self.attached {
            return None;
        }
        self.attached.clone_from(&ranges);
        Some(ranges)
    }

    /// The kernel has no room for so long a program: half as many ranges from now. `false` when it cannot be less.
    pub fn too_long(&mut self) -> bool {
        self.most = (self.attached.len().min(self.most) / 2).max(1);
        let possible = self.attached.len() > 1;
        self.attached.clear();
        self.lacks = true;
        possible
    }

    /// Whether the attached filter lets the key through.
    #[must_use]
    pub fn passes(&self, key: u32) -> bool {
        let after = self.attached.partition_point(|range| range.first <= key);
        after
            .checked_sub(1)
            .and_then(|at| self.attached.get(at))
            .is_some_and(|range| range.contains(key))
    }

    fn changed(&mut self, now: Instant) {
        self.busy_since.get_or_insert(now);
        self.last_change = Some(now);
    }
}
