// SPDX-License-Identifier: Apache-2.0
//! `--fencing=link`: a speaker that sees too few others asks the link, and is silent without need nowhere.
//!
//! Topology: three nodes with speakers, a client that asks for the address every 10 ms and sees every claim to it.
//! Steps: the owner is parted from the other two (port 7946, UDP and TCP), while the link is whole: one of the two takes over, and the owner
//! finds on the link that another station answers; healed, the owner has the address again. Another node is parted: nothing moves. Two nodes
//! stand still: the third, which sees no majority, answers as nobody else does; they go on, and one node answers.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::lab::fault::{Fault, SETTLED};
use crate::lab::wait::{eventually_true, now};
use crate::lab::watched::{ADDRESS, Watched, is_confirmed};
use crate::lab::{Lab, SOON, loss};

/// The time for which nothing changes any more.
const QUIET: Duration = Duration::from_secs(4);
/// The flag of all speakers.
const FLAGS: [&str; 1] = ["--fencing=link"];

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let watched = Watched::start(lab, 3, &FLAGS)?;
    let owner = watched.owner.clone();

    let parted = now();
    loss::part(lab, &[&owner])?;
    let (heir, _) = watched.successor(&owner, parted)?;
    expect_said(lab, &owner, "answeredElsewhere")?;
    watched.settle_on(&heir, parted + SETTLED, QUIET).context("the owner is parted")?;
    expect_metric(lab, &owner, "ferrolb_layer2_announced_by_link 0")?;
    heal(lab, &watched)?;

    let other = lab.nodes.iter().map(|node| node.name.clone()).find(|name| *name != owner);
    let other = other.context("another node")?;
    let parted = now();
    loss::part(lab, &[&other])?;
    expect_standing(lab, &other, "link")?;
    watched.settle_on(&owner, parted, QUIET).context("another node is parted")?;
    watched.only(&owner, parted, now())?;
    heal(lab, &watched)?;

    let stopped: Vec<String> =
        lab.nodes.iter().map(|node| node.name.clone()).filter(|name| *name != other).collect();
    let begun = now();
    for node in &stopped {
        Fault::Freeze.strike(lab, node)?;
    }
    watched.settle_on(&other, begun, QUIET).context("two of three stand still")?;
    expect_said(lab, &other, "announcedByLink")?;
    expect_metric(lab, &other, "ferrolb_layer2_announced_by_link 1")?;
    let answered = first_answer(&watched, &other, begun).context("no answer")?;
    println!("     two of three stand still: answered after {:.2} s", answered.as_secs_f64());
    for node in &stopped {
        Fault::Freeze.repair(lab, node, &FLAGS)?;
    }
    heal(lab, &watched)?;
    ensure!(lab.owners(ADDRESS)?.len() == 1, "one node answers in the end");
    Ok(())
}

/// Everything passes again: the first owner has the address, and all are confirmed.
fn heal(lab: &mut Lab, watched: &Watched) -> anyhow::Result<()> {
    let healed = now();
    loss::heal(lab)?;
    for node in &lab.nodes {
        eventually_true("the speaker is confirmed", SOON, || Ok(is_confirmed(node)))
            .with_context(|| node.name.clone())?;
    }
    watched.settle_on(&watched.owner, healed, QUIET).context("healed")
}

/// The time until a station first claimed the address.
fn first_answer(watched: &Watched, station: &str, since: Instant) -> Option<Duration> {
    watched.watcher.with(|record| {
        let claims = record.sightings.iter().filter(|sighting| sighting.at >= since);
        let first = claims.filter(|sighting| sighting.station() == station).map(|it| it.at).min();
        first.map(|at| at - since)
    })
}

fn expect_standing(lab: &mut Lab, node: &str, standing: &str) -> anyhow::Result<()> {
    let speaker = lab.node(node)?.speaker.as_ref().context("no speaker")?;
    let wanted = format!(r#""standing":"{standing}""#);
    eventually_true(&format!("{node} says that it is {standing}"), SOON, || {
        let log = speaker.log();
        let last = log.lines().rfind(|line| line.contains(r#""event":"standing""#));
        Ok(last.is_some_and(|line| line.contains(&wanted)))
    })
}

fn expect_said(lab: &mut Lab, node: &str, event: &str) -> anyhow::Result<()> {
    let speaker = lab.node(node)?.speaker.as_ref().context("no speaker")?;
    eventually_true(&format!("{node} says {event}"), SOON, || {
        Ok(speaker.log().contains(&format!(r#""event":"{event}""#)))
    })
}

fn expect_metric(lab: &mut Lab, node: &str, line: &str) -> anyhow::Result<()> {
    let node = lab.node(node)?;
    eventually_true(&format!("{} shows {line}", node.name), SOON, || {
        Ok(node.metrics()?.lines().any(|found| found == line))
    })
}
