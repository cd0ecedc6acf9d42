// SPDX-License-Identifier: Apache-2.0
//! What follows from two OPENs, field by field.

use std::net::Ipv4Addr;
use std::sync::Arc;

use super::*;
use crate::config::{Fqdn, GracefulRestart, RolePolicy};
use crate::{HoldTime, PeerAsn, Remote};

fn config(identifier: u8, local: u32, peer: PeerAsn) -> Config {
    let address = Ipv4Addr::new(192, 0, 2, identifier);
    Config::new("peer", local, peer, address, Remote::address(Ipv4Addr::new(192, 0, 2, 99)))
}

fn open(config: &Config) -> Open {
    offer(config, false, &BTreeSet::new())
}

fn pair() -> (Config, Config) {
    (config(1, 64500, PeerAsn::Number(64501)), config(2, 64501, PeerAsn::Number(64500)))
}

fn agree(ours: &Config, theirs: &Config) -> Negotiated {
    negotiate(ours, &open(ours), &open(theirs)).unwrap()
}

fn refused(ours: &Config, theirs: &Config) -> (u8, u8) {
    let refusal = negotiate(ours, &open(ours), &open(theirs)).unwrap_err();
    (refusal.notification.code, refusal.notification.subcode)
}

#[test]
fn by_default_only_family_refresh_and_four_octets_are_offered() {
    let (ours, theirs) = pair();
    let codes: Vec<u8> = open(&ours).capabilities.iter().map(Capability::code).collect();
    assert_eq!(codes, [1, 2, 65]);
    let negotiated = agree(&ours, &theirs);
    assert_eq!(negotiated.families, Families::IPV4);
    assert!(negotiated.four_octet_asn && negotiated.route_refresh && !negotiated.internal);
    assert!(!negotiated.extended_message && !negotiated.extended_next_hop);
    assert_eq!(negotiated.keepalive_time, Some(Duration::from_secs(30)));
}

#[test]
fn everything_optional_is_used_when_both_offer_it() {
    let (mut ours, mut theirs) = pair();
    for config in [&mut ours, &mut theirs] {
        config.families = Families::BOTH;
        config.extended_next_hop = true;
        config.extended_message = true;
        config.enhanced_route_refresh = true;
        config.graceful_restart =
            Some(GracefulRestart { restart_time: Duration::from_secs(9999), notification: true });
        config.long_lived_stale_time = Some(Duration::from_secs(3600));
        config.fqdn = Some(Fqdn { host: Arc::from("ho\nst"), domain: Arc::from("") });
        config.role = Some(RolePolicy { role: Role::Peer, strict: true });
    }
    let negotiated = agree(&ours, &theirs);
    assert!(negotiated.extended_message && negotiated.extended_next_hop);
    assert!(negotiated.enhanced_route_refresh);
    let restart = negotiated.graceful_restart.unwrap();
    assert_eq!(restart.restart_time, Duration::from_secs(4095));
    assert!(restart.notification && !restart.restarted);
    assert_eq!(restart.forwarding, Families::BOTH);
    assert_eq!(negotiated.long_lived_stale_time, Some(Duration::from_secs(3600)));
    assert_eq!(negotiated.peer_role, Some(Role::Peer));
    assert_eq!(negotiated.peer_host.as_deref(), Some("host"));
    theirs.graceful_restart = None;
    theirs.extended_message = false;
    theirs.families = Families::IPV6;
    theirs.extended_next_hop = true;
    let negotiated = agree(&ours, &theirs);
    assert_eq!(negotiated.graceful_restart, None);
    assert_eq!(negotiated.long_lived_stale_time, None, "it needs graceful restart");
    assert!(!negotiated.extended_message && !negotiated.extended_next_hop);
    assert_eq!(negotiated.families, Families::IPV6);
}

