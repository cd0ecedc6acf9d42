// SPDX-License-Identifier: Apache-2.0
//! A fleet of MetalLB's kind of speakers is swapped for ours node by node, and back again, under load: no request fails, every address is
//! always answered for, by the node that MetalLB would elect, and two answer for it no longer than a speaker takes to leave.
//!
//! Topology: three nodes with kube-proxy and, first, members by HashiCorp's memberlist with MetalLB's election and a responder; a pod on
//! the first; four Services; a client with 1,000 requests a second that sees every claim to the addresses.
//! Steps: on each node the one speaker is asked to end and the other one starts; then the same the other way round.
//!
//! A connection that is open when its address moves may be reset, as the next node's kernel does not know it, and is asked again once.

use anyhow::Context;

use crate::lab::fleet::{Fleet, GAP, Kind, ORDERS, STOPPED, judge, start_loads};
use crate::lab::load::{Load, Tally};
use crate::lab::node::Proxy;
use crate::lab::Lab;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.client()?;
    lab.start_controller(&[])?;
    lab.start_nodes(3, Proxy::Nftables)?;
    let pod = lab.start_pod(1)?;
    let mut fleet = Fleet::new()?;
    fleet.create_services(lab, &pod)?;
    let nodes = ["node1", "node2", "node3"];
    for node in nodes {
        fleet.start(lab, node, Kind::MetalLb, &[])?;
    }
    fleet.watch(lab)?;
    for (address, _) in ORDERS {
        lab.serves_through_all(address)?;
    }
    let loads = start_loads(lab)?;
    for kind in [Kind::Ferrolb, Kind::MetalLb] {
        for node in nodes {
            let passed = fleet.step(lab, &format!("{node} stops"), |fleet, lab| fleet.stop(lab, node))?;
            // Whoever stops is of the other kind.
            judge(&passed, if kind == Kind::Ferrolb { STOPPED } else { 0 })?;
            judge_load(&loads).with_context(|| format!("{node} stopped"))?;
            let what = format!("{node} starts as {kind:?}");
            let passed = fleet.step(lab, &what, |fleet, lab| fleet.start(lab, node, kind, &[]))?;
            judge(&passed, GAP)?;
            judge_load(&loads).with_context(|| what.clone())?;
        }
    }
    println!("     {}", Tally::sum(&loads));
    for index in 0..ORDERS.len() {
        lab.expect_no_conflict(&format!("web{index}"))?;
    }
    Ok(())
}

fn judge_load(loads: &[Load]) -> anyhow::Result<()> {
    for (load, (address, _)) in loads.iter().zip(ORDERS) {
        load.tally().none_failed().with_context(|| format!("to {address}"))?;
    }
    Ok(())
}
