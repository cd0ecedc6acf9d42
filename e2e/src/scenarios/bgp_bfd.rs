// SPDX-License-Identifier: Apache-2.0
//! BFD (RFC 5880) beside BGP: on the link and over several hops; a cut is noticed long before the hold time is over.
//!
//! Topology: one node; FRR and BIRD on the switch, by IPv4 and by IPv6, and FRR and BIRD once more behind another router.
//! Steps: sessions and BFD with all come up; three times the node's cable is pulled: all lose the routes while the hold
//! time is 90 s; and plugged in: all is back soon; the speaker is stopped in order: the routers hear that by BFD
//! (AdminDown) and by CEASE, the routes go. The metrics of BFD are MetalLB's, and BGPSessionStates those of frr-k8s; the one of a
//! peer that is taken away goes with it.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::lab::bgp::ASN;
use crate::lab::kube::SYSTEM;
use crate::lab::netns::Namespace;
use crate::lab::node::Proxy;
use crate::lab::objects::{bfd_profile, bgp_advertisement, bgp_peer};
use crate::lab::router::{Kind, Neighbour, Router, Setup};
use crate::lab::topology::Switch;
use crate::lab::wait::eventually_true;
use crate::lab::{Lab, SOON};

const NODE: &str = "172.30.0.11";
const NODE_V6: &str = "fd30::11";
const PREFIX: &str = "10.60.0.1/32";
const PREFIX_V6: &str = "fd60::1/128";
/// How often the cable is pulled.
const CUTS: usize = 3;
const KINDS: [Kind; 2] = [Kind::Frr, Kind::Bird];
/// Far below the hold time, far above three times 100 ms on a busy machine.
const DETECTED: Duration = Duration::from_secs(10);

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.control.install_session_states()?;
    lab.start_for_bgp(1, Proxy::Absent, &[])?;
    // BIRD sends over several hops with TTL 64, of which one is used on the way.
    let profile = json!({"transmitInterval": 100, "receiveInterval": 100, "minimumTtl": 63});
    lab.kube().apply(&bfd_profile("fast", profile))?;
    lab.kube().apply(&bgp_advertisement("a", json!({})))?;
    lab.create_service("web", &["10.60.0.1", "fd60::1"], &[1], json!({}))?;
    for kind in KINDS {
        let by_v6 = Neighbour { bfd: true, ..Neighbour::new("node6", NODE_V6, ASN) };
        lab.add_router(kind, &Setup::new(kind, vec![neighbour(false), by_v6]))?;
        lab.kube().apply(&bgp_peer(kind.name(), peer(kind, &kind.v4(), json!({}))))?;
        lab.kube().apply(&bgp_peer(&format!("{kind}-v6"), peer(kind, &kind.v6(), json!({}))))?;
    }
    let middle = lab.switch.attach("middle", "eth0", "02:fb:00:00:00:ef")?;
    middle.ip("address add 172.30.0.129/24 dev eth0")?;
    middle.sysctl(&[("net/ipv4/ip_forward", "1"), ("net/ipv4/conf/all/send_redirects", "0")])?;
    lab.node("node1")?.namespace.ip("route add 172.28.0.0/16 via 172.30.0.129")?;
    let mut far = Vec::new();
    for kind in KINDS {
        let (router, address) = beyond(&lab.switch, lab.folder(), &middle, kind)?;
        let spec = peer(kind, &address, json!({"ebgpMultiHop": true}));
        lab.kube().apply(&bgp_peer(&format!("far-{kind}"), spec))?;
        far.push(router);
    }
    lab.routers.extend(far);
    let silent = json!({"myASN": ASN, "peerASN": 65009, "peerAddress": "172.30.0.99"});
    lab.kube().apply(&bgp_peer("silent", silent))?;

    all_up(lab)?;
    let mut states: BTreeMap<String, bool> = lab
        .routers
        .iter()
        .flat_map(|router| [(router.kind.v4(), true), (router.kind.v6(), true)])
        .map(|(address, up)| (label(&address), up))
        .collect();
    states.extend([("172.28.1.2".to_owned(), true), ("172.28.2.2".to_owned(), true)]);
    states.insert("172.30.0.99".to_owned(), false);
    expect_states(lab, &states)?;
    for _ in 0..CUTS {
        lab.switch.set_cable("node1", false)?;
        for router in &lab.routers {
            eventually_true(&format!("{} has noticed", router.namespace.name()), DETECTED, || {
                let up = router.sessions()?.into_values().any(|session| session.established);
                Ok(router.routes()?.is_empty() && !up)
            })?;
        }
        lab.switch.set_cable("node1", true)?;
        // The kernel took the routes of the link along.
        let _ = lab.node("node1")?.namespace.ip("route replace 172.28.0.0/16 via 172.30.0.129");
        all_up(lab)?;
    }

    expect_states(lab, &states)?;
    lab.delete(&bgp_peer("silent", json!({})))?;
    states.remove("172.30.0.99");
    expect_states(lab, &states)?;

    let metrics = lab.metric_lines("node1", "metallb_bfd_")?;
    for kind in KINDS {
        for address in [kind.v4(), kind.v6()] {
            let value = |name: &str| -> anyhow::Result<usize> {
                let start =
                    format!("metallb_bfd_session_{name}{{peer=\"{address}\",vrf=\"default\"}} ");
                let line = metrics.iter().find_map(|line| line.strip_prefix(&start));
                Ok(line.with_context(|| format!("no {start} in {metrics:#?}"))?.parse()?)
            };
            // On a machine without time for anybody a session goes down by itself as well.
            let (up, ups, downs) = (value("up")?, value("up_events")?, value("down_events")?);
            ensure!(
                up == 1 && downs >= CUTS && ups == downs + 1,
                "{address}: up {up}, {ups} times, and {downs} times down"
            );
        }
    }
    let mut speaker = lab.node("node1")?.speaker.take().context("a speaker")?;
    speaker.terminate(SOON)?;
    for router in &lab.routers {
        router.wait_routes("nothing of a speaker that was stopped", <[_]>::is_empty)?;
        ensure!(router.bfd()?.values().all(|up| !up), "BFD of {}", router.kind);
    }
    Ok(())
}

