// SPDX-License-Identifier: Apache-2.0
//! The API lists twenty speakers more than there are: their nodes are off, or their pods never ran. The three that run answer, and one
//! that starts beside so many who do not answer takes nothing that another has.
//!
//! Topology: three nodes with speakers, twenty Nodes and pods that nobody runs, at addresses of the link where nobody is; a client that asks
//! for the address every 10 ms.
//! Steps: the listed pods are older than a minute, so that they are no longer waited for: a Service is announced by one node; the
//! owner's speaker is started anew: it has its address again, and in between one answers.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;

use super::ring_strangers::{FLAGS, PLANNED, nobody_died, start_anew};
use crate::lab::Lab;
use crate::lab::watched::Watched;
use crate::lab::kube::SYSTEM;
use crate::lab::wait::{eventually_true, now};

const LISTED: u8 = 20;
/// The last number of the first one's address: those of the nodes are lower, those of the pool higher.
const FIRST: u8 = 60;
/// Until it is as old as that a pod is given the time to start.
const YOUNG: Duration = Duration::from_secs(61);

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    for number in 0..LISTED {
        list(lab, number)?;
    }
    let listed = now();
    eventually_true("the pods are no longer young", YOUNG * 2, || Ok(listed.elapsed() > YOUNG))?;
    let watched = Watched::start(lab, 3, FLAGS)?;
    let kept = start_anew(lab, &watched)?;
    println!("     started anew beside {LISTED} that do not answer: {kept}");
    ensure!(kept.twice <= PLANNED, "answered by two: {kept}");
    nobody_died(lab)
}

/// Half of them on nodes that are off, the others with an image that cannot be had.
fn list(lab: &Lab, number: u8) -> anyhow::Result<()> {
    let (node, address) = (format!("off{number}"), format!("172.30.0.{}", FIRST + number));
    let kube = lab.kube();
    kube.create(&json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": node, "labels": {"kubernetes.io/hostname": node}},
    }))?;
    let is_off = number.is_multiple_of(2);
    let ready = if is_off { "Unknown" } else { "True" };
    kube.patch(&format!("/api/v1/nodes/{node}/status"), &json!({"status": {
        "addresses": [{"type": "InternalIP", "address": address}],
        "conditions": [{"type": "Ready", "status": ready}],
    }}))?;
    kube.create(&json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("speaker-{node}"), "namespace": SYSTEM,
            "labels": {"app": "metallb", "component": "speaker"},
        },
        "spec": {
            "nodeName": node, "hostNetwork": true,
            "containers": [{"name": "speaker", "image": "speaker"}],
        },
    }))?;
    kube.patch(&format!("/api/v1/namespaces/{SYSTEM}/pods/speaker-{node}/status"), &json!({
        "status": {
            "podIP": address, "podIPs": [{"ip": address}],
            "phase": if is_off { "Running" } else { "Pending" },
            "conditions": [{"type": "Ready", "status": "False"}],
        },
    }))?;
    Ok(())
}
