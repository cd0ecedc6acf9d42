// SPDX-License-Identifier: Apache-2.0
//! Peers that misbehave after Established do no harm: one sends garbage, one stops reading.
//!
//! Topology: one node; the three routers; a peer that sends nonsense on every connection, a peer that never reads.
//! Steps: each kind of nonsense is answered with the NOTIFICATION of RFC 4271 section 6 and the speaker connects again; while
//! that goes on 300 Services' routes change again and again, faster than their events can be written; the routers get every
//! change, their sessions stay, and the speaker's memory stays what it was.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::json;

use crate::bench::usage;
use crate::lab::bgp::ASN;
use crate::lab::netns::Namespace;
use crate::lab::node::Proxy;
use crate::lab::objects::{bgp_advertisement, bgp_peer, pool, service};
use crate::lab::process::{Process, Rights, Start};
use crate::lab::router::{Kind, Neighbour, Setup};
use crate::lab::wait::eventually_true;
use crate::lab::{Lab, SOON};

const NODE: &str = "172.30.0.11";
const SERVICES: usize = 300;
const CHANGES: usize = 40;
/// What the answers to the five kinds of nonsense say (RFC 4271 section 6.1, 6.3; RFC 6608).
const ANSWERS: [&str; 5] = ["1/1", "1/2", "1/3", "3/1", "5/3"];

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_for_bgp(1, Proxy::Absent, &[])?;
    lab.kube().apply(&pool("many", &["10.62.0.0/22"]))?;
    lab.kube().apply(&bgp_advertisement("a", json!({})))?;
    for kind in Kind::ALL {
        let setup = Setup::new(kind, vec![Neighbour::new("node", NODE, ASN)]);
        lab.add_router(kind, &setup)?;
        let spec = json!({"myASN": ASN, "peerASN": kind.asn(), "peerAddress": kind.v4()});
        lab.kube().apply(&bgp_peer(kind.name(), spec))?;
    }
    lab.create_service("web", &["10.60.0.1"], &[1], json!({}))?;
    for kind in Kind::ALL {
        lab.router(kind)?.wait_prefixes(key(kind), &["10.60.0.1/32"])?;
    }
    let (_mad_house, mad) = misbehave(lab, "mad", "garbage", 141)?;
    let (_deaf_house, deaf) = misbehave(lab, "deaf", "stuck", 142)?;
    let established = |peer: &Process| peer.log().contains(": established");
    eventually_true("both are Established", SOON, || Ok(established(&mad) && established(&deaf)))?;

    let before = sessions(lab)?;
    for number in 0..SERVICES {
        let name = format!("s{number}");
        lab.set_endpoints(&name, &[crate::lab::bgp::endpoint(1)])?;
        let annotation = json!({"metallb.io/address-pool": "many"});
        lab.kube().create(&service(&name, json!({"metadata": {"annotations": annotation}})))?;
    }
    expect(lab, "")?;
    let mut own = 0.0;
    for change in 0..=CHANGES {
        let community = format!("64999:{change}");
        lab.kube().apply(&bgp_advertisement("a", json!({"communities": [community]})))?;
        expect(lab, &community)?;
        if change == 0 {
            // What one change takes is taken anew by each.
            own = memory(lab)?;
        }
    }
    let answered = || -> BTreeSet<String> {
        let log = mad.log();
        let words = log.lines().filter_map(|line| line.split_once("notification "));
        words.map(|(_, code)| code.to_owned()).collect()
    };
    let wanted: BTreeSet<String> = ANSWERS.iter().map(|code| (*code).to_owned()).collect();
    eventually_true("each kind of nonsense has its answer", SOON * 3, || Ok(answered() == wanted))
        .with_context(|| mad.log())?;
    ensure!(waiting(lab)? > 0, "the deaf one has read all");
    ensure!(deaf.log().matches(": established").count() == 1, "the deaf one: {}", deaf.log());
    let (after, grown) = (sessions(lab)?, memory(lab)? - own);
    ensure!(before == after, "sessions were reset: {before:?}, then {after:?}");
    ensure!(grown < 1.0, "the speaker grew by {grown:.1} MB from {own:.1} MB");
    Ok(())
}

fn key(kind: Kind) -> &'static str {
    if kind == Kind::Bird { "node" } else { NODE }
}

/// A peer of our own at 172.30.0.`last`.
fn misbehave(
    lab: &Lab,
    name: &str,
    mode: &str,
    last: u8,
) -> anyhow::Result<(Namespace, Process)> {
    let address = format!("172.30.0.{last}");
    let namespace = lab.switch.attach(name, "eth0", &format!("02:fb:00:00:01:{last:02x}"))?;
    namespace.ip(&format!("address add {address}/24 dev eth0"))?;
    let program: &Path = &lab.programs.e2e;
    let mut process = Process::start(
        lab.folder(),
        Start {
            name: name.to_owned(),
            namespace: &namespace,
            program,
            arguments: vec!["bgp-peer".into(), "65009".into(), mode.to_owned()],
            environment: Vec::new(),
            rights: Rights::All,
        },
    )?;
    let log = lab.folder().join(format!("{name}.log"));
    process.wait_ready(SOON, || Ok(std::fs::read_to_string(&log)?.contains("listening")))?;
    let spec = json!({"myASN": ASN, "peerASN": 65009, "peerAddress": address, "connectTime": "1s"});
    lab.kube().apply(&bgp_peer(name, spec))?;
    Ok((namespace, process))
}

/// Every router has every prefix, with this community.
fn expect(lab: &Lab, community: &str) -> anyhow::Result<()> {
    let wanted: BTreeSet<String> =
        [community.to_owned()].into_iter().filter(|word| !word.is_empty()).collect();
    // FRR is asked prefix by prefix, which takes long: it is asked for one.
    for kind in [Kind::Bird, Kind::Gobgp] {
        let what = format!("{} prefixes with {wanted:?}", SERVICES + 1);
        let router = lab.router(kind)?;
        eventually_true(&format!("{kind}: {what}"), SOON, || {
            let routes = router.routes()?;
            let right = routes.iter().filter(|route| route.communities == wanted).count();
            Ok(right == SERVICES + 1 && routes.len() == right)
        })?;
    }
    let router = lab.router(Kind::Frr)?;
    eventually_true(&format!("frr: {wanted:?}"), SOON, || {
        let text = router.ask(&["show bgp ipv4 unicast 10.60.0.1/32 json"])?;
        Ok(community.is_empty() || text.contains(community))
    })
}

fn sessions(lab: &Lab) -> anyhow::Result<Vec<String>> {
    Kind::ALL.iter().map(|kind| Ok(lab.router(*kind)?.session(key(*kind))?.since)).collect()
}

/// Octets that wait in the node's kernel for the peer that does not read.
fn waiting(lab: &mut Lab) -> anyhow::Result<usize> {
    let namespace = &lab.node("node1")?.namespace;
    let said = namespace.run("ss", ["-Htn", "state", "established", "dst", "172.30.0.142"])?;
    let queue = said.split_whitespace().nth(1).with_context(|| format!("a queue in {said:?}"))?;
    Ok(queue.parse()?)
}

/// The speaker's own memory in MB: pages of its program come and go as the kernel and the speaker see fit.
fn memory(lab: &mut Lab) -> anyhow::Result<f64> {
    usage::own(lab.node("node1")?.speaker.as_ref().context("a speaker")?.pid())
}
