// SPDX-License-Identifier: Apache-2.0
//! The node that owns an address gets another IP, as by DHCP: another node answers at once, the old owner answers beside nobody, and has its
//! address again when its speaker has started with the new IP.
//!
//! Topology: three nodes with speakers, a client that asks for the address every 10 ms.
//! Steps: the owner's IP is taken from its link and another one put there: the ring loses it, and another node has the address alone;
//! Node and Pod say the new IP and the speaker is started anew, as the kubelet does: half a minute later, when the memberlist has
//! forgotten that name's other IP, the first owner has the address again. Until then the others answer.

use anyhow::{Context, ensure};

use super::ring_strangers::{FAILOVER, FLAGS, PLANNED};
use crate::lab::fault::SETTLED;
use crate::lab::watched::{Watched, is_confirmed};
use crate::lab::stranger::Kept;
use crate::lab::wait::{eventually_true, now};
use crate::lab::{Lab, SOON};

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let watched = Watched::start(lab, 3, FLAGS)?;
    let owner = watched.owner.clone();
    let from = now();
    let number = lab.node(&owner)?.number;
    let (old, new) = (format!("172.30.0.{}", 10 + number), format!("172.30.0.{}", 40 + number));
    lab.node(&owner)?.namespace.ip(&format!(
        "address del {old}/24 dev eth0\naddress add {new}/24 dev eth0"
    ))?;
    let (successor, first) = watched.successor(&owner, from)?;
    watched.settle_on(&successor, first + SETTLED, std::time::Duration::from_millis(500))?;
    let moved = Kept::of(&watched, from);
    println!("     the IP changed: {moved}");
    ensure!(moved.twice <= PLANNED, "answered by two: {moved}");

    let kube = lab.kube().clone();
    let node = lab.node(&owner)?;
    node.readdress(&kube, &new)?;
    let started = now();
    node.speaker = None;
    node.start_speaker(FLAGS)?;
    node.wait_speaker()?;
    let node = lab.node(&owner)?;
    eventually_true("the others take the new IP", SOON * 3, || Ok(is_confirmed(node)))?;
    watched.settle_on(&owner, now(), std::time::Duration::from_millis(500))?;
    let back = Kept::of(&watched, started);
    println!("     started with the new IP: {back}");
    ensure!(back.twice <= PLANNED, "answered by two: {back}");
    ensure!(back.unanswered <= FAILOVER, "nobody answered: {back}");
    lab.expect_addresses("web", &["172.30.0.200"]).context("it has its address still")
}
