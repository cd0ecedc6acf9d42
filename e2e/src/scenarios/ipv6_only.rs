// SPDX-License-Identifier: Apache-2.0
//! A cluster without IPv4.
//!
//! Topology: a control plane whose Services have IPv6 only; two nodes without IPv4, a pod on each, a client.
//! Steps: the controller is ready at its IPv6 address, which is where kubelet asks; a Service gets an IPv6 address of a pool that has both families; one node answers NDP; a page is served; a
//! Service that asks for an IPv4 address is refused with a reason.

use anyhow::ensure;
use serde_json::json;

use crate::lab::node::{Proxy, fetch};
use crate::lab::objects::service;
use crate::lab::wait::eventually_true;
use crate::lab::{Lab, SOON};

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_all(2, Proxy::Nftables)?;
    let ready = format!("http://[{}]:17472/readyz", lab.control.families.address());
    eventually_true("the controller is ready", SOON, || Ok(fetch(&lab.plane, &ready).is_some()))?;
    let pods = [lab.start_pod(1)?, lab.start_pod(2)?];
    lab.set_endpoints("web", &pods)?;
    lab.kube().create(&service("web", json!({})))?;
    lab.expect_addresses("web", &["fd30::1000"])?;
    lab.wait_owner("fd30::1000")?;
    lab.wait_page("fd30::1000")?;
    lab.kube().create(&service("old", json!({
        "metadata": {"annotations": {"metallb.io/loadBalancerIPs": "172.30.0.200"}},
    })))?;
    let event = lab.wait_event("old", "AllocationFailed")?;
    ensure!(event.message.contains("does not match the ipFamily of the service"), "{event:?}");
    ensure!(lab.addresses("old")?.is_empty(), "an address of the wrong family was given");
    Ok(())
}
