// SPDX-License-Identifier: Apache-2.0
//! `--keep-connections`: no open TCP connection breaks in planned moves, whichever node the address goes to and comes back to.
//!
//! Topology: three nodes with speakers and kube-proxy (mode nftables, policy Cluster), a pod on the first and on the third, a client.
//! Steps: connections are opened; the Service prefers one node after the other, the owner is drained, its speaker is stopped in order or killed and
//! starts again; after each move all connections answer, also new ones of each owner. Another program deletes the tables: they are made anew, and told.
//! The owner's speaker ends for good: its connections live on. Last, without the flag a move breaks the connections, and a speaker that lacks
//! the capability says so and announces all the same.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::lab::connections::Connections;
use crate::lab::fault::Fault;
use crate::lab::node::Proxy;
use crate::lab::objects::{self, service};
use crate::lab::wait::now;
use crate::lab::watched::{ADDRESS, Watched, expect_said};
use crate::lab::Lab;

pub(super) const FLAGS: [&str; 2] = ["--keep-connections", "--linger=5m"];
/// The connections that each owner gets.
const NUMBER: usize = 50;
const DELAYED_ACKNOWLEDGEMENT: Duration = Duration::from_secs(1);
pub(super) const QUIET: Duration = Duration::from_millis(500);

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let kept = keep_through_moves(lab, Proxy::Nftables, &[1, 3], &json!({}))?;
    without_the_flag(lab, kept)
}

/// The connections after all moves, and the watched address.
pub(super) fn keep_through_moves(
    lab: &mut Lab,
    proxy: Proxy,
    pods: &[usize],
    spec: &Value,
) -> anyhow::Result<(Connections, Watched)> {
    lab.client()?;
    lab.start_controller(&[])?;
    lab.start_nodes(3, proxy)?;
    lab.start_speakers(&FLAGS)?;
    lab.kube().apply(&objects::pool("pool", &[objects::POOL_V4, objects::POOL_V6]))?;
    lab.kube().apply(&objects::l2_advertisement("all", json!({})))?;
    let pods = pods.iter().map(|number| lab.start_pod(*number)).collect::<anyhow::Result<Vec<_>>>()?;
    lab.set_endpoints("web", &pods)?;
    lab.kube().create(&service("web", spec.clone()))?;
    lab.expect_addresses("web", &[ADDRESS])?;
    let mut watched = Watched::of(lab, ADDRESS.parse()?)?;
    lab.wait_page(ADDRESS)?;
    let usual = watched.owner.clone();
    let mut connections = Connections::default();
    open(lab, &mut connections)?;

    // Each node is the owner once before the address goes to and fro.
    for to in ["node1", "node2", "node3", "node1", "node3", "node2"] {
        prefer(lab, Some(to))?;
        moved(lab, &mut watched, &mut connections, to)?;
    }
    prefer(lab, None)?;
    moved(lab, &mut watched, &mut connections, &usual)?;

    let node = format!("/api/v1/nodes/{usual}");
    let drain = |value: Value| json!({"metadata": {"annotations": {"ferrolb.io/drain": value}}});
    let began = now();
    lab.kube().patch(&node, &drain("true".into()))?;
    let (heir, _) = watched.successor(&usual, began)?;
    moved(lab, &mut watched, &mut connections, &heir)?;
    lab.kube().patch(&node, &drain(Value::Null))?;
    moved(lab, &mut watched, &mut connections, &usual)?;

    for fault in [Fault::Stop, Fault::Kill, Fault::Stop] {
        let began = fault.strike(lab, &usual)?;
        let (heir, _) = watched.successor(&usual, began)?;
        moved(lab, &mut watched, &mut connections, &heir)?;
        fault.repair(lab, &usual, &FLAGS)?;
        moved(lab, &mut watched, &mut connections, &usual)?;
    }

    // A packet that comes while the table is missing breaks its connection, also the last acknowledgement, which a kernel delays by 0.2 s at most.
    std::thread::sleep(DELAYED_ACKNOWLEDGEMENT);
    lab.node(&usual)?.namespace.run("nft", ["delete", "table", "ip", "ferrolb"])?;
    expect_said(lab.node(&usual)?, "keepTablesRepaired")?;
    connections.ask().context("after another program has deleted a table")?;

    let began = Fault::Stop.strike(lab, &usual)?;
    let (heir, _) = watched.successor(&usual, began)?;
    moved(lab, &mut watched, &mut connections, &heir)?;
    connections.ask().context("the usual owner's speaker has ended for good")?;
    Fault::Stop.repair(lab, &usual, &FLAGS)?;
    moved(lab, &mut watched, &mut connections, &usual)?;
    lab.expect_no_conflict("web")?;
    Ok((connections, watched))
}

/// The flag is what keeps them.
fn without_the_flag(lab: &mut Lab, kept: (Connections, Watched)) -> anyhow::Result<()> {
    let (mut connections, mut watched) = kept;
    connections.ask()?;
    let usual = watched.owner.clone();
    for node in ["node1", "node2", "node3"] {
        Fault::Stop.strike(lab, node)?;
        // Without a space between flag and value the speaker gets no NET_ADMIN here.
        Fault::Stop.repair(lab, node, &["--keep-connections=true"])?;
        expect_said(lab.node(node)?, "keepConnectionsOff")?;
        lab.node(node)?.namespace.run("nft", ["delete", "table", "ip", "ferrolb"])?;
        lab.node(node)?.namespace.run("nft", ["delete", "table", "ip6", "ferrolb"])?;
    }
    watched.settle_on(&usual, now(), QUIET)?;
    let mut connections = Connections::default();
    open(lab, &mut connections)?;
    let to = if usual == "node1" { "node2" } else { "node1" };
    prefer(lab, Some(to))?;
    watched.settle_on(to, now(), QUIET)?;
    watched.owner = to.to_owned();
    let (alive, why) = connections.count();
    println!("     without the capability: {alive} of {NUMBER} connections live after a move ({})", why.unwrap_or_default());
    ensure!(alive < NUMBER, "the connections live without any table: this scenario shows nothing");
    Ok(())
}

/// The address has moved there: all connections answer, and so do new ones.
fn moved(
    lab: &mut Lab,
    watched: &mut Watched,
    connections: &mut Connections,
    to: &str,
) -> anyhow::Result<()> {
    watched.settle_on(to, now(), QUIET)?;
    let from = std::mem::replace(&mut watched.owner, to.to_owned());
    let alive = connections.ask().with_context(|| format!("moved from {from} to {to}"))?;
    println!("     {from} -> {to}: {alive} connections live");
    open(lab, connections)?;
    connections.ask().with_context(|| format!("new connections at {to}"))?;
    Ok(())
}

fn open(lab: &mut Lab, connections: &mut Connections) -> anyhow::Result<()> {
    connections.open(&lab.client()?.namespace, format!("{ADDRESS}:80").parse()?, NUMBER)
}

pub(super) fn prefer(lab: &Lab, node: Option<&str>) -> anyhow::Result<()> {
    lab.kube().patch(
        "/api/v1/namespaces/default/services/web",
        &json!({"metadata": {"annotations": {"ferrolb.io/preferred-node": node}}}),
    )?;
    Ok(())
}
