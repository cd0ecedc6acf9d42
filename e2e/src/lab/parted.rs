// SPDX-License-Identifier: Apache-2.0
//! Nodes that lose one another, and the address meanwhile.

use std::time::{Duration, Instant};

use anyhow::Context;

use super::fault::SETTLED;
use super::wait::{SOON, eventually, eventually_true, now};
use super::watched::{Watched, is_confirmed, story};
use super::{Lab, loss};

/// Waits until one node alone has answered for this time; returns its name. The time begins [`SETTLED`] after the change.
///
/// # Errors
/// When that does not happen.
pub fn settle_alone(watched: &Watched, since: Instant, quiet: Duration) -> anyhow::Result<String> {
    let mut seen = String::new();
    let found = eventually("one node alone answers", SOON, || {
        let to = now();
        let from = to.checked_sub(quiet).filter(|from| *from >= since + SETTLED);
        let Some(from) = from else { return Ok(None) };
        Ok(watched.watcher.with(|record| {
            seen = story(record, since, to);
            let stations = record.stations(from, to);
            let asked = record.questions.iter().filter(|asked| **asked >= from).count();
            match stations.iter().next() {
                Some((station, count)) if stations.len() == 1 && count * 2 > asked => {
                    Some(station.clone())
                }
                Some(_) | None => None,
            }
        }))
    });
    found.with_context(|| format!("seen since then:\n{seen}"))
}

/// Everything passes on the ring's port again: all speakers are confirmed, and the usual owner has been alone for this time. The moment of
/// the heal.
///
/// # Errors
/// When that does not happen.
pub fn heal(lab: &Lab, watched: &Watched, quiet: Duration) -> anyhow::Result<Instant> {
    let healed = now();
    loss::heal(lab)?;
    confirm(lab)?;
    watched.settle_on(&watched.owner, healed, quiet).context("healed")?;
    Ok(healed)
}

/// Waits until all speakers are confirmed.
///
/// # Errors
/// When that does not happen.
pub fn confirm(lab: &Lab) -> anyhow::Result<()> {
    for node in &lab.nodes {
        eventually_true("the speaker is confirmed", SOON, || Ok(is_confirmed(node)))
            .with_context(|| node.name.clone())?;
    }
    Ok(())
}
