// SPDX-License-Identifier: Apache-2.0
//! A requested address is given, and a second request waits until it is free.
//!
//! Topology: two nodes with kube-proxy, a pod on node2, a client.
//! Steps: `first` asks for 172.30.0.210 and gets it; `second` asks for the same, is told why it must wait, and is given
//! nothing else; `first` is deleted: `second` gets it and is served; a request outside of all pools is refused with a
//! reason.

use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::lab::Lab;
use crate::lab::kube::path;
use crate::lab::node::Proxy;
use crate::lab::objects::service;
use crate::lab::wait::always;

const ADDRESS: &str = "172.30.0.210";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_all(2, Proxy::Nftables)?;
    let pods = [lab.start_pod(2)?];
    lab.set_endpoints("first", &pods)?;
    lab.set_endpoints("second", &pods)?;
    let first = asking("first", ADDRESS);
    lab.kube().create(&first)?;
    lab.expect_addresses("first", &[ADDRESS])?;
    lab.kube().create(&asking("second", ADDRESS))?;
    let event = lab.wait_event("second", "AllocationFailed")?;
    ensure!(event.kind == "Warning", "{event:?}");
    ensure!(event.message.starts_with("Failed to allocate IP for \"default/second\": "), "{event:?}");
    always("second waits", Duration::from_millis(300), || Ok(lab.addresses("second")?.is_empty()))?;

    lab.kube().delete(&path(&first))?;
    lab.expect_addresses("second", &[ADDRESS])?;
    lab.wait_owner(ADDRESS)?;
    lab.wait_page(ADDRESS)?;

    lab.kube().create(&asking("outside", "192.0.2.1"))?;
    let event = lab.wait_event("outside", "AllocationFailed")?;
    ensure!(event.message.contains("192.0.2.1"), "{event:?}");
    Ok(())
}

fn asking(name: &str, address: &str) -> Value {
    service(name, json!({"metadata": {"annotations": {"metallb.io/loadBalancerIPs": address}}}))
}
