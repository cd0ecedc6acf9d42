// SPDX-License-Identifier: Apache-2.0
//! The engine as the network sees it: frames in, frames out, in virtual time.
#![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]

mod watching;

use super::*;
use crate::frame::ndp::{Message, NeighborSolicitation};
use crate::owned::filter_key;
use crate::{ConflictSource, NoResponder, solicited_node};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 100));
const V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x64));
const STATION: MacAddress = MacAddress([2, 0, 0, 0, 0, 7]);

fn mac(index: u32) -> MacAddress {
    MacAddress([2, 0, 0, 0, 1, u8::try_from(index).unwrap()])
}

fn facts(index: u32) -> LinkFacts {
    LinkFacts {
        index,
        name: format!("eth{index}").into(),
        hardware_address: Some(mac(index)),
        ethernet: true,
        up: true,
        carrier: true,
        broadcast: true,
        no_arp: false,
        master: None,
        link_local: Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, u16::try_from(index).unwrap())),
        addresses: Arc::default(),
    }
}

struct Bench {
    engine: Engine,
    now: Instant,
}

impl Bench {
    fn new(links: &[u32]) -> Self {
        let options = Options { announce_interval: Duration::ZERO, ..Options::default() };
        let mut bench = Self { engine: Engine::new(options, Arc::default()), now: Instant::now() };
        links.iter().for_each(|index| bench.engine.upsert_link(facts(*index)));
        bench.engine.settle(bench.now);
        bench
    }

    fn own(&mut self, desired: &[(IpAddr, Scope)]) {
        self.engine.set_desired(self.now, &desired.iter().cloned().collect());
    }

    fn link(&mut self, facts: LinkFacts) {
        self.engine.upsert_link(facts);
        self.engine.settle(self.now);
    }

    fn ask(&mut self, link: u32, address: IpAddr) -> Option<Reply> {
        let frame = question(address);
        self.engine.handle_frame(self.now, link, Protocol::of(address), frame.as_bytes())
    }

    fn sent(&mut self) -> Vec<Transmit> {
        std::iter::from_fn(|| self.engine.poll_transmit(self.now)).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.engine.poll_event()).collect()
    }

    fn conflicts(&mut self) -> Vec<(ConflictSource, MacAddress)> {
        let told = |event| match event {
            Event::Conflict { found_by, hardware_address, .. } => {
                Some((found_by, hardware_address))
            }
            _ => None,
        };
        self.events().into_iter().filter_map(told).collect()
    }

    fn values(&self) -> crate::CounterValues {
        self.engine.counters.values().first().map(|(_, values)| *values).unwrap_or_default()
    }
}

fn everywhere(addresses: &[IpAddr]) -> Vec<(IpAddr, Scope)> {
    addresses.iter().map(|address| (*address, Scope::AllInterfaces)).collect()
}

fn only(names: &[&str]) -> Scope {
    Scope::Interfaces(names.iter().map(|name| Box::from(*name)).collect())
}

fn question(address: IpAddr) -> Frame {
    match address {
        IpAddr::V4(v4) => {
            let sender = Ipv4Addr::new(192, 0, 2, 7);
            Arp { sender, ..Arp::probe(STATION, v4) }.emit()
        }
        IpAddr::V6(v6) => Ndp::probe(STATION, "fe80::7".parse().unwrap(), v6).emit(),
    }
}

fn arp_reply(from: MacAddress, to: MacAddress, address: Ipv4Addr) -> Frame {
    Arp {
        destination: to,
        target_hardware: to,
        ..Arp::announcement(Operation::Reply, from, address)
    }
    .emit()
}

fn asked_for(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V6(v6) => v6,
        IpAddr::V4(_) => Ipv6Addr::UNSPECIFIED,
    }
}

