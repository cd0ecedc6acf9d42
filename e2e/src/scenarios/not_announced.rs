// SPDX-License-Identifier: Apache-2.0
//! A Service says who announces it, or why nobody does.
//!
//! Topology: two nodes with speakers, a controller.
//! Steps: with MetalLB's roles: a Service without an advertisement for its pool, then with nodes that are all excluded, then without
//! endpoints, gets a warning with the reason each time. With the permissions of our own manifests for SpeakerReports, and none to
//! write any Service, the speakers' words reach the condition `ferrolb.io/Announced` through the controller: it says the same, and who
//! announces it once somebody does, also by BGP, where it is told of a peer whose Secret is missing; the condition of the controller
//! and the address stay what they were.

use anyhow::Context;
use serde_json::{Value, json};

use crate::lab::kube::SYSTEM;
use crate::lab::node::{PodAddresses, Proxy};
use crate::lab::objects::{
    bgp_advertisement, bgp_peer, l2_advertisement, password_secret, service,
};
use crate::lab::wait::eventually_true;
use crate::lab::{Lab, SOON};

const SERVICE: &str = "/api/v1/namespaces/default/services/web";
const EXCLUDE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
const ROLE: &str = "ferrolb:announced";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let played = play(lab);
    forbid_reports(lab)?;
    played
}

/// Permits what our own manifests permit of SpeakerReports, and MetalLB's do not.
pub(super) fn permit_reports(lab: &Lab) -> anyhow::Result<()> {
    lab.kube().apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": ROLE},
        "rules": [{
            "apiGroups": ["ferrolb.io"], "resources": ["speakerreports"],
            "verbs": ["list", "watch", "create", "patch", "delete"],
        }],
    }))?;
    lab.kube().apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": ROLE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ROLE},
        "subjects": [
            {"kind": "ServiceAccount", "name": "speaker", "namespace": SYSTEM},
            {"kind": "ServiceAccount", "name": "controller", "namespace": SYSTEM},
        ],
    }))?;
    Ok(())
}

/// Takes the permission back.
pub(super) fn forbid_reports(lab: &Lab) -> anyhow::Result<()> {
    for kind in ["clusterrolebindings", "clusterroles"] {
        lab.kube().delete(&format!("/apis/rbac.authorization.k8s.io/v1/{kind}/{ROLE}"))?;
    }
    Ok(())
}

fn play(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_all(2, Proxy::Absent)?;
    let advertisements = format!("/apis/metallb.io/v1beta1/namespaces/{SYSTEM}/l2advertisements");
    lab.kube().delete(&format!("{advertisements}/all"))?;
    lab.kube().create(&service("web", json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
    let endpoint =
        PodAddresses { node: "node1".into(), v4: "10.244.1.9".into(), v6: "fd00:244:1::9".into() };
    lab.set_endpoints("web", std::slice::from_ref(&endpoint))?;
    warned(lab, "no L2Advertisement selects pool \"pool\" and this Service, and no BGPAdvertisement")?;

    exclude(lab, true)?;
    lab.kube().apply(&l2_advertisement("all", json!({})))?;
    warned(lab, EXCLUDE)?;

    permit_reports(lab)?;
    // What was refused is asked for again after a minute; a program that starts asks at once.
    for node in &mut lab.nodes {
        node.speaker = None;
    }
    lab.controller = None;
    lab.start_controller(&[])?;
    lab.start_speakers(&[])?;
    condition(lab, "False", EXCLUDE)?;
    exclude(lab, false)?;
    let address = lab.wait_addresses("web")?.first().cloned().context("no address")?;
    let owner = lab.wait_owner(&address)?;
    condition(lab, "True", &format!("by L2 from node {owner}"))?;

    lab.kube().delete(&format!("{advertisements}/all"))?;
    lab.kube().apply(&bgp_advertisement("all", json!({})))?;
    warned(lab, "there is no BGPPeer for it")?;
    // Whether its session comes up is not asked here: nobody listens there.
    let spec = json!({
        "myASN": 64512, "peerASN": 64513, "peerAddress": "172.30.0.200", "passwordSecret": {"name": "key"},
    });
    lab.kube().apply(&bgp_peer("one", spec))?;
    warned(lab, "BGPPeer one cannot be used: secret ref not found")?;
    condition(lab, "False", "BGPPeer one cannot be used: secret ref not found")?;
    lab.kube().apply(&password_secret("key", "right"))?;
    condition(lab, "True", "by BGP from node1, node2")?;
    lab.set_endpoints("web", &[])?;
    condition(lab, "False", "no endpoint is ready")?;
    warned(lab, "no endpoint is ready")?;
    lab.expect_addresses("web", &[&address])?;
    let service = lab.kube().get(SERVICE)?;
    let allocated = find(&service, "ferrolb.io/Allocated").context("the controller's is gone")?;
    anyhow::ensure!(allocated.get("status") == Some(&json!("True")), "{allocated}");
    Ok(())
}

fn exclude(lab: &Lab, excluded: bool) -> anyhow::Result<()> {
    for node in &lab.nodes {
        let value = excluded.then_some("");
        let labels = json!({"metadata": {"labels": {EXCLUDE: value}}});
        lab.kube().patch(&format!("/api/v1/nodes/{}", node.name), &labels)?;
    }
    Ok(())
}

fn warned(lab: &Lab, part: &str) -> anyhow::Result<()> {
    eventually_true(&format!("a warning says {part:?}"), SOON, || {
        let events = lab.kube().events("web")?;
        Ok(events.iter().any(|event| event.reason == "notAnnounced" && event.message.contains(part)))
    })
}

fn find<'a>(service: &'a Value, name: &str) -> Option<&'a Value> {
    let conditions = service.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.get("type").and_then(Value::as_str) == Some(name))
}

fn condition(lab: &Lab, status: &str, part: &str) -> anyhow::Result<()> {
    let mut last = Value::Null;
    eventually_true(&format!("Announced is {status}: {part:?}"), SOON, || {
        let service = lab.kube().get(SERVICE)?;
        let Some(found) = find(&service, "ferrolb.io/Announced") else { return Ok(false) };
        last = found.clone();
        let text = |key: &str| found.get(key).and_then(Value::as_str).unwrap_or_default();
        Ok(text("status") == status && text("message").contains(part))
    })
    .with_context(|| format!("last: {last}"))
}
