// SPDX-License-Identifier: Apache-2.0
//! ConfigurationState says everything that is wrong, in MetalLB's words, and recovers (contract 6.6).
//!
//! Topology: one node with a speaker.
//! Steps: all is valid; a peer with an unknown BFD profile and an advertisement with an unknown alias: the speaker says both, the
//! controller, whom they do not concern, neither; the pool becomes invalid: both say so; each is mended: all is valid again, and the
//! metric says so; the object is deleted: it comes back; the ConfigMap bgpextras with content is named.

use serde_json::{Value, json};

use crate::lab::kube::SYSTEM;
use crate::lab::node::Proxy;
use crate::lab::objects::{bgp_advertisement, bgp_peer, pool};
use crate::lab::wait::eventually_true;
use crate::lab::{Lab, SOON};

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_all(1, Proxy::Absent)?;
    expect(lab, "controller", "")?;
    expect(lab, "speaker-node1", "")?;

    let peer = |profile: Option<&str>| {
        let spec = json!({
            "myASN": 64500, "peerASN": 64501, "peerAddress": "172.30.0.250", "bfdProfile": profile,
        });
        bgp_peer("peer1", spec)
    };
    lab.kube().apply(&peer(Some("my-bfd-profile")))?;
    expect(
        lab,
        "speaker-node1",
        "configuration error: peer peer1 referencing non existing bfd profile my-bfd-profile",
    )?;
    lab.kube().apply(&bgp_advertisement("aliased", json!({"communities": ["my-valid-alias"]})))?;
    let alias = "configuration error: invalid community format: my-valid-alias\n\
                 invalid community \"my-valid-alias\" in BGP advertisement";
    let both = [
        alias,
        "configuration error: peer peer1 referencing non existing bfd profile my-bfd-profile",
    ];
    expect_all(lab, "speaker-node1", &both)?;
    expect(lab, "controller", "")?;

    lab.kube().apply(&pool("wrong", &["172.30.0.9-172.30.0.1"]))?;
    for component in ["controller", "speaker-node1"] {
        expect_all(lab, component, &["parsing address pool wrong"])?;
    }
    let base = format!("/apis/metallb.io/v1beta1/namespaces/{SYSTEM}");
    lab.kube().delete(&format!("{base}/ipaddresspools/wrong"))?;
    lab.kube().delete(&format!("{base}/bgpadvertisements/aliased"))?;
    lab.kube().delete(&format!("/apis/metallb.io/v1beta2/namespaces/{SYSTEM}/bgppeers/peer1"))?;
    for component in ["controller", "speaker-node1"] {
        expect(lab, component, "")?;
    }

    lab.kube().delete(&format!("{base}/configurationstates/speaker-node1"))?;
    expect(lab, "speaker-node1", "")?;
    lab.kube().create(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "bgpextras", "namespace": SYSTEM},
        "data": {"extras": "router bgp 64500\n"},
    }))?;
    expect_all(lab, "speaker-node1", &["bgpextras"])?;
    lab.kube().delete(&format!("/api/v1/namespaces/{SYSTEM}/configmaps/bgpextras"))?;
    expect(lab, "speaker-node1", "")
}

fn state(lab: &Lab, component: &str) -> anyhow::Result<Option<Value>> {
    let base = format!("/apis/metallb.io/v1beta1/namespaces/{SYSTEM}/configurationstates");
    Ok(lab.kube().find(&format!("{base}/{component}"))?)
}

fn summary(state: &Value) -> &str {
    state.pointer("/status/errorSummary").and_then(Value::as_str).unwrap_or_default()
}

/// Waits until the component says exactly this; nothing means that all is valid.
fn expect(lab: &Lab, component: &str, error: &str) -> anyhow::Result<()> {
    let result = if error.is_empty() { "Valid" } else { "Invalid" };
    eventually_true(&format!("{component} says {result} {error:?}"), SOON, || {
        let Some(state) = state(lab, component)? else { return Ok(false) };
        let condition = state.pointer("/status/conditions/0/status").and_then(Value::as_str);
        Ok(summary(&state) == error
            && state.pointer("/status/result") == Some(&json!(result))
            && condition == Some(if error.is_empty() { "True" } else { "False" }))
    })
}

/// Waits until the component says all of these.
fn expect_all(lab: &Lab, component: &str, errors: &[&str]) -> anyhow::Result<()> {
    eventually_true(&format!("{component} says {errors:?}"), SOON, || {
        let Some(state) = state(lab, component)? else { return Ok(false) };
        Ok(errors.iter().all(|error| summary(&state).contains(error)))
    })
}
