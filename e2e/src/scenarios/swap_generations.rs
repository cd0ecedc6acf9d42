// SPDX-License-Identifier: Apache-2.0
//! The image swap: our images with exactly what each of four generations of MetalLB's manifests gives its programs.
//!
//! Topology: a controller's container, two nodes with a speaker's container each, a client.
//! Steps, for each generation: its roles and kinds are installed; Services are there as MetalLB left them (a full pool, two that
//! share an address, one that waits); the containers start, each with a token of its own service account, on a read-only root,
//! with the manifest's capabilities; every probe succeeds; the webhooks answer under the generation's names; everyone keeps its address; the one that waits gets the next that
//! becomes free; one node answers for each address; the objects that the generation knows are written.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::lab::generation::Generation;
use crate::lab::kube::{SYSTEM, path};
use crate::lab::images::{
    create_workload, memberlist_key, probes, start_controller, start_speaker,
};
use crate::lab::node::{PodAddresses, Proxy};
use crate::lab::objects::{bgp_peer, l2_advertisement, pool, pool_of, service};
use crate::lab::wait::{eventually, eventually_true};
use crate::lab::{Lab, SOON};
use crate::scenarios::webhooks::denied;

const SERVICES: &str = "/api/v1/namespaces/default/services";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let mut played = Ok(());
    for generation in Generation::ALL {
        played = play(lab, generation).with_context(|| format!("{generation:?}"));
        if played.is_err() {
            break;
        }
        lab.reset()?;
    }
    // The lane goes on with today's roles and kinds in any case.
    let restored = lab.control.install();
    played.and(restored)
}

fn play(lab: &mut Lab, generation: Generation) -> anyhow::Result<()> {
    lab.control.install()?;
    lab.control.install_generation(generation)?;
    lab.client()?;
    lab.start_nodes(2, Proxy::Absent)?;
    create_workload(lab, generation)?;
    as_metallb_left_it(lab, generation)?;

    let images = lab.programs.images.clone();
    let controller = start_controller(lab, &images, generation)?;
    lab.controller = Some(controller);
    probes(lab, generation, None)?;
    webhooks_answer(lab, generation).context("the webhooks")?;
    let key = memberlist_key(lab)?;
    for number in 0..lab.nodes.len() {
        let speaker = start_speaker(lab, &images, generation, number, &key)?;
        if let Some(node) = lab.nodes.get_mut(number) {
            node.speaker = Some(speaker);
        }
    }
    for number in 0..lab.nodes.len() {
        probes(lab, generation, Some(number))?;
    }

    lab.wait_event("waiting", "AllocationFailed")?;
    for (name, address) in KEPT {
        lab.expect_addresses(name, &[address])?;
        lab.wait_owner(address)?;
    }
    ensure!(lab.addresses("waiting")?.is_empty(), "the one that waits has an address of nowhere");
    lab.kube().delete(&format!("{SERVICES}/last"))?;
    lab.expect_addresses("waiting", &["172.30.0.202"])?;
    lab.wait_owner("172.30.0.202")?;
    for name in ["kept", "one", "two", "waiting"] {
        let service = lab.kube().get(&format!("{SERVICES}/{name}"))?;
        // What a MetalLB that is rolled back reads.
        ensure!(pool_of(&service) == Some("pool"), "{name} does not name its pool");
    }
    written(lab, generation)
}

/// What is wrong is refused and peers are converted, by a webhook whose names no flag says.
fn webhooks_answer(lab: &Lab, generation: Generation) -> anyhow::Result<()> {
    let rival = pool("rival", &["172.30.0.201-172.30.0.202"]);
    let said = eventually("a pool that overlaps another one is refused", SOON, || {
        let answer = lab.kube().create(&rival);
        if answer.is_ok() {
            // Nobody was asked yet.
            lab.kube().delete(&path(&rival))?;
            return Ok(None);
        }
        denied(answer).map(Some)
    })?;
    ensure!(said.contains("overlaps with already defined CIDR"), "{said}");
    let spec = json!({"myASN": 64500, "peerASN": 64501, "peerAddress": "172.30.0.250"});
    let router = bgp_peer("router", spec);
    lab.kube().apply(&router)?;
    let old = format!("/apis/metallb.io/v1beta1/namespaces/{SYSTEM}/bgppeers/router");
    eventually_true("the peer can be read as v1beta1", SOON, || Ok(lab.kube().get(&old).is_ok()))?;
    lab.kube().delete(&path(&router))?;
    let (secret, _) = generation.webhook_names();
    let secret = lab.kube().get(&format!("/api/v1/namespaces/{SYSTEM}/secrets/{secret}"))?;
    // Where a MetalLB that is rolled back looks for it.
    ensure!(secret.pointer("/data/tls.crt").is_some(), "no certificate in {secret}");
    Ok(())
}

