// SPDX-License-Identifier: Apache-2.0
//! Links in the election among our own: an address is with a node that has a link for that very address, as long as one has.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod world;

use std::collections::BTreeMap;

use l2::{LinkReport, NoResponder};
use serde_json::{Value, json};
use speaker::{NodeLinks, NodeMetadata, PoolLinks, PoolOrder, RingSpeaker, RingSpeakers, Withhold};
use world::{World, advertisement, node, pool, service, slice};

const NODES: [&str; 3] = ["node-a", "node-b", "node-c"];

fn link(name: &str, carrier: bool, addresses: &[&str]) -> LinkReport {
    let split = |text: &&str| {
        let (address, length) = text.split_once('/').unwrap();
        (address.parse().unwrap(), length.parse().unwrap())
    };
    LinkReport {
        name: name.into(),
        index: 1,
        hardware_address: None,
        up: true,
        carrier,
        addresses: addresses.iter().map(split).collect(),
        arp: true,
        ndp: true,
        arp_reason: None,
        ndp_reason: None,
    }
}

/// Two links, with a subnet each.
fn two(first: bool, second: bool) -> Vec<LinkReport> {
    vec![
        link("eth1", first, &["10.0.1.9/24", "fd00:1::9/64"]),
        link("eth2", second, &["10.0.2.9/24", "fd00:2::9/64"]),
    ]
}

/// Three nodes with two links each, a pool with an address of each, and Services that have them.
struct Links {
    world: World,
    links: BTreeMap<&'static str, Vec<LinkReport>>,
}

impl Links {
    fn new(objects: &[Value]) -> Self {
        let mut all: Vec<Value> = NODES.iter().map(|name| node(name, json!({}))).collect();
        all.extend([
            pool("p", &["10.0.1.0/24", "10.0.2.0/24", "fd00:1::/120", "fd00:2::/120"]),
            service("one", &["10.0.1.5"]),
            service("two", &["10.0.2.5"]),
            service("both", &["10.0.1.6", "fd00:2::6"]),
        ]);
        all.extend(["one", "two", "both"].map(|service| slice(service, &NODES)));
        all.extend_from_slice(objects);
        let links = NODES.map(|node| (node, two(true, true))).into();
        let mut it = Self { world: World::new(&all), links };
        it.world.interfaces = ["eth1".into(), "eth2".into()].into();
        it.tell();
        it
    }

    /// Lets every node say which links it has, as the others read it.
    fn tell(&mut self) {
        let world = &self.world;
        let config = world.snapshot.config();
        let members = self.links.iter().map(|(name, links)| {
            let mut metadata = NodeMetadata::default();
            let node = world.snapshot.nodes().get(*name);
            let pools = PoolLinks::of(&PoolOrder::of(config), config, links, |_| true);
            metadata.set_links(pools, NodeLinks::of(config, links, node));
            let read = RingSpeaker::parse(&metadata.encode());
            assert_eq!(read, RingSpeaker::Ferrolb(metadata));
            ((*name).into(), read)
        });
        self.world.members = RingSpeakers::Alive(members.collect());
    }

    fn set(&mut self, node: &str, links: Vec<LinkReport>) {
        *self.links.get_mut(node).unwrap() = links;
        self.tell();
    }

    fn owner(&self, service: &str) -> &'static str {
        let owners = self.world.announcers(service);
        assert_eq!(owners.len(), 1, "{service}: {owners:?}");
        NODES.into_iter().find(|node| *node == owners[0]).unwrap()
    }

    fn owners(&self) -> [&'static str; 3] {
        ["one", "two", "both"].map(|service| self.owner(service))
    }
}

#[test]
fn of_two_subnets_of_a_pool_the_one_with_the_address_counts() {
    let mut it = Links::new(&[advertisement("ad", json!({}))]);
    let before = it.owners();
    let owner = before[0];
    it.set(owner, two(false, true));
    assert_ne!(it.owner("one"), owner);
    assert_eq!(it.owner("two"), before[1]);
    let local = it.world.verdict(owner, "one").local;
    assert_eq!(local, Err(Withhold::NoLink("p".into())));
    it.set(owner, two(true, false));
    assert_eq!(it.owner("one"), owner);
    // Where nobody has it, it stays.
    for node in NODES {
        it.set(node, two(false, true));
    }
    assert_eq!(it.owners()[..2], before[..2]);
}

#[test]
fn a_link_that_is_switched_off_has_its_subnets_all_the_same() {
    let mut it = Links::new(&[advertisement("ad", json!({}))]);
    let owner = it.owner("one");
    let mut links = two(false, true);
    (links[0].up, links[0].arp, links[0].ndp) = (false, false, false);
    links[0].arp_reason = Some(NoResponder::Down);
    links[0].ndp_reason = Some(NoResponder::Down);
    it.set(owner, links.clone());
    assert_ne!(it.owner("one"), owner);
    // One on which nothing is ever spoken is none.
    links[0].arp_reason = Some(NoResponder::NoArp);
    it.set(owner, links);
    assert_eq!(it.owner("one"), owner);
}

