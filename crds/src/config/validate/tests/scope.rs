// SPDX-License-Identifier: Apache-2.0
//! Which objects count for whom.

use super::{names, nodes, world};
use crate::config::{Config, ConfigKind, Scope, validate};

const WORLD: &str = "IPAddressPool p: {addresses: [10.0.0.0/24]}
---
IPAddressPool bad: {addresses: []}
---
Community c: {communities: [{name: n, value: '1:1'}]}
---
L2Advertisement l: {interfaces: [eth0], nodeSelectors: [{matchLabels: {rack: b}}]}
---
BGPAdvertisement here: {nodeSelectors: [{matchLabels: {rack: a}}]}
---
BGPAdvertisement elsewhere: {aggregationLength: 99, nodeSelectors: [{matchLabels: {rack: b}}]}
---
BGPAdvertisement nowhere: {nodeSelectors: [{matchExpressions: [{key: a, operator: x}]}]}
---
BGPPeer here: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1}
---
BGPPeer elsewhere: {myASN: 0, nodeSelectors: [{matchLabels: {rack: b}}]}
---
BFDProfile b: {detectMultiplier: 1}";

fn rejected(scope: Scope<'_>) -> (Config, Vec<String>) {
    let known = nodes(&["one rack=a", "two rack=b"]);
    let (config, rejections) = validate(&world(WORLD), &known, scope, &Config::default());
    (config, rejections.iter().map(|r| format!("{} {}", r.kind, r.name)).collect())
}

#[test]
fn the_controller_looks_at_pools_and_communities_only() {
    let (config, rejections) = rejected(Scope::Controller);
    assert_eq!(rejections, ["IPAddressPool bad"]);
    assert_eq!(names(&config.pools), ["p"]);
    assert_eq!(config.communities.len(), 1);
    assert!(config.l2_advertisements.is_empty() && config.bgp_advertisements.is_empty());
    assert!(config.peers.is_empty());
}

#[test]
fn a_speaker_leaves_out_what_does_not_select_its_node() {
    let (config, rejections) = rejected(Scope::Speaker { node: "one" });
    assert_eq!(rejections, ["IPAddressPool bad", "BGPAdvertisement nowhere", "BFDProfile b"]);
    assert_eq!(names(&config.bgp_advertisements), ["here"]);
    assert_eq!(names(&config.peers), ["here"]);
    assert_eq!(names(&config.l2_advertisements), ["l"], "L2 advertisements are not filtered");

    let (config, rejections) = rejected(Scope::Speaker { node: "two" });
    assert_eq!(rejections.len(), 5);
    assert_eq!(names(&config.bgp_advertisements), [""; 0]);
}

#[test]
fn a_speaker_whose_node_is_unknown_has_no_labels() {
    let (config, _) = rejected(Scope::Speaker { node: "three" });
    assert_eq!(names(&config.bgp_advertisements), [""; 0]);
    assert_eq!(names(&config.peers), ["here"]);
}

#[test]
fn everything_is_looked_at_otherwise() {
    let (_, rejections) = rejected(Scope::All);
    assert_eq!(
        rejections,
        [
            "IPAddressPool bad",
            "BGPAdvertisement elsewhere",
            "BGPAdvertisement nowhere",
            "BGPPeer elsewhere",
            "BFDProfile b",
        ]
    );
    assert_eq!(ConfigKind::ALL.len(), 8);
}
