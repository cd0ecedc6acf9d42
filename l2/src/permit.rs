// SPDX-License-Identifier: Apache-2.0
//! The permission to speak at all: a moment up to which somebody vouches for this node. Not ownership of any address.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Until when answers and announcements may go out, in nanoseconds of the clock that goes on while the system is suspended
/// (`CLOCK_BOOTTIME`). Whoever stood still finds it expired before anything else can tell it so. Copies share the moment.
#[derive(Clone, Debug)]
pub struct Permit(Arc<AtomicU64>);

impl Default for Permit {
    fn default() -> Self {
        Self::unlimited()
    }
}

impl Permit {
    /// One that never expires.
    #[must_use]
    pub fn unlimited() -> Self {
        Self(Arc::new(AtomicU64::new(u64::MAX)))
    }

    /// One that is not given yet.
    #[must_use]
    pub fn none() -> Self {
        Self(Arc::new(AtomicU64::new(0)))
    }

    /// The moment itself, for somebody who extends it without knowing of this crate.
    #[must_use]
    pub fn share(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0)
    }

    /// Whether it needs no clock to see that it is valid.
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.0.load(Ordering::Acquire) == u64::MAX
    }

    /// Whether it is valid at this moment.
    #[must_use]
    pub fn is_valid(&self, now: u64) -> bool {
        now < self.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_at_its_moment() {
        let permit = Permit::none();
        assert!(!permit.is_valid(0) && !permit.is_unlimited());
        permit.share().store(10, Ordering::Release);
        assert!(permit.is_valid(9) && !permit.is_valid(10));
        assert!(Permit::default().is_valid(u64::MAX - 1) && Permit::default().is_unlimited());
    }
}
