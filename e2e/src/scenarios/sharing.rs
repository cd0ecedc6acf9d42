// SPDX-License-Identifier: Apache-2.0
//! Two Services share one address, and others do not get in.
//!
//! Topology: two nodes with kube-proxy, a pod on node1, a client.
//! Steps: Services `one` (port 80) and `two` (port 81) with the same sharing key and a request for the same address both
//! get it and are served; `rival` with the same key and port 80 stays pending, with a reason; `other` with another key
//! stays pending; when `one` is deleted `two` is served on and `rival` gets the address.

use anyhow::ensure;
use serde_json::{Value, json};

use crate::lab::kube::path;
use crate::lab::node::Proxy;
use crate::lab::objects::service;
use crate::lab::wait::{always, eventually};
use crate::lab::{Lab, SOON};
use std::time::Duration;

const ADDRESS: &str = "172.30.0.205";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_all(2, Proxy::Nftables)?;
    let pods = [lab.start_pod(1)?];
    for name in ["one", "two", "rival"] {
        lab.set_endpoints(name, &pods)?;
    }
    let one = sharer("one", "key", 80);
    lab.kube().create(&one)?;
    lab.expect_addresses("one", &[ADDRESS])?;
    lab.kube().create(&sharer("two", "key", 81))?;
    lab.expect_addresses("two", &[ADDRESS])?;
    let owner = lab.wait_owner(ADDRESS)?;
    expect_page(lab, 80)?;
    expect_page(lab, 81)?;

    lab.kube().create(&sharer("rival", "key", 80))?;
    let event = lab.wait_event("rival", "AllocationFailed")?;
    ensure!(event.message.ends_with("port TCP/80 is already in use on \"172.30.0.205\""), "{event:?}");
    lab.kube().create(&sharer("other", "another", 82))?;
    let event = lab.wait_event("other", "AllocationFailed")?;
    ensure!(event.message.ends_with("address also in use by default/one,default/two"), "{event:?}");

    lab.kube().delete(&path(&one))?;
    lab.expect_addresses("rival", &[ADDRESS])?;
    always("two is served on by the same node", Duration::from_millis(500), || {
        Ok(lab.addresses("two")? == [ADDRESS] && lab.owners(ADDRESS)?.contains(&owner))
    })?;
    expect_page(lab, 81)?;
    ensure!(lab.addresses("other")?.is_empty(), "another key got in");
    Ok(())
}

fn sharer(name: &str, key: &str, port: u16) -> Value {
    let annotations = json!({
        "metallb.io/allow-shared-ip": key,
        "metallb.io/loadBalancerIPs": ADDRESS,
    });
    let ports = json!([{"name": "http", "port": port, "targetPort": 8080, "protocol": "TCP"}]);
    service(name, json!({"metadata": {"annotations": annotations}, "spec": {"ports": ports}}))
}

fn expect_page(lab: &mut Lab, port: u16) -> anyhow::Result<String> {
    let client = lab.client()?;
    eventually(&format!("port {port} is served"), SOON, || Ok(client.page_on(ADDRESS, port)))
}
