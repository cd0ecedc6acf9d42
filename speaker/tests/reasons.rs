// SPDX-License-Identifier: Apache-2.0
//! Why nobody announces a Service: the reason is that of the node which came furthest, and nodes may be called as they like.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod world;

use cluster::Dirty;
use proptest::prelude::*;
use serde_json::{Value, json};
use speaker::announced_condition::word;
use speaker::{Nobody, NodeMetadata, RingSpeaker, RingSpeakers, Speaker, Verdict, Withhold};
use world::{World, key, node, options, slice, with};

/// What is asked of a node, and whether this one meets it.
#[derive(Clone, Debug)]
struct Traits {
    selected: bool,
    available: bool,
    labelled: bool,
    has_endpoint: bool,
    /// Of its speaker; none without one.
    metadata: Option<NodeMetadata>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Layer2,
    External,
    Bgp,
}

fn traits() -> impl Strategy<Value = Traits> {
    let metadata = prop_oneof![
        Just(None),
        Just(Some(NodeMetadata { leaving: true, ..NodeMetadata::default() })),
        Just(Some(NodeMetadata { silent: true, ..NodeMetadata::default() })),
        Just(Some(NodeMetadata::default())),
    ];
    let mostly = || prop::bool::weighted(0.7);
    (mostly(), mostly(), prop::bool::weighted(0.3), mostly(), metadata).prop_map(
        |(selected, available, labelled, has_endpoint, metadata)| Traits {
            selected,
            available,
            labelled,
            has_endpoint,
            metadata,
        },
    )
}

/// A cluster of these nodes under these names.
fn world(way: Way, nodes: &[(&str, &Traits)]) -> World {
    let mut world = World::new(&[]);
    let selector = json!({ "matchLabels": { "selected": "yes" } });
    let mut web =
        with(world::service("web", &["10.0.0.1"]), "/spec/externalTrafficPolicy", json!("Local"));
    match way {
        Way::Layer2 | Way::Bgp => {
            let kind = if way == Way::Bgp { "BGPAdvertisement" } else { "L2Advertisement" };
            world.stage(&world::pool("p", &["10.0.0.0/24"]));
            world.stage(&json!({
                "kind": kind, "metadata": { "name": "ad" }, "spec": { "nodeSelectors": [selector] } }));
            world.stage(&json!({
                "kind": "BGPPeer", "metadata": { "name": "tor" },
                "spec": { "myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.254" } }));
        }
        Way::External => {
            web["metadata"]["annotations"] = json!({ "service.antrea.io/external-ip-pool": "p" });
            web["status"]["conditions"] = json!([{
                "type": "ferrolb.io/Allocated", "status": "True", "reason": "r", "message": "m" }]);
            world.stage(&json!({
                "kind": "ExternalIPPool", "metadata": { "name": "p" },
                "spec": { "ipRanges": [{ "cidr": "10.0.0.0/24" }], "nodeSelector": selector } }));
        }
    }
    world.stage(&web);
    let with_endpoint: Vec<&str> =
        nodes.iter().filter(|(_, it)| it.has_endpoint).map(|(name, _)| *name).collect();
    let mut endpoints = slice("web", &with_endpoint);
    endpoints["addressType"] = json!("IPv4");
    // Somewhere there is one in any case.
    endpoints["endpoints"].as_array_mut().unwrap().push(json!({ "addresses": ["10.244.9.9"] }));
    world.stage(&endpoints);
    let mut members = std::collections::BTreeMap::new();
    for (name, it) in nodes {
        let mut labels = json!({ "selected": if it.selected { "yes" } else { "no" } });
        if it.labelled {
            labels["node.kubernetes.io/exclude-from-external-load-balancers"] = json!("");
        }
        let status = if it.available { "False" } else { "True" };
        let conditions: Value = json!([{ "type": "NetworkUnavailable", "status": status }]);
        world.stage(&with(node(name, labels), "/status", json!({ "conditions": conditions })));
        if let Some(metadata) = &it.metadata {
            members.insert((*name).into(), RingSpeaker::Ferrolb(metadata.clone()));
        }
    }
    world.members = RingSpeakers::Alive(members);
    world.snapshot.take_dirty();
    world
}

