// SPDX-License-Identifier: Apache-2.0
//! A switch breaks into two, and the client reaches both: each of the two links has an owner, and one again when they are one.
//!
//! Topology: five nodes with speakers on one switch, a client that asks for the address every 10 ms and sees every claim to it.
//! Steps: no frame passes between the owner with another node and the three others, while the client reaches all: one node of each part answers, the
//! part of three by its majority, the part of two by its link, and the other three are silent; the parts are one again: the first owner alone
//! answers.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, ensure};

use crate::lab::fault::SETTLED;
use crate::lab::wait::{eventually, now};
use crate::lab::watched::{Watched, expect_said, story};
use crate::lab::{Lab, SOON, parted};

/// The time for which nothing changes any more.
const QUIET: Duration = Duration::from_secs(3);

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let watched = Watched::start(lab, 5, &[])?;
    let names: Vec<String> = lab.nodes.iter().map(|node| node.name.clone()).collect();
    let mut others: Vec<&str> =
        names.iter().map(String::as_str).filter(|name| **name != *watched.owner).collect();
    let few = [watched.owner.as_str(), others.pop().context("another node")?];

    let begun = now();
    lab.switch.part(&few, &others)?;
    let mut seen = String::new();
    let owners = eventually("one node of each part answers", SOON, || {
        let to = now();
        let from = to.checked_sub(QUIET).filter(|from| *from >= begun + SETTLED);
        let Some(from) = from else { return Ok(None) };
        Ok(watched.watcher.with(|record| {
            seen = story(record, begun, to);
            let owners: BTreeSet<String> = record.stations(from, to).into_keys().collect();
            let inside = owners.iter().filter(|name| few.contains(&name.as_str())).count();
            (inside == 1 && owners.len() == 2).then_some(owners)
        }))
    })
    .with_context(|| seen.clone())?;
    println!("     parted, {owners:?} answer");
    let by_link = few.iter().find(|name| owners.contains(**name)).context("one of the few")?;
    expect_said(lab.node(by_link)?, "announcedByLink")?;

    let healed = now();
    lab.switch.part(&[], &[])?;
    parted::confirm(lab)?;
    watched.settle_on(&watched.owner, healed, QUIET).context("healed")?;
    ensure!(lab.owners(crate::lab::watched::ADDRESS)?.len() == 1, "one node answers in the end");
    Ok(())
}
