// SPDX-License-Identifier: Apache-2.0
//! An address has one owner, whatever the Services that share it want; and beside a speaker of MetalLB each Service is elected alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use cluster::model::{Service, TrafficPolicy};
use cluster::{Dirty, ObjectKey};
use ownership::{OwnershipTable, PeerMessage, Placement};
use proptest::prelude::*;
use serde_json::{Value, json};
use speaker::election::{Candidate, Strategy as Order, winner};
use speaker::{
    Circumstances, Modes, NodeMetadata, Options, Output, Remark, RingSpeaker, RingSpeakers,
    Speaker, Withhold,
};
use world::{World, advertisement, key, node, options, pool, service, slice, with};

const NODES: [&str; 4] = ["n0", "n1", "n2", "n3"];
const ADDRESSES: [&[&str]; 7] = [
    &["10.0.0.1"],
    &["10.0.0.1"],
    &["10.0.0.1"],
    &["10.0.0.2"],
    &["10.0.0.1", "fd00::1"],
    &["fd00::1", "10.0.0.1"],
    &["10.0.0.2", "fd00::1"],
];

/// The world that Services are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    MetalLb,
    Antrea,
}

fn beginning(kind: Kind) -> World {
    let mut world = World::new(&NODES.map(|name| node(name, json!({}))));
    world.stage(&match kind {
        Kind::MetalLb => pool("p", &["10.0.0.0/24", "fd00::/112"]),
        Kind::Antrea => json!({
            "kind": "ExternalIPPool", "metadata": { "name": "p" },
            "spec": { "ipRanges": [{ "cidr": "10.0.0.0/24" }, { "cidr": "fd00::/112" }], "nodeSelector": {} },
        }),
    });
    if kind == Kind::MetalLb {
        world.stage(&advertisement("ad", json!({})));
    }
    world
}

/// A Service of that world.
fn of(kind: Kind, mut object: Value) -> Value {
    if kind == Kind::Antrea {
        object["metadata"]["annotations"]["service.antrea.io/external-ip-pool"] = json!("p");
        object["status"]["conditions"] = json!([{
            "type": "ferrolb.io/Allocated", "status": "True", "reason": "Assigned", "message": "m" }]);
    }
    object
}

/// Endpoints for each family, since Antrea looks at the address's.
fn endpoints(name: &str, nodes: &[&str]) -> [Value; 2] {
    ["IPv4", "IPv6"].map(|family| {
        let mut object = slice(name, nodes);
        object["metadata"]["name"] = json!(format!("{name}-{family}"));
        object["addressType"] = json!(family);
        object
    })
}

#[derive(Clone, Debug)]
enum Step {
    Service { number: usize, addresses: usize, local: bool, wish: Option<usize>, age: usize },
    Endpoints(usize, Vec<&'static str>),
    Gone(usize),
    Node { number: usize, excluded: bool, drained: bool },
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..5_usize, 0..ADDRESSES.len(), any::<bool>(), prop::option::weighted(0.3, 0..5_usize), 0..3_usize)
            .prop_map(|(number, addresses, local, wish, age)| Step::Service { number, addresses, local, wish, age }),
        6 => (0..5_usize, prop::sample::subsequence(NODES.to_vec(), 0..=3))
            .prop_map(|(number, nodes)| Step::Endpoints(number, nodes)),
        1 => (0..5_usize).prop_map(Step::Gone),
        2 => (0..4_usize, prop::bool::weighted(0.2), prop::bool::weighted(0.3))
            .prop_map(|(number, excluded, drained)| Step::Node { number, excluded, drained }),
        5 => Just(Step::Settle),
    ]
}

