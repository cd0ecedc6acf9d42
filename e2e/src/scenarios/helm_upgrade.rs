// SPDX-License-Identifier: Apache-2.0
//! `helm upgrade` of a release of MetalLB's chart to ours keeps every object.
//!
//! Topology: a control plane; helm by a pinned Go module; MetalLB 0.15.2's own chart, with the sub-chart frr-k8s.
//! Steps: a release `metallb` is installed from MetalLB's chart, whose CRDs are templates without the annotation that keeps them; a pool, a
//! peer and a configuration of frr-k8s are made, and the CRD of the latter is annotated as docs/migrate-from-metallb.md says; the release is
//! upgraded to our chart: CRDs, pool, peer, Deployment and DaemonSet are the same objects as before (by their uid), frr-k8s is gone, and
//! with it its CRDs but the annotated one. They are the same also when webhooks are disabled, which leaves peers
//! readable in both versions, and enabled again; then it is uninstalled: CRDs, pool and peer
//! stay. Values that contradict one another are refused.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::lab::{Lab, SOON};
use crate::lab::helm::{CHART, Helm};
use crate::lab::kube::{SYSTEM, documents};
use crate::lab::metallb::MetalLb;
use crate::lab::objects::{bgp_peer, pool};
use crate::lab::wait::{eventually_true, now};
use crate::lab::webhooks::PEERS_CRD;

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// As of MetalLB 0.16's release by default; and no controller runs here that could answer the webhooks.
const VALUES: [&str; 4] = [
    "frrk8s.enabled=true",
    "speaker.frr.enabled=false",
    "crds.validationFailurePolicy=Ignore",
    "frr-k8s.crds.validationFailurePolicy=Ignore",
];

/// Kinds of frr-k8s that nobody keeps.
const STATES: [&str; 2] =
    ["crds/bgpsessionstates.frrk8s.metallb.io", "crds/frrnodestates.frrk8s.metallb.io"];

const EXTERNAL_POOLS: &str =
    include_str!("../../../manifests/crds/externalippools.crd.antrea.io.yaml");

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let played = play(lab);
    let restored = lab.control.install();
    played.and(restored)
}

fn play(lab: &mut Lab) -> anyhow::Result<()> {
    let helm = Helm::new(lab)?;
    let old = MetalLb::new()?.chart();
    // The rack's own CRDs and roles are nobody's release.
    delete_crds(lab)?;
    // That of Antrea's world is there already, and nobody's release.
    for object in documents(EXTERNAL_POOLS)? {
        lab.kube().apply(&object)?;
    }
    let values = VALUES.map(|value| ["--set", value]).concat();
    helm.run(lab, &[&["install", "metallb", &old, "--namespace", SYSTEM], &values[..]].concat())?;
    eventually_true("pools can be made", SOON, || {
        Ok(lab.kube().apply(&pool("pool", &["172.30.0.200/32"])).is_ok())
    })?;
    let spec = json!({"myASN": 64500, "peerASN": 64501, "peerAddress": "172.30.0.250"});
    lab.kube().apply(&bgp_peer("router", spec))?;
    lab.kube().apply(&json!({
        "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration",
        "metadata": {"name": "mine", "namespace": SYSTEM}, "spec": {},
    }))?;
    let keep = json!({"metadata": {"annotations": {"helm.sh/resource-policy": "keep"}}});
    lab.kube().patch(&format!("{CRDS}/frrconfigurations.frrk8s.metallb.io"), &keep)?;
    let mut before = uids(lab)?;
    // What goes with frr-k8s.
    let count = before.len();
    before.retain(|name, _| !name.contains("frr-k8s") && !STATES.contains(&name.as_str()));
    ensure!(before.len() + 4 == count && before.len() == 15, "{before:?} of {count}");

    helm.run(lab, &[&["upgrade", "metallb", CHART, "--namespace", SYSTEM], &values[..]].concat())?;
    eventually_true("the CRDs of frr-k8s are gone", SOON, || {
        Ok(STATES.iter().all(|name| !uids(lab).unwrap_or_default().contains_key(*name)))
    })?;
    let mut after = uids(lab)?;
    let new = ["configurationstates.metallb.io", "speakerreports.ferrolb.io"]
        .map(|crd| after.remove(&format!("crds/{crd}")));
    ensure!(new.iter().all(Option::is_some) && after == before, "other objects than before:\n{before:?}\n{after:?}");
    let before = uids(lab)?;
    let deployment = format!("/apis/apps/v1/namespaces/{SYSTEM}/deployments/metallb-controller");
    let image = lab.kube().get(&deployment)?;
    let image = image.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str);
    ensure!(image.is_some_and(|image| image.contains("ferrolb")), "the image is {image:?}");

    unconverted(lab, &helm)?;
    ensure!(uids(lab)? == before, "other objects than before:\n{before:?}\n{:?}", uids(lab)?);

    let refused = helm.run(
        lab,
        &["template", "x", CHART, "--set", "speaker.frr.enabled=true", "--kube-version", "1.33.0"],
    );
    let Err(error) = refused else { bail!("values that contradict one another are accepted") };
    ensure!(format!("{error:#}").contains("exclude one another"), "{error:#}");

    helm.run(lab, &["uninstall", "metallb", "--namespace", SYSTEM])?;
    let mut kept = before;
    kept.retain(|name, _| !name.starts_with("apps/"));
    ensure!(uids(lab)? == kept, "CRDs or their objects are gone: {:?}", uids(lab)?);
    // The rack installs its own.
    delete_crds(lab)?;
    Ok(())
}

