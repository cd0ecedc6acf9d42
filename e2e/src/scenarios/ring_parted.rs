// SPDX-License-Identifier: Apache-2.0
//! `--fencing=majority`: the speakers lose one another while the client reaches all of them, and nobody answers beside another.
//!
//! Topology: three nodes with speakers, a client that asks for the address every 10 ms and sees every claim to it.
//! Steps: the owner is parted from the other two (port 7946, UDP and TCP): it falls silent and one of them takes over; healed, the owner has
//! the address again; another node is parted: nothing moves. The owner gets nothing of the others, then they get nothing of it: in the
//! end exactly one node answers. Two seconds after each change nobody but that one claims the address.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::lab::fault::SETTLED;
use crate::lab::wait::now;
use crate::lab::watched::{Watched, expect_standing, story};
use crate::lab::{Lab, loss, parted};

/// For so long nothing changes any more.
const QUIET: Duration = Duration::from_secs(4);

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let watched = Watched::start(lab, 3, &["--fencing=majority"])?;
    let owner = watched.owner.clone();

    let parted = now();
    loss::part(lab, &[&owner])?;
    let heir = settled(&watched, parted).context("the owner is parted")?;
    ensure!(heir != owner, "the owner, with the few, goes on");
    expect_standing(lab.node(&owner)?, "minority")?;
    tell("the owner is parted", &watched, parted);
    heal(lab, &watched)?;

    let other = lab.nodes.iter().map(|node| node.name.clone()).find(|name| *name != owner);
    let other = other.context("another node")?;
    let parted = now();
    loss::part(lab, &[&other])?;
    expect_standing(lab.node(&other)?, "minority")?;
    let heir = settled(&watched, parted).context("another node is parted")?;
    ensure!(heir == owner, "{heir} has it, though {owner} is with the majority");
    watched.only(&owner, parted, now())?;
    heal(lab, &watched)?;

    for deaf in [true, false] {
        let what = if deaf { "the owner hears nobody" } else { "nobody hears the owner" };
        let parted = now();
        loss::one_way(lab, &owner, deaf)?;
        let heir = settled(&watched, parted).context(what)?;
        tell(&format!("{what}, {heir} has the address"), &watched, parted);
        heal(lab, &watched).context(what)?;
    }
    Ok(())
}

/// Everything passes again: the first owner has the address, and all are confirmed.
fn heal(lab: &Lab, watched: &Watched) -> anyhow::Result<()> {
    let healed = parted::heal(lab, watched, QUIET)?;
    tell("healed", watched, healed);
    watched.watcher.with(|record| two_at_once(record, healed))
}

/// After a heal the address moves in order: the one that gives it away is silent 100 ms after the other's first claim.
fn two_at_once(record: &crate::lab::watcher::Record, since: Instant) -> anyhow::Result<()> {
    let mut turns: Vec<(String, Instant)> = Vec::new();
    for sighting in record.sightings.iter().filter(|sighting| sighting.at >= since) {
        let station = sighting.station();
        if turns.last().is_none_or(|(last, _)| *last != station) {
            turns.push((station, sighting.at));
        }
    }
    // Back and forth only within the hand-over: one that is settled does not come back.
    let first_turn = turns.get(1).map(|(_, at)| *at);
    let last_turn = turns.last().map(|(_, at)| *at);
    if let (Some(first), Some(last)) = (first_turn, last_turn) {
        ensure!(
            last.saturating_duration_since(first) < SETTLED,
            "two claim the address in turn\n{}",
            story(record, since, now())
        );
    }
    Ok(())
}

/// Waits until one node alone has answered for long; returns its name. From [`SETTLED`] after the change nobody else claims the address.
fn settled(watched: &Watched, since: Instant) -> anyhow::Result<String> {
    let heir = parted::settle_alone(watched, since, QUIET)?;
    watched.only(&heir, since + SETTLED, now())?;
    Ok(heir)
}

fn tell(what: &str, watched: &Watched, since: Instant) {
    let (story, silent) = watched.watcher.with(|record| {
        let to = now();
        (story(record, since, to), record.unanswered(since, to).len())
    });
    print!("     {what}, {silent} questions unanswered:\n{story}");
}
