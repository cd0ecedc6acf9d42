// SPDX-License-Identifier: Apache-2.0
//! The main job: a Service gets an address, one node answers ARP for it, a page is served through it.
//!
//! Topology: three nodes with kube-proxy in nftables mode, pods on node1 and node3, a client.
//! Steps: apply a Service with endpoints; its address is the pool's first; exactly one node answers ARP, with its
//! own hardware address; the page of either pod comes back; the Service says which pool and which node it was, and so do
//! the logs.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::lab::node::Proxy;
use crate::lab::objects::{pool_of, service};
use crate::lab::{Lab, SOON};
use crate::lab::wait::eventually_true;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    serve_page(lab, Proxy::Nftables)
}

/// The same with another way of carrying traffic.
pub(super) fn serve_page(lab: &mut Lab, proxy: Proxy) -> anyhow::Result<()> {
    lab.start_all(3, proxy)?;
    let pods = [lab.start_pod(1)?, lab.start_pod(3)?];
    lab.set_endpoints("web", &pods)?;
    lab.kube().create(&service("web", json!({})))?;

    lab.expect_addresses("web", &["172.30.0.200"])?;
    let owner = lab.wait_owner("172.30.0.200")?;
    let mac = lab.node(&owner)?.mac()?;
    let answered = lab.client()?.who_has("172.30.0.200")?;
    ensure!(answered.iter().eq([&mac]), "{owner} has {mac}, answered was {answered:?}");
    let page = lab.wait_page("172.30.0.200")?;
    ensure!(page == "node1" || page == "node3", "an unknown page: {page}");

    let object = lab.kube().get("/api/v1/namespaces/default/services/web")?;
    ensure!(pool_of(&object) == Some("pool"), "no pool is noted: {object}");
    let event = lab.wait_event("web", "IPAllocated")?;
    ensure!(event.message == r#"Assigned IP ["172.30.0.200"]"#, "{event:?}");
    let event = lab.wait_event("web", "nodeAssigned")?;
    let expected = format!("announcing from node {owner:?} with protocol \"layer2\"");
    ensure!(event.message == expected, "{event:?}");
    eventually_true("a ServiceL2Status names the owner", SOON, || {
        let statuses =
            lab.kube().list("/apis/metallb.io/v1beta1/namespaces/metallb-system/servicel2statuses")?;
        let nodes: Vec<_> = statuses.iter().map(|status| status.pointer("/status/node")).collect();
        Ok(nodes == [Some(&json!(owner))])
    })?;
    let controller = lab.controller.as_ref().context("no controller")?.log();
    let speaker = lab.node(&owner)?.speaker.as_ref().context("no speaker")?.log();
    let given = json!({"event": "ipAllocated", "service": "default/web", "ips": ["172.30.0.200"]});
    has_line(&controller, &given)?;
    has_line(
        &speaker,
        &json!({
            "event": "serviceAnnounced", "service": "default/web", "ips": ["172.30.0.200"],
            "protocol": "layer2", "msg": "service has IP, announcing",
        }),
    )?;
    let asked = json!({"level": "debug", "ip": "172.30.0.200",
        "msg": "got ARP request for service IP, sending response"});
    has_line(&speaker, &asked)
}

/// Every line is an object, and one has all of these fields (contract 7.2).
fn has_line(log: &str, wanted: &Value) -> anyhow::Result<()> {
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| line.to_owned()))
        .collect::<anyhow::Result<_>>()?;
    let fits = |line: &&Value| {
        let fields = wanted.as_object().into_iter().flatten();
        fields.into_iter().all(|(key, value)| line.get(key) == Some(value))
    };
    ensure!(lines.iter().any(|line| fits(&line)), "no line has {wanted}:\n{log}");
    Ok(())
}
