// SPDX-License-Identifier: Apache-2.0
//! The clock of the speaker's shells: read here and nowhere else.

use std::time::{Instant, SystemTime};

use crate::core::ClockReading;

/// The moment, by the monotonic clock.
#[allow(clippy::disallowed_methods, reason = "the one place of the shells that reads the clock")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// The moment, by both clocks.
#[allow(clippy::disallowed_methods, reason = "the one place of the shells that reads the clock")]
#[must_use]
pub fn clock_reading() -> ClockReading {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let wall = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
    ClockReading { monotonic: Instant::now(), wall }
}

/// Waits until the deadline, or for ever without one.
pub async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
