// SPDX-License-Identifier: Apache-2.0
//! Two hundred peers on one speaker.
//!
//! Topology: one node; a machine with 200 addresses, on each of which a peer waits; GoBGP.
//! Steps: all sessions come up and all peers are sent the Service's prefix; then a real router is told of another Service as
//! ever, and no session was reset.

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::{Context, ensure};
use serde_json::json;

use crate::lab::bgp::ASN;
use crate::lab::node::Proxy;
use crate::lab::objects::{bgp_advertisement, bgp_peer};
use crate::lab::process::{Process, Rights, Start};
use crate::lab::router::{Kind, Neighbour, Setup};
use crate::lab::wait::eventually_true;
use crate::lab::{Lab, SOON};

const PEERS: usize = 200;
const NODE: &str = "172.30.0.11";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_for_bgp(1, Proxy::Absent, &[])?;
    lab.node("node1")?.namespace.ip("route add 172.31.0.0/24 dev eth0")?;
    let namespace = lab.switch.attach("many", "eth0", "02:fb:00:00:01:01")?;
    let mut lines = String::from("route add 172.30.0.0/24 dev eth0");
    for number in 1..=PEERS {
        write!(lines, "\naddress add 172.31.0.{number}/32 dev eth0")?;
    }
    namespace.ip(&lines)?;
    let mut peers = Process::start(
        lab.folder(),
        Start {
            name: "many".into(),
            namespace: &namespace,
            program: &lab.programs.e2e,
            arguments: vec!["bgp-peer".into(), "65009".into(), "keep".into()],
            environment: Vec::new(),
            rights: Rights::All,
        },
    )?;
    let log = lab.folder().join("many.log");
    peers.wait_ready(SOON, || Ok(std::fs::read_to_string(&log)?.contains("listening")))?;
    let setup = Setup::new(Kind::Gobgp, vec![Neighbour::new("node", NODE, ASN)]);
    lab.add_router(Kind::Gobgp, &setup)?;

    lab.kube().apply(&bgp_advertisement("a", json!({})))?;
    lab.create_service("web", &["10.60.0.1"], &[1], json!({}))?;
    let gobgp = json!({"myASN": ASN, "peerASN": 65003, "peerAddress": Kind::Gobgp.v4()});
    lab.kube().apply(&bgp_peer("gobgp", gobgp))?;
    for number in 1..=PEERS {
        let address = format!("172.31.0.{number}");
        let spec = json!({"myASN": ASN, "peerASN": 65009, "peerAddress": address});
        lab.kube().apply(&bgp_peer(&format!("p{number}"), spec))?;
    }
    let with_prefix = || -> BTreeSet<String> {
        let log = peers.log();
        let words = log.lines().filter_map(|line| line.strip_suffix(": has the prefix"));
        words.map(str::to_owned).collect()
    };
    let mut seen = 0;
    eventually_true("every peer has the prefix", SOON * 2, || {
        seen = with_prefix().len();
        Ok(seen == PEERS)
    })
    .with_context(|| format!("{seen} have it"))?;
    lab.router(Kind::Gobgp)?.wait_prefixes(NODE, &["10.60.0.1/32"])?;
    lab.create_service("more", &["10.60.0.2"], &[1], json!({}))?;
    lab.router(Kind::Gobgp)?.wait_prefixes(NODE, &["10.60.0.1/32", "10.60.0.2/32"])?;

    let up = lab.metric_lines("node1", "metallb_bgp_session_up{")?;
    let up = up.iter().filter(|line| line.ends_with(" 1")).count();
    ensure!(up == PEERS + 1, "{up} sessions are up");
    let log = peers.log();
    ensure!(!log.contains(": ended"), "a session ended: {log}");
    ensure!(log.matches(": established").count() == PEERS, "a session was made twice");
    Ok(())
}
