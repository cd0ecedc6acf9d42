// SPDX-License-Identifier: Apache-2.0
//! The speaker's books: what is told, what is answered for, and that both follow from the objects alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod world;

use std::collections::{BTreeMap, BTreeSet};

use cluster::Dirty;
use l2::{Desired, Scope};
use proptest::prelude::*;
use serde_json::{Value, json};
use speaker::{NodeMetadata, Output, RingSpeaker, RingSpeakers, Speaker, Withhold};
use world::{World, advertisement, key, node, options, pool, service, slice, with};

fn everything() -> Dirty {
    Dirty { all: true, ..Dirty::default() }
}

fn reconcile(speaker: &mut Speaker, world: &World, dirty: &Dirty) -> Vec<Output> {
    world.in_circumstances(|circumstances| speaker.reconcile(&world.snapshot, dirty, circumstances))
}

fn interfaces(names: &[&str]) -> Scope {
    Scope::Interfaces(names.iter().map(|name| (*name).into()).collect())
}

/// One node, one pool, and Services by name with their addresses.
fn world(services: &[(&str, &[&str])]) -> World {
    let mut world = World::new(&[node("n1", json!({})), pool("p", &["10.0.0.0/24", "fd00::/112"])]);
    world.stage(&advertisement("ad", json!({})));
    for (name, addresses) in services {
        world.stage(&service(name, addresses));
        world.stage(&slice(name, &["n1"]));
    }
    world.snapshot.take_dirty();
    world
}