/// With webhooks disabled peers can be read in both versions, though nobody converts them; without that they are converted again.
fn unconverted(lab: &Lab, helm: &Helm) -> anyhow::Result<()> {
    let old = format!("/apis/metallb.io/v1beta1/namespaces/{SYSTEM}/bgppeers/router");
    ensure!(lab.kube().get(&old).is_err(), "somebody converts peers");
    let release = ["upgrade", "metallb", CHART, "--namespace", SYSTEM];
    let disabled = ["--set", "controller.webhookMode=disabled"];
    helm.run(lab, &[&release[..], &disabled[..]].concat())?;
    eventually_true("peers can be read as v1beta1", SOON, || Ok(lab.kube().get(&old).is_ok()))?;
    helm.run(lab, &[&release[..], &["--set", "crds.validationFailurePolicy=Ignore"]].concat())?;
    let crd = lab.kube().get(PEERS_CRD)?;
    let path = crd.pointer("/spec/conversion/webhook/clientConfig/service/path");
    ensure!(path == Some(&json!("/convert")), "the webhook is not named again: {path:?}");
    Ok(())
}

/// Takes every kind away, with its objects.
pub(super) fn delete_crds(lab: &Lab) -> anyhow::Result<()> {
    for crd in lab.kube().list(CRDS)? {
        let name = crd.pointer("/metadata/name").and_then(Value::as_str).context("a name")?;
        lab.kube().delete(&format!("{CRDS}/{name}"))?;
    }
    // What is applied to one that is being deleted goes with it.
    let mut left = Vec::new();
    let deleted = now();
    // The API server deletes the objects of a kind by and by.
    eventually_true("the CRDs are gone", SOON * 4, || {
        left = lab.kube().list(CRDS)?;
        if deleted.elapsed() > SOON {
            left.iter().try_for_each(|crd| release_crd(lab, crd))?;
        }
        Ok(left.is_empty())
    })
    .with_context(|| format!("left: {left:?}"))
}

/// The API server of the rack once never managed to list the objects of a kind that was to go ("storage is (re)initializing"), and every
/// scenario after it lacked that kind. What an administrator does then: take the finalizer away.
fn release_crd(lab: &Lab, crd: &Value) -> anyhow::Result<()> {
    let conditions = crd.pointer("/status/conditions").and_then(Value::as_array);
    let is_stuck = conditions.into_iter().flatten().any(|condition| {
        let text = |key: &str| condition.get(key).and_then(Value::as_str).unwrap_or_default();
        text("type") == "Terminating" && text("message").contains("(re)initializing")
    });
    let name = crd.pointer("/metadata/name").and_then(Value::as_str).context("a name")?;
    if is_stuck {
        println!("{name}: the API server cannot list its objects; its finalizer is taken away");
        let none = json!({"metadata": {"finalizers": null}});
        // It may be gone by now; it is looked for again.
        drop(lab.kube().patch(&format!("{CRDS}/{name}"), &none));
    }
    Ok(())
}

/// What must stay the same, by a name of ours.
fn uids(lab: &Lab) -> anyhow::Result<BTreeMap<String, String>> {
    let lists = [
        ("crds", CRDS.to_owned()),
        ("pools", format!("/apis/metallb.io/v1beta1/namespaces/{SYSTEM}/ipaddresspools")),
        ("frr", format!("/apis/frrk8s.metallb.io/v1beta1/namespaces/{SYSTEM}/frrconfigurations")),
        ("peers", format!("/apis/metallb.io/v1beta2/namespaces/{SYSTEM}/bgppeers")),
        ("apps/deployments", format!("/apis/apps/v1/namespaces/{SYSTEM}/deployments")),
        ("apps/daemonsets", format!("/apis/apps/v1/namespaces/{SYSTEM}/daemonsets")),
    ];
    let mut uids = BTreeMap::new();
    for (kind, path) in lists {
        for object in lab.kube().list(&path)? {
            let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            uids.insert(format!("{kind}/{}", text("/metadata/name")), text("/metadata/uid").to_owned());
        }
    }
    Ok(uids)
}
