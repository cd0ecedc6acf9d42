// SPDX-License-Identifier: Apache-2.0
//! A node's port 7946 is closed from the beginning, though the API lists other speakers: it says so, and answers after its wait.
//! And few nodes: one alone, and two that lose one another, go on.
//!
//! Topology: one node, then a second one, a client that sees every claim to the address.
//! Steps: one node alone answers; a second one starts whose port is closed to the first and that has a Service by preference: it logs
//! memberlistBlocked and answers for it; opened, they meet: the first says memberlistOpen or sees it, and each address has one owner; parted again,
//! both answer for both addresses (with two nodes nobody can be in the minority), and healed, one does.

use std::time::Duration;

use anyhow::Context;
use serde_json::json;

use crate::lab::watched::{ADDRESS, Watched};
use crate::lab::node::Proxy;
use crate::lab::process::Process;
use crate::lab::wait::{eventually_true, now};
use crate::lab::{Lab, SOON, loss};

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let watched = Watched::start(lab, 1, &[])?;
    watched.settle(Duration::from_secs(1))?;

    lab.start_nodes(1, Proxy::Absent)?;
    loss::part(lab, &["node1"])?;
    let second = lab.node("node2")?;
    second.start_speaker(&[])?;
    second.wait_speaker()?;
    let begun = now();
    expect_said(second, "memberlistBlocked")?;
    println!("     told {:.1} s after it was ready", begun.elapsed().as_secs_f64());
    // Each counts itself as the only speaker: both answer, which is what is documented for two.
    expect_both(lab)?;

    loss::heal(lab)?;
    expect_said(lab.node("node2")?, "memberlistOpen")?;
    let met = now();
    let owner = lab.wait_owner(ADDRESS)?;
    watched.settle_on(&owner, met, Duration::from_secs(2))?;

    loss::part(lab, &["node1"])?;
    expect_both(lab)?;
    let healed = now();
    loss::heal(lab)?;
    watched.settle_on(&owner, healed, Duration::from_secs(2)).context("healed")?;
    lab.kube().patch(
        "/api/v1/namespaces/default/services/web",
        &json!({"metadata": {"annotations": {"ferrolb.io/preferred-node": other(&owner)}}}),
    )?;
    lab.expect_owner(ADDRESS, other(&owner))
}

fn other(owner: &str) -> &'static str {
    if owner == "node1" { "node2" } else { "node1" }
}

fn expect_both(lab: &mut Lab) -> anyhow::Result<()> {
    eventually_true("both answer", SOON, || Ok(lab.owners(ADDRESS)?.len() == 2))
}

fn expect_said(node: &crate::lab::node::Node, event: &str) -> anyhow::Result<()> {
    let speaker = node.speaker.as_ref().context("no speaker")?;
    eventually_true(&format!("{} says {event}", node.name), SOON, || {
        Ok(Process::log(speaker).contains(&format!(r#""event":"{event}""#)))
    })
}
