// SPDX-License-Identifier: Apache-2.0
//! `spread: nodes`: all nodes serve one layer-2 address, and no connection breaks while they come, go and move.
//!
//! Topology: three nodes with speakers and kube-proxy (mode nftables, policy Local), a pod on each, a client.
//! Steps: connections are opened; each pod serves some, and sees the client's address. The address moves to another node, a node is drained
//! and comes back, speakers are stopped in order and start again: all connections answer after each. A node that is not the owner loses its
//! link: the connections of the others answer. Then the owner does, and the next owner serves by the same table.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::keep_connections::{FLAGS, QUIET, prefer};
use crate::lab::connections::Connections;
use crate::lab::fault::Fault;
use crate::lab::node::Proxy;
use crate::lab::objects::{self, service};
use crate::lab::wait::{SOON, eventually_true, now};
use crate::lab::watched::{ADDRESS, Watched};
use crate::lab::Lab;

const NUMBER: usize = 300;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let spec = json!({"spec": {"externalTrafficPolicy": "Local"}});
    let (mut connections, mut watched) = spread(lab, Proxy::Nftables, ADDRESS, &spec)?;
    sees_the_client(lab, &connections)?;
    planned(lab, &mut connections, &mut watched, ADDRESS)?;

    let fellow = other_than(&watched.owner);
    let left = lose(lab, &mut connections, fellow)?;
    println!("     {fellow} has lost its link: {left} connections live");
    let owner = watched.owner.clone();
    let before = connections.pods().values().sum::<usize>();
    let own = of_node(&connections, &owner);
    let began = Fault::LinkCut.strike(lab, &owner)?;
    let (heir, _) = watched.successor(&owner, began)?;
    watched.settle_on(&heir, began, QUIET)?;
    let (alive, why) = connections.count();
    println!("     the owner {owner} has lost its link: {alive} of {before} connections live, {own} were its own");
    ensure!(alive == before - own, "{why:?}");
    Ok(())
}

/// The rack with an address that all nodes serve, with open connections at every pod.
pub(super) fn spread(
    lab: &mut Lab,
    proxy: Proxy,
    address: &str,
    spec: &Value,
) -> anyhow::Result<(Connections, Watched)> {
    lab.client()?;
    lab.start_controller(&[])?;
    lab.start_nodes(3, proxy)?;
    lab.start_speakers(&FLAGS)?;
    lab.kube().apply(&objects::pool("pool", &[objects::POOL_V4, objects::POOL_V6]))?;
    lab.kube().apply(&objects::l2_advertisement("all", json!({"spread": "nodes"})))?;
    let pods = (1..=3).map(|number| lab.start_pod(number)).collect::<anyhow::Result<Vec<_>>>()?;
    lab.set_endpoints("web", &pods)?;
    lab.kube().create(&service("web", spec.clone()))?;
    lab.expect_addresses("web", &[address])?;
    let watched = Watched::of(lab, address.parse()?)?;
    lab.wait_page(address)?;
    eventually_true("the owner leads clients' frames by bucket", SOON, || {
        let table = lab.node(&watched.owner)?.namespace.run("nft", ["list", "table", "netdev", "ferrolb"]);
        Ok(table.is_ok_and(|table| table.contains("fwd")))
    })?;
    let mut connections = Connections::default();
    connections.open(&lab.client()?.namespace, port(address)?, NUMBER)?;
    let pods = connections.pods();
    println!("     {NUMBER} connections: {pods:?}");
    // Each pod's share is 100 on average; 60 and 140 are five standard deviations from it.
    ensure!(pods.len() == 3 && pods.values().all(|own| (60..=140).contains(own)), "{pods:?}");
    Ok((connections, watched))
}

fn sees_the_client(lab: &mut Lab, connections: &Connections) -> anyhow::Result<()> {
    let clients = connections.clients();
    let own = lab.client()?.namespace.run("ip", ["-brief", "address", "show", "eth0"])?;
    ensure!(
        clients.len() == 1 && clients.keys().all(|client| own.contains(&client.to_string())),
        "the pods see {clients:?}, and the client is {own}"
    );
    Ok(())
}

/// Nothing of this breaks a connection.
pub(super) fn planned(
    lab: &mut Lab,
    connections: &mut Connections,
    watched: &mut Watched,
    address: &str,
) -> anyhow::Result<()> {
    let usual = watched.owner.clone();
    let to = other_than(&usual);
    prefer(lab, Some(to))?;
    watched.settle_on(to, now(), QUIET)?;
    connections.ask().context("the address has moved")?;
    prefer(lab, None)?;
    watched.settle_on(&usual, now(), QUIET)?;
    connections.ask().context("the address has come back")?;

    for node in [to, &usual] {
        drain(lab, node, json!("true"))?;
        serves(lab, address, node, false)?;
        connections.ask().with_context(|| format!("{node} is drained"))?;
        drain(lab, node, Value::Null)?;
        serves(lab, address, node, true)?;
        connections.ask().with_context(|| format!("{node} is not drained any more"))?;
    }
    watched.settle_on(&usual, now(), QUIET)?;

    for (fault, node) in [(Fault::Stop, to), (Fault::Stop, &*usual)] {
        fault.strike(lab, node)?;
        serves(lab, address, node, false)?;
        connections.ask().with_context(|| format!("{node}: {}", fault.name()))?;
        fault.repair(lab, node, &FLAGS)?;
        serves(lab, address, node, true)?;
        connections.ask().with_context(|| format!("{node} is back after: {}", fault.name()))?;
    }
    watched.settle_on(&usual, now(), QUIET)?;
    println!("     {} connections live after all planned moves", connections.ask()?);
    lab.expect_no_conflict("web")
}

/// Waits until new connections come to a node's pod, or do not any more.
fn serves(lab: &mut Lab, address: &str, node: &str, wanted: bool) -> anyhow::Result<()> {
    let to = port(address)?;
    let what = if wanted { "gets new connections" } else { "gets no new connections" };
    eventually_true(&format!("{node} {what}"), SOON, || {
        let mut new = Connections::default();
        new.open(&lab.client()?.namespace, to, 40)?;
        Ok((of_node(&new, node) > 0) == wanted)
    })
}

/// A node that is not the owner loses its link. Returns the number of connections that are left: those of the others.
fn lose(lab: &mut Lab, connections: &mut Connections, node: &str) -> anyhow::Result<usize> {
    let before = connections.ask()?;
    let own = of_node(connections, node);
    Fault::LinkCut.strike(lab, node)?;
    serves(lab, ADDRESS, node, false)?;
    let (alive, why) = connections.count();
    ensure!(alive == before - own, "{alive} of {before} live, {own} were of {node}: {why:?}");
    Ok(alive)
}

fn port(address: &str) -> anyhow::Result<SocketAddr> {
    Ok(SocketAddr::new(address.parse()?, 80))
}

/// Pods are named after their node.
fn of_node(connections: &Connections, node: &str) -> usize {
    connections.pods().get(node).copied().unwrap_or_default()
}

fn other_than(node: &str) -> &'static str {
    if node == "node1" { "node2" } else { "node1" }
}

fn drain(lab: &Lab, node: &str, value: Value) -> anyhow::Result<()> {
    let drain = json!({"metadata": {"annotations": {"ferrolb.io/drain": value}}});
    lab.kube().patch(&format!("/api/v1/nodes/{node}"), &drain)?;
    Ok(())
}
