// SPDX-License-Identifier: Apache-2.0
//! The decisions recorded from MetalLB's controller, made again on a real API server: same objects in, same
//! addresses, pools and events out.
//!
//! Topology: the control plane and the controller only.
//! Steps: those of each case of recorded/allocation.json, a new controller for each case.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value, json};

use crate::lab::objects::{delete_all, ingress, pool_of};
use crate::lab::wait::{always, eventually_true};
use crate::lab::{Lab, SOON};

const RECORDED: &str = include_str!("../../recorded/allocation.json");
const NAMESPACES: [&str; 3] = ["default", "ns1", "ns2"];

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    for name in ["ns1", "ns2"] {
        lab.kube().apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))?;
    }
    let cases: BTreeMap<String, Value> = serde_json::from_str(RECORDED)?;
    ensure!(cases.len() > 15, "the recording is there");
    for (name, case) in cases {
        play(lab, &case).with_context(|| format!("case {name:?}"))?;
        lab.controller = None;
        for namespace in NAMESPACES {
            let path = format!("/api/v1/namespaces/{namespace}");
            lab.kube().patch(&path, &json!({"metadata": {"labels": {"team": null}}}))?;
            lab.kube().delete(&format!("{path}/events"))?;
        }
        delete_all(lab.kube())?;
    }
    Ok(())
}

fn play(lab: &mut Lab, case: &Value) -> anyhow::Result<()> {
    lab.start_controller(&[])?;
    let steps = case.get("steps").and_then(Value::as_array).context("no steps")?;
    for (number, step) in steps.iter().enumerate() {
        take(lab, step).with_context(|| format!("step {number}: {step}"))?;
    }
    let recorded: BTreeSet<(String, String, String)> =
        serde_json::from_value(case.get("events").cloned().unwrap_or_default())?;
    let mut written = BTreeSet::new();
    eventually_true("the events are those recorded", SOON, || {
        written = events(lab)?;
        Ok(written.is_superset(&recorded))
    })
    .with_context(|| format!("missing: {:?}", recorded.difference(&written)))?;
    let surplus: Vec<_> = written.difference(&recorded).collect();
    ensure!(surplus.is_empty(), "events that MetalLB does not write: {surplus:?}");
    Ok(())
}

fn take(lab: &mut Lab, step: &Value) -> anyhow::Result<()> {
    if let Some(object) = step.get("apply") {
        lab.kube().apply(object)?;
    } else if let Some(what) = step.get("delete").and_then(Value::as_str) {
        let (kind, key) = what.split_once(' ').context("kind and name")?;
        let (namespace, name) = key.split_once('/').context("namespace and name")?;
        lab.kube().delete(&match kind {
            "Service" => format!("/api/v1/namespaces/{namespace}/services/{name}"),
            _ => format!("/apis/metallb.io/v1beta1/namespaces/{namespace}/ipaddresspools/{name}"),
        })?;
    } else if step.get("restart").is_some() {
        // As a rollout does it; a SIGKILL is another scenario's.
        if let Some(mut controller) = lab.controller.take() {
            controller.terminate(SOON)?;
        }
        lab.start_controller(&[])?;
    } else if let Some(name) = step.get("labelNamespace").and_then(Value::as_str) {
        let labels = json!({"metadata": {"labels": step.get("labels")}});
        lab.kube().patch(&format!("/api/v1/namespaces/{name}"), &labels)?;
    } else if let Some(expected) = step.get("expect") {
        let mut found = Value::Null;
        eventually_true("the Services are as recorded", SOON, || {
            found = services(lab)?;
            Ok(&found == expected)
        })
        .with_context(|| format!("they are {found}"))?;
        always("they stay so", Duration::from_millis(50), || Ok(services(lab)? == *expected))?;
    } else {
        bail!("an unknown step");
    }
    Ok(())
}

fn services(lab: &Lab) -> anyhow::Result<Value> {
    let mut found = Map::new();
    for service in lab.kube().list("/api/v1/services")? {
        let text = |field| service.pointer(field).and_then(Value::as_str).unwrap_or_default();
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        if name != "kubernetes" {
            let state = json!({"ips": ingress(&service), "pool": pool_of(&service)});
            found.insert(format!("{namespace}/{name}"), state);
        }
    }
    Ok(found.into())
}

fn events(lab: &Lab) -> anyhow::Result<BTreeSet<(String, String, String)>> {
    let mut events = BTreeSet::new();
    for event in lab.kube().list("/api/v1/events")? {
        let text = |field| event.pointer(field).and_then(Value::as_str).unwrap_or_default();
        // The API server writes events about Services as well.
        if text("/source/component") == "metallb-controller" {
            let service =
                format!("{}/{}", text("/involvedObject/namespace"), text("/involvedObject/name"));
            events.insert((service, text("/type").to_owned(), text("/reason").to_owned()));
        }
    }
    Ok(events)
}
