// SPDX-License-Identifier: Apache-2.0
//! What is valid, and what becomes of it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::{all, names};
use crate::config::{
    Community, Config, ConfigKind, Family, Ipv6NextHop, MetallbPolicy, Password, PeerAddress,
    PeerAsn, Policy, Role, Timers,
};

fn valid(text: &str) -> Config {
    let (config, rejections) = all(text);
    assert_eq!(rejections, [], "{text}");
    config
}

fn peer(fields: &str) -> crate::config::Peer {
    let text = format!("BGPPeer p: {{myASN: 64512, {fields}}}");
    valid(&text).peers.remove("p").unwrap()
}

#[test]
fn nothing_is_a_valid_configuration() {
    let config = valid("");
    assert!(config.has_no_pools());
    assert_eq!(config, Config::default());
}

#[test]
fn a_pool_has_the_defaults_of_the_api() {
    let config = valid("IPAddressPool p: {addresses: [198.51.100.10/24, ' 10.0.0.1 - 10.0.0.3 ']}");
    let pool = &config.pools["p"];
    let written = pool.ranges.clone();
    let defaults = MetallbPolicy { auto_assign: true, written, ..MetallbPolicy::default() };
    assert_eq!(pool.policy, Policy::Metallb(defaults));
    let ranges: Vec<String> = pool.ranges.iter().map(ToString::to_string).collect();
    assert_eq!(ranges, ["198.51.100.0/24", "10.0.0.1-10.0.0.3"]);
}

#[test]
fn an_address_leads_to_its_pool() {
    let config = valid(
        "IPAddressPool p: {addresses: [10.0.0.0/24, '2001:db8::/64']}
---
IPAddressPool q: {addresses: [10.0.2.0/24, 10.0.1.0-10.0.1.9]}",
    );
    for (address, pool) in [
        ("9.255.255.255", None),
        ("10.0.0.0", Some("p")),
        ("10.0.0.255", Some("p")),
        ("10.0.1.0", Some("q")),
        ("10.0.1.9", Some("q")),
        ("10.0.1.10", None),
        ("10.0.2.255", Some("q")),
        ("10.0.3.0", None),
        ("2001:db8::", Some("p")),
        ("2001:db8:0:1::", None),
        ("::10.0.0.1", None),
    ] {
        let address: IpAddr = address.parse().unwrap();
        assert_eq!(config.pool_of(address).map(|pool| &*pool.name), pool, "{address}");
    }
}

#[test]
fn an_advertisement_without_a_spec_announces_everything() {
    let mut objects = crate::config::Objects::default();
    for kind in [ConfigKind::L2Advertisement, ConfigKind::BgpAdvertisement] {
        objects.apply(kind, serde_json::json!({ "metadata": { "name": "a" } }));
    }
    let (config, rejections) =
        super::validate(&objects, &super::Nodes::new(), super::Scope::All, &Config::default());
    assert_eq!(rejections, []);
    let none = crate::labels::Labels::default();
    assert!(config.l2_advertisements["a"].pools.selects("any", &none));
    assert!(config.l2_advertisements["a"].selects_node(&none));
    let bgp = &config.bgp_advertisements["a"];
    assert!(bgp.pools.selects("any", &none) && bgp.selects_service(&none));
    assert_eq!((bgp.length_for(Family::V4), bgp.length_for(Family::V6)), (32, 128));
}

#[test]
fn timers_stand_for_each_other() {
    let seconds = |hold, keepalive| {
        Some(Timers {
            hold: Duration::from_secs(hold),
            keepalive: Duration::from_millis(keepalive),
        })
    };
    for (fields, timers) in [
        ("", None),
        ("holdTime: 90s", seconds(90, 30_000)),
        ("keepaliveTime: 20s", seconds(60, 20_000)),
        ("holdTime: 3s", seconds(3, 1_000)),
        ("holdTime: 10s, keepaliveTime: 10s", seconds(10, 10_000)),
        ("holdTime: 0s, keepaliveTime: 0s", seconds(0, 0)),
        ("holdTime: 0s", seconds(0, 0)),
        ("holdTime: 10999ms, keepaliveTime: 1s", seconds(10, 1_000)),
        ("holdTime: 20h, keepaliveTime: 19h", seconds(65_535, 65_535_000)),
    ] {
        let peer = peer(&format!("peerASN: 1, peerAddress: 10.0.0.1, {fields}"));
        assert_eq!(peer.timers, timers, "{fields}");
    }
}

