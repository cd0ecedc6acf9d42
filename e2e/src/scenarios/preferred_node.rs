// SPDX-License-Identifier: Apache-2.0
//! preferredNodeSelectors of an L2Advertisement: the node with the highest sum of weights announces.
//!
//! Topology: three nodes with speakers, a client; no pods: endpoints are only named.
//! Steps: without labels the hash decides; a label that is preferred moves the address to its node; two preferences on
//! another node outweigh it; without labels the hash decides again.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::lab::Lab;
use crate::lab::node::{PodAddresses, Proxy};
use crate::lab::objects::{l2_advertisement, service};

const ADDRESS: &str = "172.30.0.200";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_all(3, Proxy::Absent)?;
    let prefer = |label: &str, weight: u32| {
        json!({"weight": weight, "preference": {"matchLabels": {label: "yes"}}})
    };
    lab.kube().apply(&l2_advertisement("all", json!({
        "preferredNodeSelectors": [prefer("fast", 60), prefer("big", 50), prefer("new", 20)],
    })))?;
    let endpoint = PodAddresses {
        node: "node1".into(),
        v4: "10.244.1.99".into(),
        v6: "fd00:244:1::99".into(),
    };
    lab.set_endpoints("web", &[endpoint])?;
    lab.kube().create(&service("web", json!({})))?;
    lab.expect_addresses("web", &[ADDRESS])?;
    let by_hash = lab.wait_owner(ADDRESS)?;
    let mut others = lab.nodes.iter().map(|node| node.name.clone()).filter(|name| *name != by_hash);
    let second = others.next().context("a second node")?;
    let third = others.next().context("a third node")?;
    drop(others);

    label(lab, &second, &json!({"fast": "yes"}))?;
    lab.expect_owner(ADDRESS, &second)?;
    label(lab, &third, &json!({"big": "yes", "new": "yes"}))?;
    lab.expect_owner(ADDRESS, &third)?;
    label(lab, &third, &json!({"new": null}))?;
    lab.expect_owner(ADDRESS, &second)?;
    label(lab, &second, &json!({"fast": null}))?;
    lab.expect_owner(ADDRESS, &third)?;
    label(lab, &third, &json!({"big": null}))?;
    lab.expect_owner(ADDRESS, &by_hash)?;
    ensure!(second != third, "the nodes are different ones");
    Ok(())
}

fn label(lab: &Lab, node: &str, labels: &Value) -> anyhow::Result<()> {
    lab.kube().patch(&format!("/api/v1/nodes/{node}"), &json!({"metadata": {"labels": labels}}))?;
    Ok(())
}
