// SPDX-License-Identifier: Apache-2.0
//! The manifests of Antrea's documentation for Services of type LoadBalancer, as they are written there, with what it says they show.
//!
//! Topology: three nodes with kube-proxy, of which two have the label of the pool; a pod on node3; a client.
//! Steps: the Service gets the first address, its status shows address and node, the client gets the page, `ferrolb get` prints it; with a
//! request it keeps that address; two Services share an address and both are served; the pool is deleted and comes again; the webhook's rules
//! that the schema has are told by the API server.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::lab::objects::EXTERNAL_POOLS;
use crate::lab::Lab;
use crate::lab::antrea::{POOL, POOL_PATH, REQUESTED, SERVICE, SHARED};
use crate::lab::kube::refusal;
use crate::lab::node::fetch;
use crate::lab::wait::{eventually, eventually_true};
use crate::lab::SOON;
use crate::scenarios::cluster_commands::ferrolb;

const METRICS: &str = "http://127.0.0.1:9120/metrics";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_for_antrea(3)?;
    let pods = [lab.start_pod(3)?];
    for name in ["my-service", "my-service-1", "my-service-2"] {
        lab.set_nameless_endpoints(name, &pods)?;
    }
    lab.apply_text(POOL)?;
    lab.apply_text(SERVICE)?;
    lab.expect_addresses("my-service", &["10.10.0.2"])?;
    let owner = lab.wait_owner("10.10.0.2")?;
    ensure!(owner != "node3", "the pool does not select node3");
    lab.expect_hostname("my-service", "10.10.0.2", &owner)?;
    lab.expect_usage(9, 1)?;
    let in_use = "ferrolb_external_ip_pool_addresses_in_use_total{pool=\"service-external-ip-pool\"} 1";
    eventually_true("the metric says so too", SOON, || {
        Ok(fetch(&lab.plane, METRICS).is_some_and(|text| text.lines().any(|line| line == in_use)))
    })?;
    lab.wait_page("10.10.0.2")?;
    printed(lab, &owner)?;

    lab.apply_text(REQUESTED)?;
    lab.expect_hostname("my-service", "10.10.0.2", &owner)?;
    lab.kube().delete("/api/v1/namespaces/default/services/my-service")?;
    lab.expect_silence("10.10.0.2")?;

    lab.apply_text(SHARED)?;
    for name in ["my-service-1", "my-service-2"] {
        lab.expect_hostname(name, "10.10.0.2", &owner)?;
    }
    lab.expect_usage(9, 1)?;
    let client = lab.client()?;
    for port in [80, 8080] {
        eventually(&format!("port {port} is served"), SOON, || Ok(client.page_on("10.10.0.2", port)))?;
    }

    lab.kube().delete(POOL_PATH)?;
    lab.expect_addresses("my-service-1", &[])?;
    lab.expect_silence("10.10.0.2")?;
    let event = lab.wait_event("my-service-1", "AllocationFailed")?;
    ensure!(event.message.ends_with("ExternalIPPool \"service-external-ip-pool\" does not exist"), "{event:?}");
    lab.apply_text(POOL)?;
    lab.expect_addresses("my-service-1", &["10.10.0.2"])?;
    lab.expect_owner("10.10.0.2", &owner)?;
    refused(lab)
}

/// What antctl would print.
fn printed(lab: &Lab, owner: &str) -> anyhow::Result<()> {
    let (ended_well, text) = ferrolb(lab, &["get", "serviceexternalip", "-o", "json"])?;
    ensure!(ended_well, "{text}");
    let printed: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    let expected = json!([{
        "serviceName": "my-service", "namespace": "default", "externalIP": "10.10.0.2",
        "externalIPPool": "service-external-ip-pool", "assignedNode": owner,
    }]);
    ensure!(printed == expected, "{text}");
    Ok(())
}

/// What the schema refuses by itself (contract C.2, C.3).
fn refused(lab: &Lab) -> anyhow::Result<()> {
    let pool = |range: Value, gateway: Option<(&str, u8)>| {
        let mut spec = json!({"ipRanges": [range], "nodeSelector": {}});
        if let (Some((gateway, length)), Some(spec)) = (gateway, spec.as_object_mut()) {
            spec.insert("subnetInfo".into(), json!({"gateway": gateway, "prefixLength": length}));
        }
        json!({"apiVersion": "crd.antrea.io/v1beta1", "kind": "ExternalIPPool", "metadata": {"name": "x"}, "spec": spec})
    };
    let both = json!({"cidr": "10.1.0.0/24", "start": "10.2.0.1", "end": "10.2.0.2"});
    let refused = refusal(lab.kube().post(EXTERNAL_POOLS, &pool(both, None)))?;
    ensure!(refused.contains("must validate one and only one schema (oneOf)"), "{refused}");
    let cidr = json!({"cidr": "10.1.0.0/24"});
    let refused = refusal(lab.kube().post(EXTERNAL_POOLS, &pool(cidr.clone(), Some(("10.1.0.1", 32)))))?;
    ensure!(refused.contains("invalid prefixLength"), "{refused}");
    lab.kube().post(EXTERNAL_POOLS, &pool(cidr, Some(("10.1.0.1", 24))))?;
    Ok(())
}
