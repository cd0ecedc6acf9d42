// SPDX-License-Identifier: Apache-2.0
//! What is said on a Service: each case of [`speaker::announced_condition::word`], by which speaker and in which words.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod world;

use cluster::Dirty;
use cluster::model::ServiceCondition;
use serde_json::{Value, json};
use speaker::announced_condition::word;
use speaker::{NodeMetadata, Options, RingSpeaker, RingSpeakers, Speaker};
use world::{World, advertisement, key, node, options, pool, service, slice, with};

/// What `node` says of `web`; the world's members where they are given.
fn said(
    objects: &[Value],
    options: &Options,
    members: Option<RingSpeakers>,
) -> Option<(String, String)> {
    let mut world = World::new(objects);
    world.members = members.unwrap_or_default();
    let mut speaker = Speaker::new(options.clone());
    let everything = Dirty { all: true, ..Dirty::default() };
    world.in_circumstances(|it| speaker.reconcile(&world.snapshot, &everything, it));
    let condition = word(&key("web"), &world.snapshot, &speaker, &world.members, None)?;
    let ServiceCondition { met, reason, message } = condition;
    assert_eq!(met, reason == "Announced");
    Some((reason, message))
}

/// Two nodes, a pool, and a Service with an endpoint on each node; nothing is advertised.
fn usual() -> Vec<Value> {
    vec![
        node("n1", json!({ "name": "n1" })),
        node("n2", json!({ "name": "n2" })),
        pool("p", &["10.0.0.0/24", "fd00::/112"]),
        service("web", &["10.0.0.1"]),
        slice("web", &["n1", "n2"]),
    ]
}

/// The usual objects with these in addition, or in the place of those of the same kind and name.
fn changed(others: Vec<Value>) -> Vec<Value> {
    [usual(), others].concat()
}

fn layer2(spec: Value) -> Value {
    advertisement("ad", spec)
}

fn bgp(spec: Value) -> Value {
    json!({ "kind": "BGPAdvertisement", "metadata": { "name": "b" }, "spec": spec })
}

fn peer(name: &str, address: &str) -> Value {
    json!({
        "kind": "BGPPeer", "metadata": { "name": name },
        "spec": { "myASN": 64512, "peerASN": 64513, "peerAddress": address },
    })
}

/// Its profile is not there.
fn unusable() -> Value {
    with(peer("bad", "192.0.2.253"), "/spec/bfdProfile", json!("missing"))
}

fn tor() -> Value {
    peer("tor", "192.0.2.254")
}

fn only_for(name: &str) -> Value {
    json!({ "nodeSelectors": [{ "matchLabels": { "name": name } }] })
}

fn excluded(name: &str) -> Value {
    let label = "node.kubernetes.io/exclude-from-external-load-balancers";
    node(name, json!({ "name": name, label: "" }))
}

const EXCLUDED: &str = "has the label node.kubernetes.io/exclude-from-external-load-balancers";

/// A case, the objects that make it, and what node n1 says: the reason and the text, of which the end is left out if it is another
/// crate's.
type Row = (&'static str, Vec<Value>, Option<(&'static str, String)>);

fn check(rows: Vec<Row>) {
    for (case, objects, expected) in rows {
        let said = said(&changed(objects), &options("n1"), None);
        match (said, expected) {
            (None, None) => {}
            // The end of a text that another crate makes is not this one's to pin.
            (Some((reason, message)), Some((expected, text))) if text.ends_with("used: ") => {
                assert_eq!(reason, expected, "{case}");
                assert!(message.starts_with(&text), "{case}: {message}");
            }
            (said, expected) => {
                let expected = expected.map(|(reason, text)| (reason.to_owned(), text));
                assert_eq!(said, expected, "{case}");
            }
        }
    }
}