#[test]
fn a_question_is_answered_with_the_address_of_its_link() {
    let mut bench = Bench::new(&[2, 3]);
    bench.own(&everywhere(&[V4, V6]));
    for link in [2, 3] {
        let reply = Arp::parse(bench.ask(link, V4).unwrap().frame.as_bytes()).unwrap();
        assert_eq!((reply.sender_hardware, reply.destination), (mac(link), STATION));
        let reply = Ndp::parse(bench.ask(link, V6).unwrap().frame.as_bytes()).unwrap();
        assert_eq!(
            (reply.envelope.ethernet_source, reply.envelope.source),
            (mac(link), asked_for(V6))
        );
    }
    assert!(bench.ask(4, V4).is_none(), "an unknown link");
}

#[test]
fn what_is_not_for_us_is_not_answered() {
    let mut bench = Bench::new(&[2]);
    bench.own(&everywhere(&[V4, V6]));
    let Ok(request) = Arp::parse(question(V4).as_bytes()) else { panic!() };
    let ask = |bench: &mut Bench, arp: Arp| {
        bench.engine.handle_frame(bench.now, 2, Protocol::Arp, arp.emit().as_bytes())
    };
    assert!(ask(&mut bench, Arp { destination: mac(2), ..request }).is_some(), "unicast to us");
    assert!(ask(&mut bench, Arp { sender: Ipv4Addr::UNSPECIFIED, ..request }).is_some(), "a probe");
    assert!(
        ask(&mut bench, Arp { destination: mac(9), ..request }).is_none(),
        "unicast to another"
    );
    assert!(ask(&mut bench, Arp { source: mac(2), ..request }).is_none(), "our own frame");
    assert!(ask(&mut bench, Arp { sender_hardware: mac(2), ..request }).is_none(), "our own frame");
    let group = MacAddress([0x01, 0, 0x5e, 0, 0, 1]);
    let group_v6 = MacAddress([0x33, 0x33, 0, 0, 0, 1]);
    for station in [MacAddress::BROADCAST, MacAddress::default(), group, group_v6] {
        let asked = Arp { sender_hardware: station, ..request };
        assert!(ask(&mut bench, asked).is_none(), "from {station}, which is no station");
        let both = Arp { source: station, ..asked };
        assert!(ask(&mut bench, both).is_none(), "from {station}, the frame as well");
    }
    assert!(ask(&mut bench, Arp { destination: group, ..request }).is_none(), "to a group");
    let Ok(asked) = Ndp::parse(question(V6).as_bytes()) else { panic!() };
    let mut other = asked;
    other.envelope.ethernet_destination = mac(9);
    assert!(
        bench.engine.handle_frame(bench.now, 2, Protocol::Ndp, other.emit().as_bytes()).is_none()
    );
    other.envelope.ethernet_destination = mac(2);
    assert!(
        bench.engine.handle_frame(bench.now, 2, Protocol::Ndp, other.emit().as_bytes()).is_some()
    );
    let mut asker = asked;
    for station in [MacAddress::BROADCAST, MacAddress::default(), group, group_v6] {
        let Message::Solicitation(solicitation) = &mut asker.message else { panic!() };
        solicitation.source_link_layer = Some(station);
        let answer =
            bench.engine.handle_frame(bench.now, 2, Protocol::Ndp, asker.emit().as_bytes());
        assert!(answer.is_none(), "for {station}, which is no station");
    }
}

