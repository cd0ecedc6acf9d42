// SPDX-License-Identifier: Apache-2.0
//! `--keep-connections`: flows of UDP stay with their pod in planned moves.
//!
//! Topology: three nodes with speakers and kube-proxy (mode nftables, policy Cluster), a pod on the first and on the third, a client.
//! Steps: without the flag flows change their pod when the address moves. With it nearly each flow is answered by its pod after each move: to the
//! nodes 1, 2, 3 and 1, by a drain, by a stop in order and the start after it, also flows that began at each owner.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::keep_connections::{FLAGS, QUIET, prefer};
use crate::lab::datagrams::Datagrams;
use crate::lab::fault::Fault;
use crate::lab::node::{PodAddresses, Proxy, slice};
use crate::lab::objects::{self, merge, service};
use crate::lab::wait::now;
use crate::lab::watched::{ADDRESS, Watched};
use crate::lab::Lab;

/// The flows that each owner gets.
const NUMBER: usize = 20;
/// Of so many answers one may come from another pod: on a busy machine the new owner may announce before it has heard of all flows, and a
/// datagram that comes first makes a flow of its own. Without the flag nearly every second answer does.
const TOLERATED: usize = 20;
const NODES: [&str; 3] = ["node1", "node2", "node3"];

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.client()?;
    lab.start_controller(&[])?;
    lab.start_nodes(3, Proxy::Nftables)?;
    lab.start_speakers(&[])?;
    lab.kube().apply(&objects::pool("pool", &[objects::POOL_V4, objects::POOL_V6]))?;
    lab.kube().apply(&objects::l2_advertisement("all", json!({})))?;
    let pods = [lab.start_pod(1)?, lab.start_pod(3)?];
    set_endpoints(lab, &pods)?;
    let ports = json!([
        {"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"},
        {"name": "echo", "port": 80, "targetPort": 8080, "protocol": "UDP"},
    ]);
    lab.kube().create(&service("web", json!({"spec": {"ports": ports}})))?;
    lab.expect_addresses("web", &[ADDRESS])?;
    let mut watched = Watched::of(lab, ADDRESS.parse()?)?;
    lab.serves_through_all(ADDRESS)?;
    without_the_flag(lab, &mut watched)?;

    for node in NODES {
        Fault::Stop.strike(lab, node)?;
        Fault::Stop.repair(lab, node, &FLAGS)?;
    }
    prefer(lab, Some("node1"))?;
    watched.settle_on("node1", now(), QUIET)?;
    watched.owner = "node1".to_owned();
    let (mut flows, mut count) = (Datagrams::default(), Count::default());
    open(lab, &mut flows)?;
    for to in ["node2", "node3", "node1", "node3", "node2", "node1"] {
        prefer(lab, Some(to))?;
        moved(lab, &mut watched, &mut flows, &mut count, to)?;
    }
    let node = "/api/v1/nodes/node1";
    let drain = |value: Value| json!({"metadata": {"annotations": {"ferrolb.io/drain": value}}});
    let began = now();
    lab.kube().patch(node, &drain("true".into()))?;
    let (heir, _) = watched.successor("node1", began)?;
    moved(lab, &mut watched, &mut flows, &mut count, &heir)?;
    lab.kube().patch(node, &drain(Value::Null))?;
    moved(lab, &mut watched, &mut flows, &mut count, "node1")?;

    let began = Fault::Stop.strike(lab, "node1")?;
    let (heir, _) = watched.successor("node1", began)?;
    moved(lab, &mut watched, &mut flows, &mut count, &heir)?;
    Fault::Stop.repair(lab, "node1", &FLAGS)?;
    moved(lab, &mut watched, &mut flows, &mut count, "node1")?;
    // A node that leads flows on begins anew: its kernel forgets none of them.
    let fellow = if heir == "node2" { "node3" } else { "node2" };
    for node in [&*heir, fellow] {
        prefer(lab, Some(node))?;
        moved(lab, &mut watched, &mut flows, &mut count, node)?;
    }
    Fault::Stop.strike(lab, &heir)?;
    Fault::Stop.repair(lab, &heir, &FLAGS)?;
    count.add(&mut flows)?;
    let Count { asked, changed } = count;
    println!("     {changed} of {asked} answers came from another pod than the one before");
    ensure!(changed * TOLERATED <= asked, "{changed} of {asked} answers came from another pod");
    lab.expect_no_conflict("web")
}

/// The answers since the flows began.
#[derive(Default)]
struct Count {
    asked: usize,
    changed: usize,
}

impl Count {
    fn add(&mut self, flows: &mut Datagrams) -> anyhow::Result<usize> {
        let changed = flows.count_changed()?;
        self.asked += flows.len();
        self.changed += changed;
        Ok(changed)
    }
}

/// The flag is what keeps them.
fn without_the_flag(lab: &mut Lab, watched: &mut Watched) -> anyhow::Result<()> {
    let mut flows = Datagrams::default();
    open(lab, &mut flows)?;
    let mut changed = 0;
    for to in NODES {
        prefer(lab, Some(to))?;
        watched.settle_on(to, now(), QUIET)?;
        watched.owner = to.to_owned();
        changed += flows.count_changed()?;
    }
    println!("     without the flag: {changed} times one of {NUMBER} flows has another pod");
    ensure!(changed > 0, "the flows stay without any table: this scenario shows nothing");
    Ok(())
}

/// The address has moved there: each flow has its pod, and so have new ones.
fn moved(
    lab: &mut Lab,
    watched: &mut Watched,
    flows: &mut Datagrams,
    count: &mut Count,
    to: &str,
) -> anyhow::Result<()> {
    watched.settle_on(to, now(), QUIET)?;
    let from = std::mem::replace(&mut watched.owner, to.to_owned());
    let changed = count.add(flows).with_context(|| format!("moved from {from} to {to}"))?;
    println!("     {from} -> {to}: {changed} of {} flows have another pod", flows.len());
    open(lab, flows)?;
    count.add(flows).with_context(|| format!("new flows at {to}"))?;
    Ok(())
}

fn open(lab: &mut Lab, flows: &mut Datagrams) -> anyhow::Result<()> {
    flows.open(&lab.client()?.namespace, format!("{ADDRESS}:80").parse()?, NUMBER)
}

fn set_endpoints(lab: &Lab, pods: &[PodAddresses]) -> anyhow::Result<()> {
    for v6 in [false, true] {
        let mut slice = slice("web", v6, pods);
        let ports = json!([
            {"name": "http", "port": 8080, "protocol": "TCP"},
            {"name": "echo", "port": 8080, "protocol": "UDP"},
        ]);
        merge(&mut slice, json!({"ports": ports}));
        lab.kube().apply(&slice)?;
    }
    Ok(())
}