fn stage(world: &mut World, kind: Kind, step: &Step) {
    match step {
        Step::Service { number, addresses, local, wish, age } => {
            let object = service(&format!("s{number}"), ADDRESSES[*addresses]);
            let policy = if *local { "Local" } else { "Cluster" };
            let mut object = with(object, "/spec/externalTrafficPolicy", json!(policy));
            if *age > 0 {
                let time = format!("202{age}-01-01T00:00:00Z");
                object["metadata"]["creationTimestamp"] = json!(time);
            }
            object["metadata"]["annotations"]["metallb.io/allow-shared-ip"] = json!("k");
            if let Some(wish) = wish {
                let name = NODES.get(*wish).unwrap_or(&"stranger");
                object["metadata"]["annotations"]["ferrolb.io/preferred-node"] = json!(name);
            }
            world.stage(&of(kind, object));
        }
        Step::Endpoints(number, nodes) => {
            endpoints(&format!("s{number}"), nodes).iter().for_each(|object| world.stage(object));
        }
        Step::Gone(number) => world.unstage(&service(&format!("s{number}"), &[])),
        Step::Node { number, excluded, drained } => {
            let name = NODES[*number];
            let labels = match excluded {
                true => json!({ "node.kubernetes.io/exclude-from-external-load-balancers": "" }),
                false => json!({}),
            };
            let mut object = node(name, labels);
            if *drained {
                object["metadata"]["annotations"] = json!({ "ferrolb.io/drain": "" });
            }
            world.stage(&object);
        }
        Step::Settle => {}
    }
}

fn reconcile(speaker: &mut Speaker, world: &World, dirty: &Dirty) -> Vec<Output> {
    world.in_circumstances(|it| speaker.reconcile(&world.snapshot, dirty, it))
}

fn everything() -> Dirty {
    Dirty { all: true, ..Dirty::default() }
}

/// Whether a node could announce a Service if it were alone, told in another way than the program does.
fn could(world: &World, kind: Kind, key: &ObjectKey, service: &Service, name: &str) -> bool {
    let with_endpoint: BTreeSet<_> =
        world.snapshot.slices(key).flat_map(|slice| slice.nodes.iter().map(|it| &**it)).collect();
    let has_endpoint = match (service.traffic_policy, kind) {
        (TrafficPolicy::Local, _) => with_endpoint.contains(name),
        (TrafficPolicy::Cluster, Kind::MetalLb) => !with_endpoint.is_empty(),
        (TrafficPolicy::Cluster, Kind::Antrea) => true,
    };
    has_endpoint && !world.snapshot.nodes()[name].is_excluded()
}

