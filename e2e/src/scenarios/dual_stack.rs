// SPDX-License-Identifier: Apache-2.0
//! A dual-stack Service has an address of each family, IPv4 first, both on one node.
//!
//! Topology: three nodes with kube-proxy, pods on node1 and node2, a client.
//! Steps: a Service with RequireDualStack gets both; one node answers for both; pages come through both.

use anyhow::ensure;
use serde_json::json;

use crate::lab::Lab;
use crate::lab::node::Proxy;
use crate::lab::objects::service;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_all(3, Proxy::Nftables)?;
    let pods = [lab.start_pod(1)?, lab.start_pod(2)?];
    lab.set_endpoints("web", &pods)?;
    lab.kube().create(&service("web", json!({"spec": {"ipFamilyPolicy": "RequireDualStack"}})))?;
    lab.expect_addresses("web", &["172.30.0.200", "fd30::1000"])?;
    let owner = lab.wait_owner("172.30.0.200")?;
    lab.expect_owner("fd30::1000", &owner)?;
    lab.wait_page("172.30.0.200")?;
    lab.wait_page("fd30::1000")?;
    let event = lab.wait_event("web", "IPAllocated")?;
    ensure!(event.message == r#"Assigned IP ["172.30.0.200" "fd30::1000"]"#, "{event:?}");
    Ok(())
}
