// SPDX-License-Identifier: Apache-2.0
//! What a session can be, side by side, with FRR as the judge; bgp_bird and bgp_gobgp are the same with the others.
//!
//! Topology: one node with an address per session, one router.
//! Steps: sessions over IPv4 and IPv6, with both families over each (RFC 8950), a 4-octet AS, localASN, internal, with MD5 over both, hold time 3 and 0, GTSM,
//! one that the speaker waits for and one that both sides open (RFC 4271 section 6.8), one with roles that the router requires (RFC 9234; not GoBGP);
//! each carries the Service's addresses
//! and the aggregates of its families with the attributes of the advertisements, nothing else; the router asks for its
//! routes again (RFC 2918); none of the sessions was reset.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::lab::bgp::ASN;
use crate::lab::node::Proxy;
use crate::lab::objects::{
    bgp_advertisement, bgp_peer, community, merge, password_secret, pool,
};
use crate::lab::router::{Families, Kind, Neighbour, Route, Setup};
use crate::lab::wait::{always, eventually_true};
use crate::lab::{Lab, SOON};

const LARGE_ASN: u32 = 4_200_000_001;
const SHOWN_ASN: u32 = 64_599;
/// Where the speaker waits: a port that it may bind with the rights of its container.
const LISTEN: u16 = 1179;
const COLLIDE: u16 = 1180;
const V4: [&str; 2] = ["10.60.0.1/32", "10.61.0.0/26"];
const V6: [&str; 2] = ["fd60::1/128", "fd61::/120"];

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    play(lab, Kind::Frr)
}

/// One session: the router's side, and what the BGPPeer says beside addresses and AS.
struct Case {
    neighbour: Neighbour,
    spec: Value,
}

fn cases(kind: Kind) -> Vec<Case> {
    let case = |number: u16, name: &str, spec: Value, change: &dyn Fn(&mut Neighbour)| {
        let address = if name.ends_with("v6") {
            format!("fd30::{number}")
        } else {
            format!("172.30.0.{number}")
        };
        let mut neighbour = Neighbour::new(name, &address, ASN);
        change(&mut neighbour);
        Case { neighbour, spec }
    };
    let secret = json!({"passwordSecret": {"name": "key"}});
    let waits = json!({"passive": true, "listenPort": LISTEN});
    let md5 = |neighbour: &mut Neighbour| neighbour.password = Some("no word".replace(' ', "-"));
    let active = |neighbour: &mut Neighbour| {
        neighbour.passive = false;
        neighbour.port = LISTEN;
    };
    let mut cases = vec![
        case(61, "v4", json!({}), &|_| ()),
        case(61, "v6", json!({}), &|_| ()),
        case(62, "both", json!({"dualStackAddressFamily": true}), &|neighbour| {
            neighbour.families = Families::Both;
        }),
        case(62, "bothv6", json!({"dualStackAddressFamily": true}), &|neighbour| {
            neighbour.families = Families::Both;
        }),
        case(71, "shown", json!({"myASN": ASN, "localASN": SHOWN_ASN}), &|neighbour| {
            neighbour.asn = SHOWN_ASN;
        }),
        case(63, "wide", json!({}), &|neighbour| neighbour.asn = LARGE_ASN),
        case(64, "inner", json!({}), &|neighbour| neighbour.asn = kind.asn()),
        case(65, "md5v4", secret.clone(), &md5),
        case(65, "md5v6", secret, &md5),
        case(66, "hold3", json!({"holdTime": "3s"}), &|_| ()),
        case(67, "hold0", json!({"holdTime": "0s"}), &|_| ()),
        case(68, "waits", waits, &active),
        case(69, "collide", json!({"listenPort": COLLIDE}), &|neighbour| {
            neighbour.passive = false;
            neighbour.port = COLLIDE;
        }),
        case(70, "gtsm", json!({"ttlSecurity": 1}), &|neighbour| neighbour.ttl_security = true),
    ];
    // With hold time 0 it gives each of its own messages no time at all to be written (routers.md).
    cases.retain(|case| kind != Kind::Gobgp || case.neighbour.name != "hold0");
    if kind != Kind::Gobgp {
        // A name that is no word of BIRD's configuration.
        cases.push(case(72, "customer", json!({"role": "customer"}), &|neighbour| {
            neighbour.role = Some("provider".to_owned());
        }));
    }
    cases
}