#[test]
fn a_frame_that_breaks_one_rule_is_neither_answered_nor_counted_nor_a_conflict() {
    let mut bench = Bench::new(&[2]);
    bench.own(&everywhere(&[V4, V6]));
    let frames = [(Protocol::Arp, question(V4)), (Protocol::Ndp, question(V6))];
    // Where an octet makes another frame of it: protocol, sizes and operation of ARP; version, next header (also extension headers), hop
    // limit, type, code and checksum of NDP, and an option of length zero.
    let broken: [&[(usize, u8)]; 2] = [
        &[(12, 0x81), (15, 6), (16, 0x86), (18, 8), (19, 16), (21, 3)],
        &[
            (12, 0x81),
            (14, 0x40),
            (20, 0),
            (20, 43),
            (20, 44),
            (20, 51),
            (20, 60),
            (20, 17),
            (21, 254),
            (21, 0),
            (54, 133),
            (54, 134),
            (54, 137),
            (55, 1),
            (56, 0x5a),
            (79, 0),
        ],
    ];
    for ((protocol, frame), broken) in frames.iter().zip(broken) {
        for (at, value) in broken {
            let mut octets = frame.as_bytes().to_vec();
            assert_ne!(octets[*at], *value, "{protocol:?} {at}: that changes nothing");
            octets[*at] = *value;
            if *at == 79 {
                // The checksum holds: it is the option that is wrong. One less in a low octet is one more in the sum's.
                octets[57] = octets[57].checked_add(1).unwrap();
            }
            let reply = bench.engine.handle_frame(bench.now, 2, *protocol, &octets);
            assert!(reply.is_none(), "{protocol:?}: octet {at} is {value}");
        }
    }
    assert!(bench.conflicts().is_empty());
    let requests: u64 =
        bench.engine.counters.values().iter().map(|it| it.1.requests_received).sum();
    assert_eq!(requests, 0);
    assert!(
        bench.ask(2, V4).is_some() && bench.ask(2, V6).is_some(),
        "the whole ones are answered"
    );
}

#[test]
fn nobody_has_an_address_of_nobody_or_of_all() {
    let mut bench = Bench::new(&[2]);
    bench.own(&everywhere(&[V4]));
    let all = [Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 1)];
    for address in all {
        assert!(bench.ask(2, address.into()).is_none(), "{address} is asked for");
        // As what announces it: sender and target are the same.
        let claim = Arp::announcement(Operation::Request, STATION, address).emit();
        let reply = bench.engine.handle_frame(bench.now, 2, Protocol::Arp, claim.as_bytes());
        assert!(reply.is_none(), "{address} is announced");
    }
    assert!(bench.conflicts().is_empty());
}

#[test]
fn the_scope_holds_and_a_lost_address_is_silent_at_once() {
    let mut bench = Bench::new(&[2, 3]);
    bench.own(&[(V4, only(&["eth3"]))]);
    assert!(bench.ask(2, V4).is_none() && bench.ask(3, V4).is_some());
    assert!(bench.sent().iter().all(|transmit| transmit.link == 3));
    bench.own(&[(V4, only(&["eth2"]))]);
    assert!(bench.ask(2, V4).is_some() && bench.ask(3, V4).is_none());
    bench.own(&[]);
    assert!(bench.ask(2, V4).is_none() && bench.sent().is_empty());
}

#[test]
fn a_burst_is_a_request_a_reply_and_a_question_or_one_advertisement_and_a_question() {
    let mut bench = Bench::new(&[2]);
    bench.own(&everywhere(&[V4, V6]));
    let sent = bench.sent();
    let kinds: Vec<(Protocol, bool)> =
        sent.iter().map(|transmit| (transmit.protocol, transmit.announces)).collect();
    let (arp, ndp) = (Protocol::Arp, Protocol::Ndp);
    assert_eq!(kinds, [(arp, true), (arp, true), (arp, false), (ndp, true), (ndp, false)]);
    sent.iter().for_each(|transmit| bench.engine.transmitted(transmit));
    let counted: Vec<u64> =
        bench.engine.counters.values().iter().map(|(_, values)| values.gratuitous_sent).collect();
    assert_eq!(counted, [2, 1]);
    bench.now += Duration::from_millis(1100);
    assert!(bench.sent().iter().all(|transmit| transmit.announces), "asked once only");
}

#[test]
fn counters_stay_after_the_address_went() {
    let mut bench = Bench::new(&[2]);
    bench.own(&everywhere(&[V4]));
    assert_eq!(bench.engine.counters.values(), []);
    let reply = bench.ask(2, V4).unwrap();
    bench.engine.answered(&reply);
    bench.own(&[]);
    bench.own(&everywhere(&[V4]));
    let reply = bench.ask(2, V4).unwrap();
    bench.engine.answered(&reply);
    assert_eq!((bench.values().requests_received, bench.values().responses_sent), (2, 2));
}

