// SPDX-License-Identifier: Apache-2.0
//! The other half of Antrea's documentation, MetalLB's way, as it is written there: first layer 2, then BGP.
//!
//! Topology: two nodes with kube-proxy, a pod on node2, a client; BIRD, whose address is the document's 10.0.0.1 and whose AS number is 64501.
//! Steps: the manifests for layer 2 alone: a Service gets the first address and is served; they go and those for BGP come: it has that
//! address again, nobody answers ARP for it, and BIRD has the route from AS 64500 over both nodes.

use anyhow::ensure;
use serde_json::json;

use crate::lab::Lab;
use crate::lab::antrea::METALLB;
use crate::lab::kube::{documents, path};
use crate::lab::node::Proxy;
use crate::lab::objects::service;
use crate::lab::router::{Kind, Neighbour, Setup};

const BGP: &str = include_str!("../../manifests/antrea/metallb-bgp.yaml");
const ROUTER: &str = "10.0.0.1";
const ROUTER_ASN: u32 = 64501;
const ASN: u32 = 64500;
const ADDRESS: &str = "10.10.0.2";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.client()?.namespace.ip("route add 10.10.0.0/24 dev eth0")?;
    lab.start_controller(&[])?;
    lab.start_nodes(2, Proxy::Nftables)?;
    lab.start_speakers(&[])?;
    let pod = lab.start_pod(2)?;
    lab.apply_text(METALLB)?;
    lab.set_endpoints("web", &[pod])?;
    lab.kube().create(&service("web", json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
    lab.expect_addresses("web", &[ADDRESS])?;
    lab.wait_owner(ADDRESS)?;
    lab.wait_page(ADDRESS)?;
    for object in documents(METALLB)? {
        lab.kube().delete(&path(&object))?;
    }
    lab.expect_addresses("web", &[])?;

    let neighbours = (1..=2).map(|node| Neighbour {
        local: Some(ROUTER.to_owned()),
        local_asn: Some(ROUTER_ASN),
        ..Neighbour::new(&format!("node{node}"), &format!("172.30.0.{}", 10 + node), ASN)
    });
    lab.add_router(Kind::Bird, &Setup::new(Kind::Bird, neighbours.collect()))?;
    let router = lab.router(Kind::Bird)?;
    router.namespace.ip(&format!("address add {ROUTER}/32 dev eth0"))?;
    for node in &lab.nodes {
        node.namespace.ip(&format!("route add {ROUTER}/32 dev eth0"))?;
    }
    lab.apply_text(BGP)?;
    lab.expect_addresses("web", &[ADDRESS])?;
    let router = lab.router(Kind::Bird)?;
    router.wait_all_established(&["node1", "node2"])?;
    let routes = router.wait_routes("the route from both nodes", |routes| routes.len() == 2)?;
    for route in routes {
        ensure!(route.prefix == format!("{ADDRESS}/32"), "{route:?}");
        ensure!(route.as_path == ASN.to_string(), "{route:?}");
    }
    lab.expect_silence(ADDRESS)
}
