// SPDX-License-Identifier: Apache-2.0
//! All speakers start anew while the API server is away: each asks its link for the addresses that it owned last (`--state-path`).
//!
//! Topology: three nodes with speakers, a client that asks for the address every 10 ms and sees every claim to it.
//! Steps: the speakers start with a folder each; the owner's folder names the address; the API server is killed, then
//! all speakers; they start again: the same node answers, and says that it goes by its record; the API server is back: one node answers.

use std::time::Duration;

use anyhow::Context;

use crate::lab::wait::{eventually_true, now};
use crate::lab::watched::{ADDRESS, Watched};
use crate::lab::{Lab, SOON, parted};

/// The time for which nothing changes any more.
const QUIET: Duration = Duration::from_secs(4);

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let watched = Watched::start(lab, 3, &[])?;
    let names: Vec<String> = lab.nodes.iter().map(|node| node.name.clone()).collect();
    for name in &names {
        lab.node(name)?.speaker.as_mut().context("no speaker")?.terminate(SOON)?;
        start(lab, name)?;
        lab.node(name)?.wait_speaker()?;
    }
    let started = now();
    watched.settle_on(&watched.owner, started, QUIET).context("started with a folder")?;
    let record = lab.node(&watched.owner)?.state_folder()?.join("owned.json");
    eventually_true("the owner has written its addresses down", SOON, || {
        Ok(std::fs::read_to_string(&record).is_ok_and(|text| text.contains(ADDRESS)))
    })?;

    lab.control.apiserver.kill();
    for name in &names {
        lab.node(name)?.speaker.as_mut().context("no speaker")?.kill();
    }
    let begun = now();
    for name in &names {
        start(lab, name)?;
    }
    watched.settle_on(&watched.owner, begun, QUIET).context("started without the API")?;
    let owner = lab.node(&watched.owner)?.speaker.as_ref().context("no speaker")?;
    eventually_true("the owner says that it goes by its record", SOON, || {
        Ok(owner.log().contains(r#""event":"remembered""#))
    })?;

    let back = now();
    lab.control.restart_apiserver(&lab.plane)?;
    parted::confirm(lab)?;
    watched.settle_on(&watched.owner, back, QUIET).context("the API is back")?;
    lab.expect_owner(ADDRESS, &watched.owner)
}

fn start(lab: &mut Lab, name: &str) -> anyhow::Result<()> {
    let node = lab.node(name)?;
    let path = format!("--state-path={}", node.state_folder()?.display());
    node.start_speaker(&[&path])
}
