// SPDX-License-Identifier: Apache-2.0
//! A stranger on the link claims an address a thousand times, each time as another station: that costs a few words, and the
//! program goes on with its work. A false claim is answered by one announcement of the owner's.
//!
//! Topology: three nodes with speakers that announce once a minute, a client, a stranger on the link.
//! Steps: a Service is announced; one false claim: the owner announces the address within seconds, long before its next turn, and goes
//! on answering; 2,000 claims from as many stations at once: meanwhile a new Service gets its address and is
//! announced; the flood leaves at most a dozen lines and events per speaker, and no memory.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;

use crate::bench::usage::own;
use crate::lab::netns::Namespace;
use crate::lab::node::{PodAddresses, Proxy};
use crate::lab::objects::{POOL_V4, l2_advertisement, pool, service};
use crate::lab::process::{Process, Rights, Start};
use crate::lab::wait::{eventually_true, now};
use crate::lab::{Lab, SOON};

const ADDRESS: &str = "172.30.0.200";
const NEXT: &str = "172.30.0.201";
/// What the owner's speaker may have more than before, in MB.
const GROWTH: f64 = 2.0;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.client()?;
    lab.start_controller(&[])?;
    lab.start_nodes(3, Proxy::Absent)?;
    lab.start_speakers(&[])?;
    lab.kube().apply(&pool("pool", &[POOL_V4]))?;
    lab.kube().apply(&l2_advertisement("all", json!({})))?;
    let endpoint =
        PodAddresses { node: "node1".into(), v4: "10.244.1.9".into(), v6: "fd00:244:1::9".into() };
    for name in ["web", "next"] {
        lab.set_endpoints(name, std::slice::from_ref(&endpoint))?;
    }
    lab.kube().create(&service("web", json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
    lab.expect_addresses("web", &[ADDRESS])?;
    let owner = lab.wait_owner(ADDRESS)?;
    let stranger = lab.switch.attach("stranger", "eth0", "02:fb:00:00:00:66")?;

    // The first announcements are over when a claim comes.
    let announced = |lab: &Lab| -> anyhow::Result<u64> { announcements(lab, &owner) };
    let (mut before, mut since) = (announced(lab)?, now());
    eventually_true("the owner has said what it says at first", SOON, || {
        let count = announced(lab)?;
        if count != before {
            (before, since) = (count, now());
        }
        // Longer than the pause between two announcements.
        Ok(count >= 10 && since.elapsed() > Duration::from_millis(1_500))
    })?;
    claim(lab, &stranger, 1, 1)?;
    eventually_true("the owner contradicts the false claim", SOON, || Ok(announced(lab)? > before))?;
    ensure!(lab.owners(ADDRESS)?.len() == 1, "the owner does not answer any more");

    let memory = own_memory(lab, &owner)?;
    let mut flood = start_claims(lab, &stranger, 2_000, 1_000)?;
    lab.kube().create(&service("next", json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
    lab.expect_addresses("next", &[NEXT])?;
    lab.wait_owner(NEXT)?;
    eventually_true("the stranger has said everything", SOON, || Ok(flood.ended().is_some()))?;
    lab.expect_owner(ADDRESS, &owner)?;
    // What the flood leads to comes within the look-ups' time.
    lab.wait_event("web", "addressConflict")?;
    let log = lab.node(&owner)?.speaker.as_ref().context("no speaker")?.log();
    let lines = log.lines().filter(|line| line.contains("addressConflict")).count();
    ensure!((1..=12).contains(&lines), "{lines} lines about the flood");
    let events = lab.kube().events("web")?;
    let events = events.iter().filter(|event| event.reason == "addressConflict").count();
    ensure!(events <= 12, "{events} events about the flood");
    let now = own_memory(lab, &owner)?;
    ensure!(now <= memory + GROWTH, "the speaker grew from {memory} to {now} MB");
    Ok(())
}

fn start_claims(
    lab: &Lab,
    stranger: &Namespace,
    count: u32,
    rate: u32,
) -> anyhow::Result<Process> {
    Process::start(lab.folder(), Start {
        name: "stranger".into(),
        namespace: stranger,
        program: &lab.programs.e2e,
        arguments: ["claim", "eth0", ADDRESS, &count.to_string(), &rate.to_string()]
            .map(str::to_owned)
            .to_vec(),
        environment: Vec::new(),
        rights: Rights::All,
    })
}

fn claim(
    lab: &Lab,
    stranger: &Namespace,
    count: u32,
    rate: u32,
) -> anyhow::Result<()> {
    let mut process = start_claims(lab, stranger, count, rate)?;
    eventually_true("the stranger has said it", SOON, || Ok(process.ended().is_some()))
}

/// How often the speaker of a node announced the address, by its metric.
fn announcements(lab: &Lab, node: &str) -> anyhow::Result<u64> {
    let node = lab.nodes.iter().find(|known| known.name == node).context("no such node")?;
    let text = node.metrics()?;
    let name = "metallb_layer2_gratuitous_sent";
    let line = text.lines().find(|line| line.starts_with(name) && line.contains(ADDRESS));
    let value = line.and_then(|line| line.rsplit(' ').next()).unwrap_or("0");
    value.parse().with_context(|| format!("{name}: {value:?}"))
}

fn own_memory(lab: &Lab, node: &str) -> anyhow::Result<f64> {
    let node = lab.nodes.iter().find(|known| known.name == node).context("no such node")?;
    own(node.speaker.as_ref().context("no speaker")?.pid())
}
