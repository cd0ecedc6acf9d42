// SPDX-License-Identifier: Apache-2.0
//! Waiting on conditions. Nothing in the rack sleeps for a fixed time and then hopes.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// What is expected to happen soon does so within this time, on a busy machine as well.
pub const SOON: Duration = Duration::from_secs(20);
/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(40);
/// That for what is timed.
const CLOSE: Duration = Duration::from_millis(2);

/// The present.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the rack measures real programs in real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Looks until `look` finds something; what it says last (nothing, or an error) is in the message when the
/// deadline has passed.
///
/// # Errors
/// When nothing was found within `deadline`.
pub fn eventually<T>(
    what: &str,
    deadline: Duration,
    look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    every(PAUSE, what, deadline, look)
}

/// As [`eventually_true`], for what is timed: looks again after two milliseconds.
///
/// # Errors
/// As there.
pub fn closely(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    every(CLOSE, what, deadline, || Ok(look()?.then_some(())))
}

fn every<T>(
    pause: Duration,
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let start = now();
    loop {
        let found = look();
        match found {
            Ok(Some(found)) => return Ok(found),
            Ok(None) if start.elapsed() > deadline => {
                bail!("did not happen within {} s: {what}", deadline.as_secs_f32())
            }
            Err(error) if start.elapsed() > deadline => {
                return Err(error).with_context(|| {
                    format!("did not happen within {} s: {what}", deadline.as_secs_f32())
                });
            }
            Ok(None) | Err(_) => std::thread::sleep(pause),
        }
    }
}

/// As [`eventually`], for a condition that is a yes or no.
///
/// # Errors
/// When it did not become true within `deadline`.
pub fn eventually_true(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    eventually(what, deadline, || Ok(look()?.then_some(())))
}

/// Looks again and again for `duration` and fails as soon as `look` says no.
///
/// # Errors
/// When `look` fails or is false once.
pub fn always(
    what: &str,
    duration: Duration,
    mut look: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let start = now();
    while start.elapsed() < duration {
        if !look()? {
            bail!("was not so after {} s: {what}", start.elapsed().as_secs_f32());
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}