fn neighbour(multihop: bool) -> Neighbour {
    Neighbour { bfd: true, multihop, ..Neighbour::new("node", NODE, ASN) }
}

fn peer(kind: Kind, address: &str, change: Value) -> Value {
    let mut spec = json!({
        "myASN": ASN, "peerASN": kind.asn(), "peerAddress": address, "bfdProfile": "fast",
        "connectTime": "1s",
    });
    crate::lab::objects::merge(&mut spec, change);
    spec
}

/// A router behind the one in the middle, and its address.
fn beyond(
    switch: &Switch,
    folder: &Path,
    middle: &Namespace,
    kind: Kind,
) -> anyhow::Result<(Router, String)> {
    let number = kind.asn() % 10;
    let namespace = switch.namespace(&format!("far-{kind}"))?;
    middle.ip(&format!(
        "link add far{number} type veth peer name eth0 netns {}\nlink set far{number} up\n\
         address add 172.28.{number}.1/24 dev far{number}",
        namespace.name()
    ))?;
    let address = format!("172.28.{number}.2");
    namespace.ip(&format!(
        "link set eth0 up\naddress add {address}/24 dev eth0\nroute add default via 172.28.{number}.1"
    ))?;
    let mut router = Router::within(kind, namespace, folder)?;
    // BIRD does BFD over several hops only from an address that it is told.
    let local = Some(address.clone());
    let mut setup = Setup::new(kind, vec![Neighbour { local, ..neighbour(true) }]);
    setup.identifier.clone_from(&address);
    router.start(&setup.text(kind))?;
    Ok((router, address))
}

/// An address as a BGPSessionState has it: IPv6 in full, with hyphens.
fn label(address: &str) -> String {
    let Ok(address) = address.parse::<Ipv6Addr>() else { return address.to_owned() };
    address.segments().map(|group| format!("{group:04x}")).join("-")
}

/// There are BGPSessionStates of exactly these peers: Established with BFD up, or neither.
fn expect_states(lab: &Lab, wanted: &BTreeMap<String, bool>) -> anyhow::Result<()> {
    let path = format!("/apis/frrk8s.metallb.io/v1beta1/namespaces/{SYSTEM}/bgpsessionstates");
    let mut statuses = Vec::new();
    eventually_true("the BGPSessionStates are as expected", SOON, || {
        let objects = lab.kube().list(&path)?;
        statuses = objects.iter().filter_map(|object| object.get("status").cloned()).collect();
        let seen: BTreeMap<String, bool> = statuses
            .iter()
            .filter_map(|status| {
                let field = |name: &str| status.get(name).and_then(Value::as_str);
                let up = match (field("bgpStatus")?, field("bfdStatus")?) {
                    ("Established", "up") => true,
                    ("Idle" | "Connect" | "Active", "N/A") => false,
                    _ => return None,
                };
                Some((field("peer")?.to_owned(), up)).filter(|_| field("node") == Some("node1"))
            })
            .collect();
        Ok(seen == *wanted && statuses.len() == wanted.len())
    })
    .with_context(|| format!("{statuses:#?} instead of {wanted:?}"))
}

/// Every router has the routes and BFD sessions that are up.
fn all_up(lab: &Lab) -> anyhow::Result<()> {
    for (number, router) in lab.routers.iter().enumerate() {
        let name = router.namespace.name();
        let mut wanted = vec![(NODE, "node", PREFIX)];
        // Those behind another router come after those on the link.
        if number < KINDS.len() {
            wanted.push((NODE_V6, "node6", PREFIX_V6));
        }
        for (address, protocol, prefix) in wanted {
            let mut seen = None;
            eventually_true(&format!("BFD of {name} with {address} is up"), SOON, || {
                let bfd = router.bfd()?;
                let up = bfd.get(address) == Some(&true);
                seen = Some(bfd);
                Ok(up)
            })
            .with_context(|| format!("last: {seen:?}"))?;
            let key = if router.kind == Kind::Bird { protocol } else { address };
            router.wait_prefixes(key, &[prefix]).context(name.to_owned())?;
        }
    }
    Ok(())
}