/// Plays it with this router.
pub(super) fn play(lab: &mut Lab, kind: Kind) -> anyhow::Result<()> {
    let cases = cases(kind);
    lab.start_for_bgp(1, Proxy::Absent, &[])?;
    for Case { neighbour, .. } in &cases {
        let length = if neighbour.address.contains(':') { 64 } else { 24 };
        let line = format!("address add {}/{length} dev eth0", neighbour.address);
        lab.node("node1")?.namespace.ip(&line)?;
    }
    lab.kube().apply(&pool("aggregated", &["10.61.0.0/24", "fd61::/64"]))?;
    lab.kube().apply(&community("vpn", "1234:5"))?;
    let communities = json!(["65535:65281", "vpn", "large:7:8:9"]);
    let spec = json!({"ipAddressPools": ["pool"], "localPref": 250, "communities": communities});
    lab.kube().apply(&bgp_advertisement("plain", spec))?;
    let lengths = json!({"aggregationLength": 26, "aggregationLengthV6": 120});
    let mut aggregated = json!({"ipAddressPools": ["aggregated"], "localPref": 7});
    merge(&mut aggregated, lengths);
    lab.kube().apply(&bgp_advertisement("aggregated", aggregated))?;
    lab.create_service("web", &["10.60.0.1", "fd60::1"], &[1], json!({}))?;
    lab.create_service("a", &["10.61.0.7", "fd61::7"], &[1], json!({}))?;
    lab.create_service("b", &["10.61.0.8"], &[1], json!({}))?;

    lab.kube().apply(&password_secret("key", "no-word"))?;
    for Case { neighbour, spec } in &cases {
        let v6 = neighbour.address.contains(':');
        let mut peer = json!({
            "myASN": neighbour.asn,
            "peerASN": kind.asn(),
            "peerAddress": if v6 { kind.v6() } else { kind.v4() },
            "sourceAddress": neighbour.address,
        });
        merge(&mut peer, spec.clone());
        lab.kube().apply(&bgp_peer(&neighbour.name, peer))?;
    }
    let neighbours = cases.iter().map(|case| case.neighbour.clone()).collect();
    lab.add_router(kind, &Setup::new(kind, neighbours))?;

    let router = lab.router(kind)?;
    for Case { neighbour, .. } in &cases {
        let session = router.wait_established(neighbour.key(kind)).context(neighbour.name.clone())?;
        let hold = match neighbour.name.as_str() {
            "hold3" => 3,
            "hold0" => 0,
            _ => 90,
        };
        let told = session.hold_time.unwrap_or(0);
        ensure!(told == hold, "{}: hold time {told}", neighbour.name);
    }
    let mut wrong = String::new();
    let looked = eventually_true("every session carries what it shall", SOON, || {
        let routes = router.routes()?;
        wrong = cases.iter().map(|case| differences(kind, &case.neighbour, &routes)).collect();
        Ok(wrong.is_empty())
    });
    looked.with_context(|| wrong.clone())?;

    let before = router.sessions()?;
    // gobgpd's softresetin only looks at what it has kept (routers.md).
    let asking: &[&str] = match kind {
        Kind::Frr | Kind::Bird => &["v4", "v6", "both", "inner"],
        Kind::Gobgp => &[],
    };
    for name in asking.iter().copied() {
        let case = cases.iter().find(|case| case.neighbour.name == name).context("a case")?;
        refresh(lab, kind, case)?;
    }
    let key = |name: &str| cases.iter().find(|case| case.neighbour.name == name);
    let hold3 = key("hold3").context("a case")?.neighbour.key(kind);
    always("hold time 3 holds", Duration::from_secs(4), || {
        Ok(router.session(hold3)?.since == before.get(hold3).context("it was there")?.since)
    })?;
    for (name, session) in router.sessions()? {
        let before = before.get(&name).map(|session| session.since.clone());
        ensure!(before.as_ref() == Some(&session.since), "{name} was reset: {before:?} {session:?}");
    }
    Ok(())
}

/// The router asks for the routes again and gets them.
fn refresh(lab: &Lab, kind: Kind, case: &Case) -> anyhow::Result<()> {
    let (router, neighbour) = (lab.router(kind)?, &case.neighbour);
    let key = neighbour.key(kind);
    let before = router.session(key)?.updates;
    router.refresh(key)?;
    eventually_true(&format!("{kind} is sent the routes of {key} again"), SOON, || {
        Ok(router.session(key)?.updates > before)
    })?;
    let wrong = differences(kind, neighbour, &router.routes()?);
    ensure!(wrong.is_empty(), "after a refresh: {wrong}");
    Ok(())
}

/// What is not as it shall be in a session's routes.
fn differences(kind: Kind, neighbour: &Neighbour, routes: &[Route]) -> String {
    let (families, key) = (neighbour.families, neighbour.key(kind));
    let mut wanted: BTreeSet<&str> = BTreeSet::new();
    if families != Families::V6 {
        wanted.extend(V4);
    }
    if families != Families::V4 {
        wanted.extend(V6);
    }
    let routes: BTreeMap<&str, &Route> = routes
        .iter()
        .filter(|route| route.neighbour == key)
        .map(|route| (route.prefix.as_str(), route))
        .collect();
    let seen: BTreeSet<&str> = routes.keys().copied().collect();
    let mut wrong = String::new();
    if seen != wanted {
        wrong = format!("\n{}: {seen:?} instead of {wanted:?}", neighbour.name);
    }
    for (prefix, route) in routes {
        if let Err(error) = check(kind, neighbour, prefix, route) {
            wrong.push_str(&format!("\n{}: {error}: {route:?}", neighbour.name));
        }
    }
    wrong
}

fn check(kind: Kind, neighbour: &Neighbour, prefix: &str, route: &Route) -> anyhow::Result<()> {
    let internal = neighbour.asn == kind.asn();
    let plain = prefix == V4[0] || prefix == V6[0];
    let path = if internal { String::new() } else { neighbour.asn.to_string() };
    ensure!(route.as_path == path, "the AS path");
    ensure!(route.origin == "IGP", "the origin");
    ensure!(!route.stale && route.med.unwrap_or(0) == 0, "MED or stale");
    if internal {
        let preference = if plain { 250 } else { 7 };
        ensure!(route.local_pref == Some(preference), "the local preference");
    } else {
        ensure!(route.local_pref.unwrap_or(100) == 100, "a local preference over eBGP");
    }
    let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<_>>();
    let communities = if plain { words(&["65535:65281", "1234:5"]) } else { BTreeSet::new() };
    ensure!(route.communities == communities, "the communities");
    let large = if plain { words(&["7:8:9"]) } else { BTreeSet::new() };
    ensure!(route.large_communities == large, "the large communities");
    let hop = route.next_hops.first().cloned().unwrap_or_default();
    match prefix.contains(':') == neighbour.address.contains(':') {
        true => ensure!(hop == neighbour.address, "the next hop"),
        // The other family's next hop is one of the link's addresses.
        false => ensure!(hop.starts_with("fd30::"), "the next hop of the other family"),
    }
    Ok(())
}
