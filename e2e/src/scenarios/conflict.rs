// SPDX-License-Identifier: Apache-2.0
//! Another node answers for an address with its kernel, as kube-proxy's IPVS mode does without strictARP: the owner
//! notices, though that node never announces anything, and names it.
//!
//! Topology: three nodes with speakers, a client; announcements every two seconds instead of every minute.
//! Steps: a Service is announced; another node's kernel gets the address on its loopback; a Warning event
//! addressConflict on the Service names that node. The same by IPv6, where a kernel answers for addresses of the link.

use anyhow::{Context, ensure};
use serde_json::json;

use crate::lab::wait::eventually;
use crate::lab::{Lab, SOON};
use crate::lab::node::{PodAddresses, Proxy};
use crate::lab::objects::{POOL_V4, POOL_V6, l2_advertisement, pool, service};

const ADDRESS: &str = "172.30.0.200";
const ADDRESS_V6: &str = "fd30::1000";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.client()?;
    lab.start_controller(&[])?;
    lab.start_nodes(3, Proxy::Absent)?;
    // Each announcement asks as well whether somebody else is there.
    lab.start_speakers(&["--announce-interval=2s"])?;
    lab.kube().apply(&pool("pool", &[POOL_V4, POOL_V6]))?;
    lab.kube().apply(&l2_advertisement("all", json!({})))?;
    let endpoint = PodAddresses {
        node: "node1".into(),
        v4: "10.244.1.99".into(),
        v6: "fd00:244:1::99".into(),
    };
    lab.set_endpoints("web", std::slice::from_ref(&endpoint))?;
    lab.kube().create(&service("web", json!({})))?;
    lab.expect_addresses("web", &[ADDRESS])?;
    let owner = lab.wait_owner(ADDRESS)?;
    let other = lab.nodes.iter().find(|node| node.name != owner).context("another node")?;
    let (name, mac) = (other.name.clone(), other.mac()?);
    other.namespace.ip(&format!("address add {ADDRESS}/32 dev lo"))?;

    expect_conflict(lab, "web", &name, &mac)?;

    lab.kube().create(&service("six", json!({"spec": {"ipFamilies": ["IPv6"]}})))?;
    lab.set_endpoints("six", &[endpoint])?;
    lab.expect_addresses("six", &[ADDRESS_V6])?;
    let owner = lab.wait_owner(ADDRESS_V6)?;
    let other = lab.nodes.iter().find(|node| node.name != owner).context("another node")?;
    let (name, mac) = (other.name.clone(), other.mac()?);
    other.namespace.ip(&format!("address add {ADDRESS_V6}/128 dev eth0 nodad"))?;
    expect_conflict(lab, "six", &name, &mac)
}

fn expect_conflict(lab: &Lab, service: &str, node: &str, mac: &str) -> anyhow::Result<()> {
    // Seen at the latest when the owner probes, once per announce interval (60 s).
    let event = eventually("an event addressConflict", SOON * 4, || {
        let events = lab.kube().events(service)?;
        Ok(events.into_iter().find(|event| event.reason == "addressConflict"))
    })?;
    ensure!(event.kind == "Warning", "{event:?}");
    ensure!(event.message.contains(node) && event.message.contains(mac), "{event:?}");
    Ok(())
}
