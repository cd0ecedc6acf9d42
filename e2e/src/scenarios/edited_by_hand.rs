// SPDX-License-Identifier: Apache-2.0
//! What people do to objects by hand is repaired, and configuration that contradicts takes nothing down.
//!
//! Topology: two nodes, a client.
//! Steps: the status of a Service is emptied, then given a foreign address: the own one comes back, and is answered all
//! the time in the end; the annotation with the pool is removed: it comes back; a second pool that overlaps is applied:
//! the first stays, the Service keeps its address, a new Service gets one of the first pool; a pool that is not valid
//! is applied over the first: nobody loses an address, nobody new gets one of it.

use anyhow::Context;
use serde_json::{Value, json};

use crate::lab::node::{PodAddresses, Proxy};
use crate::lab::objects::{POOL_V4, pool, pool_of, service};
use crate::lab::wait::{always, eventually_true};
use crate::lab::{Lab, SOON};
use std::time::Duration;

const WEB: &str = "/api/v1/namespaces/default/services/web";
const ADDRESS: &str = "172.30.0.200";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_all(2, Proxy::Absent)?;
    let endpoint = PodAddresses {
        node: "node1".into(),
        v4: "10.244.1.99".into(),
        v6: "fd00:244:1::99".into(),
    };
    lab.set_endpoints("web", &[endpoint])?;
    lab.kube().create(&service("web", json!({})))?;
    lab.expect_addresses("web", &[ADDRESS])?;
    let owner = lab.wait_owner(ADDRESS)?;

    for ingress in [Value::Null, json!([{"ip": "192.0.2.1"}]), json!([{"hostname": "example.com"}])] {
        let status = json!({"status": {"loadBalancer": {"ingress": ingress}}});
        lab.kube().patch(&format!("{WEB}/status"), &status)?;
        expect_whole(lab)?;
        lab.expect_owner(ADDRESS, &owner)?;
    }
    let annotation = json!({"metadata": {"annotations": {"metallb.io/ip-allocated-from-pool": null}}});
    lab.kube().patch(WEB, &annotation)?;
    expect_whole(lab)?;

    // Older first; names must not matter, so the newer one sorts before the older.
    lab.kube().apply(&pool("a-newer", &["172.30.0.190-172.30.0.205"]))?;
    lab.kube().create(&service("second", json!({})))?;
    lab.expect_addresses("second", &["172.30.0.201"])?;
    expect_whole(lab)?;

    lab.kube().delete("/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools/a-newer")?;
    lab.kube().apply(&pool("pool", &[POOL_V4, "172.30.0.300"]))?;
    lab.expect_owner(ADDRESS, &owner)?;
    always("nobody loses an address", Duration::from_millis(500), || {
        Ok(lab.addresses("web")? == [ADDRESS] && lab.addresses("second")? == ["172.30.0.201"])
    })?;
    lab.expect_owner(ADDRESS, &owner)?;
    let controller = lab.controller.as_ref().context("the controller runs")?;
    eventually_true("the log tells of the invalid pool", SOON, || {
        Ok(controller.log().contains("172.30.0.300"))
    })
}

fn expect_whole(lab: &Lab) -> anyhow::Result<()> {
    eventually_true("address and pool are those given", SOON, || {
        let service = lab.kube().get(WEB)?;
        let status = service.pointer("/status/loadBalancer/ingress");
        let given = status.and_then(Value::as_array).map(Vec::as_slice);
        let ips: Vec<Option<&str>> = given
            .unwrap_or_default()
            .iter()
            .map(|entry| entry.get("ip").and_then(Value::as_str))
            .collect();
        Ok(ips == [Some(ADDRESS)] && pool_of(&service) == Some("pool"))
    })
}
