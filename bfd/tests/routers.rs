// SPDX-License-Identifier: Apache-2.0
//! With the BFD of real routers, FRR 8.4 and BIRD 2.0: they judge our packets, and their view of the session is what counts.
#![cfg(feature = "net")]

mod lab;

use std::time::Duration;

use bfd::{Diagnostic, Profile, SessionKey, State};
use lab::routers::{Bird, Frr};
use lab::{Line, Row, eventually, fast, multi, single, unflapped};

const A4: &str = "192.0.2.1";
const B4: &str = "192.0.2.2";
const A6: &str = "2001:db8::1";
const B6: &str = "2001:db8::2";

/// bfdd's configuration for both of our addresses on the line.
fn frr_peers(profile: &str) -> String {
    format!(
        "bfd\n profile p\n  transmit-interval 50\n  receive-interval 50\n{profile}\
         peer {A4} local-address {B4} interface eth0\n  profile p\n\
         peer {A6} local-address {B6} interface eth0\n  profile p\n"
    )
}

#[test]
#[ignore = "needs root, network namespaces and FRR; make test runs it"]
fn frr_over_a_single_hop() {
    let line = Line::new();
    let a = line.a.bfd(&[(single(B4), fast()), (single(B6), fast())]);
    let frr = Frr::start(&line.b, &frr_peers(""));
    for (ours, theirs) in [(B4, A4), (B6, A6)] {
        a.reaches(&single(ours), State::Up);
        frr.says(theirs, "\"status\":\"up\"");
        frr.says(theirs, "\"remote-transmit-interval\":50,");
        let status = eventually("the intervals", || {
            Some(a.status(&single(ours)))
                .filter(|status| status.detection_time == Some(Duration::from_millis(150)))
        });
        assert_eq!(status.transmit_interval, Some(Duration::from_millis(50)));
    }
    let downs = || {
        let ours = a.status(&single(B4)).counters.session_down_events;
        (ours, frr.counter(A4, "session-down"))
    };
    // Both directions of a change of intervals, by our Poll Sequence.
    unflapped("a change of intervals", downs, || {
        for interval in [700, 50] {
            let interval_ms = Duration::from_millis(interval);
            let changed =
                Profile { transmit_interval: interval_ms, receive_interval: interval_ms, ..fast() };
            a.set(&[(single(B4), changed), (single(B6), fast())]);
            frr.says(A4, &format!("\"remote-transmit-interval\":{interval},"));
            eventually("the end of the Poll Sequence", || {
                let status = a.status(&single(B4));
                (status.transmit_interval == Some(interval_ms)
                    && status.receive_interval == Some(interval_ms))
                .then_some(())
            });
        }
    });
    line.cut();
    frr.says(A4, "control detection time expired");
    let status = a.reaches(&single(B4), State::Down);
    assert_eq!(status.diagnostic, Diagnostic::ControlDetectionTimeExpired);
    line.mend();
    frr.says(A4, "\"status\":\"up\"");
    frr.says(A6, "\"status\":\"up\"");
    a.bfd.stop();
    let text = frr.says(A4, "\"status\":\"down\"");
    assert!(text.contains("\"remote-diagnostic\":\"administratively down\""), "{text}");
    assert!(text.contains("\"diagnostic\":\"neighbor signaled session down\""), "{text}");
}

#[test]
#[ignore = "needs root, network namespaces and FRR; make test runs it"]
fn frr_over_several_hops() {
    let row = Row::new(3);
    let (v4, v6) = (multi("10.0.1.2", "10.0.0.1"), multi("2001:db8:1::2", "2001:db8:0::1"));
    let a = row.hosts[0].bfd(&[(v4.clone(), fast()), (v6.clone(), fast())]);
    let frr = Frr::start(
        &row.hosts[2],
        "bfd\n profile p\n  transmit-interval 50\n  receive-interval 50\n  minimum-ttl 254\n\
         peer 10.0.0.1 multihop local-address 10.0.1.2\n  profile p\n\
         peer 2001:db8::1 multihop local-address 2001:db8:1::2\n  profile p\n",
    );
    a.reaches(&v4, State::Up);
    a.reaches(&v6, State::Up);
    frr.says("10.0.0.1", "\"status\":\"up\"");
    frr.says("2001:db8::1", "\"status\":\"up\"");
}

#[test]
#[ignore = "needs root, network namespaces and FRR; make test runs it"]
fn frr_passive_and_we_passive() {
    for (theirs, ours) in [("  passive-mode\n", false), ("", true)] {
        let line = Line::new();
        let frr = Frr::start(&line.b, &frr_peers(theirs));
        assert_eq!(frr.peer(A4).contains("\"passive-mode\":true"), !ours);
        let profile = Profile { passive_mode: ours, ..fast() };
        let a = line.a.bfd(&[(single(B4), profile), (single(B6), profile)]);
        for (ours, theirs) in [(B4, A4), (B6, A6)] {
            a.reaches(&single(ours), State::Up);
            frr.says(theirs, "\"status\":\"up\"");
        }
    }
}

