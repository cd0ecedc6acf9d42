// SPDX-License-Identifier: Apache-2.0
//! BFD (RFC 5880) beside BGP: on the link and over several hops; a cut is noticed long before the hold time is over.
//!
//! Topology: one node; FRR and BIRD on the switch, and FRR and BIRD once more behind another router.
//! Steps: sessions and BFD with all four come up; the node's cable is pulled: all four lose the routes while the hold
//! time is 90 s; it is plugged in: all is back; the speaker is stopped in order: the routers hear that by BFD
//! (AdminDown) and by CEASE, the routes go. The metrics of BFD are MetalLB's.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::lab::bgp::ASN;
use crate::lab::netns::Namespace;
use crate::lab::node::Proxy;
use crate::lab::objects::{bfd_profile, bgp_advertisement, bgp_peer};
use crate::lab::router::{Kind, Neighbour, Router, Setup};
use crate::lab::topology::Switch;
use crate::lab::wait::eventually_true;
use crate::lab::{Lab, SOON};

const NODE: &str = "172.30.0.11";
const PREFIX: &str = "10.60.0.1/32";
const KINDS: [Kind; 2] = [Kind::Frr, Kind::Bird];
/// Far below the hold time, far above three times 100 ms on a busy machine.
const DETECTED: Duration = Duration::from_secs(10);

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_for_bgp(1, Proxy::Absent, &[])?;
    // BIRD sends over several hops with TTL 64, of which one is used on the way.
    let profile = json!({"transmitInterval": 100, "receiveInterval": 100, "minimumTtl": 63});
    lab.kube().apply(&bfd_profile("fast", profile))?;
    lab.kube().apply(&bgp_advertisement("a", json!({})))?;
    lab.create_service("web", &["10.60.0.1"], &[1], json!({}))?;
    for kind in KINDS {
        lab.add_router(kind, &Setup::new(kind, vec![neighbour(false)]))?;
        lab.kube().apply(&bgp_peer(kind.name(), peer(kind, &kind.v4(), json!({}))))?;
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

    all_up(lab)?;
    lab.switch.set_cable("node1", false)?;
    for router in &lab.routers {
        eventually_true(&format!("{} has noticed", router.namespace.name()), DETECTED, || {
            Ok(router.routes()?.is_empty() && !router.session(key(router.kind))?.established)
        })?;
    }
    lab.switch.set_cable("node1", true)?;
    // The kernel took the routes of the link along.
    let _ = lab.node("node1")?.namespace.ip("route replace 172.28.0.0/16 via 172.30.0.129");
    all_up(lab)?;

    let metrics = lab.metric_lines("node1", "metallb_bfd_")?;
    for kind in KINDS {
        for line in [
            format!("metallb_bfd_session_up{{peer=\"{}\",vrf=\"default\"}} 1", kind.v4()),
            format!("metallb_bfd_session_up_events{{peer=\"{}\",vrf=\"default\"}} 2", kind.v4()),
            format!("metallb_bfd_session_down_events{{peer=\"{}\",vrf=\"default\"}} 1", kind.v4()),
        ] {
            ensure!(metrics.contains(&line), "no {line} in {metrics:#?}");
        }
    }
    let mut speaker = lab.node("node1")?.speaker.take().context("a speaker")?;
    speaker.terminate(SOON)?;
    for router in &lab.routers {
        router.wait_routes("nothing of a speaker that was stopped", <[_]>::is_empty)?;
        ensure!(router.bfd()?.get(NODE) != Some(&true), "BFD of {}", router.kind);
    }
    Ok(())
}

fn key(kind: Kind) -> &'static str {
    if kind == Kind::Bird { "node" } else { NODE }
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

/// Every router has the route and a BFD session that is up.
fn all_up(lab: &Lab) -> anyhow::Result<()> {
    for router in &lab.routers {
        let name = router.namespace.name();
        let mut seen = None;
        eventually_true(&format!("BFD of {name} is up"), SOON, || {
            let bfd = router.bfd()?;
            let up = bfd.get(NODE) == Some(&true);
            seen = Some(bfd);
            Ok(up)
        })
        .with_context(|| format!("last: {seen:?}"))?;
        router.wait_prefixes(key(router.kind), &[PREFIX]).context(name.to_owned())?;
    }
    Ok(())
}