/// One owner for each address if any node could announce a sharer, and the one that can announce most; all agree, and the same comes
/// out step by step as from scratch.
fn check(
    world: &World,
    kind: Kind,
    speakers: &BTreeMap<&str, Speaker>,
) -> Result<(), TestCaseError> {
    let services = world.snapshot.services();
    let addresses: BTreeSet<IpAddr> =
        services.values().flat_map(|service| service.ingress_addresses()).collect();
    for address in addresses {
        let owners: Vec<&str> = speakers
            .iter()
            .filter(|(_, speaker)| speaker.desired().contains_key(&address))
            .map(|(name, _)| *name)
            .collect();
        prop_assert!(owners.len() < 2, "{} is announced by {:?}", address, owners);
        let sharers: Vec<_> = services
            .iter()
            .filter(|(_, service)| service.ingress_addresses().any(|it| it == address))
            .collect();
        let count = |name: &str| {
            sharers.iter().filter(|(key, service)| could(world, kind, key, service, name)).count()
        };
        let most = NODES.iter().map(|name| count(name)).max().unwrap();
        prop_assert_eq!(owners.is_empty(), most == 0, "{} has {:?}", address, owners);
        if sharers.iter().all(|(_, service)| service.ingress.len() == 1) {
            prop_assert!(
                owners.iter().all(|owner| count(owner) == most),
                "{} {:?}",
                address,
                owners
            );
        }
    }
    for (key, service) in services {
        let verdicts = NODES.map(|name| world.verdict(name, key.name()));
        let announcer = verdicts[0].announcer.clone();
        for (name, verdict) in NODES.iter().zip(verdicts) {
            prop_assert_eq!(&verdict.announcer, &announcer, "{}", key);
            let announced = speakers[name].announced().get(key);
            prop_assert_eq!(announced, verdict.local.as_ref().ok());
            prop_assert_eq!(announced.is_some(), announcer.as_deref() == Some(name));
            if announced.is_some() {
                prop_assert!(could(world, kind, key, service, name), "{} at {}", key, name);
            }
            // A reason for all is said only where nobody announces, and the same by all.
            prop_assert!(verdict.nobody.is_none() || announcer.is_none());
            prop_assert_eq!(&verdict.nobody, &world.verdict("n0", key.name()).nobody);
            prop_assert_eq!(speakers[name].remarks(key), verdict.remarks.as_slice());
        }
    }
    for (name, speaker) in speakers {
        // Decided step by step it is as decided from scratch.
        let mut fresh = Speaker::new(options(name));
        reconcile(&mut fresh, world, &everything());
        prop_assert_eq!(speaker.announced(), fresh.announced());
        for key in services.keys() {
            prop_assert_eq!(speaker.withheld(key), fresh.withheld(key));
            prop_assert_eq!(speaker.nobody(key), fresh.nobody(key));
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn an_address_has_one_owner(
        antrea in any::<bool>(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let kind = if antrea { Kind::Antrea } else { Kind::MetalLb };
        let mut world = beginning(kind);
        let mut speakers: BTreeMap<&str, Speaker> =
            NODES.iter().map(|name| (*name, Speaker::new(options(name)))).collect();
        for step in steps.iter().chain([&Step::Settle]) {
            stage(&mut world, kind, step);
            if matches!(step, Step::Settle) {
                let dirty = world.snapshot.take_dirty();
                for speaker in speakers.values_mut() {
                    reconcile(speaker, &world, &dirty);
                }
                check(&world, kind, &speakers)?;
            }
        }
    }

    #[test]
    fn beside_metallb_each_service_is_elected_alone(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = beginning(Kind::MetalLb);
        let ours = |name: &&str| ((*name).into(), RingSpeaker::Ferrolb(NodeMetadata::default()));
        let all = NODES.iter().map(ours).chain([("metallb".into(), RingSpeaker::MetalLb)]);
        world.members = RingSpeakers::Alive(all.collect());
        steps.iter().for_each(|step| stage(&mut world, Kind::MetalLb, step));
        world.snapshot.take_dirty();
        for (key, service) in world.snapshot.services() {
            let candidates: Vec<Candidate<'_>> = NODES
                .iter()
                .filter(|name| could(&world, Kind::MetalLb, key, service, name))
                .map(|node| Candidate { node, score: 0 })
                .collect();
            let first = service.ingress_addresses().next().unwrap();
            let expected = winner(Order::Hash, &candidates, first).map(|winner| winner.node);
            for name in NODES {
                let verdict = world.verdict(name, key.name());
                prop_assert_eq!(verdict.announcer.as_deref(), expected);
                prop_assert_eq!(verdict.local.is_ok(), expected == Some(name));
                prop_assert_eq!(&verdict.remarks, &[]);
            }
        }
    }
}

/// Four nodes, and Services with one address; all are Local, with an endpoint on these nodes.
fn local(services: &[(&str, &[&str])]) -> World {
    let mut world = beginning(Kind::MetalLb);
    for (name, nodes) in services {
        let object = service(name, &["10.0.0.1"]);
        world.stage(&with(object, "/spec/externalTrafficPolicy", json!("Local")));
        world.stage(&slice(name, nodes));
    }
    world.snapshot.take_dirty();
    world
}

/// All have one election: a build that elects each Service by itself decides for all of them how that is done.
#[test]
fn beside_an_older_build_each_service_is_elected_alone() {
    let mut world = local(&[("a", &["n0"]), ("b", &["n1"])]);
    for (elects_services, owners) in [(false, 1), (true, 2)] {
        let metadata = |name| NodeMetadata {
            elects_services: elects_services && name == "n3",
            ..NodeMetadata::default()
        };
        let members =
            NODES.iter().map(|name| ((*name).into(), RingSpeaker::Ferrolb(metadata(*name))));
        world.members = RingSpeakers::Alive(members.collect());
        let announces = |name: &&str| {
            ["a", "b"].iter().any(|service| world.verdict(name, service).local.is_ok())
        };
        assert_eq!(NODES.iter().copied().filter(announces).count(), owners);
    }
}

#[test]
fn the_node_that_serves_all_goes_before_those_that_serve_some() {
    let world = local(&[("a", &["n0", "n1", "n2"]), ("b", &["n2", "n3"])]);
    assert_eq!(world.announcers("a"), ["n2"]);
    assert_eq!(world.announcers("b"), ["n2"]);
    let world = local(&[("a", &["n0", "n1"]), ("b", &["n1", "n2"]), ("c", &["n3"])]);
    assert_eq!(world.announcers("a"), ["n1"]);
    assert_eq!(world.announcers("b"), ["n1"]);
    assert!(world.announcers("c").is_empty());
    // The one that is left out has for a reason what stopped it there, or what stops the node that is asked.
    let elsewhere =
        Withhold::SharedElsewhere { node: "n1".into(), why: Box::new(Withhold::NoLocalEndpoints) };
    let reason = |node| world.verdict(node, "c").local.unwrap_err();
    assert_eq!(reason("n3"), elsewhere);
    assert_eq!(reason("n1"), Withhold::NoLocalEndpoints);
    assert_eq!(elsewhere.name(), "noLocalEndpoints");
    let verdict = world.verdict("n0", "c");
    assert_eq!(verdict.nobody, Some(elsewhere));
    assert_eq!((verdict.announcer, verdict.owner.as_deref()), (None, Some("n1")));
}

#[test]
fn of_several_wishes_the_oldest_services_counts() {
    let mut world = beginning(Kind::MetalLb);
    let made = |name: &str, year: u16, wish: &str| {
        let mut object = service(name, &["10.0.0.1"]);
        object["metadata"]["creationTimestamp"] = json!(format!("{year}-01-01T00:00:00Z"));
        object["metadata"]["annotations"] = json!({ "ferrolb.io/preferred-node": wish });
        object
    };
    for (name, year, wish) in [("a", 2022, "n0"), ("b", 2021, "n1"), ("c", 2021, "n2")] {
        world.stage(&made(name, year, wish));
        world.stage(&slice(name, &NODES));
    }
    world.snapshot.take_dirty();
    for name in ["a", "b", "c"] {
        assert_eq!(world.announcers(name), ["n1"], "{name}");
    }
    let overruled = |wish: &str| {
        let (other, node) = (key("b"), "n1".into());
        vec![Remark::Overruled { wish: wish.into(), other, node }]
    };
    assert_eq!(world.verdict("n1", "a").remarks, overruled("n0"));
    assert_eq!(world.verdict("n1", "b").remarks, []);
    assert_eq!(world.verdict("n1", "c").remarks, overruled("n2"));
    // The node that announces the Services tells it, once.
    let mut speakers = ["n1", "n0"].map(|node| Speaker::new(options(node)));
    let told = speakers.each_mut().map(|speaker| {
        [(); 2].map(|()| {
            let told = reconcile(speaker, &world, &everything());
            told.iter().filter(|it| matches!(it, Output::Remarked { .. })).count()
        })
    });
    assert_eq!(told, [[2, 0], [0, 0]]);
    // A wish that cannot be met overrules nobody.
    world.stage(&made("b", 2021, "stranger"));
    assert_eq!(world.announcers("a"), ["n2"]);
    assert_eq!(world.verdict("n2", "b").remarks, []);
}

#[test]
fn a_change_of_one_sharer_is_told_of_the_others() {
    let mut world = local(&[("a", &["n0"]), ("b", &["n0"]), ("c", &["n0"])]);
    let mut speaker = Speaker::new(options("n0"));
    reconcile(&mut speaker, &world, &everything());
    assert_eq!(speaker.announced().len(), 3);
    assert!(speaker.redecided().is_empty());
    for (name, nodes) in [("b", ["n1"]), ("c", ["n1"])] {
        world.stage(&slice(name, &nodes));
    }
    let dirty = world.snapshot.take_dirty();
    let told = reconcile(&mut speaker, &world, &dirty);
    assert_eq!(told.len(), 3, "{told:?}");
    // The address goes to n1, also for the Service that nobody announces now.
    assert!(told.iter().all(|output| matches!(output,
        Output::Withdrawn { successor: Some(successor), .. } if &**successor == "n1")));
    assert_eq!(*speaker.redecided(), [key("a")].into());
}

/// With `--sticky` who has an address keeps it while it serves as many sharers as any other; and it alone decides that it goes.
#[test]
fn an_owner_that_stays_gives_an_address_away_only_for_more_sharers() {
    #[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
    let now = std::time::Instant::now();
    let sticky = || RingSpeaker::Ferrolb(NodeMetadata { sticky: true, ..NodeMetadata::default() });
    let mut world = local(&[("a", &["n0", "n1"]), ("b", &["n0", "n1"])]);
    world.members =
        RingSpeakers::Alive(NODES.iter().map(|name| ((*name).into(), sticky())).collect());
    let elected = world.announcers("a").pop().unwrap();
    let keeper = if elected == "n0" { "n1" } else { "n0" };
    let address: IpAddr = "10.0.0.1".parse().unwrap();
    let mut own = OwnershipTable::new(1);
    own.change([address].into_iter(), [].into_iter());
    let name: std::sync::Arc<str> = keeper.into();
    let mut heard = OwnershipTable::new(2);
    heard.attend(now, [&name].into_iter());
    for told in own.list() {
        if let PeerMessage::OwnedSnapshot(held) = told {
            heard.handle_snapshot(now, keeper, &held);
        }
    }
    let announcers = |world: &World, node: &str, table: &OwnershipTable| {
        let modes = Modes { sticky: true, spread: false };
        let placement = Placement::new(node, modes, table, &world.members);
        let mut speaker = Speaker::new(options(node));
        world.in_circumstances(|it| {
            let circumstances = Circumstances { placement: placement.as_ref(), ..*it };
            speaker.reconcile(&world.snapshot, &everything(), &circumstances);
        });
        ["a", "b"].map(|name| match speaker.withheld(&key(name)) {
            Some((_, announcer)) => announcer.map(ToString::to_string),
            None => Some(node.to_owned()),
        })
    };
    let both = |node: &str| [Some(node.to_owned()), Some(node.to_owned())];
    assert_eq!(announcers(&world, keeper, &own), both(keeper));
    assert_eq!(announcers(&world, &elected, &heard), both(keeper));
    world.stage(&slice("b", &[&*elected]));
    world.snapshot.take_dirty();
    assert_eq!(announcers(&world, keeper, &own), both(&elected), "it lets go");
    assert_eq!(
        announcers(&world, &elected, &heard),
        [Some(keeper.to_owned()), None],
        "it is waited for"
    );
    // What it holds and may not announce, as far as is known here, it may know better.
    world.stage(&slice("a", &[&*elected]));
    world.snapshot.take_dirty();
    assert_eq!(announcers(&world, &elected, &heard), both(keeper));
    let free = OwnershipTable::new(3);
    assert_eq!(announcers(&world, &elected, &free), both(&elected));
}

/// The work grows with the Services, not with their square: this ends in seconds.
#[test]
fn ten_thousand_that_share_few_addresses_are_decided() {
    let mut world = beginning(Kind::MetalLb);
    world.snapshot.take_dirty();
    let addresses: Vec<String> = (1..=3).map(|last| format!("10.0.0.{last}")).collect();
    for number in 0..10_000_usize {
        let one = addresses[number % 3].as_str();
        // All hang together: some have two addresses.
        let more = addresses[(number + 1) % 3].as_str();
        let both = [one, more];
        let addresses = if number % 100 == 0 { &both[..] } else { &both[..1] };
        world.stage(&service(&format!("s{number}"), addresses));
    }
    let dirty = world.snapshot.take_dirty();
    assert_eq!((dirty.all, dirty.services.len()), (false, 10_000));
    let speaks = |node: &str| Options { assume_endpoints: true, ..options(node) };
    let mut counts = Vec::new();
    for name in NODES {
        let mut speaker = Speaker::new(speaks(name));
        reconcile(&mut speaker, &world, &dirty);
        let count = speaker.announced().len();
        assert!(reconcile(&mut speaker, &world, &everything()).is_empty());
        // One of them is dirty: all are decided again, and nothing changes.
        let one = Dirty { services: [key("s7")].into(), ..Dirty::default() };
        assert!(reconcile(&mut speaker, &world, &one).is_empty());
        assert_eq!(speaker.redecided().len(), 9_999);
        counts.push((count, speaker.take_changes().len()));
    }
    counts.sort_unstable();
    assert_eq!(counts, [(0, 0), (0, 0), (0, 0), (10_000, 3)]);
}
