// SPDX-License-Identifier: Apache-2.0
//! An address moves away from a node that is not to announce, and comes back.
//!
//! Topology: three nodes with kube-proxy, a pod on each, a client that has learned the owner.
//! Steps: the owner's node gets the label node.kubernetes.io/exclude-from-external-load-balancers: another node answers
//! with its own hardware address and the page is served without the client forgetting anything; the label goes:
//! the first node answers again. The same with the condition NetworkUnavailable.

use anyhow::ensure;
use serde_json::{Value, json};

use crate::lab::node::Proxy;
use crate::lab::objects::service;
use crate::lab::wait::eventually_true;
use crate::lab::{Lab, SOON};

const EXCLUDE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
const ADDRESS: &str = "172.30.0.200";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_all(3, Proxy::Nftables)?;
    let pods = [lab.start_pod(1)?, lab.start_pod(2)?, lab.start_pod(3)?];
    lab.set_endpoints("web", &pods)?;
    lab.kube().create(&service("web", json!({})))?;
    lab.expect_addresses("web", &[ADDRESS])?;
    let first = lab.wait_owner(ADDRESS)?;
    lab.wait_page(ADDRESS)?;
    expect_neighbour(lab, &first)?;

    let node = format!("/api/v1/nodes/{first}");
    let label = |value: Value| json!({"metadata": {"labels": {EXCLUDE: value}}});
    lab.kube().patch(&node, &label("".into()))?;
    expect_moved(lab, &first)?;
    lab.kube().patch(&node, &label(Value::Null))?;
    expect_back(lab, &first)?;

    let status = format!("{node}/status");
    let condition = |status: &str| {
        json!({"status": {"conditions": [
            {"type": "Ready", "status": "True"},
            {"type": "NetworkUnavailable", "status": status},
        ]}})
    };
    lab.kube().patch(&status, &condition("True"))?;
    expect_moved(lab, &first)?;
    lab.kube().patch(&status, &condition("False"))?;
    expect_back(lab, &first)
}

fn expect_moved(lab: &mut Lab, first: &str) -> anyhow::Result<()> {
    eventually_true(&format!("another node than {first} answers"), SOON, || {
        let owners = lab.owners(ADDRESS)?;
        Ok(owners.len() == 1 && !owners.contains(first))
    })?;
    let second = lab.wait_owner(ADDRESS)?;
    ensure!(second != first, "{second} answers again");
    lab.wait_page(ADDRESS)?;
    expect_neighbour(lab, &second)
}

fn expect_back(lab: &mut Lab, first: &str) -> anyhow::Result<()> {
    lab.expect_owner(ADDRESS, first)?;
    lab.wait_page(ADDRESS)?;
    expect_neighbour(lab, first)
}

/// The client's kernel sends to this node: it was told by an announcement, nobody made it forget.
fn expect_neighbour(lab: &mut Lab, node: &str) -> anyhow::Result<()> {
    let mac = lab.node(node)?.mac()?;
    let client = lab.client()?;
    eventually_true(&format!("the client's kernel sends to {node}"), SOON, || {
        let entry = client.namespace.run("ip", ["neigh", "show", ADDRESS])?;
        Ok(entry.contains(&mac))
    })
}
