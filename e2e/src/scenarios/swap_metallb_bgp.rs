// SPDX-License-Identifier: Apache-2.0
//! MetalLB 0.15.2's own controller and speakers are swapped for ours and back, under load on an address that BGP announces: no request fails,
//! and the router always has the paths through all nodes but the one that is being swapped.
//!
//! Topology: MetalLB's own manifest; a controller, three nodes with kube-proxy and a speaker each; FRR with a session to each, without graceful
//! restart, which MetalLB's native mode does not have, and a machine behind it with 500 requests a second; a pod on the first node.
//! Steps: the controller is killed and ours starts; on each node the speaker is asked to end, its path goes, and ours starts; then the
//! same the other way round.
//!
//! A connection that is open when the router chooses among fewer or more paths may be led to another node, which does not know it and
//! resets it; it is asked again once.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use serde_json::json;

use crate::lab::bgp::{ASN, POOL_V4};
use crate::lab::fleet::Kind;
use crate::lab::load::Load;
use crate::lab::metallb::MetalLb;
use crate::lab::node::{Proxy, fetch};
use crate::lab::objects::{bgp_advertisement, bgp_peer, pool};
use crate::lab::router::{self, Neighbour, Setup};
use crate::lab::wait::eventually_true;
use crate::lab::{Lab, SOON};

const RATE: u32 = 500;
const PAGE: &str = "10.60.0.1";
const PREFIX: &str = "10.60.0.1/32";
const FRR: router::Kind = router::Kind::Frr;
const NODES: [&str; 3] = ["172.30.0.11", "172.30.0.12", "172.30.0.13"];

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let played = play(lab);
    // The lane goes on with its own roles and kinds in any case.
    let restored = lab.control.install();
    played.and(restored)
}

fn play(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_nodes(NODES.len(), Proxy::Nftables)?;
    let metallb = MetalLb::new()?;
    metallb.install(lab)?;
    metallb.start_controller(lab, Kind::MetalLb)?;
    lab.kube().apply(&pool("pool", &[POOL_V4]))?;
    lab.kube().apply(&bgp_advertisement("a", json!({})))?;
    let spec = json!({"myASN": ASN, "peerASN": FRR.asn(), "peerAddress": FRR.v4()});
    lab.kube().apply(&bgp_peer("frr", spec))?;
    let neighbours = NODES.iter().zip(1..);
    let neighbours =
        neighbours.map(|(address, node)| Neighbour::new(&format!("node{node}"), address, ASN));
    let mut setup = Setup::new(FRR, neighbours.collect());
    setup.forward = true;
    lab.add_router(FRR, &setup)?;
    let pod = lab.start_pod(1)?;
    lab.set_endpoints("web", &[pod])?;
    lab.create_bare_service("web", &[PAGE], json!({}))?;
    for number in 0..NODES.len() {
        metallb.start_speaker(lab, number, Kind::MetalLb)?;
    }
    paths(lab, &NODES)?;
    let behind = lab.customer_behind(FRR)?;
    eventually_true("the page is served", SOON, || {
        Ok(fetch(&behind, &format!("http://{PAGE}/")).is_some())
    })?;
    let load = Load::start(&behind, format!("{PAGE}:80").parse()?, RATE)?;
    eventually_true("the load runs", SOON, || Ok(load.tally().served > 200))?;
    for kind in [Kind::Ferrolb, Kind::MetalLb] {
        metallb.start_controller(lab, kind)?;
        lab.expect_addresses("web", &[PAGE])?;
        judge(lab, &load).context("the controller was swapped")?;
        for number in 0..NODES.len() {
            let what = format!("node{} to {kind:?}", number + 1);
            swap(lab, &metallb, number, kind).with_context(|| what.clone())?;
            judge(lab, &load).with_context(|| what.clone())?;
            println!("     {what}: {} asked again so far", load.tally().repeated.len());
        }
    }
    println!("     {}", load.tally());
    Ok(())
}

/// Swaps the speaker of a node, while the sessions with the others stay.
fn swap(lab: &mut Lab, metallb: &MetalLb, number: usize, kind: Kind) -> anyhow::Result<()> {
    let others: Vec<&str> = (0..).zip(NODES).filter(|(n, _)| *n != number).map(|(_, a)| a).collect();
    let before = sessions(lab, &others)?;
    let node = lab.nodes.get_mut(number).context("no such node")?;
    node.speaker.as_mut().context("no speaker")?.terminate(SOON)?;
    paths(lab, &others)?;
    metallb.start_speaker(lab, number, kind)?;
    paths(lab, &NODES)?;
    ensure!(sessions(lab, &others)? == before, "another node's session was reset: {before:?}");
    Ok(())
}

/// What is another once a session was reset.
fn sessions(lab: &Lab, neighbours: &[&str]) -> anyhow::Result<Vec<String>> {
    let router = lab.router(FRR)?;
    neighbours.iter().map(|neighbour| Ok(router.wait_established(neighbour)?.since)).collect()
}

/// FRR comes to have the paths through these nodes and no others, and has never fewer meanwhile.
fn paths(lab: &Lab, wanted: &[&str]) -> anyhow::Result<()> {
    let router = lab.router(FRR)?;
    let wanted: BTreeSet<String> = wanted.iter().map(|node| (*node).to_owned()).collect();
    let (mut seen, mut had) = (BTreeSet::new(), BTreeSet::new());
    let mut lost = BTreeSet::new();
    eventually_true("FRR has a path through each node that speaks", SOON, || {
        let routes = router.routes()?.into_iter().filter(|route| route.prefix == PREFIX);
        seen = routes.map(|route| route.neighbour).collect();
        lost.extend(had.difference(&seen).filter(|node| wanted.contains(*node)).cloned());
        had.clone_from(&seen);
        Ok(seen == wanted)
    })
    .with_context(|| format!("last: {seen:?}"))?;
    ensure!(lost.is_empty(), "the paths through {lost:?} were gone for a while");
    Ok(())
}

fn judge(lab: &Lab, load: &Load) -> anyhow::Result<()> {
    ensure!(lab.addresses("web")? == [PAGE], "the Service has {:?}", lab.addresses("web")?);
    load.tally().none_failed()
}
