// SPDX-License-Identifier: Apache-2.0
//! What a change of each field leads to.

use super::*;

/// A field by its name, and a change of it.
type Case<'a> = (&'a str, &'a dyn Fn(&mut Config));

fn config() -> Config {
    let remote = Remote::address(Ipv4Addr::new(192, 0, 2, 2));
    Config::new("router", 64500, PeerAsn::Number(64501), Ipv4Addr::new(192, 0, 2, 1), remote)
}

fn changed(change: impl Fn(&mut Config)) -> Change {
    let (old, mut new) = (config(), config());
    change(&mut new);
    assert_eq!(old.change(&old), Change::None);
    old.change(&new)
}

#[test]
fn a_reset_is_only_for_what_an_open_or_a_connection_must_carry() {
    let restart = GracefulRestart { restart_time: Duration::from_secs(120), notification: false };
    let all: [Case<'_>; 15] = [
        ("local AS", &|new| new.local_asn = 1),
        ("peer AS", &|new| new.peer_asn = PeerAsn::External),
        ("identifier", &|new| new.identifier = Ipv4Addr::LOCALHOST),
        ("peer address", &|new| new.remote = Remote::Interface("eth1".into())),
        ("port", &|new| new.port = 1790),
        ("source address", &|new| new.source_address = Some(Ipv4Addr::LOCALHOST.into())),
        ("interface to bind to", &|new| new.bind_interface = Some("red".into())),
        ("use of a password", &|new| new.password = Password::new(b"key")),
        ("families", &|new| new.families = Families::BOTH),
        ("extended next hop", &|new| new.extended_next_hop = true),
        ("graceful restart", &|new| new.graceful_restart = Some(restart)),
        ("long-lived graceful restart", &|new| new.long_lived_stale_time = Some(Duration::ZERO)),
        ("role", &|new| new.role = Some(RolePolicy { role: Role::Peer, strict: false })),
        ("extended message", &|new| new.extended_message = true),
        ("enhanced route refresh", &|new| new.enhanced_route_refresh = true),
    ];
    for (name, change) in all {
        assert_eq!(changed(change), Change::Reset(format!("changed: {name}")));
    }
    let two = changed(|new| {
        new.port = 1;
        new.local_asn = 1;
        new.max_prefixes = Some(1);
    });
    assert_eq!(two, Change::Reset("changed: local AS, port".to_owned()));
}

#[test]
fn everything_else_leaves_the_session_up_and_says_when_it_takes_effect() {
    let all: [Case<'_>; 12] = [
        ("name (at once)", &|new| new.name = "other".into()),
        ("keepalive time (at once)", &|new| new.keepalive_time = Some(Duration::from_secs(1))),
        ("connect time (at once)", &|new| new.connect_time = Duration::from_secs(1)),
        ("TTL security (at once)", &|new| new.ttl_security = Some(1)),
        ("TTL (at once)", &|new| new.multihop_ttl = Some(2)),
        ("IPv6 next hop (at once)", &|new| new.ipv6_next_hop = Ipv6NextHop::Global),
        ("prefix limit (at once)", &|new| new.max_prefixes = Some(1)),
        ("hold time (with the next OPEN)", &|new| new.hold_time = HoldTime::ZERO),
        ("FQDN (with the next OPEN)", &|new| {
            new.fqdn = Some(Fqdn { host: "a".into(), domain: "".into() });
        }),
        ("passive (with the next connection)", &|new| new.passive = true),
        ("listen port (with the next connection)", &|new| new.listen_port = Some(179)),
        ("", &|_| {}),
    ];
    for (name, change) in all {
        let expected =
            if name.is_empty() { Change::None } else { Change::Soft(format!("changed: {name}")) };
        assert_eq!(changed(change), expected);
    }
}

#[test]
fn other_values_of_what_is_on_stay_on() {
    let with = |seconds, notification, key: &[u8]| {
        let mut config = config();
        let restart_time = Duration::from_secs(seconds);
        config.graceful_restart = Some(GracefulRestart { restart_time, notification });
        config.long_lived_stale_time = Some(Duration::from_secs(seconds));
        config.password = Password::new(key);
        config
    };
    assert_eq!(
        with(1, false, b"a").change(&with(2, false, b"b")),
        Change::Soft(
            "changed: password (at once), restart time (with the next OPEN), \
             long-lived stale time (with the next OPEN)"
                .to_owned()
        )
    );
    assert_eq!(
        with(1, false, b"a").change(&with(1, true, b"a")),
        Change::Reset("changed: graceful restart on notification".to_owned())
    );
}

#[test]
fn a_password_is_never_shown_and_never_empty() {
    assert_eq!(format!("{:?}", Password::new(b"secret").unwrap()), "Password(..)");
    assert_eq!(Password::new(b""), None);
    assert_eq!(Password::new(&[b'x'; 81]), None);
    assert!(Password::new(&[b'x'; 80]).is_some());
}

#[test]
fn hold_times_of_one_and_two_seconds_do_not_exist() {
    for seconds in [0, 3, 65535] {
        assert_eq!(HoldTime::from_seconds(seconds).map(HoldTime::seconds), Some(seconds));
    }
    assert_eq!(HoldTime::from_seconds(1), None);
    assert_eq!(HoldTime::from_duration(Duration::from_millis(2999)), None);
    assert_eq!(HoldTime::from_duration(Duration::from_secs(65536)), None);
    assert_eq!(HoldTime::from_duration(Duration::from_millis(3999)), HoldTime::from_seconds(3));
}

#[test]
fn a_passive_peer_is_listened_for_even_without_a_port() {
    let mut config = config();
    assert_eq!(config.listens_on(), None);
    config.passive = true;
    assert_eq!(config.listens_on(), Some(179));
    config.listen_port = Some(1790);
    assert_eq!(config.listens_on(), Some(1790));
}
