// SPDX-License-Identifier: Apache-2.0
//! A node's port 7946 is closed from the beginning, though the API lists another speaker: the node says so, asks its link, and leaves the address
//! to the other. And few nodes: one alone goes on, and of two that lose one another one answers; with `--fencing=majority` both do.
//!
//! Topology: one node, then a second one, a client that sees every claim to the address.
//! Steps: one node alone answers; a second one starts whose port is closed to the first: it logs memberlistBlocked and answeredElsewhere, and
//! the first alone answers; opened, they meet: the second says memberlistOpen, and the address has one owner; parted again, one answers; healed,
//! and moved to the other node. Then both start with `--fencing=majority`: parted, both answer (with two nodes nobody can be in the minority), and
//! healed, one does.

use std::time::Duration;

use anyhow::Context;
use serde_json::json;

use crate::lab::node::Proxy;
use crate::lab::wait::{eventually_true, now};
use crate::lab::watched::{ADDRESS, Watched, expect_said};
use crate::lab::{Lab, SOON, loss, parted};

/// The time for which nothing changes any more.
const QUIET: Duration = Duration::from_secs(2);

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let mut watched = Watched::start(lab, 1, &[])?;
    watched.settle(Duration::from_secs(1))?;

    lab.start_nodes(1, Proxy::Absent)?;
    loss::part(lab, &["node1"])?;
    let second = lab.node("node2")?;
    second.start_speaker(&[])?;
    second.wait_speaker()?;
    let begun = now();
    expect_said(second, "memberlistBlocked")?;
    println!("     told {:.1} s after it was ready", begun.elapsed().as_secs_f64());
    let owner = parted::settle_alone(&watched, begun, QUIET).context("blocked from the start")?;
    expect_said(lab.node(other(&owner))?, "answeredElsewhere")?;

    loss::heal(lab)?;
    expect_said(lab.node("node2")?, "memberlistOpen")?;
    let met = now();
    parted::confirm(lab)?;
    watched.owner = parted::settle_alone(&watched, met, QUIET).context("met")?;

    let begun = now();
    loss::part(lab, &["node1"])?;
    parted::settle_alone(&watched, begun, QUIET).context("parted")?;
    parted::heal(lab, &watched, QUIET)?;
    let owner = watched.owner.clone();
    prefer(lab, Some(other(&owner)))?;
    lab.expect_owner(ADDRESS, other(&owner))?;
    prefer(lab, None)?;
    lab.expect_owner(ADDRESS, &owner)?;

    for name in ["node1", "node2"] {
        let node = lab.node(name)?;
        node.speaker.as_mut().context("no speaker")?.terminate(SOON)?;
        node.start_speaker(&["--fencing=majority"])?;
        node.wait_speaker()?;
    }
    parted::confirm(lab)?;
    lab.expect_owner(ADDRESS, &owner)?;
    loss::part(lab, &["node1"])?;
    eventually_true("both answer", SOON, || Ok(lab.owners(ADDRESS)?.len() == 2))?;
    parted::heal(lab, &watched, QUIET).map(drop)
}

fn other(owner: &str) -> &'static str {
    if owner == "node1" { "node2" } else { "node1" }
}

fn prefer(lab: &Lab, node: Option<&str>) -> anyhow::Result<()> {
    let annotations = json!({"metadata": {"annotations": {"ferrolb.io/preferred-node": node}}});
    lab.kube().patch("/api/v1/namespaces/default/services/web", &annotations)?;
    Ok(())
}