/// Who has which address before the swap, besides the one that waits.
const KEPT: [(&str, &str); 4] = [
    ("kept", "172.30.0.201"),
    ("one", "172.30.0.200"),
    ("two", "172.30.0.200"),
    ("last", "172.30.0.202"),
];

fn as_metallb_left_it(lab: &mut Lab, generation: Generation) -> anyhow::Result<()> {
    // 0.14.9 brought the prefix of today.
    let prefix = match generation {
        Generation::V0_13 => "metallb.universe.tf",
        Generation::V0_14 | Generation::V0_15 | Generation::V0_16 => "metallb.io",
    };
    let kube = lab.kube();
    kube.apply(&pool("pool", &["172.30.0.200-172.30.0.202"]))?;
    kube.apply(&l2_advertisement("all", json!({})))?;
    for (index, (name, address)) in KEPT.into_iter().enumerate() {
        // A sharing key that only one Service has shares nothing.
        let change = json!({
            "metadata": {"annotations": {
                format!("{prefix}/ip-allocated-from-pool"): "pool",
                format!("{prefix}/allow-shared-ip"): address,
            }},
            "spec": {
                "ports": [{"name": "http", "port": 8000 + index, "targetPort": 8080, "protocol": "TCP"}],
                "ipFamilies": ["IPv4"],
            },
        });
        kube.create(&service(name, change))?;
        let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}});
        kube.patch(&format!("{SERVICES}/{name}/status"), &status)?;
    }
    kube.create(&service("waiting", json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
    let endpoint =
        PodAddresses { node: "node1".into(), v4: "10.244.1.9".into(), v6: "fd00:244:1::9".into() };
    for name in ["kept", "one", "two", "last", "waiting"] {
        lab.set_endpoints(name, std::slice::from_ref(&endpoint))?;
    }
    Ok(())
}

/// The status objects of the kinds that the generation has.
fn written(lab: &Lab, generation: Generation) -> anyhow::Result<()> {
    let list = |plural: &str| {
        lab.kube().list(&format!("/apis/metallb.io/v1beta1/namespaces/{SYSTEM}/{plural}"))
    };
    let owned_by_pod = |object: &Value| {
        object.pointer("/metadata/ownerReferences/0/kind").and_then(Value::as_str) == Some("Pod")
    };
    if generation.has_kind("servicel2statuses") {
        let mut last = Vec::new();
        eventually_true("every announced Service has a ServiceL2Status", SOON, || {
            let statuses = list("servicel2statuses")?;
            last.clone_from(&statuses);
            let services: BTreeSet<&str> = statuses
                .iter()
                .filter(|status| owned_by_pod(status))
                .filter_map(|status| status.pointer("/status/serviceName")?.as_str())
                .collect();
            Ok(services == BTreeSet::from(["kept", "one", "two", "waiting"]))
        })
        .with_context(|| format!("last: {}", json!(last)))?;
    }
    if generation.has_kind("configurationstates") {
        eventually_true("every component says that the configuration is valid", SOON, || {
            let states = list("configurationstates")?;
            let valid: BTreeSet<&str> = states
                .iter()
                .filter(|state| state.pointer("/status/result") == Some(&json!("Valid")))
                .filter_map(|state| state.pointer("/metadata/name")?.as_str())
                .collect();
            Ok(valid == BTreeSet::from(["controller", "speaker-node1", "speaker-node2"]))
        })?;
        let pool = lab.kube().get(&format!(
            "/apis/metallb.io/v1beta1/namespaces/{SYSTEM}/ipaddresspools/pool"
        ))?;
        ensure!(pool.pointer("/status/assignedIPv4") == Some(&json!(3)), "the pool's status: {pool}");
    }
    Ok(())
}
