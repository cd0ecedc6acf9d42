// SPDX-License-Identifier: Apache-2.0
//! Who gets the metrics: TLS with TokenReview and SubjectAccessReview, with the tokens of real service accounts; plain HTTP
//! on 7472 only.
//!
//! Topology: one node with a speaker; controller and speaker with MetalLB's permissions.
//! Steps: without the permission for TokenReview everybody gets 401, said once in the log; with it: no token and a wrong one 401, a
//! service account without the permission 403, Prometheus' 200; plain HTTP gets 400; on 7472 it gets 200 at once; the certificate of
//! `--metrics-cert-dir` is shown, and another one after it was exchanged; `--port=0` listens nowhere.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::lab::kube::{SYSTEM, path};
use crate::lab::netns::{Namespace, succeeded};
use crate::lab::node::Proxy;
use crate::lab::wait::eventually_true;
use crate::lab::{Lab, SOON};

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let folder = lab.folder().join("metrics-certificate");
    let played = play(lab, &folder);
    for object in permissions() {
        lab.kube().delete(&path(&object))?;
    }
    let _ = std::fs::remove_dir_all(&folder);
    played
}

fn play(lab: &mut Lab, folder: &Path) -> anyhow::Result<()> {
    certificate(folder, "first")?;
    let certificates = format!("--metrics-cert-dir={}", folder.display());
    lab.start_controller(&["--metrics-plain-http=false", &certificates])?;
    lab.start_nodes(1, Proxy::Absent)?;
    lab.start_speakers(&["--metrics-plain-http=false"])?;
    for name in ["prometheus", "stranger"] {
        lab.kube().apply(&account(name))?;
    }
    let (reader, stranger) = (token(lab, "prometheus")?, token(lab, "stranger")?);

    // MetalLB's plain manifests permit no TokenReview.
    for _ in 0..3 {
        expect(lab, "https://127.0.0.1:9120/metrics", Some(&reader), "401")?;
    }
    let said = lab.controller.as_ref().context("no controller")?.log().matches("metricsClosed").count();
    ensure!(said == 1, "it was said {said} times that nobody can be asked");

    for object in permissions() {
        lab.kube().apply(&object)?;
    }
    let url = "https://127.0.0.1:9120/metrics";
    eventually_true("Prometheus is let in", SOON, || {
        Ok(both(lab, url, Some(&reader))?.iter().all(|code| code == "200"))
    })?;
    expect(lab, url, None, "401")?;
    expect(lab, url, Some("nonsense"), "401")?;
    expect(lab, url, Some(&stranger), "403")?;
    expect(lab, "http://127.0.0.1:9120/metrics", Some(&reader), "400")?;
    expect(lab, "https://127.0.0.1:9120/other", Some(&reader), "404")?;

    let shown = |lab: &Lab| shown(&lab.plane);
    ensure!(shown(lab)?.contains("first"), "{}", shown(lab)?);
    certificate(folder, "second")?;
    eventually_true("the exchanged certificate is shown", SOON, || Ok(shown(lab)?.contains("second")))?;

    lab.controller = None;
    lab.spawn_controller(&["--metrics-plain-http=false", "--port=7472"])?;
    // Before it is ready: liveness of old manifests asks here.
    eventually_true("plain HTTP is answered on 7472", SOON, || {
        Ok(code(&lab.plane, "http://127.0.0.1:7472/metrics", None)? == "200")
    })?;
    ensure!(code(&lab.plane, "https://127.0.0.1:7472/metrics", None)? == "401", "TLS on 7472");
    lab.controller = None;
    lab.start_controller(&["--port=0"])?;
    ensure!(code(&lab.plane, url, Some(&reader))? == "000", "nothing listens with --port=0");
    Ok(())
}

/// The code that controller and speaker answer with.
fn both(lab: &Lab, url: &str, token: Option<&str>) -> anyhow::Result<[String; 2]> {
    let node = lab.nodes.first().context("no node")?;
    Ok([code(&lab.plane, url, token)?, code(&node.namespace, url, token)?])
}

fn expect(lab: &Lab, url: &str, token: Option<&str>, code: &str) -> anyhow::Result<()> {
    let codes = both(lab, url, token)?;
    ensure!(codes.iter().all(|have| have == code), "{url}: {codes:?}, not {code}");
    Ok(())
}

/// The code that a URL answers with; 000 where nobody does.
pub(super) fn code(namespace: &Namespace, url: &str, token: Option<&str>) -> anyhow::Result<String> {
    let header = format!("Authorization: Bearer {}", token.unwrap_or_default());
    let mut arguments =
        vec!["--silent", "--insecure", "--max-time", "10", "--output", "/dev/null", "--write-out", "%{http_code}"];
    if token.is_some() {
        arguments.extend(["--header", &header]);
    }
    arguments.push(url);
    let output = namespace.output("curl", arguments)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The subject of the certificate that is shown.
fn shown(namespace: &Namespace) -> anyhow::Result<String> {
    let script = "openssl s_client -connect 127.0.0.1:9120 </dev/null 2>/dev/null | openssl x509 -noout -subject";
    let output = namespace.output("sh", ["-c", script])?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// As cert-manager would, in the place of the one before.
fn certificate(folder: &Path, name: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    let script = format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3 \
         -subj /CN={name} -keyout tls.key -out tls.crt && chmod 644 tls.key"
    );
    let output = Command::new("sh").args(["-c", &script]).current_dir(folder).output()?;
    succeeded(&output).context("openssl")
}

/// A service account.
pub(super) fn account(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": SYSTEM},
    })
}

/// A token of it.
pub(super) fn token(lab: &Lab, name: &str) -> anyhow::Result<String> {
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"expirationSeconds": 3600},
    });
    let made =
        lab.kube().post(&format!("/api/v1/namespaces/{SYSTEM}/serviceaccounts/{name}/token"), &request)?;
    let token = made.pointer("/status/token").and_then(Value::as_str);
    Ok(token.context("no token")?.to_owned())
}

/// What MetalLB's Prometheus overlays add, and what Prometheus has.
pub(super) fn permissions() -> Vec<Value> {
    let role = |name: &str, rules: Value| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": name}, "rules": rules,
        })
    };
    let binding = |name: &str, accounts: &[&str]| {
        let subjects: Vec<Value> = accounts
            .iter()
            .map(|name| json!({"kind": "ServiceAccount", "name": name, "namespace": SYSTEM}))
            .collect();
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": subjects,
        })
    };
    let reviews = json!([
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
        {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
    ]);
    vec![
        role("e2e-reviews", reviews),
        role("e2e-metrics", json!([{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}])),
        binding("e2e-reviews", &["controller", "speaker"]),
        binding("e2e-metrics", &["prometheus"]),
    ]
}