#[test]
fn an_announcement_is_told_once_and_its_end_with_the_reason() {
    let mut world = world(&[("web", &["10.0.0.1"])]);
    let mut speaker = Speaker::new(options("n1"));
    let told = reconcile(&mut speaker, &world, &everything());
    let [Output::Announced { service: named, announcement, .. }] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(*named, key("web"));
    assert_eq!(announcement.addresses, ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(reconcile(&mut speaker, &world, &everything()), []);

    world.stage(&slice("web", &[]));
    let dirty = world.snapshot.take_dirty();
    assert!(!dirty.all);
    let told = reconcile(&mut speaker, &world, &dirty);
    let [Output::Withdrawn { reason: Withhold::NoEndpoints, .. }] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert!(speaker.desired().is_empty());
    assert_eq!(reconcile(&mut speaker, &world, &everything()), []);
}

#[test]
fn a_deleted_service_is_withdrawn_also_when_everything_is_dirty() {
    for all in [false, true] {
        let mut world = world(&[("web", &["10.0.0.1"])]);
        let mut speaker = Speaker::new(options("n1"));
        reconcile(&mut speaker, &world, &everything());
        world.unstage(&service("web", &[]));
        let dirty = Dirty { all, ..world.snapshot.take_dirty() };
        let told = reconcile(&mut speaker, &world, &dirty);
        assert!(
            matches!(told.as_slice(), [Output::Withdrawn { reason: Withhold::ServiceDeleted, .. }]),
            "{told:?}"
        );
        assert!(speaker.announced().is_empty());
        assert_eq!(speaker.users("10.0.0.1".parse().unwrap()).count(), 0);
    }
}

#[test]
fn a_change_of_address_moves_what_is_answered_for() {
    let mut world = world(&[("web", &["10.0.0.1"])]);
    let mut speaker = Speaker::new(options("n1"));
    reconcile(&mut speaker, &world, &everything());
    world.stage(&service("web", &["10.0.0.2", "fd00::2"]));
    let dirty = world.snapshot.take_dirty();
    let told = reconcile(&mut speaker, &world, &dirty);
    let [Output::Announced { former, .. }] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(*former, ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
    let addresses: Vec<String> = speaker.desired().keys().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.0.0.2", "fd00::2"]);
    assert_eq!(speaker.users("10.0.0.1".parse().unwrap()).count(), 0);
}

#[test]
fn a_missing_interface_is_told_once_each_time_it_begins() {
    let mut world = world(&[("web", &["10.0.0.1"])]);
    world.stage(&advertisement("ad", json!({ "interfaces": ["eth7"] })));
    let mut speaker = Speaker::new(options("n1"));
    let dirty = world.snapshot.take_dirty();
    let told = reconcile(&mut speaker, &world, &dirty);
    assert!(matches!(told.as_slice(), [Output::NoInterface { .. }]), "{told:?}");
    assert_eq!(reconcile(&mut speaker, &world, &everything()), []);

    world.interfaces.insert("eth7".into());
    let told = reconcile(&mut speaker, &world, &everything());
    assert!(matches!(told.as_slice(), [Output::Announced { .. }]), "{told:?}");
    world.interfaces.remove("eth7");
    let told = reconcile(&mut speaker, &world, &everything());
    let [Output::NoInterface { addresses, .. }, Output::Withdrawn { reason, .. }] = told.as_slice()
    else {
        panic!("{told:?}")
    };
    assert_eq!(addresses.len(), 1);
    assert_eq!(*reason, Withhold::NoInterface("eth7".to_owned()));

    // A Service of the same name is another one, and is told again.
    let web = service("web", &["10.0.0.1"]);
    world.unstage(&web);
    world.snapshot.take_dirty();
    assert_eq!(reconcile(&mut speaker, &world, &everything()), []);
    world.stage(&web);
    let dirty = world.snapshot.take_dirty();
    let told = reconcile(&mut speaker, &world, &dirty);
    assert!(matches!(told.as_slice(), [Output::NoInterface { .. }]), "{told:?}");
}

/// Contract 4.8: an address that several Services share is answered for wherever one of them is announced.
#[test]
fn a_shared_address_is_answered_for_on_the_union_of_interfaces() {
    let mut world = World::new(&[
        node("n1", json!({})),
        pool("p", &["10.0.0.0/24"]),
        advertisement(
            "a",
            json!({ "interfaces": ["eth0"], "serviceSelectors": [{ "matchLabels": { "app": "a" } }] }),
        ),
        advertisement(
            "b",
            json!({ "interfaces": ["eth1"], "serviceSelectors": [{ "matchLabels": { "app": "b" } }] }),
        ),
        advertisement("c", json!({ "serviceSelectors": [{ "matchLabels": { "app": "c" } }] })),
    ]);
    let address = "10.0.0.1".parse().unwrap();
    let mut speaker = Speaker::new(options("n1"));
    let rows = [
        ("a", interfaces(&["eth0"])),
        ("b", interfaces(&["eth0", "eth1"])),
        ("c", Scope::AllInterfaces),
    ];
    for (name, scope) in rows {
        world.stage(&service(name, &["10.0.0.1"]));
        world.stage(&slice(name, &["n1"]));
        let dirty = world.snapshot.take_dirty();
        reconcile(&mut speaker, &world, &dirty);
        assert_eq!(speaker.desired(), [(address, scope)].into());
    }
    assert_eq!(speaker.users(address).count(), 3);
    let ends = [
        ("c", Some(interfaces(&["eth0", "eth1"]))),
        ("a", Some(interfaces(&["eth1"]))),
        ("b", None),
    ];
    for (name, scope) in ends {
        world.unstage(&service(name, &[]));
        let dirty = world.snapshot.take_dirty();
        reconcile(&mut speaker, &world, &dirty);
        assert_eq!(speaker.desired().get(&address), scope.as_ref());
    }
}

#[derive(Clone, Debug)]
enum Step {
    Stage(Value),
    Unstage(Value),
    Members(Option<Vec<usize>>),
    Settle,
}

const NODES: [&str; 4] = ["n0", "n1", "n2", "n3"];

fn any_object() -> impl Strategy<Value = Value> {
    let name = || prop::sample::select(NODES.to_vec());
    let spec = prop_oneof![
        3 => Just(json!({})),
        1 => Just(json!({ "interfaces": ["eth0"] })),
        1 => Just(json!({ "interfaces": ["eth7"] })),
        1 => Just(json!({ "nodeSelectors": [{ "matchLabels": { "zone": "a" } }] })),
        1 => Just(json!({ "serviceSelectors": [{ "matchLabels": { "app": "s1" } }] })),
        1 => Just(json!({ "preferredNodeSelectors": [
            { "weight": 5, "preference": { "matchLabels": { "zone": "a" } } }] })),
        1 => Just(json!({ "ipAddressPools": ["p1"] })),
    ];
    let labels = prop_oneof![
        2 => Just(json!({})),
        2 => Just(json!({ "zone": "a" })),
        1 => Just(json!({ "node.kubernetes.io/exclude-from-external-load-balancers": "false" })),
    ];
    let addresses = prop::sample::select(vec![
        vec!["10.0.0.1"],
        vec!["10.0.0.2"],
        vec!["10.0.1.1"],
        vec!["10.0.0.3", "fd00::3"],
        vec![],
        vec!["x"],
    ]);
    prop_oneof![
        3 => (name(), labels, any::<bool>()).prop_map(|(name, labels, unavailable)| {
            let status = if unavailable && name == "n2" { "True" } else { "False" };
            let conditions = json!([{ "type": "NetworkUnavailable", "status": status }]);
            with(node(name, labels), "/status", json!({ "conditions": conditions }))
        }),
        5 => (0..4, addresses, any::<bool>(), prop::bool::weighted(0.2)).prop_map(
            |(number, addresses, local, shared)| {
                let policy = if local { "Local" } else { "Cluster" };
                let object = service(&format!("s{number}"), &addresses);
                let object = with(object, "/spec/externalTrafficPolicy", json!(policy));
                if !shared {
                    return object;
                }
                with(object, "/metadata/annotations", json!({ "metallb.io/allow-shared-ip": "k" }))
            }
        ),
        5 => (0..4, prop::sample::subsequence(NODES.to_vec(), 0..=4)).prop_map(|(number, nodes)| {
            slice(&format!("s{number}"), &nodes)
        }),
        2 => (0..2, spec).prop_map(|(number, spec)| advertisement(&format!("ad{number}"), spec)),
        1 => Just(pool("p0", &["10.0.0.0/24", "fd00::/112"])),
        1 => Just(pool("p1", &["10.0.1.0/24"])),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => any_object().prop_map(Step::Stage),
        2 => any_object().prop_map(Step::Unstage),
        1 => prop::option::of(prop::sample::subsequence(vec![0, 1, 2, 3], 0..=4)).prop_map(Step::Members),
        4 => Just(Step::Settle),
    ]
}

/// A cluster that is likely to announce something.
fn beginning() -> World {
    let mut world =
        World::new(&[pool("p0", &["10.0.0.0/24", "fd00::/112"]), advertisement("ad0", json!({}))]);
    for name in NODES {
        world.stage(&node(name, json!({})));
    }
    for number in 0..4 {
        world.stage(&slice(&format!("s{number}"), &NODES));
    }
    world
}

proptest! {
    #[test]
    fn all_nodes_agree_on_one_and_only_it_answers(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = beginning();
        let mut speakers: BTreeMap<&str, Speaker> =
            NODES.iter().map(|name| (*name, Speaker::new(options(name)))).collect();
        let mut told: BTreeMap<&str, Desired> = BTreeMap::new();
        let mut all = true;
        for step in steps.iter().chain([&Step::Settle]) {
            match step {
                Step::Stage(object) => world.stage(object),
                Step::Unstage(object) => world.unstage(object),
                Step::Members(None) => (world.members, all) = (RingSpeakers::Disabled, true),
                Step::Members(Some(alive)) => {
                    let ours = || RingSpeaker::Ferrolb(NodeMetadata::default());
                    let names = alive.iter().map(|index| (NODES[*index].into(), ours())).collect();
                    (world.members, all) = (RingSpeakers::Alive(names), true);
                }
                Step::Settle => {
                    let mut dirty = world.snapshot.take_dirty();
                    dirty.all |= std::mem::take(&mut all);
                    for (name, speaker) in &mut speakers {
                        reconcile(speaker, &world, &dirty);
                        // Whoever follows the changes has what is desired.
                        let told = told.entry(name).or_default();
                        for (address, scope) in speaker.take_changes() {
                            match scope {
                                Some(scope) => told.insert(address, scope),
                                None => told.remove(&address),
                            };
                        }
                        prop_assert_eq!(&*told, &speaker.desired());
                    }
                    check(&world, &speakers)?;
                }
            }
        }
    }
}

fn check(world: &World, speakers: &BTreeMap<&str, Speaker>) -> Result<(), TestCaseError> {
    for (name, speaker) in speakers {
        // What was decided step by step is what is decided from scratch.
        let mut fresh = Speaker::new(options(name));
        reconcile(&mut fresh, world, &everything());
        prop_assert_eq!(speaker.announced(), fresh.announced());
        prop_assert_eq!(speaker.desired(), fresh.desired());
        // What is answered for is what some Service is announced with.
        let addresses: BTreeSet<_> =
            speaker.announced().values().flat_map(|a| a.addresses.iter().copied()).collect();
        prop_assert_eq!(addresses, speaker.desired().into_keys().collect());
    }
    for key in world.snapshot.services().keys() {
        let verdicts: Vec<_> =
            NODES.iter().map(|name| (*name, world.verdict(name, key.name()))).collect();
        let announcer = verdicts[0].1.announcer.clone();
        for (name, verdict) in &verdicts {
            prop_assert_eq!(&verdict.announcer, &announcer, "{} and {} differ", name, NODES[0]);
            let elected = announcer.as_deref() == Some(name);
            match &verdict.local {
                // docs/design/rules.md, rule 3: nobody announces what it is not elected for.
                Ok(_) => prop_assert!(elected),
                Err(Withhold::NoInterface(_)) => prop_assert!(elected),
                Err(reason) => {
                    prop_assert!(!elected, "{}: {}", name, reason);
                    prop_assert_eq!(
                        matches!(reason, Withhold::NoCandidates(_)) && announcer.is_some(),
                        false
                    );
                }
            }
            let announces = speakers[name].announced().contains_key(key);
            prop_assert_eq!(announces, verdict.local.is_ok());
        }
        // One that shares its address with Services that another node serves better is announced by nobody; the address is.
        let owner = &verdicts[0].1.owner;
        prop_assert!(announcer.is_none() || owner.is_some());
        prop_assert_eq!(owner.is_some(), has_candidate(world, key.name()), "{}", key);
    }
    Ok(())
}

/// Whether contract 4.2 leaves any node, told in another way than the program does.
fn has_candidate(world: &World, name: &str) -> bool {
    let key = key(name);
    let service = world.snapshot.service(&key).unwrap();
    let config = world.snapshot.config();
    let addresses: Vec<_> = service.ingress_addresses().collect();
    if addresses.is_empty() || addresses.len() != service.ingress.len() {
        return false;
    }
    let Some(pool) = config.pool_of(addresses[0]) else { return false };
    if addresses.iter().any(|address| config.pool_of(*address).map(|p| &p.name) != Some(&pool.name))
    {
        return false;
    }
    let ads: Vec<_> = config
        .l2_advertisements
        .values()
        .filter(|ad| ad.pools.selects_pool(pool) && ad.selects_service(&service.labels))
        .collect();
    let shares = service.annotation("allow-shared-ip").is_some();
    if shares && ads.iter().any(|ad| !ad.service_selectors.is_empty()) {
        return false;
    }
    let with_endpoint: BTreeSet<_> =
        world.snapshot.slices(&key).flat_map(|slice| slice.nodes.iter().cloned()).collect();
    world.snapshot.nodes().iter().any(|(name, node)| {
        let alive = match &world.members {
            RingSpeakers::Disabled => true,
            RingSpeakers::Alive(names) => names.contains_key(name),
        };
        let local = service.traffic_policy == cluster::model::TrafficPolicy::Local;
        alive
            && !node.network_unavailable
            && !node.is_excluded()
            && ads.iter().any(|ad| ad.selects_node(&node.labels))
            && if local { with_endpoint.contains(name) } else { !with_endpoint.is_empty() }
    })
}
