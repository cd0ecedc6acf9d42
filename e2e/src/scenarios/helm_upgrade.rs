// SPDX-License-Identifier: Apache-2.0
//! `helm upgrade` of a release of MetalLB's chart to ours keeps every object.
//!
//! Topology: a control plane; helm by a pinned Go module.
//! Steps: a release `metallb` is installed from a chart that has what MetalLB's has: CRDs as templates without the annotation that
//! keeps them, and the workloads under its names and selectors; a pool and a peer are made; the release is upgraded to our chart:
//! CRDs, pool, peer, Deployment and DaemonSet are the same objects as before (by their uid), also when webhooks are disabled, which leaves peers
//! readable in both versions, and enabled again; then it is uninstalled: CRDs, pool and peer
//! stay. Values that contradict one another are refused.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::lab::{Lab, SOON};
use crate::lab::helm::{CHART, Helm};
use crate::lab::kube::{SYSTEM, documents};
use crate::lab::objects::{bgp_peer, pool};
use crate::lab::wait::eventually_true;
use crate::lab::webhooks::PEERS_CRD;

const EXTERNAL_POOLS: &str =
    include_str!("../../../manifests/crds/externalippools.crd.antrea.io.yaml");

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let played = play(lab);
    let restored = lab.control.install();
    played.and(restored)
}

fn play(lab: &mut Lab) -> anyhow::Result<()> {
    let helm = Helm::new(lab)?;
    let old = older_chart(lab)?;
    // The rack's own CRDs and roles are nobody's release.
    delete_crds(lab)?;
    // That of Antrea's world is there already, and nobody's release.
    for object in documents(EXTERNAL_POOLS)? {
        lab.kube().apply(&object)?;
    }
    let old = old.display().to_string();
    // No controller runs here that could answer the webhooks.
    let ignore = ["--set", "crds.validationFailurePolicy=Ignore"];
    helm.run(lab, &[&["install", "metallb", &old, "--namespace", SYSTEM], &ignore[..]].concat())?;
    eventually_true("pools can be made", SOON, || {
        Ok(lab.kube().apply(&pool("pool", &["172.30.0.200/32"])).is_ok())
    })?;
    let spec = json!({"myASN": 64500, "peerASN": 64501, "peerAddress": "172.30.0.250"});
    lab.kube().apply(&bgp_peer("router", spec))?;
    let before = uids(lab)?;
    ensure!(before.len() == 14, "{before:?}");

    helm.run(lab, &[&["upgrade", "metallb", CHART, "--namespace", SYSTEM], &ignore[..]].concat())?;
    ensure!(uids(lab)? == before, "other objects than before:\n{before:?}\n{:?}", uids(lab)?);
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

fn delete_crds(lab: &Lab) -> anyhow::Result<()> {
    const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    for crd in lab.kube().list(CRDS)? {
        let name = crd.pointer("/metadata/name").and_then(Value::as_str).context("a name")?;
        lab.kube().delete(&format!("{CRDS}/{name}"))?;
    }
    // What is applied to one that is being deleted goes with it.
    eventually_true("the CRDs are gone", SOON, || Ok(lab.kube().list(CRDS)?.is_empty()))
}

/// What must stay the same, by a name of ours.
fn uids(lab: &Lab) -> anyhow::Result<BTreeMap<String, String>> {
    let lists = [
        ("crds", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions".to_owned()),
        ("pools", format!("/apis/metallb.io/v1beta1/namespaces/{SYSTEM}/ipaddresspools")),
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

/// A chart as MetalLB's is: made of ours, since the names and selectors are the same, with CRDs that are not kept.
fn older_chart(lab: &Lab) -> anyhow::Result<PathBuf> {
    let old = lab.folder().join("old-chart");
    let _ = std::fs::remove_dir_all(&old);
    let script = r#"
        set -e
        cp -r "$1" "$2"
        sed -i 's/^name: .*/name: metallb/; s/^version: .*/version: 0.15.3/; s/^appVersion: .*/appVersion: v0.15.3/' "$2/Chart.yaml"
        rm "$2/files/crds/externalippools.crd.antrea.io.yaml"
        sed -i '/resource-policy/d' "$2/templates/crds.yaml"
        sed -i 's|ghcr.io/ferrolb/|quay.io/metallb/|' "$2/values.yaml"
        ! grep -rq resource-policy "$2/templates"
    "#;
    let status = Command::new("sh").args(["-c", script, "sh", CHART]).arg(&old).status()?;
    ensure!(status.success(), "the older chart cannot be made");
    Ok(old)
}
