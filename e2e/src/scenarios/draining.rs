// SPDX-License-Identifier: Apache-2.0
//! `ferrolb drain --wait` waits for the connections that a drained node keeps, and says how many are left when its time is over.
//!
//! Topology: three nodes with speakers that keep connections and kube-proxy (mode nftables, policy Cluster), a pod on the first and on the
//! third, a client; the permissions of our own manifests for SpeakerReports.
//! Steps: the owner of an address with open connections is drained: they live, `status` shows them, and the wait fails when its time is
//! over. They end: the wait ends well. A speaker without the capability NET_ADMIN says so in `status`, and the wait does not last.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::cluster_commands::ferrolb;
use super::not_announced::{forbid_reports, permit_reports};
use crate::lab::connections::Connections;
use crate::lab::fault::Fault;
use crate::lab::node::Proxy;
use crate::lab::objects::{self, service};
use crate::lab::wait::eventually_true;
use crate::lab::watched::{ADDRESS, Watched};
use crate::lab::{Lab, SOON};

const FLAGS: [&str; 2] = ["--keep-connections", "--linger=5m"];
const NUMBER: usize = 20;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    permit_reports(lab)?;
    let played = play(lab);
    forbid_reports(lab)?;
    played
}

fn play(lab: &mut Lab) -> anyhow::Result<()> {
    lab.client()?;
    lab.start_controller(&[])?;
    lab.start_nodes(3, Proxy::Nftables)?;
    lab.start_speakers(&FLAGS)?;
    lab.kube().apply(&objects::pool("pool", &[objects::POOL_V4, objects::POOL_V6]))?;
    lab.kube().apply(&objects::l2_advertisement("all", json!({})))?;
    let pods = [1, 3].map(|number| lab.start_pod(number));
    let pods = pods.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    lab.set_endpoints("web", &pods)?;
    lab.kube().create(&service("web", json!({})))?;
    lab.expect_addresses("web", &[ADDRESS])?;
    let owner = Watched::of(lab, ADDRESS.parse()?)?.owner;
    lab.wait_page(ADDRESS)?;
    let mut connections = Connections::default();
    connections.open(&lab.client()?.namespace, format!("{ADDRESS}:80").parse()?, NUMBER)?;

    let (ended_well, text) = ferrolb(lab, &["drain", &owner, "--wait", "--timeout=30s"])?;
    ensure!(!ended_well && text.contains("after 30s"), "connections are open: {text}");
    ensure!(text.contains(&format!("{ADDRESS} (TCP {NUMBER},")), "{text}");
    connections.ask().context("the drained node keeps them")?;
    let of_owner = |lab: &Lab| -> anyhow::Result<Option<Value>> {
        let (_, text) = ferrolb(lab, &["status", "-o", "json"])?;
        let status: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        let nodes = status.get("connections").and_then(Value::as_array).cloned();
        let mut nodes = nodes.unwrap_or_default().into_iter();
        Ok(nodes.find(|node| node.get("node") == Some(&json!(owner))))
    };
    let shown = of_owner(lab)?.context("status does not show the drained node")?;
    ensure!(shown.get("tcp") == Some(&json!(NUMBER)), "{shown}");

    drop(connections);
    let (ended_well, text) = ferrolb(lab, &["drain", &owner, "--wait", "--timeout=90s"])?;
    ensure!(ended_well && text.contains("no connection is left"), "{text}");
    let (ended_well, text) = ferrolb(lab, &["drain", &owner, "--undo"])?;
    ensure!(ended_well, "{text}");

    // Without a space between flag and value the speaker gets no NET_ADMIN here.
    Fault::Stop.strike(lab, &owner)?;
    Fault::Stop.repair(lab, &owner, &["--keep-connections=true"])?;
    eventually_true("status says that the flag has no effect", SOON, || {
        let shown = of_owner(lab)?;
        Ok(shown.is_some_and(|node| node.get("kept") == Some(&json!(false))))
    })?;
    let (ended_well, text) = ferrolb(lab, &["drain", &owner, "--wait", "--timeout=60s"])?;
    ensure!(ended_well && text.contains("were not kept there"), "{text}");
    Ok(())
}
