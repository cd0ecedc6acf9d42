// SPDX-License-Identifier: Apache-2.0
//! Our chart with a PodMonitor and speakers that are not root, installed by helm: the programs run with exactly what the API server
//! then holds of it, and the metrics are for the account that the chart makes for them.
//!
//! Topology: a controller's container, two nodes with a speaker's container each, BIRD, a client; kube-controller-manager fills in the
//! Secrets of service accounts.
//! Steps: helm installs the chart; the containers start as Deployment and DaemonSet say; the speakers are nobody with NET_RAW as their one capability,
//! by the program's file in the image; they find one another in the ring, one answers ARP, both hold their BGP
//! session; the token of the PodMonitor's Secret reads the metrics of controller and speakers over TLS, another account's does
//! not; a speaker whose file permits nothing says what it lacks and ends.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use k8s_openapi::ByteString;
use serde_json::json;

use super::metrics_access::{account, code, token};
use crate::lab::bgp::ASN;
use crate::lab::control_plane::{Identity, kubeconfig};
use crate::lab::generation::Generation;
use crate::lab::helm::{CHART, Helm};
use crate::lab::images::{next_version, probes};
use crate::lab::kube::SYSTEM;
use crate::lab::netns::Namespace;
use crate::lab::node::Proxy;
use crate::lab::objects::{POOL_V4, bgp_advertisement, bgp_peer, l2_advertisement, pool, service};
use crate::lab::process::{Process, Rights, Start};
use crate::lab::router::{Kind, Neighbour, Setup};
use crate::lab::wait::{eventually, eventually_true};
use crate::lab::workload::Pod;
use crate::lab::{Lab, SOON};

const CONTROLLER: &str = "deployments/metallb-controller";
const SPEAKER: &str = "daemonsets/metallb-speaker";
const METRICS: &str = "https://127.0.0.1:9120/metrics";
/// NET_RAW, as /proc shows it.
const NET_RAW: &str = "0000000000002000";
const VALUES: &str = r"
crds: {enabled: false, validationFailurePolicy: Ignore}
frrk8s: {enabled: false}
speaker: {securityContext: {runAsNonRoot: true, runAsUser: 65534, fsGroup: 65534}}
prometheus: {serviceAccount: prometheus, namespace: monitoring, podMonitor: {enabled: true}}
";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let helm = Helm::new(lab)?;
    let played = play(lab, &helm);
    let removed = helm.run(lab, &["uninstall", "metallb", "--namespace", SYSTEM]);
    lab.kube().delete(&format!("/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases"))?;
    played.and(removed)
}

fn play(lab: &mut Lab, helm: &Helm) -> anyhow::Result<()> {
    lab.client()?;
    lab.start_nodes(2, Proxy::Absent)?;
    let _manager = token_controller(lab)?;
    install(lab, helm)?;
    let images = lab.programs.images.clone();
    lab.controller = Some(Pod::controller(lab).of(CONTROLLER).start(lab, &images)?);
    probes(lab, Generation::V0_16, None)?;
    let key = format!("/api/v1/namespaces/{SYSTEM}/secrets/metallb-memberlist");
    eventually("the memberlist's Secret is there", SOON, || Ok(lab.kube().find(&key)?))?;
    for number in 0..lab.nodes.len() {
        let speaker = Pod::speaker(lab, number)?.of(SPEAKER).start(lab, &images)?;
        lab.nodes.get_mut(number).context("no such node")?.speaker = Some(speaker);
        probes(lab, Generation::V0_16, Some(number))?;
    }
    for node in &lab.nodes {
        let speaker = node.speaker.as_ref().context("no speaker")?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", speaker.pid()))?;
        let says = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().next().unwrap_or_default().to_owned()
        };
        let said = [says("Uid:"), says("CapEff:"), says("CapBnd:"), says("NoNewPrivs:")];
        ensure!(said == ["65534", NET_RAW, NET_RAW, "1"], "a speaker runs as {said:?}");
    }
    let reader = metrics(lab)?;
    announces(lab, &reader)?;
    lacking(lab)
}

/// Fills in the Secrets of service accounts, as in any cluster.
fn token_controller(lab: &Lab) -> anyhow::Result<Process> {
    let file = |name: &str| lab.folder().join(name).display().to_string();
    let arguments = [
        "kube-controller-manager".to_owned(),
        format!("--kubeconfig={}", kubeconfig(lab.folder(), Identity::Admin).display()),
        "--controllers=serviceaccount-token-controller".into(),
        format!("--service-account-private-key-file={}", file("server.key")),
        format!("--root-ca-file={}", file("ca.crt")),
        "--leader-elect=false".into(),
        "--secure-port=0".into(),
    ];
    Process::start(
        lab.folder(),
        Start {
            name: "kube-controller-manager".into(),
            namespace: &lab.plane,
            program: &lab.programs.cluster,
            arguments: arguments.into(),
            environment: Vec::new(),
            rights: Rights::All,
        },
    )
}

