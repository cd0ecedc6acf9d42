// SPDX-License-Identifier: Apache-2.0
//! Rules of the RFCs that show only with a real router: what it refuses, what it forgets, and how it reads a next hop.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod lab;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use bgp::wire::{MessageType, Notification, Open, next_message, write_keepalive};
use bgp::{Attributes, Families, GracefulRestart, HoldTime, Ipv6NextHop, State};
use bytes::BytesMut;
use lab::{Lab, eventually, node, routes};

#[test]
#[ignore = "needs root, network namespaces and BIRD; make test runs it"]
fn bird_sees_the_form_of_the_next_hop_and_its_change() {
    let mut lab = Lab::new();
    lab.bird(
        "protocol bgp node { local 2001:db8::2 as 64502; neighbor 2001:db8::1 as 64501; passive;
           ipv4 { import all; export none; extended next hop; }; ipv6 { import all; export none; }; }",
    );
    let ours = lab.engine(&lab.node);
    let mut config = node("2001:db8::2");
    config.families = Families::BOTH;
    config.extended_next_hop = true;
    let prefixes = ["10.0.0.1/32", "2001:db8:1::/64"];
    ours.engine.set_routes("router", routes(&prefixes, &Attributes::default()));
    ours.peers([config.clone()]);
    ours.established();
    let shows_link_local = |wanted: bool| {
        for prefix in prefixes {
            eventually(prefix, || {
                let text = lab.birdc(&format!("show route {prefix} all"));
                let both = text.contains("BGP.next_hop: 2001:db8::1 fe80::");
                if text.contains("BGP.next_hop: 2001:db8::1") && both == wanted {
                    Ok(())
                } else {
                    Err(text)
                }
            });
        }
    };
    shows_link_local(true);
    config.ipv6_next_hop = Ipv6NextHop::Global;
    ours.peers([config]);
    shows_link_local(false);
    assert_eq!(ours.status().dropped, 0, "the session lives through the change");
}

/// A router that knows no optional parameters (RFC 5492 §3). Ends with the first UPDATE; returns how many OPENs it refused.
fn old_router(listener: &TcpListener) -> usize {
    let mut refused = 0;
    for stream in listener.incoming() {
        match old_session(stream.unwrap()) {
            Some(true) => return refused,
            Some(false) => refused += 1,
            None => {}
        }
    }
    refused
}

/// Whether an UPDATE came; `None` if the connection ended otherwise than by a refusal.
fn old_session(mut stream: TcpStream) -> Option<bool> {
    let mut buffer = BytesMut::new();
    let mut chunk = [0; 4096];
    loop {
        while let Some((kind, body)) = next_message(&mut buffer, false).unwrap() {
            let mut out = Vec::new();
            match kind {
                MessageType::Open if Open::decode(body).unwrap().capabilities.is_empty() => {
                    Open::new(64502, HoldTime::DEFAULT, [192, 0, 2, 2].into(), vec![])
                        .encode(&mut out);
                    write_keepalive(&mut out);
                    stream.write_all(&out).unwrap();
                }
                MessageType::Open => {
                    Notification::new(2, 4, []).encode(&mut out);
                    stream.write_all(&out).unwrap();
                    return Some(false);
                }
                MessageType::Update => return Some(true),
                _ => {}
            }
        }
        match stream.read(&mut chunk).ok()? {
            0 => return None,
            count => buffer.extend_from_slice(chunk.get(..count)?),
        }
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_router_without_optional_parameters_has_ipv4_and_ipv6_is_told_as_not_carried() {
    let lab = Lab::new();
    let (sender, ready) = std::sync::mpsc::channel();
    let router = lab.router.spawn(move || {
        let listener = TcpListener::bind("192.0.2.2:179").unwrap();
        sender.send(()).unwrap();
        old_router(&listener)
    });
    ready.recv().unwrap();
    let ours = lab.engine(&lab.node);
    let mut config = node("192.0.2.2");
    config.families = Families::BOTH;
    ours.peers([config]);
    let status = ours.established();
    assert_eq!(status.negotiated.unwrap().families, Families::IPV4);
    let text = "the peer refused optional parameters: IPv6 is not carried";
    assert_eq!(status.problem.as_deref(), Some(text));
    let prefixes = ["10.0.0.1/32", "2001:db8:1::/64"];
    ours.engine.set_routes("router", routes(&prefixes, &Attributes::default()));
    assert_eq!(router.join().unwrap(), 1, "one OPEN was refused, the next one taken");
}

#[test]
#[ignore = "needs root, network namespaces and FRR; make test runs it"]
fn frr_that_refuses_a_family_is_given_the_other_one() {
    let mut lab = Lab::new();
    lab.frr(
        "router bgp 64502
         bgp router-id 192.0.2.2
         no bgp ebgp-requires-policy
         neighbor 192.0.2.1 remote-as 64501
         neighbor 192.0.2.1 passive
         neighbor 192.0.2.1 strict-capability-match
         ",
    );
    let ours = lab.engine(&lab.node);
    let mut config = node("192.0.2.2");
    config.families = Families::BOTH;
    let prefixes = ["10.0.0.1/32", "2001:db8:1::/64"];
    ours.engine.set_routes("router", routes(&prefixes, &Attributes::default()));
    ours.peers([config]);
    let status = ours.established();
    assert_eq!(status.negotiated.unwrap().families, Families::IPV4);
    let text = "the peer refused capability 1 (Multiprotocol): IPv6 is not carried";
    assert_eq!(status.problem.as_deref(), Some(text));
    eventually("IPv4", || {
        let text = lab.vtysh("show bgp ipv4 unicast 10.0.0.1/32");
        if text.contains("64501") { Ok(()) } else { Err(text) }
    });
}

#[test]
#[ignore = "needs root, network namespaces and FRR; make test runs it"]
fn frr_that_lost_a_session_unnoticed_is_let_in_again_without_the_r_bit() {
    let mut lab = Lab::new();
    let configuration = |restart: &str| {
        format!(
            "router bgp 64502
             bgp router-id 192.0.2.2
             no bgp ebgp-requires-policy
             neighbor 192.0.2.1 remote-as 64501
             neighbor 192.0.2.1 timers connect 1
             neighbor 192.0.2.1 {restart}
             "
        )
    };
    lab.frr(&configuration("graceful-restart"));
    let ours = lab.engine(&lab.node);
    let mut config = node("192.0.2.2");
    config.passive = true;
    config.hold_time = HoldTime::from_seconds(900).unwrap();
    config.graceful_restart =
        Some(GracefulRestart { restart_time: Duration::from_secs(60), notification: false });
    ours.engine.set_routes("router", routes(&["10.0.0.1/32"], &Attributes::default()));
    ours.peers([config]);
    let agreed = ours.established().negotiated.unwrap().graceful_restart.unwrap();
    assert_eq!(agreed.families, Families::IPV4);
    // What both sides may have begun at the same time must be over.
    std::thread::sleep(Duration::from_secs(6));
    lab.nft(
        "table ip silence {
           chain output {
             type filter hook output priority 0;
             tcp flags & (fin | rst) != 0 drop;
           }
         }",
    );
    lab.kill_last();
    lab.bgpd(&configuration("graceful-restart-disable"));
    // Long before the hold time.
    let status = ours.until("another session", |status| {
        status.established == 2 && status.state == State::Established
    });
    assert_eq!(status.negotiated.unwrap().graceful_restart, None, "its OPEN has no R bit");
    let reason = status.last_drop.unwrap().reason.to_string();
    assert_eq!(reason, "TCP: the peer opened another connection");
}
