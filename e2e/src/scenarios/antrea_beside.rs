// SPDX-License-Identifier: Apache-2.0
//! Antrea's world beside others: a live Antrea has the word in it; a pool of two families; and what nobody has today, routes of an ExternalIPPool.
//!
//! Topology: two nodes with kube-proxy and speakers, which have sessions with BIRD; a client.
//! Steps: Antrea's webhook is registered and its report is fresh: a Service with the annotation is left alone, one of MetalLB's world is served. The
//! report is five minutes old and the controller starts again: the Service gets its address, also with the webhook gone. A Service of two families gets an address of each from a pool of both, and the owners
//! answer. A BGPAdvertisement for every pool sends MetalLB's alone; one that names the ExternalIPPool sends that Service's address from both nodes.

use std::time::Duration;

use anyhow::ensure;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::lab::antrea::{POOL, SERVICE};
use crate::lab::bgp::ASN;
use crate::lab::objects::{bgp_advertisement, bgp_peer, pool, service};
use crate::lab::router::{Kind, Neighbour, Setup};
use crate::lab::wait::{always, eventually_true};
use crate::lab::{Lab, SOON};

const CONFIGURATION: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/crdvalidator.antrea.io";
const REPORTS: &str = "/apis/crd.antrea.io/v1beta1/antreacontrollerinfos";
const REPORTS_KIND: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/antreacontrollerinfos.crd.antrea.io";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let played = play(lab);
    let removed = lab.kube().delete(CONFIGURATION).and(lab.kube().delete(REPORTS_KIND));
    played.and(removed.map_err(anyhow::Error::from))
}

/// The kind of Antrea's report, without its schema.
fn report_kind() -> Value {
    let name = |part: &str| format!("antreacontrollerinfo{part}");
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "antreacontrollerinfos.crd.antrea.io"},
        "spec": {
            "group": "crd.antrea.io", "scope": "Cluster",
            "names": {"kind": "AntreaControllerInfo", "plural": name("s"), "singular": name("")},
            "versions": [{
                "name": "v1beta1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}

/// As antrea-controller reports this time ago.
fn report(ago: SignedDuration) -> Value {
    let time = (jiff::Timestamp::now() - ago).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({
        "apiVersion": "crd.antrea.io/v1beta1", "kind": "AntreaControllerInfo",
        "metadata": {"name": "antrea-controller"},
        "controllerConditions": [{"type": "ControllerHealthy", "status": "True", "lastHeartbeatTime": time}],
    })
}

/// As antrea-controller registers it, without the rules by which it would be asked.
fn webhook() -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "crdvalidator.antrea.io"},
        "webhooks": [{
            "name": "externalippoolvalidator.antrea.io", "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "failurePolicy": "Ignore",
            "clientConfig": {"url": "https://127.0.0.1:1/validate/externalippool"},
        }],
    })
}

fn play(lab: &mut Lab) -> anyhow::Result<()> {
    lab.kube().apply(&webhook())?;
    lab.kube().apply(&report_kind())?;
    eventually_true("Antrea's report is there", SOON, || {
        let fresh = report(SignedDuration::from_secs(30));
        Ok(lab.kube().post(REPORTS, &fresh).is_ok())
    })?;
    lab.start_for_antrea(2)?;
    let pods = [lab.start_pod(1)?];
    for name in ["my-service", "own", "two"] {
        lab.set_nameless_endpoints(name, &pods)?;
    }
    lab.apply_text(POOL)?;
    lab.kube().apply(&pool("pool", &["10.60.0.0/24"]))?;
    lab.apply_text(SERVICE)?;
    lab.kube().create(&service("own", json!({})))?;
    lab.expect_addresses("own", &["10.60.0.0"])?;
    always("the Service is left to Antrea", Duration::from_secs(2), || {
        Ok(lab.addresses("my-service")?.is_empty() && lab.kube().events("my-service")?.is_empty())
    })?;
    let stale = report(SignedDuration::from_mins(6));
    lab.kube().patch(&format!("{REPORTS}/antrea-controller"), &stale)?;
    for without_webhook in [false, true] {
        if without_webhook {
            lab.kube().delete(CONFIGURATION)?;
        }
        if let Some(mut controller) = lab.controller.take() {
            controller.kill();
        }
        lab.start_controller(&[])?;
        lab.expect_addresses("my-service", &["10.10.0.2"])?;
        lab.wait_owner("10.10.0.2")?;
    }

    lab.kube().create(&json!({
        "apiVersion": "crd.antrea.io/v1beta1", "kind": "ExternalIPPool",
        "metadata": {"name": "both"},
        "spec": {
            "ipRanges": [{"cidr": "172.30.0.96/30"}, {"start": "fd30::9:1", "end": "fd30::9:2"}],
            "nodeSelector": {},
        },
    }))?;
    let two = json!({
        "metadata": {"annotations": {"service.antrea.io/external-ip-pool": "both"}},
        "spec": {"ipFamilyPolicy": "RequireDualStack"},
    });
    lab.kube().create(&service("two", two))?;
    lab.expect_addresses("two", &["172.30.0.97", "fd30::9:1"])?;
    let owner = lab.wait_owner("172.30.0.97")?;
    lab.expect_owner("fd30::9:1", &owner)?;

    let nodes: Vec<(String, String)> =
        lab.nodes.iter().map(|node| (node.name.clone(), node.v4())).collect();
    let neighbours = nodes.iter().map(|(name, address)| Neighbour::new(name, address, ASN));
    lab.add_router(Kind::Bird, &Setup::new(Kind::Bird, neighbours.collect()))?;
    let peer = json!({
        "myASN": ASN, "peerASN": Kind::Bird.asn(), "peerAddress": Kind::Bird.v4(), "connectTime": "1s",
    });
    lab.kube().apply(&bgp_peer("bird", peer))?;
    lab.kube().apply(&bgp_advertisement("all", json!({})))?;
    let router = lab.router(Kind::Bird)?;
    for (node, _) in &nodes {
        router.wait_prefixes(node, &["10.60.0.0/32"])?;
    }
    let named = json!({"externalIPPools": ["service-external-ip-pool"], "ipAddressPools": ["none"]});
    lab.kube().apply(&bgp_advertisement("antrea", named))?;
    for (node, _) in &nodes {
        router.wait_prefixes(node, &["10.10.0.2/32", "10.60.0.0/32"])?;
    }
    // By L2 it is announced as before.
    let owner = lab.wait_owner("10.10.0.2")?;
    ensure!(nodes.iter().any(|(name, _)| *name == owner), "{owner} is no node");
    Ok(())
}
