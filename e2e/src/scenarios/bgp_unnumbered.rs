// SPDX-License-Identifier: Apache-2.0
//! A peer by interface (RFC 8950): FRR finds the node, and the node finds FRR, by router advertisements alone.
//!
//! Topology: one node with kube-proxy and a pod, a cable from it to FRR that has no addresses but link-local ones, and a
//! machine behind FRR.
//! Steps: one session carries both families, IPv4 with an IPv6 next hop; pages are served through it; FRR is killed and
//! started again: the session and the routes are back.

use anyhow::{Context, ensure};
use serde_json::json;

use crate::lab::bgp::ASN;
use crate::lab::node::{Proxy, fetch};
use crate::lab::objects::{bgp_advertisement, bgp_peer};
use crate::lab::router::{Kind, Route, Router};
use crate::lab::wait::eventually_true;
use crate::lab::{Lab, SOON};

const PREFIXES: [&str; 2] = ["10.60.0.1/32", "fd60::1/128"];
const CONFIG: &str = "log stdout informational
interface eth1
 no ipv6 nd suppress-ra
 ipv6 nd ra-interval 1
exit
router bgp 65001
 bgp router-id 172.30.0.121
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor eth1 interface remote-as external
 neighbor eth1 timers connect 2
 address-family ipv4 unicast
  neighbor eth1 activate
 exit-address-family
 address-family ipv6 unicast
  neighbor eth1 activate
 exit-address-family
";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_for_bgp(1, Proxy::Nftables, &[])?;
    let namespace = lab.switch.namespace("frr")?;
    lab.node("node1")?.namespace.ip(&format!(
        "link add eth1 type veth peer name eth1 netns {}\nlink set eth1 up",
        namespace.name()
    ))?;
    namespace.ip("link set eth1 up")?;
    namespace.sysctl(&[
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv6/conf/all/forwarding", "1"),
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/eth1/rp_filter", "0"),
    ])?;
    let mut router = Router::within(Kind::Frr, namespace, lab.folder())?;
    router.start(CONFIG)?;
    lab.routers.push(router);

    lab.kube().apply(&bgp_advertisement("a", json!({})))?;
    let pod = lab.start_pod(1)?;
    lab.set_endpoints("web", &[pod])?;
    lab.create_bare_service("web", &["10.60.0.1", "fd60::1"], json!({}))?;
    let spec = json!({"myASN": ASN, "dynamicASN": "external", "interface": "eth1"});
    lab.kube().apply(&bgp_peer("frr", spec))?;
    expect(lab)?;

    // A machine behind FRR; the node sends its answers by the same cable.
    let behind = lab.switch.namespace("behind")?;
    let router = lab.router(Kind::Frr)?;
    router.namespace.ip(&format!(
        "link add lan type veth peer name eth0 netns {}\nlink set lan up\n\
         address add 172.29.1.1/24 dev lan\naddress add fd29:1::1/64 dev lan",
        behind.name()
    ))?;
    behind.ip(
        "link set eth0 up\naddress add 172.29.1.2/24 dev eth0\naddress add fd29:1::2/64 dev eth0\n\
         route add default via 172.29.1.1\nroute add default via fd29:1::1",
    )?;
    let link_local = router.namespace.run("ip", ["-o", "-6", "addr", "show", "dev", "eth1"])?;
    let link_local = link_local.split_whitespace().find_map(|word| word.strip_suffix("/64"));
    let via = link_local.context("FRR's link-local address")?.to_owned();
    lab.node("node1")?.namespace.ip(&format!(
        "route add 172.29.1.0/24 via inet6 {via} dev eth1\nroute add fd29:1::/64 via {via} dev eth1"
    ))?;
    for host in ["10.60.0.1", "[fd60::1]"] {
        eventually_true(&format!("{host} is served"), SOON, || {
            Ok(fetch(&behind, &format!("http://{host}/")).as_deref() == Some("node1"))
        })?;
    }
    lab.router_mut(Kind::Frr)?.restart()?;
    expect(lab)
}

fn expect(lab: &Lab) -> anyhow::Result<()> {
    let routes = lab.router(Kind::Frr)?.wait_routes("both prefixes", |routes| {
        let prefixes: Vec<&str> = routes.iter().map(|route| route.prefix.as_str()).collect();
        prefixes == PREFIXES
    })?;
    for Route { prefix, next_hops, as_path, .. } in &routes {
        ensure!(as_path == "64512", "{prefix}: {as_path}");
        ensure!(next_hops.iter().any(|hop| hop.starts_with("fe80:")), "{prefix}: {next_hops:?}");
    }
    let session = lab.router(Kind::Frr)?.session("eth1")?;
    ensure!(session.established, "{session:?}");
    Ok(())
}
