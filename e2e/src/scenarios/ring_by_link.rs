// SPDX-License-Identifier: Apache-2.0
//! `--fencing=link`, the default: a speaker that sees too few others asks the link, and is silent without need nowhere.
//!
//! Topology: three nodes with speakers, a client that asks for the address every 10 ms and sees every claim to it.
//! Steps: the owner is parted from the other two (port 7946, UDP and TCP), while the link is whole: one of the two takes over, and the owner
//! finds on the link that another station answers; healed, the owner has the address again. Another node is parted: nothing moves. Two nodes
//! stand still: the third, which sees no majority, answers as nobody else does; they go on, and one node answers.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::lab::fault::{Fault, SETTLED};
use crate::lab::wait::{eventually_true, now};
use crate::lab::watched::{ADDRESS, Watched, expect_said, expect_standing};
use crate::lab::{Lab, SOON, loss, parted};

/// The time for which nothing changes any more.
const QUIET: Duration = Duration::from_secs(4);
/// The flags of all speakers: the default.
const FLAGS: [&str; 0] = [];

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let watched = Watched::start(lab, 3, &FLAGS)?;
    let owner = watched.owner.clone();

    let parted = now();
    loss::part(lab, &[&owner])?;
    let (heir, _) = watched.successor(&owner, parted)?;
    expect_said(lab.node(&owner)?, "answeredElsewhere")?;
    watched.settle_on(&heir, parted + SETTLED, QUIET).context("the owner is parted")?;
    expect_metric(lab, &owner, "ferrolb_layer2_announced_by_link 0")?;
    parted::heal(lab, &watched, QUIET)?;

    let other = lab.nodes.iter().map(|node| node.name.clone()).find(|name| *name != owner);
    let other = other.context("another node")?;
    let parted = now();
    loss::part(lab, &[&other])?;
    expect_standing(lab.node(&other)?, "link")?;
    watched.settle_on(&owner, parted, QUIET).context("another node is parted")?;
    watched.only(&owner, parted, now())?;
    parted::heal(lab, &watched, QUIET)?;

    let stopped: Vec<String> =
        lab.nodes.iter().map(|node| node.name.clone()).filter(|name| *name != other).collect();
    let begun = now();
    for node in &stopped {
        Fault::Freeze.strike(lab, node)?;
    }
    watched.settle_on(&other, begun, QUIET).context("two of three stand still")?;
    expect_said(lab.node(&other)?, "announcedByLink")?;
    expect_metric(lab, &other, "ferrolb_layer2_announced_by_link 1")?;
    let answered = first_answer(&watched, &other, begun).context("no answer")?;
    println!("     two of three stand still: answered after {:.2} s", answered.as_secs_f64());
    for node in &stopped {
        Fault::Freeze.repair(lab, node, &FLAGS)?;
    }
    parted::heal(lab, &watched, QUIET)?;
    ensure!(lab.owners(ADDRESS)?.len() == 1, "one node answers in the end");
    Ok(())
}

/// The time until a station first claimed the address.
fn first_answer(watched: &Watched, station: &str, since: Instant) -> Option<Duration> {
    watched.watcher.with(|record| {
        let claims = record.sightings.iter().filter(|sighting| sighting.at >= since);
        let first = claims.filter(|sighting| sighting.station() == station).map(|it| it.at).min();
        first.map(|at| at - since)
    })
}

pub(super) fn expect_metric(lab: &mut Lab, node: &str, line: &str) -> anyhow::Result<()> {
    let node = lab.node(node)?;
    eventually_true(&format!("{} shows {line}", node.name), SOON, || {
        Ok(node.metrics()?.lines().any(|found| found == line))
    })
}
