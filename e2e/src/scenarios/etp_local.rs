// SPDX-License-Identifier: Apache-2.0
//! externalTrafficPolicy Local: the address is where the pod is.
//!
//! Topology: three nodes with kube-proxy, pods on node2 and node3, a client.
//! Steps: only the pod on node2 is an endpoint: node2 answers and serves; then only that on node3: node3 answers and
//! serves; then none: nobody answers; then both: one of the two answers.

use anyhow::ensure;
use serde_json::json;

use crate::lab::Lab;
use crate::lab::node::Proxy;
use crate::lab::objects::service;
use crate::lab::wait::eventually_true;

const ADDRESS: &str = "172.30.0.200";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_all(3, Proxy::Nftables)?;
    let pods = [lab.start_pod(2)?, lab.start_pod(3)?];
    lab.kube().create(&service("web", json!({"spec": {"externalTrafficPolicy": "Local"}})))?;
    lab.expect_addresses("web", &[ADDRESS])?;
    for pod in &pods {
        lab.set_endpoints("web", std::slice::from_ref(pod))?;
        lab.expect_owner(ADDRESS, &pod.node)?;
        let client = lab.client()?;
        eventually_true(&format!("the pod on {} serves", pod.node), crate::lab::SOON, || {
            Ok(client.page(ADDRESS).as_deref() == Some(pod.node.as_str()))
        })?;
    }
    lab.set_endpoints("web", &[])?;
    lab.expect_silence(ADDRESS)?;
    lab.set_endpoints("web", &pods)?;
    let owner = lab.wait_owner(ADDRESS)?;
    ensure!(owner == "node2" || owner == "node3", "{owner} has no endpoint");
    Ok(())
}
