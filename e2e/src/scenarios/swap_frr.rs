// SPDX-License-Identifier: Apache-2.0
//! The image swap in MetalLB's modes frr-k8s and frr.
//!
//! Topology: two nodes with a speaker's container each, in mode frr-k8s.
//! Steps: FRRConfigurations are there, MetalLB's for each node and a user's; the speakers start: MetalLB's are gone, the user's stays,
//! also when one has a finalizer for a while; no session is opened before. Then what Pods of the mode frr call: cp-tool copies
//! frr-metrics out of the image; with the arguments of 0.15 and its proxy the copy answers plain HTTP on 7473, with those of 0.16 it
//! answers probes over TLS on 9121, and scrapes with a token that may read the metrics.

use anyhow::{Context, ensure};
use serde_json::json;

use super::metrics_access::{account, code, permissions, token};
use crate::lab::container::Container;
use crate::lab::generation::Generation;
use crate::lab::kube::{SYSTEM, path};
use crate::lab::node::{Proxy, fetch};
use crate::lab::objects::bgp_peer;
use crate::lab::wait::{always, eventually_true};
use crate::lab::{Lab, SOON};

const CRD: &str = "frrconfigurations.frrk8s.metallb.io";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let played = frr_k8s(lab).and_then(|()| frr(lab));
    for object in permissions() {
        lab.kube().delete(&path(&object))?;
    }
    let restored = lab.control.install();
    played.and(restored)
}

