// SPDX-License-Identifier: Apache-2.0
//! Our own manifests, all in one: the API server takes every object, and the programs of the images run with exactly what it then holds of them.
//!
//! Topology: a controller's container, two nodes with kube-proxy and a speaker's container each, a pod, a client.
//! Steps: `kubectl apply -f manifests/ferrolb.yaml`, twice; the containers start as Deployment and DaemonSet say (arguments, environment,
//! volumes, user, capabilities), each with a token of its service account; probes succeed, a Service is given an address and served;
//! the owner writes the address into its emptyDir; what only these roles permit is done (a Lease, the condition ferrolb.io/Announced), and nothing that a program wants is forbidden.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::lab::control_plane::{Identity, kubeconfig};
use crate::lab::generation::Generation;
use crate::lab::images::probes;
use crate::lab::kube::{SYSTEM, documents, path};
use crate::lab::netns::succeeded;
use crate::lab::node::Proxy;
use crate::lab::objects::{POOL_V4, l2_advertisement, pool, service};
use crate::lab::wait::{eventually, eventually_true};
use crate::lab::workload::Pod;
use crate::lab::{Lab, SOON};

const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/ferrolb.yaml");
const WEB: &str = "/api/v1/namespaces/default/services/web";
/// Its probes are ours.
const PROBES: Generation = Generation::V0_16;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let played = play(lab);
    lab.kube().delete(&format!("/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases"))?;
    // The lane goes on with MetalLB's roles in any case.
    let restored = lab.control.install();
    played.and(restored)
}

fn play(lab: &mut Lab) -> anyhow::Result<()> {
    lab.client()?;
    lab.start_nodes(2, Proxy::Nftables)?;
    apply(lab).context("first")?;
    apply(lab).context("again")?;
    for object in documents(&std::fs::read_to_string(MANIFEST)?)? {
        lab.kube().get(&path(&object)).with_context(|| path(&object))?;
    }
    lab.kube().create(&json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "controller", "namespace": SYSTEM},
        "spec": {"nodeName": "node1", "containers": [{"name": "controller", "image": "controller"}]},
    }))?;
    let images = lab.programs.images.clone();
    lab.controller = Some(Pod::controller(lab).start(lab, &images)?);
    probes(lab, PROBES, None)?;
    let key = format!("/api/v1/namespaces/{SYSTEM}/secrets/memberlist");
    eventually("the memberlist's Secret is there", SOON, || Ok(lab.kube().find(&key)?))?;
    for number in 0..lab.nodes.len() {
        let speaker = Pod::speaker(lab, number)?.start(lab, &images)?;
        lab.nodes.get_mut(number).context("no such node")?.speaker = Some(speaker);
        probes(lab, PROBES, Some(number))?;
    }
    lab.kube().apply(&pool("pool", &[POOL_V4]))?;
    lab.kube().apply(&l2_advertisement("all", json!({})))?;
    let pod = lab.start_pod(1)?;
    lab.set_endpoints("web", &[pod])?;
    lab.kube().create(&service("web", json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
    let addresses = lab.wait_addresses("web")?;
    let address = addresses.first().context("no address")?;
    lab.wait_owner(address)?;
    lab.wait_page(address)?;
    eventually_true("the speaker's word reaches the condition ferrolb.io/Announced", SOON, || {
        let service = lab.kube().get(WEB)?;
        let conditions = service.pointer("/status/conditions").and_then(Value::as_array);
        Ok(conditions.into_iter().flatten().any(|condition| {
            condition.get("type") == Some(&json!("ferrolb.io/Announced"))
                && condition.get("status") == Some(&json!("True"))
        }))
    })?;
    eventually_true("the owner has written its addresses down", SOON, || {
        let written = |number| {
            let record = Pod::speaker(lab, number)?.written(lab, "state").join("owned.json");
            anyhow::Ok(std::fs::read_to_string(record).is_ok_and(|text| text.contains(address)))
        };
        Ok(written(0)? != written(1)?)
    })?;
    let leases = lab.kube().list(&format!("/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases"))?;
    ensure!(leases.len() == 1, "the controller has no Lease: {leases:?}");
    let speakers = lab.nodes.iter().filter_map(|node| node.speaker.as_ref());
    for program in lab.controller.iter().chain(speakers) {
        let log = program.log();
        let forbidden: Vec<&str> = log.lines().filter(|line| line.contains("forbidden")).collect();
        ensure!(forbidden.is_empty(), "{} may not: {forbidden:#?}", program.name());
    }
    Ok(())
}

fn apply(lab: &Lab) -> anyhow::Result<()> {
    let config = format!("--kubeconfig={}", kubeconfig(lab.folder(), Identity::Admin).display());
    let output =
        lab.plane.output("kubectl", [&*config, "apply", &format!("--filename={MANIFEST}")])?;
    succeeded(&output)
}