#[test]
fn an_advertisement_for_other_services_lends_no_link() {
    let on = |service: &str, interface: &str| {
        json!({ "interfaces": [interface],
            "serviceSelectors": [{ "matchLabels": { "app": service } }] })
    };
    let mut it = Links::new(&[
        service("two", &["10.0.1.7"]),
        advertisement("ad1", on("one", "eth1")),
        advertisement("ad2", on("two", "eth2")),
        advertisement("ad3", on("both", "eth1")),
    ]);
    let before = it.owners();
    it.set(before[0], two(false, true));
    assert_ne!(it.owner("one"), before[0]);
    // It is announced on eth2 alone, whoever has the subnet.
    assert_eq!(it.owner("two"), before[1]);
    it.set(before[0], two(true, true));
    it.set(before[1], two(true, false));
    assert_eq!(it.owner("one"), before[0]);
    assert_ne!(it.owner("two"), before[1]);
}

#[test]
fn an_advertisement_for_another_node_lends_no_link() {
    let spec = |interface: &str, node: &str| {
        json!({ "interfaces": [interface],
            "nodeSelectors": [{ "matchLabels": { "name": node } }] })
    };
    let named = NODES.map(|name| node(name, json!({ "name": name })));
    let mut objects = vec![advertisement("a", spec("eth1", "node-a"))];
    objects.push(advertisement("b", spec("eth2", "node-b")));
    objects.extend(named);
    let mut it = Links::new(&objects);
    it.set("node-a", two(false, true));
    assert_eq!(it.owners(), ["node-b"; 3]);
    it.set("node-a", two(true, true));
    it.set("node-b", two(true, false));
    assert_eq!(it.owners(), ["node-a"; 3]);
}

#[test]
fn a_link_for_both_addresses_is_better_than_one_for_the_first() {
    let mut it = Links::new(&[advertisement("ad", json!({}))]);
    let owner = it.owner("both");
    it.set(owner, two(true, false));
    assert_ne!(it.owner("both"), owner);
    for node in NODES {
        it.set(node, two(node == owner, node != owner));
    }
    assert_eq!(it.owner("both"), owner, "the first is what the election is about");
}

#[test]
fn without_a_subnet_any_link_counts_for_its_family() {
    let mut it = Links::new(&[
        advertisement("ad", json!({})),
        service("one", &["10.0.9.1"]),
        pool("q", &["10.0.9.0/24"]),
    ]);
    let owner = it.owner("one");
    it.set(owner, vec![link("eth7", true, &[])]);
    assert_eq!(it.owner("one"), owner);
    it.set(owner, vec![LinkReport { arp: false, ..link("eth7", true, &[]) }]);
    assert_ne!(it.owner("one"), owner);
}

/// A fleet is upgraded node by node: as long as one says only for which pools it has links, all go by that.
#[test]
fn beside_a_build_that_knows_only_pools_all_go_by_pools() {
    let mut it = Links::new(&[advertisement("ad", json!({}))]);
    let before = it.owners();
    let owner = before[0];
    it.set(owner, two(false, true));
    assert_ne!(it.owner("one"), owner);
    for older in NODES {
        let RingSpeakers::Alive(mut members) = it.world.members.clone() else { unreachable!() };
        let Some(RingSpeaker::Ferrolb(metadata)) = members.get_mut(older) else { unreachable!() };
        metadata.node_links = NodeLinks::Unknown;
        let members = std::mem::replace(&mut it.world.members, RingSpeakers::Alive(members));
        assert_eq!(it.owners(), before, "{older} is the older one");
        it.world.members = members;
    }
    it.set(owner, two(false, false));
    let RingSpeakers::Alive(members) = &mut it.world.members else { unreachable!() };
    let Some(RingSpeaker::Ferrolb(metadata)) = members.get_mut(owner) else { unreachable!() };
    metadata.node_links = NodeLinks::Unknown;
    assert_ne!(it.owner("one"), owner, "it has no link for the pool");
}

/// Contract C.7: on the link with the node's InternalIP.
#[test]
fn an_external_pools_address_is_with_a_node_whose_transport_works() {
    let node = |name: &str| {
        json!({ "kind": "Node", "metadata": { "name": name },
            "status": { "addresses": [{ "type": "InternalIP", "address": "10.0.1.9" }] } })
    };
    let external = json!({
        "kind": "ExternalIPPool", "metadata": { "name": "e" },
        "spec": { "ipRanges": [{ "cidr": "10.0.8.0/24" }, { "cidr": "10.0.7.0/24" }], "nodeSelector": {} },
    });
    let mut web = service("web", &["10.0.8.2"]);
    web["metadata"]["annotations"] = json!({ "service.antrea.io/external-ip-pool": "e" });
    web["status"]["conditions"] = json!([{
        "type": "ferrolb.io/Allocated", "status": "True", "reason": "Assigned", "message": "m",
    }]);
    let mut objects = vec![external, web, advertisement("ad", json!({}))];
    objects.extend(NODES.map(node));
    let mut it = Links::new(&objects);
    let owner = it.owner("web");
    it.set(owner, two(true, false));
    assert_eq!(it.owner("web"), owner);
    it.set(owner, two(false, true));
    assert_ne!(it.owner("web"), owner);
    assert_eq!(it.world.verdict(owner, "web").local, Err(Withhold::NoLink("e".into())));
    it.set(owner, vec![link("eth2", true, &[])]);
    assert_ne!(it.owner("web"), owner, "the link is gone");
}