fn frr_k8s(lab: &mut Lab) -> anyhow::Result<()> {
    lab.client()?;
    lab.start_nodes(2, Proxy::Absent)?;
    lab.kube().apply(&json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": CRD},
        "spec": {
            "group": "frrk8s.metallb.io", "scope": "Namespaced",
            "names": {"kind": "FRRConfiguration", "listKind": "FRRConfigurationList",
                      "plural": "frrconfigurations", "singular": "frrconfiguration"},
            "versions": [{"name": "v1beta1", "served": true, "storage": true, "schema": {
                "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            }}],
        },
    }))?;
    let base = format!("/apis/frrk8s.metallb.io/v1beta1/namespaces/{SYSTEM}/frrconfigurations");
    eventually_true("FRRConfigurations are served", SOON, || {
        Ok(lab.kube().get(&format!("{base}?limit=1")).is_ok())
    })?;
    // What MetalLB's manifests for frr-k8s permit besides.
    let mut roles = Generation::V0_16.roles();
    let speaker = roles.get_mut(1).context("the speaker's role")?;
    let rules = speaker.get_mut("rules").and_then(|rules| rules.as_array_mut());
    rules.context("its rules")?.push(json!({
        "apiGroups": ["frrk8s.metallb.io"], "resources": ["frrconfigurations"],
        "verbs": ["get", "list", "watch", "create", "update", "delete"],
    }));
    for role in &roles {
        lab.kube().apply(role)?;
    }
    for (name, finalizers) in
        [("metallb-node1", json!(["example.org/slow"])), ("metallb-node2", json!([])), ("mine", json!([]))]
    {
        lab.kube().create(&json!({
            "apiVersion": "frrk8s.metallb.io/v1beta1", "kind": "FRRConfiguration",
            "metadata": {"name": name, "namespace": SYSTEM, "finalizers": finalizers},
        }))?;
    }
    let spec = json!({"myASN": 64500, "peerASN": 64501, "peerAddress": "172.30.0.250"});
    lab.kube().apply(&bgp_peer("router", spec))?;
    for number in 0..lab.nodes.len() {
        let node = lab.nodes.get(number).context("no such node")?;
        let address = format!("172.30.0.{}", 10 + node.number);
        let mut environment = Generation::V0_16.speaker_environment(&node.name, &address);
        // No ring here: its key is not what this is about.
        environment.retain(|(name, _)| !name.starts_with("METALLB_ML"));
        environment.push(("METALLB_BGP_TYPE", "frr-k8s".to_owned()));
        let container = Container {
            name: format!("speaker-{}", node.name),
            namespace: &node.namespace,
            image: lab.programs.images.join("speaker"),
            account: "speaker",
            program: "/speaker",
            arguments: Generation::V0_16.speaker_arguments(),
            environment,
            volumes: Vec::new(),
            user: 0,
            capabilities: &["cap_net_raw"],
        };
        let speaker = container.start(lab.folder(), lab.kube(), lab.control.families)?;
        if let Some(node) = lab.nodes.get_mut(number) {
            node.speaker = Some(speaker);
            node.wait_speaker()?;
        }
    }
    eventually_true("MetalLB's configuration for node2 is gone", SOON, || {
        Ok(lab.kube().find(&format!("{base}/metallb-node2"))?.is_none())
    })?;
    eventually_true("MetalLB's configuration for node1 is to go", SOON, || {
        let object = lab.kube().get(&format!("{base}/metallb-node1"))?;
        Ok(object.pointer("/metadata/deletionTimestamp").is_some())
    })?;
    // The connection is refused or not answered; that it is tried shows in the log.
    let tries = |lab: &mut Lab, node: &str| -> anyhow::Result<bool> {
        let speaker = lab.node(node)?.speaker.as_ref().context("no speaker")?;
        Ok(speaker.log().contains("\"name\":\"router\""))
    };
    eventually_true("node2 tries to reach its peer", SOON, || tries(lab, "node2"))?;
    always("node1 does not, while FRR may still have the session", SOON / 10, || {
        Ok(!tries(lab, "node1")?)
    })?;
    lab.kube().patch(&format!("{base}/metallb-node1"), &json!({"metadata": {"finalizers": null}}))?;
    eventually_true("node1 tries to reach its peer", SOON, || tries(lab, "node1"))?;
    ensure!(lab.kube().find(&format!("{base}/mine"))?.is_some(), "the user's own is gone");
    for node in &mut lab.nodes {
        node.speaker = None;
    }
    Ok(())
}

fn frr(lab: &mut Lab) -> anyhow::Result<()> {
    let node = lab.nodes.first().context("no node")?;
    let metrics = lab.folder().join("volume-frr-metrics");
    std::fs::create_dir_all(&metrics)?;
    let container = |name: &str, program: &'static str, arguments: &[&str]| Container {
        name: name.to_owned(),
        namespace: &node.namespace,
        image: lab.programs.images.join("speaker"),
        account: "speaker",
        program,
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        environment: Vec::new(),
        volumes: vec![(metrics.clone(), "/etc/frr_metrics")],
        user: 0,
        capabilities: &[],
    };
    let arguments = ["/frr-metrics", "/etc/frr_metrics/frr-metrics"];
    let mut copy = container("cp-metrics", "/cp-tool", &arguments)
        .start(lab.folder(), lab.kube(), lab.control.families)?;
    eventually_true("cp-tool ends", SOON, || Ok(copy.ended().is_some()))?;
    ensure!(copy.ended().is_some_and(|status| status.success()), "cp-tool: {}", copy.log());
    let exporter = "/etc/frr_metrics/frr-metrics";
    let expect = |url: &str, token: Option<&str>, expected: &str| {
        let said = code(&node.namespace, url, token)?;
        ensure!(said == expected, "{url}: {said} instead of {expected}");
        anyhow::Ok(())
    };

    let plain = ["--metrics-port=7473", "--host=localhost"];
    let mut running = container("frr-metrics-0.15", exporter, &plain)
        .start(lab.folder(), lab.kube(), lab.control.families)?;
    let livez = "http://127.0.0.1:7473/livez";
    running.wait_ready(SOON, || Ok(fetch(&node.namespace, livez).is_some()))?;
    expect("http://127.0.0.1:7473/metrics", None, "200")?;
    expect("http://172.30.0.11:7473/metrics", None, "000")?;
    drop(running);

    for object in permissions() {
        lab.kube().apply(&object)?;
    }
    for name in ["prometheus", "stranger"] {
        lab.kube().apply(&account(name))?;
    }
    let (reader, stranger) = (token(lab, "prometheus")?, token(lab, "stranger")?);
    let guarded = ["--metrics-port=9121", "--metrics-bind-address=0.0.0.0"];
    let mut running = container("frr-metrics-0.16", exporter, &guarded)
        .start(lab.folder(), lab.kube(), lab.control.families)?;
    let livez = "https://172.30.0.11:9121/livez";
    running.wait_ready(SOON, || Ok(code(&node.namespace, livez, None)? == "200"))?;
    let metrics = "https://172.30.0.11:9121/metrics";
    eventually_true("Prometheus reads the metrics", SOON, || {
        Ok(code(&node.namespace, metrics, Some(&reader))? == "200")
    })?;
    expect(metrics, Some(&stranger), "403")?;
    expect(metrics, None, "401")?;
    expect("http://172.30.0.11:9121/livez", None, "400")
}
