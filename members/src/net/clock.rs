// SPDX-License-Identifier: Apache-2.0
//! The clock of the shell, and the system's random octets: both are read here and nowhere else.

use std::time::Instant;

use ring::rand::{SecureRandom, SystemRandom};

/// Waits until then, or for ever.
pub(super) async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Random octets of the system, for nonces and seeds.
pub(super) fn random<const LENGTH: usize>() -> Option<[u8; LENGTH]> {
    let mut octets = [0; LENGTH];
    SystemRandom::new().fill(&mut octets).ok().map(|()| octets)
}

#[allow(
    clippy::disallowed_methods,
    reason = "this is the shell: the one place that reads the clock"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}