#[test]
fn a_reply_to_our_question_from_another_station_is_a_conflict_told_once() {
    let mut bench = Bench::new(&[2]);
    bench.own(&everywhere(&[V4]));
    bench.sent();
    let IpAddr::V4(v4) = V4 else { panic!() };
    for _ in 0..3 {
        let frame = arp_reply(STATION, mac(2), v4);
        assert!(bench.engine.handle_frame(bench.now, 2, Protocol::Arp, frame.as_bytes()).is_none());
    }
    assert_eq!(bench.conflicts(), [(ConflictSource::Probe, STATION)]);
    assert_eq!(bench.values().conflicts, 3);
}

#[test]
fn an_announcement_of_another_station_is_a_conflict_but_not_of_our_own_links() {
    let mut bench = Bench::new(&[2, 3]);
    bench.own(&everywhere(&[V4, V6]));
    let (IpAddr::V4(v4), IpAddr::V6(v6)) = (V4, V6) else { panic!() };
    for station in [mac(3), STATION, STATION] {
        let arp = Arp::announcement(Operation::Request, station, v4).emit();
        let reply = bench.engine.handle_frame(bench.now, 2, Protocol::Arp, arp.as_bytes());
        assert_eq!(reply.is_some(), station == STATION);
        let ndp = Ndp::unsolicited(station, "fe80::9".parse().unwrap(), v6).emit();
        assert!(bench.engine.handle_frame(bench.now, 2, Protocol::Ndp, ndp.as_bytes()).is_none());
    }
    assert_eq!(bench.conflicts(), [(ConflictSource::Heard, STATION); 2]);
}

#[test]
fn an_announcement_of_an_address_that_passes_on_is_what_was_waited_for() {
    let mut bench = Bench::new(&[2, 3]);
    bench.own(&everywhere(&[V4, V6]));
    let (IpAddr::V4(v4), IpAddr::V6(v6)) = (V4, V6) else { panic!() };
    bench.events();
    bench.engine.answer_only(V4);
    bench.engine.answer_only(V6);
    for station in [mac(3), STATION, STATION] {
        let arp = Arp::announcement(Operation::Request, station, v4).emit();
        assert!(bench.engine.handle_frame(bench.now, 2, Protocol::Arp, arp.as_bytes()).is_none());
        let ndp = Ndp::unsolicited(station, "fe80::9".parse().unwrap(), v6).emit();
        assert!(bench.engine.handle_frame(bench.now, 2, Protocol::Ndp, ndp.as_bytes()).is_none());
    }
    assert_eq!(bench.events(), [Event::Claimed(V4), Event::Claimed(V6)]);
}

#[test]
fn an_announcement_that_is_due_waits_when_another_station_announces_to_all() {
    let mut bench = Bench::new(&[2]);
    bench.own(&everywhere(&[V4, V6]));
    bench.sent();
    bench.now += Duration::from_millis(1_105);
    let (IpAddr::V4(v4), IpAddr::V6(v6)) = (V4, V6) else { panic!() };
    let answer = arp_reply(STATION, mac(2), v4);
    bench.engine.handle_frame(bench.now, 2, Protocol::Arp, answer.as_bytes());
    let ndp = Ndp::unsolicited(STATION, "fe80::9".parse().unwrap(), v6).emit();
    bench.engine.handle_frame(bench.now, 2, Protocol::Ndp, ndp.as_bytes());
    let sent: Vec<IpAddr> = bench.sent().iter().map(|transmit| transmit.address).collect();
    assert_eq!(sent, [V4, V4], "what only we were told is no reason");
    bench.now += Duration::from_millis(495);
    assert_eq!(bench.sent(), []);
    bench.now += Duration::from_millis(25);
    assert_eq!(bench.sent().len(), 1);
}

