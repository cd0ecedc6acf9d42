// SPDX-License-Identifier: Apache-2.0
//! Both halves of Antrea's documentation in one cluster: two pools with the same addresses, of both worlds.
//!
//! Topology: two nodes with speakers, a client.
//! Steps: a Service of each world waits with the reason, each pool has an event, and ConfigurationState names both; MetalLB's pool goes: the
//! Service of Antrea's world gets its address, and keeps it when the other pool comes again, which gives nothing.

use anyhow::ensure;
use serde_json::{Value, json};

use crate::lab::antrea::{METALLB, POOL, SERVICE};
use crate::lab::objects::service;
use crate::lab::wait::eventually_true;
use crate::lab::{Lab, SOON};

const OWN_POOL: &str = "/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools/first-pool";
const STATES: &str = "/apis/metallb.io/v1beta1/namespaces/metallb-system/configurationstates";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_for_antrea(2)?;
    lab.apply_text(POOL)?;
    lab.apply_text(METALLB)?;
    eventually_true("ConfigurationState names both pools", SOON, || {
        let states = lab.kube().list(STATES)?;
        let said = |state: &Value| state.to_string();
        Ok(states.iter().map(said).any(|text| {
            text.contains("of IPAddressPool first-pool")
                && text.contains("of ExternalIPPool service-external-ip-pool")
        }))
    })?;
    lab.apply_text(SERVICE)?;
    lab.kube().create(&service("own", json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
    for name in ["my-service", "own"] {
        let event = lab.wait_event(name, "AllocationFailed")?;
        ensure!(event.message.contains("no new address is given from what"), "{event:?}");
        ensure!(lab.addresses(name)?.is_empty(), "{name} has an address");
    }
    for (namespace, kind) in [("default", "ExternalIPPool"), ("metallb-system", "IPAddressPool")] {
        eventually_true(&format!("an event on the {kind}"), SOON, || {
            let events = lab.kube().list(&format!("/api/v1/namespaces/{namespace}/events"))?;
            Ok(events.iter().any(|event| {
                event.pointer("/involvedObject/kind") == Some(&json!(kind))
                    && event.get("reason") == Some(&json!("PoolOverlap"))
            }))
        })?;
    }
    lab.kube().delete(OWN_POOL)?;
    lab.expect_addresses("my-service", &["10.10.0.2"])?;
    lab.wait_owner("10.10.0.2")?;
    lab.apply_text(METALLB)?;
    let event = lab.wait_event("own", "AllocationFailed")?;
    ensure!(lab.addresses("own")?.is_empty(), "{event:?}");
    lab.expect_addresses("my-service", &["10.10.0.2"])
}
