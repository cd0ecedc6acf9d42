// SPDX-License-Identifier: Apache-2.0
//! What the webhooks take: from the question to the answer on a connection that stays, as the API server keeps one.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::cluster::{LOG_LEVEL, settled, with_own};
use super::report::Report;
use super::usage::middle_and_tail;
use crate::lab::kube::{Kube, SYSTEM};
use crate::lab::objects::{bgp_advertisement, pool};
use crate::lab::wait::now;
use crate::lab::{Lab, webhooks};

const POOLS: usize = 100;
const QUESTIONS: usize = 2_000;

pub(super) fn measure(lab: &mut Lab, report: &mut Report) -> anyhow::Result<()> {
    webhooks::install(lab.kube())?;
    lab.start_controller(&[LOG_LEVEL])?;
    let controller = lab.controller.as_ref().context("no controller")?.pid();
    settled(controller)?;
    report.add(
        "controller resident, idle, webhooks and TLS metrics on (own memory of it)",
        "8 MB",
        with_own(controller)?,
    );
    for number in 0..POOLS {
        let addresses = format!("10.{number}.0.0/16");
        lab.kube().create(&pool(&format!("pool{number}"), &[&addresses]))?;
    }
    let webhooks = connection(lab)?;
    let aggregate = bgp_advertisement("asked", json!({"aggregationLength": 24}));
    for (what, path, object) in [
        ("an IPAddressPool", "ipaddresspool", pool("asked", &["192.0.2.0/24"])),
        ("a BGPAdvertisement", "bgpadvertisement", aggregate),
    ] {
        let mut samples = Vec::new();
        for _ in 0..QUESTIONS {
            samples.push(ask(&webhooks, path, &object)?);
        }
        let (middle, tail) = middle_and_tail(samples);
        report.add(
            format!("webhook: {what} accepted beside {POOLS} pools, middle and 99 %"),
            "< 5 ms",
            format!("{:.2} ms, {:.2} ms", middle.as_secs_f64() * 1e3, tail.as_secs_f64() * 1e3),
        );
    }
    report.add(
        format!("controller resident after {} questions (own memory of it)", 2 * QUESTIONS),
        "-",
        with_own(controller)?,
    );
    Ok(())
}

/// The webhooks as if they were an API.
fn connection(lab: &Lab) -> anyhow::Result<Kube> {
    let file = lab.folder().join("webhooks.kubeconfig");
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "webhooks",
        "clusters": [{"name": "webhooks", "cluster": {
            "server": "https://127.0.0.1:9443", "insecure-skip-tls-verify": true,
        }}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "webhooks", "context": {"cluster": "webhooks", "user": "nobody"}}],
    });
    std::fs::write(&file, config.to_string())?;
    Kube::start(&lab.plane.path(), &file)
}

fn ask(webhooks: &Kube, path: &str, object: &Value) -> anyhow::Result<Duration> {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u",
            "kind": {"group": "metallb.io", "version": "v1beta1", "kind": object.get("kind")},
            "operation": "CREATE",
            "namespace": SYSTEM,
            "name": "asked",
            "object": object,
            "dryRun": true,
        },
    });
    let start = now();
    let answer = webhooks.post(&format!("/validate-metallb-io-v1beta1-{path}"), &review)?;
    let took = start.elapsed();
    ensure!(answer.pointer("/response/allowed") == Some(&json!(true)), "{answer}");
    Ok(took)
}
