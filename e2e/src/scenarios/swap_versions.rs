// SPDX-License-Identifier: Apache-2.0
//! From one version of our images to the next, as a Deployment and a DaemonSet are updated, under load on an L2 address: no request fails, no
//! question stays unanswered, and a Service that is made meanwhile gets its address.
//!
//! Topology: a controller's container, three nodes with kube-proxy and a speaker's container each, with what MetalLB 0.16's manifests give
//! them; a pod on the first node; a client with 1,000 requests a second that sees every claim to the address.
//! Steps: the controller is asked to end and the next version starts; then the same on each node, one after the other.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::lab::watched::{ADDRESS, Watched, story};
use crate::lab::generation::Generation;
use crate::lab::images::{
    create_workload, is_next_version, memberlist_key, next_version, probes, start_controller,
    start_speaker,
};
use crate::lab::load::Load;
use crate::lab::node::Proxy;
use crate::lab::objects::{POOL_V4, l2_advertisement, pool, service};
use crate::lab::wait::{eventually, eventually_true, now};
use crate::lab::{Lab, SOON};

const RATE: u32 = 1_000;
const GENERATION: Generation = Generation::V0_16;
/// The grace that MetalLB's manifests leave a speaker.
const GRACE: Duration = Duration::from_secs(2);

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.client()?;
    lab.start_nodes(3, Proxy::Nftables)?;
    create_workload(lab, GENERATION)?;
    lab.kube().apply(&pool("pool", &[POOL_V4]))?;
    lab.kube().apply(&l2_advertisement("all", json!({})))?;
    let pod = lab.start_pod(1)?;
    lab.set_endpoints("web", &[pod])?;
    lab.kube().create(&service("web", json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
    let images = lab.programs.images.clone();
    lab.controller = Some(start_controller(lab, &images, GENERATION)?);
    probes(lab, GENERATION, None)?;
    let key = memberlist_key(lab)?;
    for number in 0..lab.nodes.len() {
        start(lab, &images, number, &key)?;
    }
    lab.expect_addresses("web", &[ADDRESS])?;
    let watched = Watched::of(lab, ADDRESS.parse()?)?;
    lab.serves_through_all(ADDRESS)?;
    let load = Load::start(&lab.client()?.namespace, format!("{ADDRESS}:80").parse()?, RATE)?;
    eventually_true("the load runs", SOON, || Ok(load.tally().served > 200))?;

    let next = next_version(lab)?;
    swap_controller(lab, &next)?;
    load.tally().none_failed().context("the controller was swapped")?;
    for number in 0..lab.nodes.len() {
        swap_speaker(lab, &watched, &next, number, &key)?;
        let tally = load.tally();
        tally.none_failed().with_context(|| format!("the speaker of node {} was swapped", number + 1))?;
    }
    lab.kube().create(&service("later", json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
    lab.wait_addresses("later")?;
    println!("     {}", load.tally());
    Ok(())
}

fn start(lab: &mut Lab, images: &Path, number: usize, key: &str) -> anyhow::Result<()> {
    let speaker = start_speaker(lab, images, GENERATION, number, key)?;
    lab.nodes.get_mut(number).context("no such node")?.speaker = Some(speaker);
    probes(lab, GENERATION, Some(number))
}

fn swap_controller(lab: &mut Lab, next: &Path) -> anyhow::Result<()> {
    lab.controller.as_mut().context("no controller")?.terminate(SOON)?;
    lab.controller = Some(start_controller(lab, next, GENERATION)?);
    probes(lab, GENERATION, None)?;
    let controller = lab.controller.as_ref().context("no controller")?;
    ensure!(is_next_version(controller), "the controller is of the version before");
    lab.expect_addresses("web", &[ADDRESS])
}

fn swap_speaker(
    lab: &mut Lab,
    watched: &Watched,
    next: &Path,
    number: usize,
    key: &str,
) -> anyhow::Result<()> {
    let began = now();
    let node = lab.nodes.get_mut(number).context("no such node")?;
    let (name, speaker) = (node.name.clone(), node.speaker.as_mut().context("no speaker")?);
    speaker.signal(Signal::SIGTERM)?;
    eventually("the speaker ends in the time that it has", GRACE, || Ok(speaker.ended()))?;
    speaker.kill();
    start(lab, next, number, key)?;
    let speaker = lab.nodes.get(number).and_then(|node| node.speaker.as_ref());
    ensure!(speaker.is_some_and(is_next_version), "{name} has the version before");
    let started = now();
    watched.settle_on(&watched.owner, started, Duration::from_millis(500))?;
    let ended = now();
    watched.watcher.with(|record| {
        // The last questions may still be on their way.
        let asked = ended.checked_sub(Duration::from_millis(100)).unwrap_or(ended);
        let unanswered = record.unanswered(began, asked).len();
        println!("     {name}: {} node(s) claimed it meanwhile", record.stations(began, ended).len());
        ensure!(unanswered == 0, "{unanswered} questions unanswered\n{}", story(record, began, ended));
        Ok(())
    })
}
