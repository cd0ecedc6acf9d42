// SPDX-License-Identifier: Apache-2.0
//! As `http_ipv4`, for IPv6: one node answers Neighbor Solicitations, a page is served.
//!
//! Topology: three nodes with kube-proxy in nftables mode, pods on node1 and node3, a client.
//! Steps: apply a Service of family IPv6 with endpoints; its address is the pool's first; exactly one node answers
//! NDP, with its own hardware address; the page of either pod comes back.

use anyhow::ensure;
use serde_json::json;

use crate::lab::Lab;
use crate::lab::node::Proxy;
use crate::lab::objects::service;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_all(3, Proxy::Nftables)?;
    let pods = [lab.start_pod(1)?, lab.start_pod(3)?];
    lab.set_endpoints("web", &pods)?;
    lab.kube().create(&service("web", json!({"spec": {"ipFamilies": ["IPv6"]}})))?;

    lab.expect_addresses("web", &["fd30::1000"])?;
    let owner = lab.wait_owner("fd30::1000")?;
    let mac = lab.node(&owner)?.mac()?;
    let answered = lab.client()?.who_has("fd30::1000")?;
    ensure!(answered.iter().eq([&mac]), "{owner} has {mac}, answered was {answered:?}");
    // What a person would type.
    let client = &lab.client()?.namespace;
    let text = client.run("ndisc6", ["-1", "-q", "fd30::1000", "eth0"])?.to_lowercase();
    ensure!(text.trim() == mac, "ndisc6 says {text:?}, {owner} has {mac}");
    let page = lab.wait_page("fd30::1000")?;
    ensure!(page == "node1" || page == "node3", "an unknown page: {page}");
    Ok(())
}