#[test]
fn a_dad_probe_of_another_host_is_answered_and_no_conflict() {
    let mut bench = Bench::new(&[2]);
    bench.own(&everywhere(&[V6]));
    let IpAddr::V6(v6) = V6 else { panic!() };
    let mut probe = Ndp::probe(STATION, Ipv6Addr::UNSPECIFIED, v6);
    probe.message = Message::Solicitation(NeighborSolicitation {
        target: v6,
        source_link_layer: None,
        precedence: None,
    });
    assert!(
        bench.engine.handle_frame(bench.now, 2, Protocol::Ndp, probe.emit().as_bytes()).is_some()
    );
    assert_eq!(bench.conflicts(), []);
}

#[test]
fn a_link_that_appears_gets_socket_filter_groups_and_announcements() {
    let mut bench = Bench::new(&[2]);
    bench.own(&everywhere(&[V4, V6]));
    while bench.engine.poll_port().is_some() {}
    while bench.engine.poll_membership().is_some() {}
    while bench.engine.poll_filter(bench.now).is_some() {}
    bench.sent();
    bench.link(facts(3));
    let opened: Vec<SocketChange> = std::iter::from_fn(|| bench.engine.poll_port()).collect();
    assert_eq!(opened.len(), 2);
    let joined: Vec<Membership> = std::iter::from_fn(|| bench.engine.poll_membership()).collect();
    assert_eq!(
        joined,
        [Membership { link: 3, group: "ff02::1:ff00:64".parse().unwrap(), join: true }]
    );
    let filters: Vec<_> = std::iter::from_fn(|| bench.engine.poll_filter(bench.now)).collect();
    let key = |key| Range { first: key, last: key };
    assert_eq!(
        filters,
        [(3, Protocol::Arp, vec![key(0xc000_0264)]), (3, Protocol::Ndp, vec![key(0x64)])]
    );
    let sent = bench.sent();
    assert!(!sent.is_empty() && sent.iter().all(|transmit| transmit.link == 3));
}

#[test]
fn a_group_is_left_when_its_last_address_goes() {
    let mut bench = Bench::new(&[2]);
    let twin: IpAddr = "2001:db8:1::64".parse().unwrap();
    let changes = |bench: &mut Bench| -> Vec<bool> {
        std::iter::from_fn(|| bench.engine.poll_membership()).map(|change| change.join).collect()
    };
    bench.own(&everywhere(&[V6, twin]));
    assert_eq!(changes(&mut bench), [true]);
    bench.own(&everywhere(&[twin]));
    assert_eq!(changes(&mut bench), []);
    bench.own(&[]);
    assert_eq!(changes(&mut bench), [false]);
}

#[test]
fn a_link_that_goes_down_is_closed_and_the_others_stay() {
    let mut bench = Bench::new(&[2, 3]);
    bench.own(&everywhere(&[V4, V6]));
    bench.sent();
    bench.events();
    bench.link(LinkFacts { up: false, ..facts(2) });
    assert!(bench.ask(2, V4).is_none() && bench.ask(3, V4).is_some());
    assert_eq!(bench.engine.links()[0].reason(), Some(&NoResponder::Down));
    assert_eq!(bench.events().len(), 3, "two closed, one report");
    bench.now += Duration::from_millis(1100);
    assert!(bench.sent().iter().all(|transmit| transmit.link == 3));
    bench.engine.remove_link(3);
    bench.engine.settle(bench.now);
    assert_eq!(bench.engine.links().len(), 1);
    assert!(bench.ask(3, V4).is_none());
}