#[test]
fn the_as_must_be_the_expected_one() {
    let (ours, mut theirs) = pair();
    theirs.local_asn = 64502;
    assert_eq!(refused(&ours, &theirs), (2, 2));
    for (wanted, local, fits) in [
        (PeerAsn::Internal, 64500, true),
        (PeerAsn::Internal, 64501, false),
        (PeerAsn::External, 64500, false),
        (PeerAsn::External, 64501, true),
    ] {
        let (mut ours, mut theirs) = pair();
        ours.peer_asn = wanted;
        theirs.local_asn = local;
        let result = negotiate(&ours, &open(&ours), &open(&theirs));
        assert_eq!(result.is_ok(), fits, "{wanted:?} and {local}");
        assert!(result.is_err() || result.unwrap().internal == (local == 64500));
    }
}

#[test]
fn equal_identifiers_are_allowed_between_ases_only() {
    let (ours, mut theirs) = pair();
    theirs.identifier = ours.identifier;
    agree(&ours, &theirs);
    let ours = config(1, 64500, PeerAsn::Internal);
    assert_eq!(refused(&ours, &config(1, 64500, PeerAsn::Internal)), (2, 3));
}

#[test]
fn the_smaller_hold_time_counts_and_keepalive_is_at_most_a_third() {
    let (mut ours, mut theirs) = pair();
    theirs.hold_time = HoldTime::from_seconds(9).unwrap();
    assert_eq!(agree(&ours, &theirs).keepalive_time, Some(Duration::from_secs(3)));
    ours.keepalive_time = Some(Duration::from_secs(60));
    assert_eq!(agree(&ours, &theirs).keepalive_time, Some(Duration::from_secs(3)));
    ours.keepalive_time = Some(Duration::from_secs(2));
    assert_eq!(agree(&ours, &theirs).keepalive_time, Some(Duration::from_secs(2)));
    theirs.hold_time = HoldTime::from_seconds(3).unwrap();
    assert_eq!(agree(&ours, &theirs).keepalive_time, Some(Duration::from_secs(1)));
    theirs.hold_time = HoldTime::ZERO;
    let negotiated = agree(&ours, &theirs);
    assert_eq!((negotiated.hold_time, negotiated.keepalive_time), (HoldTime::ZERO, None));
}

#[test]
fn roles_must_fit_by_rfc_9234() {
    let roles =
        [Role::Provider, Role::RouteServer, Role::RouteServerClient, Role::Customer, Role::Peer];
    for one in roles {
        for two in roles {
            let (mut ours, mut theirs) = pair();
            ours.role = Some(RolePolicy { role: one, strict: false });
            theirs.role = Some(RolePolicy { role: two, strict: false });
            let fits = matches!(
                (role_number(one), role_number(two)),
                (0, 3) | (3, 0) | (1, 2) | (2, 1) | (4, 4)
            );
            let result = negotiate(&ours, &open(&ours), &open(&theirs));
            assert_eq!(result.is_ok(), fits, "{one:?} {two:?}");
            if !fits {
                assert_eq!(refused(&ours, &theirs), (2, 11));
            }
        }
    }
    let (mut ours, theirs) = pair();
    ours.role = Some(RolePolicy { role: Role::Customer, strict: false });
    agree(&ours, &theirs);
    ours.role = Some(RolePolicy { role: Role::Customer, strict: true });
    assert_eq!(refused(&ours, &theirs), (2, 11));
    let mut several = open(&theirs);
    several.capabilities.extend([Capability::Role(0), Capability::Role(3)]);
    let refusal = negotiate(&ours, &open(&ours), &several).unwrap_err();
    assert_eq!(refusal.notification.subcode, 11);
    ours.peer_asn = PeerAsn::Internal;
    assert!(!has(&open(&ours), code::ROLE), "no role on an internal session");
}