fn install(lab: &Lab, helm: &Helm) -> anyhow::Result<()> {
    lab.kube().apply(&json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "podmonitors.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com", "scope": "Namespaced",
            "names": {"kind": "PodMonitor", "listKind": "PodMonitorList",
                      "plural": "podmonitors", "singular": "podmonitor"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {
                "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            }}],
        },
    }))?;
    let monitors = format!("/apis/monitoring.coreos.com/v1/namespaces/{SYSTEM}/podmonitors");
    eventually_true("PodMonitors are served", SOON, || Ok(lab.kube().get(&monitors).is_ok()))?;
    let values = lab.folder().join("chart-values.yaml");
    std::fs::write(&values, VALUES)?;
    let values = values.display().to_string();
    helm.run(lab, &["install", "metallb", CHART, "--namespace", SYSTEM, "--values", &values])?;
    ensure!(lab.kube().list(&monitors)?.len() == 2, "no PodMonitors");
    // The rack's pods of speakers, by the chart's labels.
    let labels = json!({"app.kubernetes.io/name": "metallb", "app.kubernetes.io/component": "speaker"});
    for node in &lab.nodes {
        let pod = format!("/api/v1/namespaces/{SYSTEM}/pods/speaker-{}", node.name);
        lab.kube().patch(&pod, &json!({"metadata": {"labels": labels}}))?;
    }
    Ok(())
}

/// Who may read the metrics; the token that may.
fn metrics(lab: &Lab) -> anyhow::Result<String> {
    let path = format!("/api/v1/namespaces/{SYSTEM}/secrets/metallb-metrics-reader-token");
    let encoded = eventually("the Secret has a token", SOON, || {
        Ok(lab.kube().get(&path)?.pointer("/data/token").cloned())
    })?;
    let reader = String::from_utf8(serde_json::from_value::<ByteString>(encoded)?.0)?;
    lab.kube().apply(&account("stranger"))?;
    let stranger = token(lab, "stranger")?;
    let places: Vec<&Namespace> =
        std::iter::once(&lab.plane).chain(lab.nodes.iter().map(|node| &node.namespace)).collect();
    for place in places {
        for (token, expected) in [(Some(&reader), "200"), (Some(&stranger), "403"), (None, "401")] {
            let said = code(place, METRICS, token.map(String::as_str))?;
            ensure!(said == expected, "{said} instead of {expected}");
        }
    }
    Ok(reader)
}

/// The ring, ARP and BGP.
fn announces(lab: &mut Lab, reader: &str) -> anyhow::Result<()> {
    let header = format!("Authorization: Bearer {reader}");
    for node in &lab.nodes {
        eventually_true("both speakers are in the ring", SOON, || {
            let arguments = ["--silent", "--insecure", "--header", &header, METRICS];
            let output = node.namespace.output("curl", arguments)?;
            Ok(String::from_utf8_lossy(&output.stdout).contains("\nferrolb_members 2\n"))
        })?;
    }
    lab.kube().apply(&pool("pool", &[POOL_V4]))?;
    lab.kube().apply(&l2_advertisement("all", json!({})))?;
    lab.kube().apply(&bgp_advertisement("all", json!({})))?;
    let neighbours = lab.nodes.iter().map(|node| {
        Neighbour::new(&node.name, &format!("172.30.0.{}", 10 + node.number), ASN)
    });
    let setup = Setup::new(Kind::Bird, neighbours.collect());
    lab.add_router(Kind::Bird, &setup)?;
    let spec = json!({"myASN": ASN, "peerASN": Kind::Bird.asn(), "peerAddress": Kind::Bird.v4()});
    lab.kube().apply(&bgp_peer("bird", spec))?;
    lab.router(Kind::Bird)?.wait_all_established(&["node1", "node2"])?;
    let pod = lab.start_pod(1)?;
    lab.set_endpoints("web", &[pod])?;
    lab.kube().create(&service("web", json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
    let addresses = lab.wait_addresses("web")?;
    lab.wait_owner(addresses.first().context("no address")?)?;
    Ok(())
}

/// The same program without the capabilities in its file.
fn lacking(lab: &mut Lab) -> anyhow::Result<()> {
    let images = next_version(lab)?;
    let file = images.join("speaker/speaker");
    let status = Command::new("setcap").arg("-r").arg(Path::new(&file)).status()?;
    ensure!(status.success(), "setcap: {status}");
    let node = lab.nodes.first_mut().context("no node")?;
    node.speaker = None;
    let mut speaker = Pod::speaker(lab, 0)?.of(SPEAKER).start(lab, &images)?;
    let ended = eventually("a speaker without NET_RAW ends", SOON, || Ok(speaker.ended()))?;
    ensure!(!ended.success(), "it ended with {ended}");
    ensure!(speaker.log().contains("CAP_NET_RAW"), "it does not say what it lacks");
    Ok(())
}