#[test]
fn a_changed_hardware_address_and_a_plugged_cable_are_announced() {
    let mut bench = Bench::new(&[2, 3]);
    bench.own(&everywhere(&[V4]));
    bench.now += Duration::from_secs(10);
    while !bench.sent().is_empty() {
        bench.now += Duration::from_secs(10);
    }
    bench.link(LinkFacts { hardware_address: Some(STATION), ..facts(2) });
    let sent = bench.sent();
    assert_eq!(Arp::parse(sent[0].frame.as_bytes()).unwrap().sender_hardware, STATION);
    assert!(sent.iter().all(|transmit| transmit.link == 2));
    bench.link(LinkFacts { carrier: false, ..facts(3) });
    assert!(bench.sent().is_empty());
    bench.link(facts(3));
    assert!(bench.sent().iter().all(|transmit| transmit.link == 3));
}

#[test]
fn a_renamed_link_leaves_the_scope_of_its_old_name() {
    let mut bench = Bench::new(&[2]);
    bench.own(&[(V4, only(&["lan"]))]);
    assert!(bench.ask(2, V4).is_none());
    bench.link(LinkFacts { name: "lan".into(), ..facts(2) });
    assert!(bench.ask(2, V4).is_some());
}

fn addresses() -> [IpAddr; 4] {
    [V4, V6, "192.0.2.101".parse().unwrap(), "2001:db8::65".parse().unwrap()]
}

#[derive(Clone, Debug)]
enum Step {
    Own(BTreeMap<usize, BTreeSet<u32>>),
    Link(u32, bool),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let scopes = prop::collection::btree_set(2_u32..5, 0..3);
    prop_oneof![
        prop::collection::btree_map(0_usize..4, scopes, 0..4).prop_map(Step::Own),
        (2_u32..5, any::<bool>()).prop_map(|(link, up)| Step::Link(link, up)),
        (0_u64..3_000).prop_map(Step::Wait),
    ]
}

proptest! {
    /// The rule: what is answered and announced is exactly what the newest desired set and the links of now allow; an empty
    /// set of names stands for all interfaces.
    #[test]
    fn exactly_the_desired_addresses_are_answered_after_any_history(steps in prop::collection::vec(step(), 1..40)) {
        let mut bench = Bench::new(&[2, 3]);
        let mut up = BTreeSet::from([2, 3]);
        let mut model: BTreeMap<IpAddr, BTreeSet<u32>> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Own(wanted) => {
                    model = wanted.into_iter().map(|(n, links)| (addresses()[n], links)).collect();
                    let scope = |links: &BTreeSet<u32>| if links.is_empty() {
                        Scope::AllInterfaces
                    } else {
                        Scope::Interfaces(links.iter().map(|link| format!("eth{link}").into()).collect())
                    };
                    let desired: Vec<_> = model.iter().map(|(address, links)| (*address, scope(links))).collect();
                    bench.own(&desired);
                }
                Step::Link(link, is_up) => {
                    if is_up { up.insert(link); } else { up.remove(&link); }
                    bench.link(LinkFacts { up: is_up, ..facts(link) });
                }
                Step::Wait(milliseconds) => bench.now += Duration::from_millis(milliseconds),
            }
            let allowed = |address: IpAddr, link: u32| {
                up.contains(&link) && model.get(&address).is_some_and(|links| links.is_empty() || links.contains(&link))
            };
            for transmit in bench.sent() {
                prop_assert!(allowed(transmit.address, transmit.link));
            }
            while bench.engine.poll_filter(bench.now).is_some() {}
            for address in addresses() {
                for link in 2..5 {
                    prop_assert_eq!(bench.ask(link, address).is_some(), allowed(address, link));
                    if allowed(address, link) {
                        let plan = &bench.engine.filters[&(link, Protocol::of(address))];
                        prop_assert!(plan.passes(filter_key(address)), "the kernel would drop it");
                    }
                }
            }
            let groups: BTreeSet<_> = model.keys().filter_map(|a| match a { IpAddr::V6(v6) => Some(solicited_node(*v6)), IpAddr::V4(_) => None }).collect();
            prop_assert_eq!(bench.engine.groups.keys().copied().collect::<BTreeSet<_>>(), groups);
        }
    }
}
