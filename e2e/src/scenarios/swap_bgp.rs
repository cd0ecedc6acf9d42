// SPDX-License-Identifier: Apache-2.0
//! From one version of our images to the next under load on an address that BGP announces: no request fails.
//!
//! Topology: three nodes with kube-proxy and a speaker's container each, with what MetalLB 0.16's manifests give them; FRR with a session to
//! each, graceful restart (RFC 4724), and a machine behind it with 500 requests a second; a pod on the first node.
//! Steps: the controller and then on each node the speaker is asked to end and the next version starts; FRR always has the three paths,
//! those of the one that ends as stale ones.

use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::json;

use crate::lab::bgp::{ASN, POOL_V4};
use crate::lab::generation::Generation;
use crate::lab::images::{
    create_workload, is_next_version, memberlist_key, next_version, probes, start_controller,
    start_speaker,
};
use crate::lab::load::Load;
use crate::lab::node::{Proxy, fetch};
use crate::lab::objects::{bgp_advertisement, bgp_peer, pool};
use crate::lab::router::{Kind, Neighbour, Setup};
use crate::lab::wait::eventually_true;
use crate::lab::{Lab, SOON};

const RATE: u32 = 500;
const PAGE: &str = "10.60.0.1";
const PREFIX: &str = "10.60.0.1/32";
const GENERATION: Generation = Generation::V0_16;
const NODES: usize = 3;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_nodes(NODES, Proxy::Nftables)?;
    create_workload(lab, GENERATION)?;
    lab.kube().apply(&pool("pool", &[POOL_V4]))?;
    let kind = Kind::Frr;
    let neighbours = (1..=NODES).map(|node| {
        let mut neighbour = Neighbour::new(&format!("node{node}"), &address(node), ASN);
        neighbour.graceful_restart = true;
        neighbour
    });
    let mut setup = Setup::new(kind, neighbours.collect());
    setup.forward = true;
    lab.add_router(kind, &setup)?;
    lab.kube().apply(&bgp_advertisement("a", json!({})))?;
    let spec = json!({
        "myASN": ASN, "peerASN": kind.asn(), "peerAddress": kind.v4(),
        "enableGracefulRestart": true, "connectTime": "1s",
    });
    lab.kube().apply(&bgp_peer("frr", spec))?;
    let images = lab.programs.images.clone();
    lab.controller = Some(start_controller(lab, &images, GENERATION)?);
    probes(lab, GENERATION, None)?;
    let pod = lab.start_pod(1)?;
    lab.set_endpoints("web", &[pod])?;
    lab.create_bare_service("web", &[PAGE], json!({}))?;
    let key = memberlist_key(lab)?;
    for number in 0..NODES {
        start(lab, &images, number, &key)?;
    }
    all_paths(lab, false)?;
    let behind = lab.customer_behind(kind)?;
    eventually_true("the page is served", SOON, || {
        Ok(fetch(&behind, &format!("http://{PAGE}/")).is_some())
    })?;
    let load = Load::start(&behind, format!("{PAGE}:80").parse()?, RATE)?;
    eventually_true("the load runs", SOON, || Ok(load.tally().served > 200))?;

    let next = next_version(lab)?;
    lab.controller.as_mut().context("no controller")?.terminate(SOON)?;
    lab.controller = Some(start_controller(lab, &next, GENERATION)?);
    probes(lab, GENERATION, None)?;
    load.tally().none_failed().context("the controller was swapped")?;
    for number in 0..NODES {
        let node = lab.nodes.get_mut(number).context("no such node")?;
        node.speaker.as_mut().context("no speaker")?.terminate(SOON)?;
        all_paths(lab, true)?;
        start(lab, &next, number, &key)?;
        let speaker = lab.nodes.get(number).and_then(|node| node.speaker.as_ref());
        ensure!(speaker.is_some_and(is_next_version), "node{} has the version before", number + 1);
        all_paths(lab, false)?;
        load.tally().none_failed().with_context(|| format!("the speaker of node{} was swapped", number + 1))?;
    }
    let tally = load.tally();
    println!("     {tally}");
    ensure!(tally.repeated.is_empty(), "connections were reset although no path went away");
    Ok(())
}

fn address(node: usize) -> String {
    format!("172.30.0.{}", 10 + node)
}

fn start(lab: &mut Lab, images: &Path, number: usize, key: &str) -> anyhow::Result<()> {
    let speaker = start_speaker(lab, images, GENERATION, number, key)?;
    lab.nodes.get_mut(number).context("no such node")?.speaker = Some(speaker);
    probes(lab, GENERATION, Some(number))
}

/// FRR has a path through each node; one of them is stale, or none.
fn all_paths(lab: &Lab, stale: bool) -> anyhow::Result<()> {
    let router = lab.router(Kind::Frr)?;
    eventually_true("FRR has a path through each node", SOON, || {
        let routes = router.routes()?;
        let paths = routes.iter().filter(|route| route.prefix == PREFIX);
        let (old, new): (Vec<_>, Vec<_>) = paths.partition(|route| route.stale);
        Ok(old.len() == usize::from(stale) && old.len() + new.len() == NODES)
    })
}
