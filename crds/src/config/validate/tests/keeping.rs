// SPDX-License-Identifier: Apache-2.0
//! Invalid configuration never takes down what works.

use super::{all, names, then, world};
use crate::config::{Community, Config, Scope, validate};

#[test]
fn a_bad_edit_keeps_the_last_valid_version_and_everything_else() {
    let before = "IPAddressPool p: {addresses: [10.0.0.0/24]}
---
L2Advertisement l: {interfaces: [eth0]}
---
BGPAdvertisement a: {localPref: 7}
---
BFDProfile b: {detectMultiplier: 5}
---
BGPPeer x: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, bfdProfile: b}
---
Community c: {communities: [{name: n, value: '1:1'}]}";
    let after = "IPAddressPool p: {addresses: [10.0.0.0/33]}
---
L2Advertisement l: {interfaces: {}}
---
BGPAdvertisement a: {aggregationLength: 99}
---
BFDProfile b: {detectMultiplier: 1}
---
BGPPeer x: {myASN: 0}
---
Community c: {communities: [{name: n, value: '1:1:1'}]}";
    let (good, _) = all(before);
    let (config, rejections) = then(before, after);
    assert_eq!(config, good);
    assert_eq!(rejections.len(), 6);
    assert!(rejections.iter().all(|rejection| rejection.kept_last_valid));

    // The same objects after a restart: all of them are left out, and the pool is known as invalid.
    let (config, rejections) = all(after);
    assert_eq!(rejections.len(), 6);
    assert!(rejections.iter().all(|rejection| !rejection.kept_last_valid));
    assert_eq!(names(&config.invalid_pools), ["p"]);
    assert!(!config.has_no_pools());
    assert_eq!(Config { invalid_pools: [].into(), ..config }, Config::default());
}

#[test]
fn an_edit_that_mends_the_object_takes_effect() {
    let (_, rejections) =
        then("IPAddressPool p: {addresses: [10.0.0.0/24]}", "IPAddressPool p: {addresses: [x]}");
    assert_eq!(rejections.len(), 1);
    let (config, rejections) = then(
        "IPAddressPool p: {addresses: [10.0.0.0/24]}",
        "IPAddressPool p: {addresses: [10.9.0.0/24]}",
    );
    assert_eq!(rejections, []);
    assert_eq!(config.pools["p"].ranges[0].to_string(), "10.9.0.0/24");
}

#[test]
fn a_deleted_object_is_gone() {
    let (config, rejections) = then("IPAddressPool p: {addresses: [10.0.0.0/24]}", "");
    assert_eq!(rejections, []);
    assert!(config.has_no_pools());
}

#[test]
fn of_two_pools_that_overlap_the_older_stays() {
    for (p, q, stays, goes) in [
        ("2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", "q", "p"),
        ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "p", "q"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "p", "q"),
    ] {
        let (config, rejections) = all(&format!(
            "IPAddressPool p: {{addresses: [10.0.0.0/24], creationTimestamp: '{p}', labels: {{n: p}}}}
---
IPAddressPool q: {{addresses: [10.0.0.0/25], creationTimestamp: '{q}', labels: {{n: q}}}}"
        ));
        assert_eq!(names(&config.pools), [stays]);
        assert_eq!(names(&config.invalid_pools), [goes]);
        let invalid = &config.invalid_pools[goes];
        assert_eq!(invalid.labels.get("n"), Some(goes));
        assert!(invalid.reason.contains("overlaps with already defined CIDR"));
        assert_eq!(*rejections[0].name, *goes);
    }
}

