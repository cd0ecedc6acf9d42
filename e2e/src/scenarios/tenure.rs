// SPDX-License-Identifier: Apache-2.0
//! `--sticky`: an owner that comes back takes nothing back; a wish still moves it. `--spread`: no node has more than its share. Both only while
//! every speaker has the flag.
//!
//! Topology: three nodes with speakers, a client that asks for one address every 10 ms and sees every claim to it.
//! Steps: with `--sticky` the owner is killed and comes back: its heir keeps the address. The Service prefers the old owner, then nobody: it is there and
//! stays. A speaker without the flag joins in place of one with it: the election is the plain one again. With `--sticky --spread`
//! and 13 Services a node is killed and comes back: it gets its share, and every address has one owner.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::lab::fault::{Fault, SETTLED};
use crate::lab::watched::{ADDRESS, Watched};
use crate::lab::node::PodAddresses;
use crate::lab::objects::service;
use crate::lab::wait::{eventually_true, now};
use crate::lab::{Lab, SOON};

const STICKY: &[&str] = &["--sticky"];
const BOTH: &[&str] = &["--sticky", "--spread"];
/// With the one that is watched.
const SERVICES: usize = 13;
/// 1.25 times the mean of three nodes, rounded up.
const SHARE: usize = 6;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let watched = Watched::start(lab, 3, STICKY)?;
    let owner = watched.owner.clone();

    let killed = Fault::Kill.strike(lab, &owner)?;
    let (heir, first) = watched.successor(&owner, killed)?;
    watched.settle_on(&heir, first, SETTLED)?;
    let back = Fault::Kill.repair(lab, &owner, STICKY)?;
    watched.settle_on(&heir, back, SETTLED).context("the owner is back")?;
    watched.only(&heir, back, now())?;

    prefer(lab, owner.clone().into())?;
    let (chosen, first) = watched.successor(&heir, back)?;
    ensure!(chosen == owner, "{chosen} has it, and {owner} was asked for");
    watched.settle_on(&owner, first, SETTLED)?;
    let before = now();
    prefer(lab, Value::Null)?;
    watched.settle_on(&owner, before, SETTLED).context("nobody is asked for any more")?;
    watched.only(&owner, before, now())?;

    // The heir has it again, and then a speaker joins that knows nothing of the mode.
    let killed = Fault::Kill.strike(lab, &owner)?;
    let (heir, first) = watched.successor(&owner, killed)?;
    watched.settle_on(&heir, first, SETTLED)?;
    let back = Fault::Kill.repair(lab, &owner, &[])?;
    let (again, first) = watched.successor(&heir, back)?;
    ensure!(again == owner, "{again} has it, and {owner} is elected");
    watched.settle_on(&owner, first, SETTLED).context("one speaker without the flag")?;

    let nodes: Vec<String> = lab.nodes.iter().map(|node| node.name.clone()).collect();
    for node in &nodes {
        Fault::Stop.strike(lab, node)?;
        Fault::Stop.repair(lab, node, BOTH)?;
    }
    let endpoint = PodAddresses {
        node: "node1".into(),
        v4: "10.244.1.99".into(),
        v6: "fd00:244:1::99".into(),
    };
    for number in 1..SERVICES {
        lab.kube().create(&service(&format!("web{number}"), json!({})))?;
        lab.set_endpoints(&format!("web{number}"), std::slice::from_ref(&endpoint))?;
    }
    let addresses = addresses(lab)?;
    expect_spread(lab, &addresses, &nodes).context("at first")?;
    Fault::Kill.strike(lab, "node2")?;
    let rest: Vec<String> = nodes.iter().filter(|node| *node != "node2").cloned().collect();
    // Two nodes may have 9 each.
    expect_loads(lab, &addresses, &rest, 9).context("node2 is killed")?;
    Fault::Kill.repair(lab, "node2", BOTH)?;
    expect_spread(lab, &addresses, &nodes).context("node2 is back")
}

fn prefer(lab: &Lab, node: Value) -> anyhow::Result<()> {
    let wish = json!({"metadata": {"annotations": {"ferrolb.io/preferred-node": node}}});
    lab.kube().patch("/api/v1/namespaces/default/services/web", &wish)?;
    Ok(())
}

fn addresses(lab: &Lab) -> anyhow::Result<Vec<String>> {
    let mut all = vec![ADDRESS.to_owned()];
    for number in 1..SERVICES {
        all.extend(lab.wait_addresses(&format!("web{number}"))?);
    }
    ensure!(all.len() == SERVICES, "{all:?}");
    Ok(all)
}

fn expect_spread(lab: &mut Lab, addresses: &[String], nodes: &[String]) -> anyhow::Result<()> {
    expect_loads(lab, addresses, nodes, SHARE)
}

/// In the end each address has one owner, and each node at most so many, and at least what the others leave.
fn expect_loads(
    lab: &mut Lab,
    addresses: &[String],
    nodes: &[String],
    most: usize,
) -> anyhow::Result<()> {
    let mut seen = BTreeMap::new();
    eventually_true("the addresses are spread", SOON, || {
        seen.clear();
        for address in addresses {
            let owners = lab.owners(address)?;
            let mut owners = owners.into_iter();
            let (Some(owner), None) = (owners.next(), owners.next()) else { return Ok(false) };
            *seen.entry(owner).or_insert(0_usize) += 1;
        }
        let fits = seen.values().all(|load| *load <= most);
        Ok(fits && seen.keys().all(|owner| nodes.contains(owner)))
    })
    .with_context(|| format!("{seen:?}, at most {most} each"))
}