#[test]
fn what_is_announced_is_said_by_its_announcer_and_with_the_way() {
    let other_class = with(service("web", &["10.0.0.1"]), "/spec/loadBalancerClass", json!("x"));
    let here = only_for("n1")["nodeSelectors"].clone();
    check(vec![
        (
            "announced from here",
            vec![layer2(only_for("n1"))],
            Some(("Announced", "by L2 from node n1".into())),
        ),
        ("announced from elsewhere", vec![layer2(only_for("n2")), bgp(json!({})), tor()], None),
        (
            "elected, and without an interface",
            vec![layer2(json!({ "nodeSelectors": here, "interfaces": ["eth7"] }))],
            Some(("NoInterface", "none of the interfaces eth7 exists on this node".into())),
        ),
        ("of another class", vec![layer2(json!({})), other_class], None),
        ("without an address, and nothing was said", vec![service("web", &[])], None),
        (
            "without an address, and something was said",
            vec![with(
                service("web", &[]),
                "/status/conditions",
                json!([{ "type": "ferrolb.io/Announced", "status": "True", "reason": "r", "message": "m" }]),
            )],
            Some(("NoIPAllocated", "the Service has no address".into())),
        ),
        ("by BGP", vec![bgp(json!({})), tor()], Some(("Announced", "by BGP from n1, n2".into()))),
        (
            "by BGP from many, and not to all",
            (3..9)
                .map(|number| node(&format!("n{number}"), json!({})))
                .chain([bgp(json!({})), tor(), unusable()])
                .collect(),
            Some((
                "Announced",
                "by BGP from n1, n2, n3, n4, n5 and 3 more; BGPPeer bad cannot be used: ".into(),
            )),
        ),
    ]);
}

#[test]
fn what_nobody_announces_is_said_with_the_reason_of_what_was_meant() {
    let local = with(service("web", &["10.0.0.1"]), "/spec/externalTrafficPolicy", json!("Local"));
    let other_service = json!({ "serviceSelectors": [{ "matchLabels": { "app": "db" } }] });
    check(vec![
        (
            "to nobody",
            vec![bgp(json!({}))],
            Some(("NoPeer", "there is no BGPPeer for it".into())),
        ),
        (
            "to nobody that can be used",
            vec![bgp(json!({})), unusable()],
            Some(("NoPeer", "BGPPeer bad cannot be used: ".into())),
        ),
        (
            "nothing selects it",
            vec![],
            Some((
                "NoMatchingAdvertisement",
                "no L2Advertisement selects pool \"p\" and this Service, and no BGPAdvertisement does"
                    .into(),
            )),
        ),
        (
            "only BGP was meant",
            vec![bgp(other_service)],
            Some((
                "NoMatchingAdvertisement",
                "no BGPAdvertisement of pool \"p\" selects this Service".into(),
            )),
        ),
        (
            "only L2 was meant",
            vec![layer2(json!({})), excluded("n1"), excluded("n2")],
            Some(("NotOwner", format!("no node may announce it: every candidate {EXCLUDED} (n1 came furthest)"))),
        ),
        (
            "both were meant, and lack the same",
            vec![layer2(json!({})), bgp(json!({})), tor(), slice("web", &[])],
            Some(("NotOwner", "no endpoint is ready".into())),
        ),
        (
            "both were meant, and lack different things",
            vec![layer2(only_for("n3")), bgp(only_for("n1")), tor(), excluded("n1")],
            Some((
                "NoMatchingAdvertisement",
                format!(
                    "by L2: no L2Advertisement for this Service selects this node; by BGP: no node may announce it: every such node {EXCLUDED} (n1 came furthest)"
                ),
            )),
        ),
        (
            "a node lacks an endpoint, and another is not selected",
            vec![layer2(only_for("n2")), local, slice("web", &["n1"])],
            Some((
                "NotOwner",
                "no node may announce it: externalTrafficPolicy is Local and no candidate has a ready endpoint (n2 came furthest)"
                    .into(),
            )),
        ),
    ]);
}

