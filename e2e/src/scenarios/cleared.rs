// SPDX-License-Identifier: Apache-2.0
//! After an uninstall Services keep what they have, or are cleared, as asked; whoever is installed next finds them.
//!
//! Topology: one node with a speaker, a controller.
//! Steps: two Services have addresses, and one has an address that somebody else gave; while the controller's Pod is there nothing is cleared;
//! without it the two are named, then cleared, the third is left alone, and nothing of ours is left in the namespace; a controller that
//! comes then gives them addresses again.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::cluster_commands::ferrolb;
use crate::lab::kube::SYSTEM;
use crate::lab::node::Proxy;
use crate::lab::objects::service;
use crate::lab::wait::eventually_true;
use crate::lab::{Lab, SOON};

const SERVICES: &str = "/api/v1/namespaces/default/services";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_all(1, Proxy::Absent)?;
    for name in ["one", "two"] {
        lab.kube().create(&service(name, json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
        lab.wait_addresses(name)?;
    }
    let foreign = json!({"spec": {"loadBalancerClass": "example.org/other"}});
    lab.kube().create(&service("other", foreign))?;
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.9"}]}}});
    lab.kube().patch(&format!("{SERVICES}/other/status"), &status)?;
    let reports = format!("/apis/metallb.io/v1beta1/namespaces/{SYSTEM}");
    eventually_true("the speaker reports", SOON, || {
        Ok(!lab.kube().list(&format!("{reports}/configurationstates"))?.is_empty())
    })?;
    lab.kube().create(&json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "controller", "namespace": SYSTEM, "labels": {"component": "controller"}},
        "spec": {"containers": [{"name": "controller", "image": "controller"}]},
    }))?;
    let (ended_well, text) = ferrolb(lab, &["clear"])?;
    ensure!(!ended_well && text.contains("the controller still runs"), "{text}");

    lab.kube().delete(&format!("/api/v1/namespaces/{SYSTEM}/pods/controller"))?;
    lab.controller = None;
    lab.node("node1")?.speaker = None;
    let (ended_well, text) = ferrolb(lab, &["clear", "--dry-run"])?;
    ensure!(ended_well && text.lines().count() == 2, "{text}");
    ensure!(!lab.addresses("one")?.is_empty(), "only to be named, and cleared");
    let (ended_well, text) = ferrolb(lab, &["clear"])?;
    ensure!(ended_well && text.lines().count() == 2, "{text}");
    for name in ["one", "two"] {
        let object = lab.kube().get(&format!("{SERVICES}/{name}"))?;
        ensure!(object.pointer("/status/loadBalancer/ingress").is_none(), "{object}");
        ensure!(!object.to_string().contains("ip-allocated-from-pool\":"), "{object}");
    }
    let other = lab.kube().get(&format!("{SERVICES}/other"))?;
    let kept = other.pointer("/status/loadBalancer/ingress/0/ip").and_then(Value::as_str);
    ensure!(kept.context("the foreign address")? == "198.51.100.9", "{other}");
    for kind in ["servicel2statuses", "configurationstates"] {
        let left = lab.kube().list(&format!("{reports}/{kind}"))?;
        ensure!(left.is_empty(), "{left:?}");
    }
    lab.start_controller(&[])?;
    for name in ["one", "two"] {
        lab.wait_addresses(name)?;
    }
    Ok(())
}