#[test]
#[ignore = "needs root, network namespaces and FRR; make test runs it"]
fn frr_with_echo_in_both_directions() {
    for forwarding in ["net.ipv4.ip_forward=0", "net.ipv4.ip_forward=1"] {
        let line = Line::new();
        // FRR leaves it to its kernel to send our IPv4 packets back; ours does it, or we do.
        line.b.sysctl("net.ipv4.ip_forward=1");
        line.a.sysctl(forwarding);
        let echo = Profile { echo_mode: true, ..fast() };
        let a = line.a.bfd(&[(single(B4), echo), (single(B6), echo)]);
        let frr = Frr::start(
            &line.b,
            &frr_peers("  echo-mode\n  echo transmit-interval 50\n  echo receive-interval 50\n"),
        );
        for (ours, theirs) in [(B4, A4), (B6, A6)] {
            let of_ours = || a.status(&single(ours)).counters.echo_packet_input;
            let of_theirs = || frr.counter(theirs, "echo-packet-input");
            let downs = || {
                let counters = a.status(&single(ours)).counters;
                (counters.session_down_events, frr.counter(theirs, "session-down"))
            };
            // On a busy machine either side may stand still for the detection time; Echo itself must take no session down.
            let mut since = (downs(), of_ours(), of_theirs());
            let what = format!(
                "50 Echo packets to {ours} and to {theirs} while nothing goes down, {forwarding}"
            );
            let status = eventually(&what, || {
                let seen = (downs(), of_ours(), of_theirs());
                if seen.0 != since.0 {
                    since = seen;
                }
                let enough = seen.1 > since.1 + 50 && seen.2 > since.2 + 50;
                let status = a.status(&single(ours));
                (enough && status.state == State::Up).then_some(status)
            });
            assert_eq!(status.echo_interval, Some(Duration::from_millis(50)));
        }
    }
}

#[test]
#[ignore = "needs root, network namespaces and BIRD; make test runs it"]
fn bird_over_a_single_hop() {
    let line = Line::new();
    let a = line.a.bfd(&[(single(B4), fast()), (single(B6), fast())]);
    let bird = Bird::start(
        &line.b,
        &format!(
            "protocol bfd {{ interface \"*\" {{ interval 50 ms; multiplier 3; }};\n\
             neighbor {A4} dev \"eth0\"; neighbor {A6} dev \"eth0\"; }}\n"
        ),
    );
    for (ours, theirs) in [(B4, A4), (B6, A6)] {
        a.reaches(&single(ours), State::Up);
        bird.says(theirs, "Up");
        eventually("the intervals", || {
            let detection_time = a.status(&single(ours)).detection_time;
            (detection_time == Some(Duration::from_millis(150))).then_some(())
        });
    }
    let downs = || a.status(&single(B4)).counters.session_down_events;
    unflapped("a change of intervals", downs, || {
        for (milliseconds, timeout) in [(50, "0.150"), (700, "2.100")] {
            let transmit_interval = Duration::from_millis(milliseconds);
            a.set(&[(single(B4), Profile { transmit_interval, ..fast() }), (single(B6), fast())]);
            // Its timeout is three of our intervals.
            bird.says(A4, timeout);
        }
    });
    line.cut();
    bird.says(A4, "Down");
    a.reaches(&single(B6), State::Down);
    line.mend();
    bird.says(A6, "Up");
    bird.says(A4, "Up");
    a.bfd.stop();
    bird.says(A4, "Down");
    bird.says(A6, "Down");
}

#[test]
#[ignore = "needs root, network namespaces and BIRD; make test runs it"]
fn bird_over_several_hops_and_with_a_restart() {
    let row = Row::new(3);
    let key = multi("10.0.1.2", "10.0.0.1");
    // BIRD sends over several hops with a TTL of 64, of which the router leaves 63.
    let profile = Profile { minimum_ttl: 63, ..fast() };
    let sessions: [(SessionKey, Profile); 1] = [(key.clone(), profile)];
    let a = row.hosts[0].bfd(&sessions);
    let bird = Bird::start(
        &row.hosts[2],
        "protocol bfd { multihop { interval 50 ms; multiplier 3; };\n\
         neighbor 10.0.0.1 local 10.0.1.2 multihop on; }\n",
    );
    a.reaches(&key, State::Up);
    bird.says("10.0.0.1", "Up");
    a.bfd.stop();
    bird.says("10.0.0.1", "Down");
    let a = row.hosts[0].bfd(&sessions);
    a.reaches(&key, State::Up);
    bird.says("10.0.0.1", "Up");
}
