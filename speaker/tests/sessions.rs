// SPDX-License-Identifier: Apache-2.0
//! From a BGPPeer to its session: every field, the defaults of each mode, and the identifier (contract 1.4, 5.6).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod world;

use std::net::Ipv4Addr;
use std::time::Duration;

use bgp::{Config, Families, Ipv6NextHop, PeerAsn, Remote, Role};
use crds::config::Peer;
use serde_json::{Value, json};
use speaker::{BgpMode, NoSession, Way, bfd_hops, identifier, session};
use world::{World, node};

const IDENTIFIER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A validated peer with these fields besides the needed ones.
fn peer(fields: Value) -> Peer {
    let mut spec = json!({ "myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.254" });
    for (field, value) in fields.as_object().unwrap() {
        match value {
            Value::Null => drop(spec.as_object_mut().unwrap().remove(field)),
            value => spec[field] = value.clone(),
        }
    }
    let object = json!({
        "apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer",
        "metadata": { "name": "tor" }, "spec": spec,
    });
    let world = World::new(&[node("a", json!({})), object]);
    assert_eq!(world.snapshot.rejections(), []);
    world.snapshot.config().peers["tor"].clone()
}

fn config(fields: Value) -> Config {
    session(&peer(fields), IDENTIFIER, BgpMode::Native).unwrap()
}

#[test]
fn the_modes_differ_in_the_hold_time() {
    let native = session(&peer(json!({})), IDENTIFIER, BgpMode::Native).unwrap();
    let frr = session(&peer(json!({})), IDENTIFIER, BgpMode::Frr).unwrap();
    assert_eq!((native.hold_time.seconds(), frr.hold_time.seconds()), (90, 180));
    let set = json!({ "holdTime": "30s", "keepaliveTime": "7s" });
    for mode in [BgpMode::Native, BgpMode::Frr] {
        let config = session(&peer(set.clone()), IDENTIFIER, mode).unwrap();
        assert_eq!(config.hold_time.seconds(), 30);
        assert_eq!(config.keepalive_time, Some(Duration::from_secs(7)));
    }
}

#[test]
fn families_follow_the_address_unless_both_are_asked_for() {
    assert_eq!(config(json!({})).families, Families::IPV4);
    assert_eq!(config(json!({ "peerAddress": "2001:db8::1" })).families, Families::IPV6);
    let both = config(json!({ "dualStackAddressFamily": true }));
    assert_eq!((both.families, both.extended_next_hop), (Families::BOTH, true));
    let unnumbered = config(json!({ "peerAddress": null, "interface": "eth1" }));
    assert_eq!(unnumbered.remote, Remote::Interface("eth1".into()));
    assert_eq!((unnumbered.families, unnumbered.extended_next_hop), (Families::BOTH, true));
}

#[test]
fn every_field_reaches_the_session() {
    let config = config(json!({
        "peerASN": 0, "dynamicASN": "external", "localASN": 65000, "peerPort": 1179,
        "sourceAddress": "192.0.2.7", "connectTime": "9s", "password": "secret", "vrf": "red",
        "ebgpMultiHop": true, "enableGracefulRestart": true, "gracefulRestartTime": "60s",
        "longLivedStaleTime": "1h", "passive": true, "listenPort": 2179, "role": "customer", "maxPrefixes": 10,
        "ipv6NextHop": "global",
    }));
    assert_eq!((config.local_asn, config.peer_asn), (65000, PeerAsn::External));
    assert_eq!((config.port, config.listens_on()), (1179, Some(2179)));
    assert_eq!(config.source_address, Some("192.0.2.7".parse().unwrap()));
    assert_eq!(config.connect_time, Duration::from_secs(9));
    assert_eq!(config.password.unwrap().reveal(), b"secret");
    assert_eq!(config.bind_interface.as_deref(), Some("red"));
    assert_eq!(config.multihop_ttl, Some(255));
    let restart = config.graceful_restart.unwrap();
    assert_eq!((restart.restart_time, restart.notification), (Duration::from_secs(60), true));
    assert_eq!(config.long_lived_stale_time, Some(Duration::from_secs(3600)));
    assert_eq!(config.role.unwrap().role, Role::Customer);
    assert_eq!(config.max_prefixes, Some(10));
    assert_eq!(config.ipv6_next_hop, Ipv6NextHop::Global);
    assert_eq!(self::config(json!({})).ipv6_next_hop, Ipv6NextHop::GlobalAndLinkLocal);
    assert!(config.passive);
    assert_eq!(self::config(json!({ "ttlSecurity": 1 })).ttl_security, Some(1));
}

#[test]
fn a_restart_is_announced_only_when_asked_for() {
    let config = config(json!({ "gracefulRestartTime": "60s", "longLivedStaleTime": "1h" }));
    assert_eq!((config.graceful_restart, config.long_lived_stale_time), (None, None));
}

#[test]
fn a_key_that_the_kernel_cannot_take_is_a_reason() {
    // Validation leaves such a peer out before.
    let password = Some("x".repeat(81).as_str().into());
    let peer = Peer { password, ..peer(json!({})) };
    assert_eq!(session(&peer, IDENTIFIER, BgpMode::Native), Err(NoSession::Password(81)));
}

#[test]
fn the_identifier_is_chosen_as_metallb_does() {
    let way = |local: Option<&str>, first: Option<&str>| Way {
        local: local.map(|address| address.parse().unwrap()),
        first_ipv4: first.map(|address| address.parse().unwrap()),
        on_link: true,
    };
    let rows = [
        (json!({ "routerID": "9.9.9.9" }), way(Some("192.0.2.7"), None), "9.9.9.9"),
        (json!({}), way(Some("192.0.2.7"), Some("192.0.2.8")), "192.0.2.7"),
        (json!({}), way(Some("2001:db8::7"), Some("192.0.2.8")), "192.0.2.8"),
        // Addresses that old routers do not take as identifiers.
        (json!({}), way(Some("240.0.0.7"), Some("127.0.0.1")), "69.232.127.133"),
        (json!({}), way(Some("2001:db8::7"), Some("0.1.2.3")), "69.232.127.133"),
        // CRC-32 of "node" is 0x857fe845, little endian.
        (json!({}), way(Some("2001:db8::7"), None), "69.232.127.133"),
    ];
    for (fields, way, expected) in rows {
        assert_eq!(identifier(&peer(fields), &way, "node").to_string(), expected);
    }
}

#[test]
fn bfd_is_single_hop_only_on_the_link_and_without_ebgp_multihop() {
    let way = |on_link| Way { on_link, ..Way::default() };
    let (near, far) = (peer(json!({})), peer(json!({ "ebgpMultiHop": true })));
    assert_eq!(bfd_hops(&near, &way(true)), bfd::Hops::Single);
    assert_eq!(bfd_hops(&near, &way(false)), bfd::Hops::Multi);
    assert_eq!(bfd_hops(&far, &way(true)), bfd::Hops::Multi);
    let unnumbered = peer(json!({ "peerAddress": null, "interface": "eth1" }));
    assert_eq!(bfd_hops(&unnumbered, &way(false)), bfd::Hops::Single);
}