#[test]
fn a_peer_has_every_field_of_its_object() {
    let bare = peer("peerASN: 64513, peerAddress: '::ffff:10.0.0.1'");
    assert_eq!(bare.address, PeerAddress::Address(Ipv4Addr::new(10, 0, 0, 1).into()));
    assert_eq!((bare.port, bare.listen_port, bare.router_id), (179, None, None));
    assert!(!bare.is_internal());

    let full = peer(
        "dynamicASN: internal, localASN: 64999, interface: eth0, sourceAddress: 10.0.0.9,
         peerPort: 1179, connectTime: 1m5s, routerID: 10.10.10.10, password: secret,
         enableGracefulRestart: true, ebgpMultiHop: true, vrf: red, disableMP: true,
         dualStackAddressFamily: true, passive: true, ttlSecurity: 2, gracefulRestartTime: 2m,
         longLivedStaleTime: 24h, role: rs-client, maxPrefixes: 7, ipv6NextHop: global,
         nodeSelectors: [{matchLabels: {rack: a}}]",
    );
    assert_eq!(full.peer_asn, PeerAsn::Internal);
    assert!(full.is_internal());
    assert_eq!(full.local_asn, Some(64_999));
    assert_eq!(full.address, PeerAddress::Interface("eth0".into()));
    assert_eq!(full.source_address, Some(Ipv4Addr::new(10, 0, 0, 9).into()));
    assert_eq!((full.port, full.listen_port, full.passive), (1_179, Some(179), true));
    assert_eq!(full.connect_time, Some(Duration::from_secs(65)));
    assert_eq!(full.router_id, Some(Ipv4Addr::new(10, 10, 10, 10)));
    assert_eq!(full.password, Some(Password::from("secret")));
    assert!(full.graceful_restart && full.ebgp_multi_hop && full.dual_stack);
    assert_eq!(full.vrf.as_deref(), Some("red"));
    assert_eq!(full.ttl_security, Some(2));
    assert_eq!(full.graceful_restart_time, Some(Duration::from_secs(120)));
    assert_eq!(full.long_lived_stale_time, Some(Duration::from_secs(86_400)));
    assert_eq!((full.role, full.max_prefixes), (Some(Role::RouteServerClient), Some(7)));
    assert_eq!(bare.ipv6_next_hop, Ipv6NextHop::GlobalAndLinkLocal);
    assert_eq!(full.ipv6_next_hop, Ipv6NextHop::Global);
    assert!(full.selects_node(&[("rack", "a")].into_iter().collect()));
    assert!(!full.selects_node(&[("rack", "b")].into_iter().collect()));
    assert!(!format!("{full:?}").contains("secret"), "a password is never shown");
}

#[test]
fn a_peer_has_the_password_of_its_secret_and_the_profile_it_names() {
    let config = valid(
        "Secret s: {type: kubernetes.io/basic-auth, data: {password: czNjcjN0}}
---
BFDProfile b: {receiveInterval: 50}
---
BGPPeer p: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, passwordSecret: {name: s}, bfdProfile: b}",
    );
    let peer = &config.peers["p"];
    assert_eq!(peer.password.as_ref().map(Password::as_bytes), Some(b"s3cr3t".as_slice()));
    let profile = peer.bfd_profile.as_ref().unwrap();
    assert_eq!(profile, &config.bfd_profiles["b"]);
    assert_eq!(profile.receive_interval, Duration::from_millis(50));
    assert_eq!(profile.transmit_interval, Duration::from_millis(300));
    assert_eq!((profile.detect_multiplier, profile.minimum_ttl), (3, 254));
}

#[test]
fn aliases_go_before_well_known_names_and_values_are_a_set() {
    let config = valid(
        "Community c: {communities: [{name: no-export, value: '1:1'}, {name: ours, value: 'large:1:2:3'}]}
---
BGPAdvertisement a: {communities: [no-export, ours, no-advertise, '1:1', 'large:0:0:1']}",
    );
    let communities: Vec<Community> =
        config.bgp_advertisements["a"].communities.iter().copied().collect();
    assert_eq!(
        communities,
        [
            Community::Large(0, 0, 1),
            Community::Large(1, 2, 3),
            Community::Standard(0x0001_0001),
            Community::Standard(0xffff_ff02),
        ]
    );
}

#[test]
fn more_than_sixty_three_communities_are_fine() {
    let many: Vec<String> = (0..100).map(|number| format!("'1:{number}'")).collect();
    let config = valid(&format!("BGPAdvertisement a: {{communities: [{}]}}", many.join(", ")));
    assert_eq!(config.bgp_advertisements["a"].communities.len(), 100);
}