/// Which node came furthest, and what stopped it, told in another way than the program does; none if one has no barrier.
fn furthest(way: Way, nodes: &[(&str, &Traits)]) -> Option<(usize, String)> {
    let stage = |it: &Traits| {
        let speaks = it.metadata.as_ref();
        let asked = [
            it.selected,
            it.available || way == Way::External,
            !it.labelled,
            it.has_endpoint,
            way == Way::Bgp || !speaks.is_some_and(|metadata| metadata.leaving),
            way == Way::Bgp || !speaks.is_some_and(|metadata| metadata.silent),
            way == Way::Bgp || speaks.is_some(),
        ];
        asked.iter().position(|met| !met)
    };
    let stages: Option<Vec<(usize, &str)>> =
        nodes.iter().map(|(name, it)| Some((stage(it)?, *name))).collect();
    let stages = stages?;
    let most = stages.iter().map(|(stage, _)| *stage).max()?;
    let first = stages.iter().filter(|(stage, _)| *stage == most).map(|(_, name)| *name).min()?;
    Some((most, first.to_owned()))
}

/// What is said at large where nobody announces, with the names of the nodes taken out of it.
fn at_large(way: Way, nodes: &[(&str, &Traits)]) -> Option<(String, String)> {
    let world = world(way, nodes);
    let said = match way {
        Way::Layer2 | Way::External => {
            let verdict = world.verdict(nodes[0].0, "web");
            let nobody = verdict.nobody?;
            (nobody.name().to_owned(), nobody.to_string())
        }
        Way::Bgp => {
            // The first that lives says it; the others say nothing.
            let mut world = world;
            world.members = RingSpeakers::Disabled;
            let first = world.snapshot.nodes().keys().next().unwrap().clone();
            let mut speaker = Speaker::new(options(&first));
            let everything = Dirty { all: true, ..Dirty::default() };
            world.in_circumstances(|it| speaker.reconcile(&world.snapshot, &everything, it));
            let word = word(&key("web"), &world.snapshot, &speaker, &world.members, None)?;
            if word.met {
                return None;
            }
            (word.reason, word.message)
        }
    };
    Some(said)
}

/// The same text whatever the nodes are called.
fn nameless(text: &str) -> String {
    NAMES.iter().fold(text.to_owned(), |text, name| text.replace(name, "NODE"))
}

const NAMES: [&str; 4] = ["node-a", "node-b", "node-c", "node-d"];

proptest! {
    #[test]
    fn the_reason_does_not_depend_on_what_nodes_are_called(
        way in prop::sample::select(vec![Way::Layer2, Way::External, Way::Bgp]),
        traits in prop::collection::vec(traits(), 1..=4),
        names in Just(NAMES.to_vec()).prop_shuffle(),
    ) {
        let before: Vec<(&str, &Traits)> = NAMES.iter().copied().zip(&traits).collect();
        let after: Vec<(&str, &Traits)> = names.iter().copied().zip(&traits).collect();
        let (one, two) = (at_large(way, &before), at_large(way, &after));
        let without_names = |said: &Option<(String, String)>| {
            said.as_ref().map(|(reason, text)| (reason.clone(), nameless(text)))
        };
        prop_assert_eq!(without_names(&one), without_names(&two));
        for (said, nodes) in [(one, before), (two, after)] {
            let furthest = furthest(way, &nodes);
            prop_assert_eq!(said.is_some(), furthest.is_some());
            if let (Some((_, text)), Some((stage, name))) = (said, furthest) {
                let named = NAMES.iter().find(|name| text.contains(&format!("({name} came furthest)")));
                // Where all fail at the first, none came further than another.
                prop_assert_eq!(named.copied(), (stage > 0).then_some(&*name));
            }
        }
    }
}

fn all() -> Traits {
    Traits {
        selected: true,
        available: true,
        labelled: false,
        has_endpoint: true,
        metadata: Some(NodeMetadata::default()),
    }
}

/// One is selected and lacks an endpoint, and the last by name is not selected.
#[test]
fn a_selected_node_without_an_endpoint_is_named_before_one_that_is_not_selected() {
    let (lacks, other) =
        (Traits { has_endpoint: false, ..all() }, Traits { selected: false, ..all() });
    for nodes in
        [[("node-a", &lacks), ("node-b", &other)], [("node-b", &lacks), ("node-a", &other)]]
    {
        let world = world(Way::Layer2, &nodes);
        let why = "externalTrafficPolicy is Local and no candidate has a ready endpoint";
        let furthest = Some(nodes[0].0.into());
        let expected = Withhold::NoCandidates(Nobody { why, furthest });
        let Verdict { local, nobody, .. } = world.verdict(nodes[0].0, "web");
        assert_eq!(local, Err(expected.clone()));
        assert_eq!(nobody, Some(expected.clone()));
        // The node that is not selected says so in its own log; what holds for all is the same.
        let Verdict { local, nobody, .. } = world.verdict(nodes[1].0, "web");
        assert_eq!(local, Err(Withhold::NoMatchingAdvertisement));
        assert_eq!(nobody, Some(expected));
    }
}
