// SPDX-License-Identifier: Apache-2.0
//! Counts work: a measure that does not depend on the machine.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many entries of an index were looked at one after another.
#[derive(Debug, Default)]
pub(crate) struct Steps(AtomicU64);

impl Steps {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Clone for Steps {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.count()))
    }
}
