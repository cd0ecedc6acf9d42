// SPDX-License-Identifier: Apache-2.0
//! Rules of the RFCs that show only with a real router: what it refuses, what it forgets, and how it reads a next hop.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod lab;

use std::time::Duration;

use bgp::{Attributes, Families, GracefulRestart, HoldTime, Ipv6NextHop, State};
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
