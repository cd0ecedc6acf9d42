// SPDX-License-Identifier: Apache-2.0
//! The routes recorded from MetalLB in mode native, again: the same prefixes with the same attributes in BIRD's table.
//!
//! Topology: three nodes with speakers; BIRD with an external session from each (e1 to e3) and an internal one (i1 to i3,
//! at another address of its own).
//! Steps: the sections of recorded/bgp-routes.json, one after the other: what the advertisements say changes, the sessions
//! stay.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::lab::Lab;
use crate::lab::bgp::ASN;
use crate::lab::node::Proxy;
use crate::lab::objects::{bgp_advertisement, bgp_peer, community};
use crate::lab::router::{Kind, Neighbour, Route, Setup};

const RECORDED: &str = include_str!("../../recorded/bgp-routes.json");
/// BIRD's address for the internal sessions.
const INTERNAL: &str = "172.30.0.131";

type Attributes = BTreeMap<String, String>;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let recorded: BTreeMap<String, Value> = serde_json::from_str(RECORDED)?;
    let section = |name: &str| -> anyhow::Result<BTreeMap<String, Attributes>> {
        let found = recorded.iter().find(|(key, _)| key.starts_with(name));
        Ok(serde_json::from_value(found.with_context(|| format!("no section {name}"))?.1.clone())?)
    };
    lab.start_for_bgp(3, Proxy::Absent, &[])?;
    let mut neighbours = Vec::new();
    for node in 1..=3 {
        let address = format!("172.30.0.{}", 10 + node);
        let external = Neighbour::new(&format!("e{node}"), &address, ASN);
        let internal = Neighbour::new(&format!("i{node}"), &address, ASN);
        neighbours.push(Neighbour { local: Some(Kind::Bird.v4()), ..external });
        let local = Some(INTERNAL.to_owned());
        // BIRD keeps sessions with one address apart by the port that it would connect to.
        neighbours.push(Neighbour { local, local_asn: Some(ASN), port: 1179, ..internal });
    }
    lab.add_router(Kind::Bird, &Setup::new(Kind::Bird, neighbours))?;
    let router = lab.router(Kind::Bird)?;
    router.namespace.ip(&format!("address add {INTERNAL}/24 dev eth0"))?;
    for (name, address, asn) in
        [("e", Kind::Bird.v4(), Kind::Bird.asn()), ("i", INTERNAL.to_owned(), ASN)]
    {
        let spec = json!({"myASN": ASN, "peerASN": asn, "peerAddress": address});
        lab.kube().apply(&bgp_peer(name, spec))?;
    }
    router.wait_all_established(&["e1", "e2", "e3", "i1", "i2", "i3"])?;
    let before = since(lab)?;

    lab.kube().apply(&bgp_advertisement("a", json!({})))?;
    lab.create_service("one", &["10.60.0.1"], &[1], json!({}))?;
    lab.create_service("two", &["10.60.0.2"], &[2], json!({}))?;
    expect(lab, &section("BGPAdvertisement {}")?)?;

    lab.kube().delete("/api/v1/namespaces/default/services/two")?;
    lab.kube().apply(&bgp_advertisement("a", json!({"localPref": 250})))?;
    expect(lab, &section("localPref 250")?)?;

    lab.kube().apply(&community("vpn", "1234:5"))?;
    let first = json!({"communities": ["65535:65281", "vpn"]});
    lab.kube().apply(&bgp_advertisement("a", first))?;
    lab.kube().apply(&bgp_advertisement("b", json!({"communities": ["7:8"]})))?;
    expect(lab, &section("two advertisements")?)?;

    let after = since(lab)?;
    ensure!(before == after, "sessions were reset: {before:?}, then {after:?}");
    Ok(())
}

fn since(lab: &Lab) -> anyhow::Result<BTreeMap<String, String>> {
    let sessions = lab.router(Kind::Bird)?.sessions()?;
    Ok(sessions.into_iter().map(|(name, session)| (name, session.since)).collect())
}

fn expect(lab: &Lab, recorded: &BTreeMap<String, Attributes>) -> anyhow::Result<()> {
    let wanted: BTreeMap<String, Attributes> =
        recorded.iter().map(|(key, attributes)| (key.clone(), here(attributes))).collect();
    let what = format!("the recorded {} paths", wanted.len());
    lab.router(Kind::Bird)?.wait_routes(&what, |routes| {
        let seen: BTreeMap<String, Attributes> = routes
            .iter()
            .map(|route| (format!("{} {}", route.prefix, route.neighbour), attributes(route)))
            .collect();
        seen == wanted
    })?;
    Ok(())
}

/// The recording in this rack's addresses, its communities in order.
fn here(recorded: &Attributes) -> Attributes {
    let mut attributes = recorded.clone();
    if let Some(hop) = attributes.get_mut("next_hop") {
        *hop = hop.replace("10.5.0.", "172.30.0.");
    }
    if let Some(communities) = attributes.get_mut("community") {
        let words: BTreeSet<&str> = communities.split_whitespace().collect();
        *communities = words.into_iter().collect::<Vec<_>>().join(" ");
    }
    attributes
}

/// A path in the recording's form.
fn attributes(route: &Route) -> Attributes {
    let mut attributes = Attributes::from([
        ("as_path".to_owned(), route.as_path.clone()),
        ("next_hop".to_owned(), route.next_hops.join(" ")),
        ("origin".to_owned(), route.origin.clone()),
    ]);
    let preference = route.local_pref.map(|value| value.to_string());
    attributes.extend(preference.map(|value| ("local_pref".to_owned(), value)));
    attributes.extend(route.med.map(|value| ("med".to_owned(), value.to_string())));
    if !route.communities.is_empty() {
        let words = route.communities.iter().map(|one| format!("({})", one.replace(':', ",")));
        let words: BTreeSet<String> = words.collect();
        let text = words.into_iter().collect::<Vec<_>>().join(" ");
        attributes.insert("community".to_owned(), text);
    }
    attributes
}
