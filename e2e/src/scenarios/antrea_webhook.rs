// SPDX-License-Identifier: Apache-2.0
//! What the webhook says of ExternalIPPools beyond their schema, on a real API server (contract C.3).
//!
//! Topology: control plane and controller with our webhooks' manifest for this kind.
//! Steps: a range of two families, one that runs backwards, one outside its subnet, two that overlap within a pool and with another pool's, a
//! range that is taken away or written anew: each is refused with Antrea's words, two families already by the schema where the texts leave no
//! doubt; what is added to a pool, a pool as it was, and an IPv4 address in IPv6's writing are accepted.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::webhooks::denied;
use crate::lab::objects::EXTERNAL_POOLS;
use crate::lab::kube::{Answer, documents, refusal};
use crate::lab::wait::eventually_true;
use crate::lab::webhooks::{CONFIGURATIONS, WEBHOOKS};
use crate::lab::{Lab, SOON, webhooks};

const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/ferrolb.yaml");
const NAME: &str = "externalippoolvalidationwebhook.metallb.io";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    webhooks::install(lab.kube())?;
    install(lab)?;
    lab.apply_antrea_roles()?;
    lab.start_controller(&[])?;
    eventually_true("the webhook has its caBundle", SOON, || {
        let configuration = lab.kube().get(&format!("{CONFIGURATIONS}/{WEBHOOKS}"))?;
        let webhooks = configuration.get("webhooks").and_then(Value::as_array).cloned();
        Ok(webhooks.into_iter().flatten().all(|webhook| {
            webhook.pointer("/clientConfig/caBundle").and_then(Value::as_str).is_some_and(|bundle| !bundle.is_empty())
        }))
    })?;
    create(lab, "first", json!([{"cidr": "10.1.0.0/24"}]))?;
    let cases = [
        (
            // The schema does not look into a text that may be an IPv4 address.
            json!([{"start": "10.2.0.1", "end": "::1"}]),
            "range start 10.2.0.1 and range end ::1 should belong to same family",
        ),
        (
            json!([{"start": "10.2.0.9", "end": "10.2.0.1"}]),
            "range start 10.2.0.9 should not be greater than range end 10.2.0.1",
        ),
        (
            json!([{"cidr": "10.2.0.0/24"}, {"start": "10.2.0.1", "end": "10.2.0.2"}]),
            "range [10.2.0.1-10.2.0.2] overlaps with range [10.2.0.0/24]",
        ),
        (
            json!([{"cidr": "10.1.0.128/25"}]),
            "range [10.1.0.128/25] overlaps with range [10.1.0.0/24] of ExternalIPPool first",
        ),
    ];
    for (ranges, expected) in cases {
        let said = denied(create_answer(lab, "second", ranges))?;
        ensure!(said.contains(NAME) && said.contains(expected), "{said}");
    }
    for (start, end) in [("10.2.0.1", "fd00::1"), ("2001:db8::1", "10.2.0.1")] {
        let said = refusal(create_answer(lab, "second", json!([{"start": start, "end": end}])))?;
        ensure!(said.contains("range start and range end should belong to same family"), "{said}");
    }
    // These are two IPv4 addresses, for Antrea and here.
    create(lab, "mapped", json!([{"start": "10.5.0.1", "end": "::ffff:a05:2"}]))?;
    let mut outside = pool("second", json!([{"cidr": "10.3.0.0/24"}]));
    let subnet = json!({"gateway": "10.2.0.1", "prefixLength": 24});
    outside.pointer_mut("/spec").and_then(Value::as_object_mut).context("a spec")?.insert("subnetInfo".into(), subnet);
    let said = denied(lab.kube().post(EXTERNAL_POOLS, &outside))?;
    ensure!(said.contains("range [10.3.0.0/24] must be a strict subset of the subnet 10.2.0.1/24"), "{said}");

    for ranges in [json!([{"cidr": "10.1.0.1/24"}]), json!([{"cidr": "10.4.0.0/24"}])] {
        let said = denied(change(lab, "first", &ranges))?;
        ensure!(said.contains("existing IPRanges [10.1.0.0/24] cannot be updated or deleted"), "{said}");
    }
    change(lab, "first", &json!([{"cidr": "10.1.0.0/24"}, {"cidr": "10.4.0.0/24"}]))?;
    create(lab, "second", json!([{"cidr": "10.2.0.0/24"}]))?;
    change(lab, "second", &json!([{"cidr": "10.2.0.0/24"}]))?;
    Ok(())
}

/// Adds the webhook of our own manifest to MetalLB's, and its failures count.
fn install(lab: &Lab) -> anyhow::Result<()> {
    let ours = documents(&std::fs::read_to_string(MANIFEST)?)?;
    let mut webhook = ours
        .iter()
        .filter_map(|object| object.get("webhooks")?.as_array())
        .flatten()
        .find(|webhook| webhook.get("name") == Some(&json!(NAME)))
        .context("our manifest has no such webhook")?
        .clone();
    webhook.as_object_mut().context("no object")?.insert("failurePolicy".into(), "Fail".into());
    let path = format!("{CONFIGURATIONS}/{WEBHOOKS}");
    let mut webhooks = lab.kube().get(&path)?.get("webhooks").and_then(Value::as_array).cloned().context("no webhooks")?;
    webhooks.push(webhook);
    lab.kube().patch(&path, &json!({ "webhooks": webhooks }))?;
    Ok(())
}

fn pool(name: &str, ranges: Value) -> Value {
    json!({
        "apiVersion": "crd.antrea.io/v1beta1", "kind": "ExternalIPPool", "metadata": {"name": name},
        "spec": {"ipRanges": ranges, "nodeSelector": {}},
    })
}

fn create_answer(lab: &Lab, name: &str, ranges: Value) -> Answer {
    lab.kube().post(EXTERNAL_POOLS, &pool(name, ranges))
}

fn create(lab: &Lab, name: &str, ranges: Value) -> anyhow::Result<()> {
    create_answer(lab, name, ranges)?;
    Ok(())
}

fn change(lab: &Lab, name: &str, ranges: &Value) -> Answer {
    lab.kube().patch(&format!("{EXTERNAL_POOLS}/{name}"), &json!({"spec": {"ipRanges": ranges}}))
}
