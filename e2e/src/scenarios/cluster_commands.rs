// SPDX-License-Identifier: Apache-2.0
//! What `ferrolb status`, `check --cluster` and `collect` say of a live cluster.
//!
//! Topology: one node with a speaker, a controller.
//! Steps: a Service is announced, another waits; status names both; check finds nothing that is an error, then, with every node excluded
//! and a pool that is wrong, both; collect writes a bundle without the password that a peer has in its spec.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::lab::control_plane::{Identity, kubeconfig};
use crate::lab::node::{PodAddresses, Proxy};
use crate::lab::objects::{bgp_peer, pool, service};
use crate::lab::wait::eventually_true;
use crate::lab::{Lab, SOON};

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_all(1, Proxy::Absent)?;
    let endpoint =
        PodAddresses { node: "node1".into(), v4: "10.244.1.9".into(), v6: "fd00:244:1::9".into() };
    lab.set_endpoints("web", std::slice::from_ref(&endpoint))?;
    lab.kube().create(&service("web", json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
    let waits = json!({
        "metadata": {"annotations": {"metallb.io/address-pool": "none"}},
        "spec": {"ipFamilies": ["IPv4"]},
    });
    lab.kube().create(&service("waits", waits))?;
    let address = lab.wait_addresses("web")?.first().cloned().context("no address")?;
    let spec = json!({
        "myASN": 64500, "peerASN": 64501, "peerAddress": "172.30.0.250", "password": "hunter2",
    });
    lab.kube().apply(&bgp_peer("router", spec))?;

    eventually_true("status says who has what, and why one waits", SOON, || {
        let (_, text) = ferrolb(lab, &["status", "-o", "json"])?;
        let status: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        let services = status.get("services").and_then(Value::as_array).context("services")?;
        let find = |name: &str| {
            services.iter().find(|s| s.get("service") == Some(&json!(format!("default/{name}"))))
        };
        let web = find("web").context("web")?;
        let problem = find("waits").and_then(|waits| waits.get("problem")?.as_str());
        Ok(web.get("layer2") == Some(&json!(["node1"]))
            && web.get("addresses") == Some(&json!([address]))
            && problem.is_some_and(|problem| problem.contains("unknown pool")))
    })?;
    let (ended_well, text) = ferrolb(lab, &["check", "--cluster"])?;
    ensure!(ended_well, "{text}");
    let label = json!({"metadata": {"labels": {
        "node.kubernetes.io/exclude-from-external-load-balancers": "",
    }}});
    lab.kube().patch("/api/v1/nodes/node1", &label)?;
    lab.kube().apply(&pool("wrong", &["172.30.0.9-172.30.0.1"]))?;
    let (ended_well, text) = ferrolb(lab, &["check", "--cluster"])?;
    ensure!(!ended_well, "nothing was found: {text}");
    for part in ["every node has the label", "IPAddressPool \"wrong\""] {
        ensure!(text.contains(part), "{part} is missing in {text}");
    }
    let bundle = lab.folder().join("report.tar");
    let (ended_well, text) =
        ferrolb(lab, &["collect", "--file", &bundle.display().to_string()])?;
    ensure!(ended_well, "{text}");
    let bundle = std::fs::read(&bundle)?;
    let text = String::from_utf8_lossy(&bundle);
    ensure!(text.contains("objects/bgppeers.yaml") && text.contains("172.30.0.250"), "no peer in it");
    ensure!(!text.contains("hunter2"), "the bundle holds a password");
    Ok(())
}

/// Whether it ended well, and what it printed.
pub(super) fn ferrolb(lab: &Lab, arguments: &[&str]) -> anyhow::Result<(bool, String)> {
    let output = lab
        .plane
        .command(&lab.programs.ferrolb)
        .args(arguments)
        .env("KUBECONFIG", kubeconfig(lab.folder(), Identity::Admin))
        .output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}
