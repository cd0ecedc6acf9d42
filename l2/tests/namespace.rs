// SPDX-License-Identifier: Apache-2.0
//! The responder on the real kernel: a node and a neighbour in network namespaces, joined by veth pairs; the neighbour asks
//! with arping and by its own kernel, and watches with tcpdump.
#![cfg(feature = "net")]

mod lab;
mod watching;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use l2::{ConflictSource, Event, NoResponder, Options, Protocol, Scope};
use lab::{Lab, all, eventually};

const V4: &str = "192.0.2.100";
const V6: &str = "2001:db8::100";

fn arping(lab: &Lab, interface: &str, address: &str) -> Option<String> {
    let (answered, text) =
        lab.beside_peer(&["arping", "-c", "1", "-w", "1", "-i", interface, address]);
    answered.then_some(text.to_lowercase())
}

/// Has the neighbour's kernel find the address by multicast. (ndisc6 overlooks answers whose source is not the target.)
fn resolve(lab: &Lab, interface: &str, address: &str) -> Option<String> {
    let show = || lab.peer(&["-6", "neigh", "show", address, "dev", interface]);
    if !show().contains("REACHABLE") {
        lab.peer(&["-6", "neigh", "replace", address, "dev", interface, "use"]);
    }
    // An entry that only an announcement filled in is STALE; an answer makes it REACHABLE.
    Some(show()).filter(|entry| entry.contains("lladdr") && entry.contains("REACHABLE"))
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn arp_is_answered_with_the_address_of_the_link_and_counted() {
    let lab = Lab::joined();
    let running = lab.start(Options::default());
    running.own(&[V4]);
    let answer = eventually("an answer", || arping(&lab, "peer0", V4));
    assert!(answer.contains(&lab.mac("eth0").to_string()), "{answer}");
    let counters = eventually("the announcements", || {
        let counters = running.layer2.counters();
        counters.iter().any(|(_, values)| values.gratuitous_sent == 10).then_some(counters)
    });
    assert_eq!(counters.len(), 1);
    assert!(counters[0].1.requests_received >= 1);
    assert_eq!(counters[0].1.requests_received, counters[0].1.responses_sent);
    running.own(&[]);
    assert_eq!(arping(&lab, "peer0", V4), None, "answered after it was lost");
    assert_eq!(running.layer2.counters().len(), 1, "counters stay");
    running.layer2.shutdown();
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn arp_probe_of_a_newcomer_is_answered() {
    let lab = Lab::joined();
    let running = lab.start(Options::default());
    running.own(&[V4]);
    eventually("an answer", || arping(&lab, "peer0", V4));
    let (answered, text) =
        lab.beside_peer(&["arping", "-0", "-c", "1", "-w", "1", "-i", "peer0", V4]);
    assert!(answered, "{text}");
}

/// What is tagged for a VLAN belongs to that VLAN's link, which is another one; tag 0 says only a priority (IEEE 802.1Q).
#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_question_in_a_vlan_is_not_answered_and_one_with_a_mere_priority_is() {
    let lab = Lab::joined();
    let running = lab.start(Options::default());
    running.own(&[V4]);
    eventually("an answer", || arping(&lab, "peer0", V4));
    let asked = || running.layer2.counters().iter().map(|it| it.1.requests_received).sum::<u64>();
    let before = asked();
    let in_vlan = |tag| {
        lab.beside_peer(&["arping", "-0", "-V", tag, "-c", "3", "-w", "2", "-i", "peer0", V4])
    };
    let (answered, text) = in_vlan("5");
    assert!(!answered && !text.contains("\n0 packets transmitted"), "{text}");
    assert_eq!(asked(), before, "questions of VLAN 5 were taken for the link's");
    // The answer to tag 0 has no tag: it comes in on the link itself.
    let answers = lab.capture("peer0", "arp[6:2] = 2");
    in_vlan("0");
    let answer = answers.line(&[V4, "is-at"]);
    assert!(answer.contains(&lab.mac("eth0").to_string()), "{answer}");
    running.layer2.shutdown();
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn neighbor_solicitation_is_answered_multicast_and_unicast() {
    let lab = Lab::joined();
    let running = lab.start(Options::default());
    running.ready("eth0");
    let capture = lab.capture("peer0", "icmp6 and ip6[40] == 136");
    running.own(&[V6]);
    capture.line(&["> 33:33:00:00:00:01", "tgt is 2001:db8::100"]);
    let answer = eventually("an answer", || resolve(&lab, "peer0", V6));
    assert!(answer.contains(&lab.mac("eth0").to_string()), "{answer}");
    // The kernel asks for a known neighbour by unicast once its entry is to be verified.
    let mac = lab.mac("eth0").to_string();
    lab.peer(&["neigh", "replace", V6, "lladdr", &mac, "dev", "peer0", "nud", "probe"]);
    eventually("the entry to be confirmed", || {
        lab.peer(&["neigh", "show", V6, "dev", "peer0"]).contains("REACHABLE").then_some(())
    });
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn duplicate_address_detection_of_another_host_finds_ours() {
    let lab = Lab::joined();
    let running = lab.start(Options::default());
    running.ready("eth0");
    running.own(&[V6]);
    eventually("an answer", || resolve(&lab, "peer0", V6));
    lab.peer(&["addr", "add", &format!("{V6}/64"), "dev", "peer0"]);
    eventually("the neighbour to notice", || {
        lab.peer(&["addr", "show", "dev", "peer0"]).contains("dadfailed").then_some(())
    });
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn an_address_is_answered_in_its_scope_only() {
    let lab = Lab::joined();
    lab.join(1);
    let running = lab.start(Options::default());
    let scope = Scope::Interfaces(["eth1".into()].into());
    running.layer2.publish([(V4.parse().unwrap(), scope)].into());
    let answer = eventually("an answer", || arping(&lab, "peer1", V4));
    assert!(answer.contains(&lab.mac("eth1").to_string()));
    assert_eq!(arping(&lab, "peer0", V4), None);
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_link_that_comes_late_goes_and_comes_again_is_followed() {
    let lab = Lab::joined();
    let running = lab.start(Options::default());
    running.own(&[V4, V6]);
    lab.join(1);
    running.ready("eth1");
    eventually("an answer", || arping(&lab, "peer1", V4));
    eventually("an answer", || resolve(&lab, "peer1", V6));
    lab.node(&["link", "set", "eth1", "down"]);
    eventually("the link down", || {
        running.link("eth1").filter(|link| link.reason() == Some(&NoResponder::Down))
    });
    assert!(running.link("eth0").unwrap().arp, "the other link is not touched");
    let capture = lab.capture("peer1", "arp");
    lab.node(&["link", "set", "eth1", "up"]);
    capture.line(&["Request who-has 192.0.2.100 (ff:ff:ff:ff:ff:ff) tell 192.0.2.100"]);
    running.ready("eth1");
    eventually("an answer", || resolve(&lab, "peer1", V6));
    lab.peer(&["link", "set", "peer1", "down"]);
    eventually("the carrier lost", || running.link("eth1").filter(|link| !link.carrier && link.up));
    lab.node(&["link", "del", "eth1"]);
    eventually("the link gone", || running.link("eth1").is_none().then_some(()));
    running.event("eth1 closed", |event| {
        matches!(event, Event::ResponderClosed { interface, protocol: Protocol::Arp } if &**interface == "eth1")
    });
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_changed_hardware_address_is_announced_and_answered_with() {
    let lab = Lab::joined();
    let running = lab.start(Options::default());
    running.own(&[V4, V6]);
    running.ready("eth0");
    eventually("an answer", || arping(&lab, "peer0", V4));
    let capture = lab.capture("peer0", "arp or icmp6");
    lab.node(&["link", "set", "eth0", "address", "02:00:00:00:77:01"]);
    capture.line(&["02:00:00:00:77:01 >", "Reply 192.0.2.100 is-at 02:00:00:00:77:01"]);
    capture.line(&["02:00:00:00:77:01 >", "neighbor advertisement, tgt is 2001:db8::100"]);
    let answer = eventually("an answer", || arping(&lab, "peer0", V4));
    assert!(answer.contains("02:00:00:00:77:01"), "{answer}");
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn excluded_and_enslaved_links_have_no_responder_and_the_bridge_has() {
    let lab = Lab::joined();
    lab.join(1);
    lab.node(&["link", "add", "br0", "type", "bridge"]);
    lab.node(&["link", "set", "eth1", "master", "br0"]);
    lab.node(&["link", "set", "br0", "up"]);
    let exclude = Some(regex::Regex::new("(^veth.*)|(th0)").unwrap());
    let running = lab.start(Options { exclude, ..Options::default() });
    assert_eq!(running.link("eth0").unwrap().reason(), Some(&NoResponder::Excluded));
    assert_eq!(
        running.link("eth1").unwrap().reason(),
        Some(&NoResponder::Enslaved { master: "br0".into() })
    );
    assert_eq!(running.link("lo").unwrap().reason(), Some(&NoResponder::NotEthernet));
    running.own(&[V4]);
    let answer = eventually("an answer", || arping(&lab, "peer1", V4));
    assert!(answer.contains(&lab.mac("br0").to_string()), "{answer}");
    assert_eq!(arping(&lab, "peer0", V4), None);
    lab.node(&["link", "set", "eth1", "nomaster"]);
    eventually("a responder on the released port", || running.link("eth1").filter(|link| link.arp));
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn another_station_with_the_address_is_found_by_asking() {
    let lab = Lab::joined();
    let running = lab.start(Options::default());
    running.ready("eth0");
    lab.peer(&["addr", "add", &format!("{V4}/32"), "dev", "peer0"]);
    lab.peer(&["addr", "add", &format!("{V6}/128"), "nodad", "dev", "peer0"]);
    running.own(&[V4, V6]);
    // In either order: the kernel answers each question when it comes to it.
    let mut missing: BTreeSet<IpAddr> = [V4, V6].map(|text| text.parse().unwrap()).into();
    while !missing.is_empty() {
        let event = running.event(
            &format!("conflict of {missing:?}"),
            |event| matches!(event, Event::Conflict { address, .. } if missing.contains(address)),
        );
        let Event::Conflict { address, interface, found_by, .. } = &event else {
            panic!("{event:?}")
        };
        assert_eq!((&**interface, *found_by), ("eth0", ConflictSource::Probe), "{event:?}");
        missing.remove(address);
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn an_announcement_of_another_station_is_heard() {
    let lab = Lab::joined();
    let running = lab.start(Options::default());
    running.own(&[V4]);
    eventually("an answer", || arping(&lab, "peer0", V4));
    // The neighbour takes the address without an answer to our questions, and announces it.
    lab.beside_peer(&["sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=8"]);
    lab.peer(&["addr", "add", &format!("{V4}/32"), "dev", "peer0"]);
    lab.beside_peer(&["arping", "-U", "-P", "-c", "1", "-i", "peer0", "-S", V4, V4]);
    running.event("conflict", |event| {
        matches!(event, Event::Conflict { found_by: ConflictSource::Heard, .. })
    });
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_claim_that_had_to_wait_is_heard_and_a_question_not_answered() {
    let lab = Lab::joined();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let running = lab.start_with(Options::default(), move |event| {
        if matches!(event, Event::Done(_)) {
            let _ = held.recv_timeout(lab::DEADLINE);
        }
    });
    running.ready("eth0");
    running.own(&[V4]);
    eventually("an answer", || arping(&lab, "peer0", V4));
    running.layer2.tell(1);
    running.event("that the thread is held", |event| matches!(event, Event::Done(1)));
    assert_eq!(arping(&lab, "peer0", V4), None, "nobody answers");
    lab.peer(&["addr", "add", &format!("{V4}/32"), "dev", "peer0"]);
    lab.beside_peer(&["arping", "-U", "-P", "-c", "1", "-i", "peer0", "-S", V4, V4]);
    // Until both frames are older than what is still answered.
    std::thread::sleep(std::time::Duration::from_millis(150));
    release.send(()).unwrap();
    running.event("conflict", |event| matches!(event, Event::Conflict { .. }));
    assert!(running.layer2.statistics().stale_dropped > 0);
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_thousand_ipv6_addresses_are_answered_on_three_links() {
    let lab = Lab::joined();
    lab.join(1);
    lab.join(2);
    let running = lab.start(Options::default());
    let base: Ipv6Addr = "2001:db8::1:0".parse().unwrap();
    let address = |n: u128| Ipv6Addr::from_bits(base.to_bits() + n);
    let names: Vec<String> = (0..1000).map(|n| address(n).to_string()).collect();
    running.layer2.publish(all(&names.iter().map(String::as_str).collect::<Vec<_>>()));
    for n in 0..3 {
        let (eth, peer) = (format!("eth{n}"), format!("peer{n}"));
        running.ready(&eth);
        for name in [&names[0], &names[500], &names[999]] {
            eventually("an answer", || resolve(&lab, &peer, name));
        }
        eventually("a thousand groups on each link", || {
            let groups =
                lab.node.inside(|| std::fs::read_to_string("/proc/thread-self/net/igmp6").unwrap());
            // The link's own address may have a group that looks like these.
            let on_link: Vec<&str> =
                groups.lines().filter(|line| line.contains(&format!("{eth} "))).collect();
            let joined = |n: u32| {
                let group = format!("ff0200000000000000000001ff01{n:04x}");
                on_link.iter().any(|line| line.contains(&group))
            };
            (0..1000).all(joined).then_some(())
        });
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn ten_thousand_addresses_do_not_delay_an_answer_and_all_pass_the_filter() {
    let lab = Lab::joined();
    let running = lab.start(Options::default());
    let names: Vec<String> = (0..10_000_u32)
        .map(|n| format!("10.{}.{}.{}", n % 7, n / 250, 1 + (n * 3) % 250))
        .collect();
    running.layer2.publish(all(&names.iter().map(String::as_str).collect::<Vec<_>>()));
    for name in [&names[0], &names[4_321], &names[9_999]] {
        eventually("an answer", || arping(&lab, "peer0", name));
    }
}
