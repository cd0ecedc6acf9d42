// SPDX-License-Identifier: Apache-2.0
//! The clocks of the shells: they are read here and nowhere else. A core takes the time as an argument.

#![allow(clippy::disallowed_methods, reason = "the one place that reads the clocks")]

use std::time::{Duration, Instant, SystemTime};

use nix::time::ClockId;

/// The moment, by the monotonic clock, which stands while the system is suspended.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// The time since the system started, by `CLOCK_BOOTTIME`, which goes on while the system is suspended. None if the
/// kernel lacks that clock, which every Linux has.
#[must_use]
pub fn boottime() -> Option<Duration> {
    ClockId::CLOCK_BOOTTIME.now().ok().map(Duration::from)
}

/// The time since 1970, as far as this machine knows.
#[must_use]
pub fn time_of_day() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// Waits until the deadline, or for ever without one.
#[cfg(feature = "wait")]
pub async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
