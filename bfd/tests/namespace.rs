// SPDX-License-Identifier: Apache-2.0
//! Two of us on the real kernel, in network namespaces: single hop, multihop, minimum TTL, ports that are held, a cut line, Echo,
//! the way to a peer.
#![cfg(feature = "net")]

mod lab;

use std::net::UdpSocket;
use std::time::Duration;

use bfd::net::{PathError, Watch, path};
use bfd::{Diagnostic, Profile, SessionKey, State};
use lab::{Line, Row, eventually, fast, multi, now, single, unflapped};

const A4: &str = "192.0.2.1";
const B4: &str = "192.0.2.2";
const A6: &str = "2001:db8::1";
const B6: &str = "2001:db8::2";

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn both_families_come_up_and_a_cut_line_takes_both_down() {
    let line = Line::new();
    let local = SessionKey { local: A6.parse().ok(), ..single(B6) };
    let a = line.a.bfd(&[(single(B4), fast()), (local.clone(), fast())]);
    let b = line.b.bfd(&[(single(A4), fast()), (single(A6), fast())]);
    for (running, keys) in [(&a, [single(B4), local.clone()]), (&b, [single(A4), single(A6)])] {
        for key in keys {
            running.reaches(&key, State::Up);
            eventually("the intervals", || {
                let detection_time = running.status(&key).detection_time;
                (detection_time == Some(Duration::from_millis(150))).then_some(())
            });
        }
    }
    while a.changes.try_recv().is_ok() {}
    let before = a.status(&single(B4)).counters.session_down_events;
    let cut = now();
    line.cut();
    let down = a.change(&single(B4), State::Down);
    assert_eq!(down.diagnostic, Diagnostic::ControlDetectionTimeExpired);
    assert!(down.since.saturating_duration_since(cut) < Duration::from_secs(5));
    assert_eq!(down.counters.session_down_events, before + 1);
    a.reaches(&local, State::Down);
    line.mend();
    a.change(&single(B4), State::Up);
    a.reaches(&local, State::Up);
    let status = a.status(&single(B4));
    assert!(status.transmit_delay.samples > 0 && status.problem.is_none());
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn stopping_tells_admin_down_and_a_changed_profile_does_not_flap() {
    let line = Line::new();
    let a = line.a.bfd(&[(single(B4), fast())]);
    let b = line.b.bfd(&[(single(A4), fast())]);
    b.reaches(&single(A4), State::Up);
    let downs = || b.status(&single(A4)).counters.session_down_events;
    unflapped("a changed profile", downs, || {
        for milliseconds in [400, 50] {
            let interval = Duration::from_millis(milliseconds);
            a.set(&[(single(B4), Profile { transmit_interval: interval, ..fast() })]);
            eventually("the interval after a Poll Sequence", || {
                (a.status(&single(B4)).transmit_interval == Some(interval)).then_some(())
            });
        }
    });
    while b.changes.try_recv().is_ok() {}
    a.bfd.stop();
    let down = b.change(&single(A4), State::Down);
    assert_eq!(down.diagnostic, Diagnostic::NeighborSignaledSessionDown);
    assert_eq!(down.remote_state, State::AdminDown);
    assert_eq!(down.remote_diagnostic, Diagnostic::AdministrativelyDown);
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn several_hops_come_up_where_the_minimum_ttl_allows_them() {
    let row = Row::new(4);
    let (first, last) = (&row.hosts[0], &row.hosts[3]);
    for (left, right) in [("10.0.0.1", "10.0.2.2"), ("2001:db8:0::1", "2001:db8:2::2")] {
        let (key, far) = (multi(right, left), multi(left, right));
        // Two routers make 253 of 255.
        let far_enough = Profile { minimum_ttl: 253, ..fast() };
        let a = first.bfd(&[(key.clone(), fast())]);
        let b = last.bfd(&[(far.clone(), far_enough)]);
        b.reaches(&far, State::Init);
        eventually("answers that are refused", || {
            let status = b.status(&far);
            (status.counters.control_packet_output > 3).then_some(())
        });
        let refused = a.status(&key);
        assert_eq!((refused.state, refused.counters.control_packet_input), (State::Down, 0));
        a.set(&[(key.clone(), far_enough)]);
        a.reaches(&key, State::Up);
        b.reaches(&far, State::Up);
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_single_hop_session_does_not_come_up_through_a_router() {
    let row = Row::new(3);
    let (a, b) = (single("10.0.1.2"), single("10.0.0.1"));
    let first = row.hosts[0].bfd(&[(a.clone(), fast())]);
    let last = row.hosts[2].bfd(&[(b.clone(), fast())]);
    eventually("packets that were sent", || {
        let sent = |status: bfd::Status| status.counters.control_packet_output > 2;
        (sent(first.status(&a)) && sent(last.status(&b))).then_some(())
    });
    assert_eq!(last.status(&b).counters.control_packet_input, 0);
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_port_that_is_held_is_a_problem_of_its_sessions_until_it_is_free() {
    let line = Line::new();
    let holder = line.a.inside(|| UdpSocket::bind("0.0.0.0:3784").unwrap());
    let a = line.a.bfd(&[(single(B4), fast()), (single(B6), fast())]);
    let b = line.b.bfd(&[(single(A4), fast()), (single(A6), fast())]);
    let problem = eventually("the problem", || a.status(&single(B4)).problem);
    assert_eq!(&*problem, "UDP port 3784 (IPv4) is held by another process");
    a.reaches(&single(B6), State::Up);
    assert_eq!(a.status(&single(B6)).problem, None);
    drop(holder);
    a.reaches(&single(B4), State::Up);
    b.reaches(&single(A4), State::Up);
    assert_eq!(a.status(&single(B4)).problem, None);
    let taken = line.a.inside(|| UdpSocket::bind("0.0.0.0:3784").is_err());
    assert!(taken, "the port is not shared with others");
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_link_local_peer_is_reached_by_its_interface_beside_others() {
    let line = Line::new();
    let link_local = |host: &lab::Host| {
        let text = eventually("a link-local address", || {
            let text = host.ip(&[
                "-6",
                "-o",
                "addr",
                "show",
                "dev",
                "eth0",
                "scope",
                "link",
                "-tentative",
            ]);
            text.contains("fe80").then_some(text)
        });
        let mut words = text.split_whitespace().skip_while(|word| *word != "inet6");
        words.nth(1).unwrap().split('/').next().unwrap().to_owned()
    };
    let on_link = |peer: &str| SessionKey { interface: Some("eth0".into()), ..single(peer) };
    let (to_b, to_a) = (on_link(&link_local(&line.b)), on_link(&link_local(&line.a)));
    let a = line.a.bfd(&[(single(B6), fast()), (to_b.clone(), fast())]);
    let b = line.b.bfd(&[(single(A6), fast()), (to_a.clone(), fast())]);
    for (running, keys) in [(&a, [single(B6), to_b]), (&b, [single(A6), to_a])] {
        for key in keys {
            let status = running.reaches(&key, State::Up);
            assert_eq!(status.problem, None, "{key}");
        }
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn an_address_that_comes_later_is_waited_for() {
    let line = Line::new();
    let key = SessionKey { local: "192.0.2.77".parse().ok(), ..single(B4) };
    let a = line.a.bfd(&[(key.clone(), fast())]);
    let b = line.b.bfd(&[(single("192.0.2.77"), fast())]);
    let problem = eventually("the problem", || a.status(&key).problem);
    assert!(problem.contains("Cannot assign"), "{problem}");
    line.a.ip(&["addr", "add", "192.0.2.77/24", "dev", "eth0"]);
    a.reaches(&key, State::Up);
    b.reaches(&single("192.0.2.77"), State::Up);
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn echo_packets_come_back_with_and_without_forwarding_and_their_loss_is_noticed() {
    let echo = Profile { echo_mode: true, echo_interval: Duration::from_millis(20), ..fast() };
    for forwarding in ["net.ipv4.ip_forward=0", "net.ipv4.ip_forward=1"] {
        let line = Line::new();
        line.a.sysctl(forwarding);
        line.b.sysctl(forwarding);
        let keys = ([single(B4), single(B6)], [single(A4), single(A6)]);
        let with_echo =
            |keys: &[SessionKey]| keys.iter().map(|key| (key.clone(), echo)).collect::<Vec<_>>();
        let a = line.a.bfd(&with_echo(&keys.0));
        let b = line.b.bfd(&with_echo(&keys.1));
        for (running, keys) in [(&a, &keys.0), (&b, &keys.1)] {
            for key in keys {
                // A busy machine may stand still for the detection time; Echo itself must take no session down.
                let counters = running.status(key).counters;
                let mut since = (counters.session_down_events, counters.echo_packet_input);
                let what =
                    format!("50 Echo packets of {key} while nothing goes down, {forwarding}");
                let status = eventually(&what, || {
                    let status = running.status(key);
                    let counters = &status.counters;
                    if counters.session_down_events != since.0 {
                        since = (counters.session_down_events, counters.echo_packet_input);
                    }
                    let enough = counters.echo_packet_input > since.1 + 50;
                    (enough && status.state == State::Up).then_some(status)
                });
                assert_eq!(status.echo_interval, Some(Duration::from_millis(20)));
                assert_eq!(status.receive_interval, Some(Duration::from_secs(1)));
                assert!(status.counters.echo_packet_input <= status.counters.echo_packet_output);
            }
        }
        while a.changes.try_recv().is_ok() {}
        line.cut();
        let down = a.change(&single(B4), State::Down);
        assert_eq!(down.diagnostic, Diagnostic::EchoFunctionFailed);
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn the_path_tells_on_link_from_behind_a_router_and_changes_are_told() {
    let row = Row::new(3);
    let host = &row.hosts[0];
    host.inside(|| {
        for (near, far, gateway, local) in [
            ("10.0.0.2", "10.0.1.2", "10.0.0.2", "10.0.0.1"),
            ("2001:db8:0::2", "2001:db8:1::2", "2001:db8:0::2", "2001:db8:0::1"),
        ] {
            let local: std::net::IpAddr = local.parse().unwrap();
            for interface in [None, Some("right")] {
                let found = path(near.parse().unwrap(), None, interface).unwrap();
                assert_eq!(
                    (&*found.interface, found.on_link, found.gateway),
                    ("right", true, None)
                );
                assert_eq!(found.local, Some(local));
            }
            let found = path(far.parse().unwrap(), Some(local), None).unwrap();
            assert_eq!((found.on_link, found.gateway), (false, gateway.parse().ok()));
        }
        let nowhere = path("203.0.113.1".parse().unwrap(), None, None);
        assert!(matches!(nowhere, Err(PathError::NoRoute(_))), "{nowhere:?}");
        let nowhere = path("10.0.0.2".parse().unwrap(), None, Some("none0"));
        assert!(matches!(nowhere, Err(PathError::NoInterface(_))), "{nowhere:?}");
    });
    let mut watch = host.inside(|| Watch::open().unwrap());
    for change in [
        &["route", "add", "203.0.113.0/24", "via", "10.0.0.2"][..],
        &["-6", "route", "add", "2001:db8:ff::/64", "via", "2001:db8:0::2"],
        &["addr", "add", "10.9.9.9/32", "dev", "lo"],
        &["link", "add", "br9", "type", "bridge"],
    ] {
        while watch.changed().unwrap() {}
        host.ip(change);
        eventually("the change", || watch.changed().unwrap().then_some(()));
    }
    let found = host.inside(|| path("203.0.113.1".parse().unwrap(), None, None).unwrap());
    assert_eq!(found.gateway, "10.0.0.2".parse().ok());
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_hundred_sessions_stay_up_and_the_figures_are_told() {
    let line = Line::new();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for n in 1..=100 {
        let (a, b) = (format!("192.0.2.{}", 10 + n), format!("198.51.100.{n}"));
        line.a.ip(&["addr", "add", &format!("{a}/24"), "dev", "eth0"]);
        line.b.ip(&["addr", "add", &format!("{b}/24"), "dev", "eth0"]);
        ours.push((SessionKey { local: a.parse().ok(), ..single(&b) }, fast()));
        theirs.push((SessionKey { local: b.parse().ok(), ..single(&a) }, fast()));
    }
    line.a.ip(&["route", "add", "198.51.100.0/24", "dev", "eth0"]);
    let a = line.a.bfd(&ours);
    let b = line.b.bfd(&theirs);
    for (running, sessions) in [(&a, &ours), (&b, &theirs)] {
        for (key, _) in sessions {
            running.reaches(key, State::Up);
        }
    }
    let sent = |count| {
        eventually("packets", || {
            let statuses = a.statuses();
            let all = statuses.values().all(|it| it.counters.control_packet_output > count);
            all.then_some(statuses)
        })
    };
    let statuses = sent(100);
    for status in statuses.values() {
        assert_eq!((status.state, status.transmit_delay.samples > 90), (State::Up, true));
    }
    let worst = statuses.values().map(|it| it.transmit_delay.p99).max().unwrap();
    let middle = statuses.values().map(|it| it.transmit_delay.p50).max().unwrap();
    let maximum = statuses.values().map(|it| it.transmit_delay.maximum).max().unwrap();
    let downs: u64 = statuses.values().map(|it| it.counters.session_down_events).sum();
    println!(
        "100 sessions of 50 ms: sent late p50 {middle:?}, p99 {worst:?}, at most {maximum:?}; {downs} downs"
    );
    while a.changes.try_recv().is_ok() {}
    line.cut();
    let cut = now();
    for (key, _) in &ours {
        a.reaches(key, State::Down);
    }
    let last = a.statuses().values().map(|it| it.since).max().unwrap();
    println!("all down {:?} after the line was cut", last.saturating_duration_since(cut));
}