#[test]
fn different_local_prefs_are_fine_where_the_routes_differ() {
    for text in [
        // Other aggregation lengths, for every family that the pool has.
        "IPAddressPool p: {addresses: [10.0.0.0/24]}
---
BGPAdvertisement a: {localPref: 100}
---
BGPAdvertisement b: {localPref: 200, aggregationLength: 24}",
        "IPAddressPool p: {addresses: ['2001:db8::/64']}
---
BGPAdvertisement a: {localPref: 100}
---
BGPAdvertisement b: {localPref: 200, aggregationLengthV6: 64}",
        "IPAddressPool p: {addresses: [10.0.0.0/24, '2001:db8::/64']}
---
BGPAdvertisement a: {localPref: 100}
---
BGPAdvertisement b: {localPref: 200, aggregationLength: 24, aggregationLengthV6: 64}",
        // Other peers.
        "IPAddressPool p: {addresses: [10.0.0.0/24]}
---
BGPAdvertisement a: {localPref: 100, peers: [x]}
---
BGPAdvertisement b: {localPref: 200, peers: [y]}",
        // Other pools.
        "IPAddressPool p: {addresses: [10.0.0.0/24]}
---
IPAddressPool q: {addresses: [10.0.1.0/24]}
---
BGPAdvertisement a: {localPref: 100, ipAddressPools: [p]}
---
BGPAdvertisement b: {localPref: 200, ipAddressPools: [q]}",
        // Perhaps other Services: that is seen when they are announced.
        "IPAddressPool p: {addresses: [10.0.0.0/24]}
---
BGPAdvertisement a: {localPref: 100}
---
BGPAdvertisement b: {localPref: 200, serviceSelectors: [{matchLabels: {a: b}}]}",
    ] {
        valid(text);
    }
}

#[test]
fn one_part_of_a_range_is_enough_for_an_aggregate() {
    valid(
        "IPAddressPool p: {addresses: [1.1.1.0-1.1.1.128]}
---
BGPAdvertisement a: {aggregationLength: 25}",
    );
}

#[test]
fn names_that_nothing_has_are_accepted_in_silence() {
    valid(
        "L2Advertisement a: {ipAddressPools: [x]}\n---\nBGPAdvertisement a: {peers: [y], ipAddressPools: [z]}",
    );
}

#[test]
fn echo_is_fine_where_no_ipv6_is_sent_to_the_peer() {
    valid(
        "IPAddressPool four: {addresses: [10.0.0.0/24]}
---
IPAddressPool six: {addresses: ['2001:db8::/64']}
---
BFDProfile b: {echoMode: true}
---
BGPPeer x: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, bfdProfile: b}
---
BGPPeer y: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.2}
---
BGPAdvertisement a: {ipAddressPools: [four]}
---
BGPAdvertisement b: {ipAddressPools: [six], peers: [y]}",
    );
}

#[test]
fn what_single_modes_of_metallb_refuse_is_accepted() {
    let config = valid(
        // What its native mode refuses.
        "IPAddressPool p: {addresses: ['2001:db8::/64']}
---
BGPAdvertisement a: {communities: ['large:1:2:3']}
---
Community c: {communities: [{name: l, value: 'large:1:2:3'}]}
---
BFDProfile b: {}
---
BGPPeer all: {myASN: 1, dynamicASN: external, interface: eth0, bfdProfile: b, keepaliveTime: 5s,
  vrf: red, connectTime: 5s, enableGracefulRestart: true, disableMP: true,
  dualStackAddressFamily: true, localASN: 5}
---
BGPPeer x: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, routerID: 1.1.1.1}
---
BGPPeer y: {myASN: 3, peerASN: 2, peerAddress: 10.0.0.1, routerID: 2.2.2.2, peerPort: 1179}
---
BGPPeer z: {myASN: 3, peerASN: 2, peerAddress: 10.0.0.1}",
        // The last three are what its FRR modes refuse: other router IDs, the same address, other AS
        // numbers, all on one node.
    );
    assert_eq!(names(&config.peers), ["all", "x", "y", "z"]);
}

#[test]
fn an_old_peer_without_timers_has_none() {
    let config = valid(
        "apiVersion: metallb.io/v1beta1
kind: BGPPeer
metadata: {name: p}
spec: {myASN: 1, peerASN: 2, peerAddress: 10.0.0.1, holdTime: 0s, keepaliveTime: 0s}",
    );
    assert_eq!(config.peers["p"].timers, None);
}