#[test]
fn without_a_common_family_the_notification_names_those_that_are_missing() {
    let (ours, mut theirs) = pair();
    theirs.families = Families::IPV6;
    let refusal = negotiate(&ours, &open(&ours), &open(&theirs)).unwrap_err();
    assert_eq!((refusal.notification.code, refusal.notification.subcode), (2, 7));
    assert_eq!(refusal.notification.data, [1, 4, 0, 1, 0, 1]);
    let mut silent = open(&theirs);
    silent.capabilities.clear();
    silent.my_as = 64501;
    let negotiated = negotiate(&ours, &open(&ours), &silent).unwrap();
    assert_eq!(negotiated.families, Families::IPV4, "without the capability it is IPv4");
    assert!(!negotiated.four_octet_asn);
}

#[test]
fn what_a_notification_refuses_is_left_out_of_the_next_open() {
    let (mut ours, _) = pair();
    ours.extended_message = true;
    let after = |config: &Config, subcode, data: &[u8]| {
        let whole = open(config);
        let refused = super::refused(&Notification::new(2, subcode, data), config, &whole);
        let open = offer(config, false, &refused.parts);
        open.capabilities.iter().map(Capability::code).collect::<Vec<_>>()
    };
    assert_eq!(after(&ours, 4, &[]), [] as [u8; 0]);
    assert_eq!(after(&ours, 7, &[6, 0]), [1, 2, 65]);
    assert_eq!(after(&ours, 7, &[1, 4, 0, 2, 0, 1]), [1, 2, 65, 6], "IPv6 was not offered");
    assert_eq!(after(&ours, 7, &[1, 4, 0, 1, 0, 1]), [2, 65, 6], "that means IPv4 too");
    assert_eq!(after(&ours, 7, &[]), [1, 65]);
    assert_eq!(after(&ours, 7, &[71, 0, 2, 0]), [1, 65, 6], "what was not offered stays out");
    assert_eq!(after(&ours, 7, &[6, 200, 1]), [1, 2, 65], "a list that ends early");
    assert_eq!(after(&ours, 2, &[]), [1, 2, 65, 6]);
    ours.families = Families::BOTH;
    ours.extended_next_hop = true;
    assert_eq!(after(&ours, 4, &[]), [] as [u8; 0]);
    assert_eq!(after(&ours, 7, &[1, 4, 0, 2, 0, 1]), [1, 2, 65, 5, 6]);
    assert_eq!(after(&ours, 7, &[1, 4, 0, 1, 0, 1]), [1, 2, 65, 6], "no next hops for IPv4");
    assert_eq!(after(&ours, 7, &[1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1]), [2, 65, 5, 6]);
}

#[test]
fn of_a_capability_that_must_come_once_the_last_counts() {
    let (mut ours, mut theirs) = pair();
    for config in [&mut ours, &mut theirs] {
        config.graceful_restart =
            Some(GracefulRestart { restart_time: Duration::from_secs(10), notification: true });
        config.long_lived_stale_time = Some(Duration::from_secs(100));
    }
    let mut several = open(&theirs);
    several.capabilities.push(Capability::GracefulRestart {
        restarted: true,
        notification: false,
        restart_time: 77,
        families: vec![],
    });
    let ipv4 = AfiSafi::from(Family::Ipv4);
    several.capabilities.push(Capability::LongLivedGracefulRestart(vec![StaleFamily {
        family: ipv4,
        forwarding: false,
        stale_time: 7,
    }]));
    let negotiated = negotiate(&ours, &open(&ours), &several).unwrap();
    let restart = negotiated.graceful_restart.unwrap();
    assert_eq!(restart.restart_time, Duration::from_secs(77));
    assert!(restart.restarted && !restart.notification && says_restarted(&several));
    assert_eq!((restart.families, restart.forwarding), (Families::NONE, Families::NONE));
    assert_eq!(negotiated.long_lived_stale_time, Some(Duration::from_secs(7)));
    // The last one is not well formed: there is none that counts.
    let value = Bytes::from_static(&[0x80]);
    several.capabilities.push(Capability::Unknown { code: code::GRACEFUL_RESTART, value });
    let negotiated = negotiate(&ours, &open(&ours), &several).unwrap();
    assert_eq!(negotiated.graceful_restart, None);
    assert!(!says_restarted(&several));
}
