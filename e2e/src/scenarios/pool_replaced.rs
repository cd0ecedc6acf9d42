// SPDX-License-Identifier: Apache-2.0
//! A pool is removed and another takes its place.
//!
//! Topology: two nodes with kube-proxy, a pod on node1, a client.
//! Steps: a Service has an address of the pool; the pool is deleted: the Service loses it and nobody answers any more; a
//! new pool comes: the Service gets one of its addresses, and is served.

use anyhow::ensure;
use serde_json::json;

use crate::lab::Lab;
use crate::lab::node::Proxy;
use crate::lab::objects::{pool, pool_of, service};

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_all(2, Proxy::Nftables)?;
    let pods = [lab.start_pod(1)?];
    lab.set_endpoints("web", &pods)?;
    lab.kube().create(&service("web", json!({})))?;
    lab.expect_addresses("web", &["172.30.0.200"])?;
    lab.wait_owner("172.30.0.200")?;
    lab.wait_page("172.30.0.200")?;

    lab.delete(&pool("pool", &[]))?;
    lab.expect_addresses("web", &[])?;
    lab.expect_silence("172.30.0.200")?;
    let object = lab.kube().get("/api/v1/namespaces/default/services/web")?;
    ensure!(pool_of(&object).is_none(), "the pool that is gone is still noted: {object}");

    lab.kube().apply(&pool("next", &["172.30.0.230-172.30.0.240"]))?;
    lab.expect_addresses("web", &["172.30.0.230"])?;
    lab.wait_owner("172.30.0.230")?;
    lab.wait_page("172.30.0.230")?;
    let object = lab.kube().get("/api/v1/namespaces/default/services/web")?;
    ensure!(pool_of(&object) == Some("next"), "another pool is noted: {object}");
    lab.expect_silence("172.30.0.200")
}