#[test]
fn an_object_without_a_time_counts_as_oldest() {
    let (config, _) = all("IPAddressPool q: {addresses: [10.0.0.0/24]}
---
IPAddressPool p: {addresses: [10.0.0.0/25], creationTimestamp: '2026-01-01T00:00:00Z'}");
    assert_eq!(names(&config.pools), ["q"]);
}

#[test]
fn a_younger_pool_that_grows_into_an_older_one_keeps_its_old_size() {
    let (config, rejections) = then(
        "IPAddressPool p: {addresses: [10.0.0.0/25]}
---
IPAddressPool q: {addresses: [10.0.0.128/25]}",
        "IPAddressPool p: {addresses: [10.0.0.0/25]}
---
IPAddressPool q: {addresses: [10.0.0.0/24]}",
    );
    assert!(rejections[0].kept_last_valid);
    assert_eq!(config.pools["q"].ranges[0].to_string(), "10.0.0.128/25");
    assert_eq!(names(&config.invalid_pools), [""; 0]);
}

#[test]
fn the_last_valid_version_is_left_out_where_it_contradicts_a_valid_object() {
    let (config, rejections) = then(
        "IPAddressPool p: {addresses: [10.0.0.0/25]}
---
IPAddressPool q: {addresses: [10.0.0.128/25]}",
        "IPAddressPool p: {addresses: [10.0.0.0/24]}
---
IPAddressPool q: {addresses: [nonsense]}",
    );
    assert!(!rejections[0].kept_last_valid);
    assert_eq!(names(&config.pools), ["p"]);
    assert_eq!(names(&config.invalid_pools), ["q"]);
}

#[test]
fn an_older_advertisement_goes_before_a_younger_pool_that_its_aggregate_reaches_beyond() {
    let (config, _) = all("BGPAdvertisement a: {aggregationLength: 26}
---
IPAddressPool p: {addresses: [10.0.0.0/24]}
---
IPAddressPool q: {addresses: [1.1.1.0/28], creationTimestamp: '2026-01-01T00:00:00Z'}");
    assert_eq!(names(&config.bgp_advertisements), ["a"]);
    assert_eq!(names(&config.pools), ["p"]);
    assert_eq!(names(&config.invalid_pools), ["q"]);
}

#[test]
fn a_peer_keeps_its_session_when_its_profile_or_secret_goes() {
    let with = "Secret s: {type: kubernetes.io/basic-auth, stringData: {password: x}}
---
BFDProfile b: {}
---
BGPPeer x: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, bfdProfile: b, passwordSecret: {name: s}}";
    let without = "BGPPeer x: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, bfdProfile: b, passwordSecret: {name: s}}";
    let (good, _) = all(with);
    let (config, rejections) = then(with, without);
    assert_eq!(config.peers, good.peers);
    assert!(rejections[0].kept_last_valid);
}

#[test]
fn an_alias_that_becomes_invalid_goes_on_meaning_what_it_meant() {
    let advertisement = "BGPAdvertisement a: {communities: [n]}";
    let (config, rejections) = then(
        &format!("Community c: {{communities: [{{name: n, value: '1:1'}}]}}\n---\n{advertisement}"),
        &format!("Community c: {{communities: [{{name: n, value: '1:x'}}]}}\n---\n{advertisement}"),
    );
    assert_eq!(rejections.len(), 1);
    assert_eq!(config.communities["n"], Community::Standard(0x1_0001));
    assert_eq!(names(&config.bgp_advertisements), ["a"]);
}

#[test]
fn a_peer_that_no_longer_selects_this_node_is_not_kept() {
    let peer = |asn: u32| {
        world(&format!(
            "BGPPeer x: {{myASN: {asn}, peerASN: 2, peerAddress: 10.0.0.1, nodeSelectors: [{{matchLabels: {{a: b}}}}]}}"
        ))
    };
    let scope = Scope::Speaker { node: "n" };
    let (before, _) = validate(&peer(1), &super::nodes(&["n a=b"]), scope, &Config::default());
    assert_eq!(names(&before.peers), ["x"]);
    let (kept, rejections) = validate(&peer(0), &super::nodes(&["n a=b"]), scope, &before);
    assert_eq!((names(&kept.peers), rejections.len()), (vec!["x"], 1));
    let (gone, rejections) = validate(&peer(0), &super::nodes(&["n a=c"]), scope, &before);
    assert_eq!((names(&gone.peers), rejections.len()), (vec![], 0));
}
