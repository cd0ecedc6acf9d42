// SPDX-License-Identifier: Apache-2.0
//! The clock of the speaker's shells: read here and nowhere else.

use std::time::Instant;

/// The moment, by the monotonic clock.
#[allow(clippy::disallowed_methods, reason = "the one place of the shells that reads the clock")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Waits until the deadline, or for ever without one.
pub async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
