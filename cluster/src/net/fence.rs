// SPDX-License-Identifier: Apache-2.0
//! Whether this process may still write for all: a moment of its own monotonic clock, asked last before each write, so that a
//! leader which stood still does not write when it goes on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Shared between who holds the lease and who writes.
#[derive(Clone, Debug, Default)]
pub struct Fence(Arc<Mutex<Until>>);

#[derive(Clone, Copy, Debug, Default)]
enum Until {
    /// Nobody else writes.
    #[default]
    Always,
    /// Not at all.
    Closed,
    /// Before this.
    At(Instant),
}

impl Fence {
    /// One that is always open: there is no other writer.
    #[must_use]
    pub fn open() -> Self {
        Self::default()
    }

    /// One that is closed until it is extended.
    #[must_use]
    pub fn closed() -> Self {
        Self(Arc::new(Mutex::new(Until::Closed)))
    }

    /// Writing is allowed until then.
    pub fn extend(&self, until: Instant) {
        self.set(Until::At(until));
    }

    /// Writing is allowed from now on.
    pub fn open_for_good(&self) {
        self.set(Until::Always);
    }

    /// Nothing may be written any more.
    pub fn close(&self) {
        self.set(Until::Closed);
    }

    fn set(&self, until: Until) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Whether a write may begin at `now`.
    #[must_use]
    pub fn allows(&self, now: Instant) -> bool {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Until::Always => true,
            Until::Closed => false,
            Until::At(until) => now < until,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Fence;

    #[test]
    fn it_closes_by_itself() {
        #[allow(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
        let now = std::time::Instant::now();
        let (fence, second) = (Fence::closed(), Duration::from_secs(1));
        assert!(!fence.allows(now));
        fence.clone().extend(now + second);
        assert!(fence.allows(now) && !fence.allows(now + second));
        fence.close();
        assert!(!fence.allows(now));
        assert!(Fence::open().allows(now + second));
    }
}