#[test]
fn of_what_nobody_announces_the_first_living_speaker_says_it() {
    let objects = changed(vec![]);
    assert!(said(&objects, &options("n1"), None).is_some());
    assert!(said(&objects, &options("n2"), None).is_none());
    let alive = || {
        RingSpeakers::Alive([("n2".into(), RingSpeaker::Ferrolb(NodeMetadata::default()))].into())
    };
    assert!(said(&objects, &options("n1"), Some(alive())).is_none());
    assert!(said(&objects, &options("n2"), Some(alive())).is_some());
}

/// A live Antrea gave the address: its own agents announce it, and no speaker does by BGP either.
#[test]
fn what_another_controller_gave_is_not_said_to_be_announced() {
    let mut web = service("web", &["10.10.0.2"]);
    web["metadata"]["annotations"] = json!({ "service.antrea.io/external-ip-pool": "e" });
    let external = json!({
        "kind": "ExternalIPPool", "metadata": { "name": "e" },
        "spec": { "ipRanges": [{ "cidr": "10.10.0.0/24" }], "nodeSelector": {} },
    });
    let advertised = bgp(json!({ "externalIPPools": ["e"] }));
    let objects = changed(vec![web.clone(), external, advertised, tor()]);
    let (reason, _) = said(&objects, &options("n1"), None).unwrap();
    assert_eq!(reason, "NotGivenHere");
    // Of one that was given here it is said.
    web["status"]["conditions"] = json!([{
        "type": "ferrolb.io/Allocated", "status": "True", "reason": "Assigned", "message": "m" }]);
    let objects = [objects, vec![web], vec![node("n1", json!({})), node("n2", json!({}))]].concat();
    let by: Vec<_> =
        ["n1", "n2"].iter().filter_map(|node| said(&objects, &options(node), None)).collect();
    assert_eq!(by.len(), 1, "{by:?}");
    assert_eq!(by[0].0, "Announced");
}

/// Services that share an address: who is left out says so, and whose wish gives way.
#[test]
fn sharers_are_told_what_they_bear() {
    let made = |name: &str, addresses: &[&str], time: &str, annotations: Value| {
        let object = service(name, addresses);
        let object = with(object, "/metadata/creationTimestamp", json!(time));
        with(object, "/metadata/annotations", annotations)
    };
    let (old, new) = ("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z");
    let wish = |node: &str| json!({ "ferrolb.io/preferred-node": node });
    let objects = changed(vec![
        layer2(json!({})),
        made("web", &["10.0.0.1"], new, wish("n2")),
        made("api", &["10.0.0.1"], old, wish("n1")),
        slice("api", &["n1", "n2"]),
    ]);
    assert_eq!(
        said(&objects, &options("n1"), None).unwrap().1,
        "by L2 from node n1; it asks for node n2, and Service default/api, which shares its address and is older, for node n1"
    );
    // Two nodes serve one of the sharers each: the address goes with one, and the other says why it is not announced.
    let local = |object: Value| with(object, "/spec/externalTrafficPolicy", json!("Local"));
    let objects = changed(vec![
        layer2(json!({})),
        local(made("web", &["10.0.0.1"], new, json!({}))),
        slice("web", &["n1"]),
        local(made("api", &["10.0.0.1"], old, wish("n2"))),
        slice("api", &["n2"]),
    ]);
    let expected = "node n2 has its address for the Services that share it: externalTrafficPolicy is Local and no ready endpoint is on that node";
    let told = said(&objects, &options("n1"), None);
    assert_eq!(told, Some(("NoLocalEndpoints".to_owned(), expected.to_owned())));
    // An address that nobody else has is announced by another node all the same.
    let objects =
        [objects, vec![local(made("web", &["10.0.0.1", "fd00::1"], new, json!({})))]].concat();
    let told = said(&objects, &options("n1"), None);
    let expected =
        "by L2 from node n1; 10.0.0.1 is at node n2, which has it for the Services that share it";
    assert_eq!(told, Some(("Announced".to_owned(), expected.to_owned())));
}
