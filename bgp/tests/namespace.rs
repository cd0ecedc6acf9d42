// SPDX-License-Identifier: Apache-2.0
//! Engines against each other on real sockets, in network namespaces.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod lab;

use std::net::TcpStream;
use std::time::Duration;

use bgp::net::Bfd;
use bgp::{
    Attributes, DownReason, Families, GracefulRestart, HoldTime, Password, Remote, State, Stop,
    WithheldReason,
};
use lab::{Lab, eventually, node, router, routes};
use testlab::{now, run};

const BOTH: [(&str, &str); 2] = [("192.0.2.2", "192.0.2.1"), ("2001:db8::2", "2001:db8::1")];

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_session_carries_routes_and_ends_with_its_text() {
    let lab = Lab::new();
    for (to, from) in BOTH {
        let (ours, theirs) = (lab.engine(&lab.node), lab.engine(&lab.router));
        ours.engine.set_routes(
            "router",
            routes(&["10.0.0.1/32", "2001:db8:1::1/128"], &Attributes::default()),
        );
        ours.engine.initial_sync_done();
        let both = |mut config: bgp::Config| {
            config.families = Families::BOTH;
            config
        };
        ours.peers([both(node(to))]);
        theirs.peers([both(router(from))]);
        ours.established();
        let status = ours.until("both announced", |status| status.announced_prefixes == 2);
        assert_eq!(status.withheld, []);
        theirs.until("both received", |status| status.counters.received_prefixes_dropped == 2);
        ours.engine.set_routes("router", routes(&["10.0.0.1/32"], &Attributes::default()));
        theirs.until("the withdrawal", |status| status.counters.received_withdrawals == 1);
        ours.stop(Stop::Shutdown("maintenance".to_owned()));
        let down = theirs.until("down", |status| status.dropped == 1).last_drop.unwrap();
        let DownReason::NotificationReceived(text) = down.reason else { panic!("{down:?}") };
        assert_eq!((text.code, text.subcode), (6, 2));
        assert_eq!(text.communication.as_deref(), Some("maintenance"));
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn both_sides_may_connect_and_listen_at_once() {
    let lab = Lab::new();
    let (ours, theirs) = (lab.engine(&lab.node), lab.engine(&lab.router));
    let (mut one, mut two) = (node("192.0.2.2"), router("192.0.2.1"));
    for config in [&mut one, &mut two] {
        config.passive = false;
        config.listen_port = Some(179);
    }
    ours.peers([one]);
    theirs.peers([two]);
    ours.established();
    theirs.established();
    let pair = || (ours.status(), theirs.status());
    eventually("one and the same connection", || {
        let (ours, theirs) = pair();
        if ours.local.is_some() && ours.local == theirs.remote && ours.remote == theirs.local {
            Ok(())
        } else {
            Err(format!("{ours:?} {theirs:?}"))
        }
    });
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn md5_is_asked_for_and_another_key_is_taken_up_without_a_reset() {
    let lab = Lab::new();
    for (to, from) in BOTH {
        let (ours, theirs) = (lab.engine(&lab.node), lab.engine(&lab.router));
        let with = |mut config: bgp::Config, key: &str| {
            config.password = Password::new(key.as_bytes());
            config.connect_time = Duration::from_secs(1);
            config.hold_time = HoldTime::from_seconds(30).unwrap();
            config
        };
        theirs.peers([with(router(from), "right")]);
        // Neither without a key nor with another one.
        ours.peers([with(node(to), "")]);
        ours.until("an attempt that is not answered", |status| {
            status.state == State::Connect && status.established == 0
        });
        ours.peers([with(node(to), "wrong")]);
        let begin = now();
        ours.until("attempts", |_| begin.elapsed() > Duration::from_secs(2));
        assert_eq!(
            (ours.status().counters.sent.opens, theirs.status().counters.sent.opens),
            (0, 0)
        );
        ours.peers([with(node(to), "right")]);
        ours.established();
        theirs.established();
        ours.peers([with(node(to), "other")]);
        theirs.peers([with(router(from), "other")]);
        // What is sent from now on is signed with the new key; it arrives.
        ours.engine.set_routes(
            "router",
            routes(&["10.0.0.1/32", "2001:db8:1::1/128"], &Attributes::default()),
        );
        theirs.until("a route", |status| status.counters.received_prefixes_dropped == 1);
        assert_eq!((ours.status().dropped, theirs.status().dropped), (0, 0));
        // And new connections need it.
        ours.engine.set_peers([].into());
        theirs.until("down", |status| status.dropped == 1);
        ours.peers([with(node(to), "other")]);
        ours.established();
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn gtsm_lets_in_only_who_is_near() {
    let lab = Lab::new();
    for (to, from) in BOTH {
        let (ours, theirs) = (lab.engine(&lab.node), lab.engine(&lab.router));
        let (mut one, mut two) = (node(to), router(from));
        one.connect_time = Duration::from_secs(1);
        two.ttl_security = Some(1);
        theirs.peers([two]);
        // TTL 64 could come from afar.
        ours.peers([one.clone()]);
        let begin = now();
        ours.until("attempts", |_| begin.elapsed() > Duration::from_secs(2));
        assert_eq!(
            (ours.status().counters.sent.opens, theirs.status().counters.sent.opens),
            (0, 0)
        );
        one.ttl_security = Some(1);
        ours.peers([one]);
        ours.established();
        theirs.established();
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_mere_connection_does_not_end_a_session_that_the_peer_opened() {
    let lab = Lab::new();
    let (ours, theirs) = (lab.engine(&lab.node), lab.engine(&lab.router));
    let graceful = |mut config: bgp::Config| {
        config.graceful_restart =
            Some(GracefulRestart { restart_time: Duration::from_secs(30), notification: true });
        config
    };
    theirs.peers([graceful(router("192.0.2.1"))]);
    ours.peers([graceful(node("192.0.2.2"))]);
    ours.established();
    theirs.established();
    // At first it is closed at once; later the peer might have restarted, and it is held.
    let held = lab.node.spawn(move || {
        eventually("a connection that is held", || {
            let mut stream =
                TcpStream::connect("192.0.2.2:179").map_err(|error| error.to_string())?;
            stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            match std::io::Read::read(&mut stream, &mut [0; 10]) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(stream),
                other => Err(format!("{other:?}")),
            }
        })
    });
    let _held = held.join().unwrap();
    assert_eq!((theirs.status().established, theirs.status().dropped), (1, 0));
    assert_eq!(ours.status().dropped, 0);
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_stranger_is_closed_at_once() {
    let lab = Lab::new();
    let theirs = lab.engine(&lab.router);
    theirs.peers([router("192.0.2.99")]);
    let closed = lab.node.spawn(move || {
        let mut stream = eventually("a listener", || {
            TcpStream::connect("192.0.2.2:179").map_err(|error| error.to_string())
        });
        stream.set_read_timeout(Some(lab::DEADLINE)).unwrap();
        std::io::Read::read(&mut stream, &mut [0; 10]).unwrap_or(0)
    });
    assert_eq!(closed.join().unwrap(), 0);
    assert_eq!(theirs.status().state, State::Active);
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn what_this_host_lacks_is_said() {
    let lab = Lab::new();
    let ours = lab.engine(&lab.node);
    let mut config = node("192.0.2.2");
    config.source_address = Some("192.0.2.77".parse().unwrap());
    ours.peers([config]);
    let text = "the source address 192.0.2.77 is not on this host";
    ours.until("its problem", |status| status.problem.as_deref() == Some(text));
    let mut config = node("192.0.2.2");
    config.bind_interface = Some("vrf7".into());
    ours.peers([config]);
    ours.until("its problem", |status| {
        status
            .problem
            .as_deref()
            .is_some_and(|text| text.starts_with("binding to the interface vrf7"))
    });
    let other = lab.engine(&lab.node);
    other.peers([router("192.0.2.3")]);
    let mut config = node("192.0.2.2");
    config.listen_port = Some(179);
    eventually("the other's listener", || {
        let text = run("ip", &["netns", "exec", lab.node.name(), "cat", "/proc/net/tcp"]);
        if text.contains(":00B3") { Ok(()) } else { Err(text) }
    });
    ours.peers([config]);
    ours.until("its problem", |status| {
        status.problem.as_deref().is_some_and(|text| text.starts_with("cannot listen on port 179"))
    });
}

/// What a VRF is for, tried with another link, to which sockets are bound in the same way: two routers have one address.
#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_session_stays_on_the_interface_that_it_is_bound_to() {
    let (lab, other) = (Lab::new(), Lab::new());
    let (node_side, router_side) = (&lab.node, &other.router);
    router_side.ip(&["addr", "flush", "dev", "eth0", "scope", "global"]);
    node_side.join("red", router_side, "red");
    for (namespace, address) in [(node_side, "192.0.2.9/24"), (router_side, "192.0.2.2/24")] {
        namespace.address("red", address);
        namespace.up("red");
    }
    let ours = lab.engine(node_side);
    let (blue, red) = (lab.engine(&lab.router), other.engine(router_side));
    blue.peers([router("192.0.2.1")]);
    red.peers([router("192.0.2.9")]);
    let mut bound = node("192.0.2.2");
    bound.bind_interface = Some("red".into());
    ours.engine.set_routes("router", routes(&["10.0.0.1/32"], &Attributes::default()));
    ours.engine.initial_sync_done();
    ours.peers([bound]);
    ours.established();
    red.established();
    red.until("the route", |status| status.counters.received_prefixes_dropped == 1);
    assert_eq!(ours.status().local.map(|local| local.ip()), Some("192.0.2.9".parse().unwrap()));
    assert_eq!(blue.status().established, 0);
    ours.peers([node("192.0.2.2")]);
    blue.established();
    blue.until("the route", |status| status.counters.received_prefixes_dropped == 1);
    red.until("the end", |status| status.dropped == 1);
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn next_hops_follow_the_addresses_of_the_interface() {
    let lab = Lab::new();
    let (ours, theirs) = (lab.engine(&lab.node), lab.engine(&lab.router));
    let both = |mut config: bgp::Config| {
        config.families = Families::BOTH;
        config
    };
    theirs.peers([both(router("192.0.2.1"))]);
    ours.peers([both(node("192.0.2.2"))]);
    ours.engine.set_routes(
        "router",
        routes(&["10.0.0.1/32", "2001:db8:1::1/128"], &Attributes::default()),
    );
    ours.until("both announced", |status| status.announced_prefixes == 2);
    let of_the_link = ["addr", "flush", "dev", "eth0", "scope", "global", "to", "2001:db8::/64"];
    lab.node.ip(&of_the_link);
    lab.node.ip(&["addr", "flush", "dev", "eth0", "scope", "link"]);
    let status = ours.until("one withdrawn", |status| status.announced_prefixes == 1);
    assert_eq!(status.withheld[0].reason, WithheldReason::NoNextHop);
    lab.node.address("eth0", "2001:db8::7/64");
    ours.until("announced again", |status| status.announced_prefixes == 2);
    assert_eq!(ours.status().dropped, 0);
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_session_from_a_loopback_address_has_next_hops_of_the_link() {
    let lab = Lab::new();
    let (ours, theirs) = (lab.engine(&lab.node), lab.engine(&lab.router));
    let both = |mut config: bgp::Config| {
        config.families = Families::BOTH;
        config
    };
    lab.node.ip(&["addr", "add", "10.255.0.1/32", "dev", "lo"]);
    lab.router.ip(&["route", "add", "10.255.0.1/32", "via", "192.0.2.1"]);
    theirs.peers([both(router("10.255.0.1"))]);
    let mut config = both(node("192.0.2.2"));
    config.source_address = Some("10.255.0.1".parse().unwrap());
    ours.peers([config]);
    ours.engine.set_routes("router", routes(&["2001:db8:1::1/128"], &Attributes::default()));
    ours.until("announced", |status| status.announced_prefixes == 1);
    // With those of the link gone there is none left: that of the loopback interface is none.
    lab.node.ip(&["-6", "addr", "flush", "dev", "eth0"]);
    let status = ours.until("withdrawn", |status| status.announced_prefixes == 0);
    assert_eq!(status.withheld[0].reason, WithheldReason::NoNextHop);
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn unnumbered_peers_find_each_other_by_router_advertisements() {
    let lab = Lab::new();
    let (ours, theirs) = (lab.engine(&lab.node), lab.engine(&lab.router));
    let unnumbered = |mut config: bgp::Config| {
        config.remote = Remote::Interface("eth0".into());
        config.families = Families::BOTH;
        config.extended_next_hop = true;
        config.password = Password::new(b"link");
        config
    };
    theirs.peers([unnumbered(router("192.0.2.1"))]);
    ours.engine.set_routes(
        "router",
        routes(&["10.0.0.1/32", "2001:db8:1::1/128"], &Attributes::default()),
    );
    ours.peers([unnumbered(node("192.0.2.2"))]);
    let status = ours.established();
    let remote = status.remote.unwrap();
    assert!(remote.to_string().starts_with("[fe80::"), "{remote}");
    assert!(status.negotiated.unwrap().extended_next_hop);
    theirs.until("both received", |status| status.counters.received_prefixes_dropped == 2);
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_router_that_is_not_heard_is_a_problem_after_a_while() {
    let lab = Lab::new();
    let ours = lab.engine(&lab.node);
    let mut config = node("192.0.2.2");
    config.remote = Remote::Interface("eth0".into());
    let begin = now();
    ours.peers([config]);
    let status = ours.until("its problem", |status| status.problem.is_some());
    assert!(begin.elapsed() >= Duration::from_secs(10), "{:?}", begin.elapsed());
    assert_eq!(status.problem.as_deref(), Some("no router advertisement heard on eth0 yet"));
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_session_is_left_when_its_neighbour_advertises_another_address() {
    let lab = Lab::new();
    let (ours, theirs) = (lab.engine(&lab.node), lab.engine(&lab.router));
    let unnumbered = |mut config: bgp::Config| {
        config.remote = Remote::Interface("eth0".into());
        config
    };
    theirs.peers([unnumbered(router("192.0.2.1"))]);
    ours.peers([unnumbered(node("192.0.2.2"))]);
    ours.established();
    lab.router.address("eth0", "fe80::99/64");
    let old = ours.status().remote.unwrap().to_string();
    let old = old.trim_start_matches('[').split(['%', ']']).next().unwrap().to_owned() + "/64";
    lab.router.ip(&["addr", "del", &old, "dev", "eth0"]);
    let text = "configuration changed: the neighbour's address is now fe80::99";
    ours.until("its new address", |status| {
        status.last_drop.as_ref().is_some_and(|down| down.reason.to_string() == text)
    });
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_change_of_something_else_or_of_other_peers_resets_nothing() {
    let lab = Lab::new();
    let (ours, theirs) = (lab.engine(&lab.node), lab.engine(&lab.router));
    theirs.peers([router("192.0.2.1")]);
    let mut config = node("192.0.2.2");
    config.graceful_restart =
        Some(GracefulRestart { restart_time: Duration::from_secs(30), notification: true });
    ours.peers([config.clone()]);
    ours.established();
    let mut other = node("192.0.2.55");
    other.name = "zzz".into();
    ours.peers([config.clone(), other.clone()]);
    other.port = 1790;
    config.hold_time = HoldTime::from_seconds(30).unwrap();
    ours.peers([config.clone(), other]);
    ours.peers([config.clone()]);
    ours.engine.drain(true);
    ours.engine.drain(false);
    ours.engine.set_routes("router", routes(&["10.0.0.1/32"], &Attributes::default()));
    theirs.until("a route", |status| status.counters.received_prefixes_dropped >= 1);
    assert_eq!((ours.status().established, ours.status().dropped), (1, 0));
    config.local_asn = 64501;
    config.fqdn = Some(bgp::Fqdn { host: "node".into(), domain: "".into() });
    ours.peers([config.clone()]);
    assert_eq!(ours.status().dropped, 0);
    config.enhanced_route_refresh = true;
    ours.peers([config]);
    let down = theirs.until("a reset", |status| status.dropped == 1).last_drop.unwrap();
    assert!(down.reason.to_string().contains("6/6"), "{}", down.reason);
    ours.established();
}

/// Far below what growing pauses would come to, far above an attempt every few seconds on a busy machine.
const PROMPT: Duration = Duration::from_secs(10);

#[test]
#[ignore = "needs root, network namespaces and nft; make test runs it"]
fn a_session_is_back_soon_after_a_path_that_swallowed_everything() {
    let lab = Lab::new();
    let (ours, theirs) = (lab.engine(&lab.node), lab.engine(&lab.router));
    theirs.peers([router("192.0.2.1")]);
    ours.peers([node("192.0.2.2")]);
    ours.established();
    for round in 1..=5 {
        lab.nft("add table inet cut\nadd chain inet cut everything { type filter hook input priority 0; policy drop; }");
        for side in [&ours, &theirs] {
            for peer in ["router", "node"] {
                side.engine.bfd_state(peer, Bfd::Down);
            }
        }
        ours.until("an attempt that hangs", |status| {
            status.dropped == round && status.state == State::Connect
        });
        let lost = now();
        ours.until("an attempt some time ago", |_| lost.elapsed() > Duration::from_secs(4));
        lab.nft("delete table inet cut");
        let back = now();
        // In the last rounds nobody says that the path is back.
        if round <= 3 {
            ours.engine.bfd_state("router", Bfd::Up);
        }
        ours.until("the session", |status| status.established == round + 1);
        assert!(back.elapsed() < PROMPT, "{:?} in round {round}", back.elapsed());
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_session_is_back_soon_after_its_link() {
    let lab = Lab::new();
    let (ours, theirs) = (lab.engine(&lab.node), lab.engine(&lab.router));
    let hold = |mut config: bgp::Config| {
        config.hold_time = HoldTime::from_seconds(3).unwrap();
        config
    };
    theirs.peers([hold(router("192.0.2.1"))]);
    ours.peers([hold(node("192.0.2.2"))]);
    ours.established();
    for round in 1..=3 {
        lab.router.ip(&["link", "set", "eth0", "down"]);
        ours.until("the loss", |status| status.dropped == round);
        theirs.until("the loss", |status| status.dropped == round);
        // Long enough for pauses that grow to have grown.
        let lost = now();
        ours.until("some attempts", |_| lost.elapsed() > Duration::from_secs(8));
        lab.router.ip(&["link", "set", "eth0", "up"]);
        let back = now();
        ours.until("the session", |status| status.established == round + 1);
        assert!(back.elapsed() < PROMPT, "{:?} in round {round}", back.elapsed());
    }
}
