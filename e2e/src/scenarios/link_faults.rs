// SPDX-License-Identifier: Apache-2.0
//! The link has the last word where the ring fails in other ways than a cut: for datagrams alone, by keys that differ, and beside a router with
//! proxy ARP.
//!
//! Topology: three nodes with speakers, a client that asks for the address every 10 ms and sees every claim to it.
//! Steps: UDP 7946 is closed at the owner, TCP is open: one node answers; opened again. Each node's speaker gets another key, one after another:
//! after each one node alone answers, and in the end the first owner. A router answers ARP for every address; two nodes stand still: the third
//! tells the router from an owner, and announces the address.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use super::ring_by_link::expect_metric;
use crate::lab::fault::Fault;
use crate::lab::process::{Process, Rights, Start};
use crate::lab::wait::now;
use crate::lab::watched::{Watched, expect_said};
use crate::lab::{Lab, SOON, loss, parted};

/// The time for which nothing changes any more.
const QUIET: Duration = Duration::from_secs(3);
/// The router answers for all other addresses; the nodes have some of these.
const SPARED: [&str; 2] = ["172.30.0.0", "172.30.0.99"];

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let watched = Watched::start(lab, 3, &[])?;
    without_datagrams(lab, &watched).context("without datagrams")?;
    let key = key_by_key(lab, &watched).context("another key")?;
    beside_a_proxy(lab, &watched, &key).context("beside a proxy")
}

fn without_datagrams(lab: &mut Lab, watched: &Watched) -> anyhow::Result<()> {
    let blocked = now();
    loss::refuse_datagrams(lab.node(&watched.owner)?)?;
    let owner = parted::settle_alone(watched, blocked, QUIET)?;
    println!("     without datagrams {owner} answers");
    parted::heal(lab, watched, QUIET).map(drop)
}

/// Starts each speaker again with another key; returns the flag.
fn key_by_key(lab: &mut Lab, watched: &Watched) -> anyhow::Result<String> {
    let folder: PathBuf = lab.folder().join("another-key");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("secretkey"), "YW5vdGhlciBzZWNyZXQgdGhhdCBub2JvZHkga25vd3M")?;
    let flag = format!("--ml-secret-key-path={}", folder.display());
    let names: Vec<String> = lab.nodes.iter().map(|node| node.name.clone()).collect();
    for name in &names {
        let node = lab.node(name)?;
        node.speaker.as_mut().context("no speaker")?.terminate(SOON)?;
        node.start_speaker(&[&flag])?;
        node.wait_speaker()?;
        let ready = now();
        let owner = parted::settle_alone(watched, ready, QUIET).context(name.clone())?;
        println!("     with another key on the nodes up to {name} {owner} answers");
    }
    parted::heal(lab, watched, QUIET)?;
    Ok(flag)
}

fn beside_a_proxy(lab: &mut Lab, watched: &Watched, key: &str) -> anyhow::Result<()> {
    let namespace = lab.switch.attach("router", "eth0", "02:fb:00:00:00:77")?;
    let mut router = Process::start(
        lab.folder(),
        Start {
            name: "router".into(),
            namespace: &namespace,
            program: &lab.programs.e2e,
            arguments: ["proxy", "eth0"].into_iter().chain(SPARED).map(str::to_owned).collect(),
            environment: Vec::new(),
            rights: Rights::All,
        },
    )?;
    let log = lab.folder().join("router.log");
    router.wait_ready(SOON, || {
        Ok(std::fs::read_to_string(&log).is_ok_and(|log| log.contains("answering")))
    })?;
    let mut names = lab.nodes.iter().map(|node| node.name.clone());
    let stopped: Vec<String> = names.by_ref().take(2).collect();
    let left = names.next().context("a third node")?;
    for node in &stopped {
        Fault::Freeze.strike(lab, node)?;
    }
    expect_said(lab.node(&left)?, "announcedByLink")?;
    expect_metric(lab, &left, "ferrolb_layer2_announced_by_link 1")?;
    for node in &stopped {
        Fault::Freeze.repair(lab, node, &[key])?;
    }
    drop(router);
    parted::heal(lab, watched, QUIET).map(drop)
}
