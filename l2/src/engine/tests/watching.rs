// SPDX-License-Identifier: Apache-2.0
//! Watched addresses: what passes, what is asked, which stations are told, and who gives way to whom.

mod history;

use super::*;
use crate::Precedence;

const OURS: Precedence = Precedence { members: 3, position: 1 };
const HIGHER: Precedence = Precedence { members: 4, position: 2 };
const LOWER: Precedence = Precedence { members: 2, position: 0 };

impl Bench {
    fn watch(&mut self, address: IpAddr, scope: Option<&Scope>) {
        self.engine.watch(self.now, address, scope);
    }

    /// With the links, both addresses watched everywhere, and our precedence.
    fn watching(links: &[u32]) -> Self {
        let mut bench = Self::new(links);
        bench.engine.set_precedence(Some(OURS));
        for address in [V4, V6] {
            bench.watch(address, Some(&Scope::AllInterfaces));
        }
        bench.events();
        bench
    }

    fn hear(&mut self, link: u32, address: IpAddr, frame: Frame) -> Option<Reply> {
        self.engine.handle_frame(self.now, link, Protocol::of(address), frame.as_bytes())
    }

    /// The stations that were told, in order.
    fn answered(&mut self) -> Vec<(IpAddr, Arc<str>, MacAddress)> {
        let told = |event| match event {
            Event::Answered { address, interface, hardware_address, .. } => {
                Some((address, interface, hardware_address))
            }
            _ => None,
        };
        self.events().into_iter().filter_map(told).collect()
    }
}

fn station(last: u8) -> MacAddress {
    MacAddress([2, 0, 0, 0, 9, last])
}

fn announcement(station: MacAddress, address: IpAddr) -> Frame {
    match address {
        IpAddr::V4(v4) => Arp::announcement(Operation::Request, station, v4).emit(),
        IpAddr::V6(v6) => Ndp::unsolicited(station, "fe80::9".parse().unwrap(), v6).emit(),
    }
}

/// A probe as `Engine::probe` makes it.
fn probe(station: MacAddress, address: IpAddr, precedence: Option<Precedence>) -> Frame {
    match address {
        IpAddr::V4(v4) => {
            let probe = Arp::probe(station, v4);
            precedence.map_or(probe, |precedence| probe.with_precedence(precedence)).emit()
        }
        IpAddr::V6(v6) => {
            let probe = Ndp::probe(station, "fe80::9".parse().unwrap(), v6);
            precedence.map_or(probe, |precedence| probe.with_precedence(precedence)).emit()
        }
    }
}

/// Duplicate address detection by RFC 4862 §5.4.2.
fn detection(station: MacAddress, address: Ipv6Addr) -> Frame {
    let mut detection = Ndp::probe(station, Ipv6Addr::UNSPECIFIED, address);
    let Message::Solicitation(solicitation) = &mut detection.message else { panic!() };
    solicitation.source_link_layer = None;
    detection.emit()
}

fn v4() -> Ipv4Addr {
    let IpAddr::V4(v4) = V4 else { panic!() };
    v4
}

/// The precedence that a frame carries.
fn carried(transmit: &Transmit) -> Option<Precedence> {
    match transmit.protocol {
        Protocol::Arp => Arp::parse(transmit.frame.as_bytes()).unwrap().precedence(),
        Protocol::Ndp => match Ndp::parse(transmit.frame.as_bytes()).unwrap().message {
            Message::Solicitation(solicitation) => solicitation.precedence,
            Message::Advertisement(_) => None,
        },
    }
}

#[test]
fn a_probe_goes_out_on_each_link_of_a_watched_address_and_on_no_other() {
    let mut bench = Bench::new(&[2, 3]);
    bench.watch(V4, Some(&Scope::AllInterfaces));
    bench.watch(V6, Some(&only(&["eth3"])));
    assert_eq!(bench.sent(), [], "nothing goes out unasked");
    let unwatched = "192.0.2.101".parse().unwrap();
    for precedence in [None, Some(OURS)] {
        bench.engine.set_precedence(precedence);
        bench.engine.probe(&[V4, unwatched, V6]);
        let sent = bench.sent();
        let places: Vec<_> = sent.iter().map(|it| (it.address, it.link, it.protocol)).collect();
        let expected = [(V4, 2, Protocol::Arp), (V4, 3, Protocol::Arp), (V6, 3, Protocol::Ndp)];
        assert_eq!(places, expected);
        for transmit in &sent {
            assert!(!transmit.announces);
            bench.engine.transmitted(transmit);
            let frame = match transmit.address {
                IpAddr::V4(v4) => {
                    let probe = Arp::probe(mac(transmit.link), v4);
                    precedence.map_or(probe, |precedence| probe.with_precedence(precedence)).emit()
                }
                IpAddr::V6(v6) => {
                    let probe = Ndp::probe(mac(3), "fe80::3".parse().unwrap(), v6);
                    precedence.map_or(probe, |precedence| probe.with_precedence(precedence)).emit()
                }
            };
            assert_eq!(transmit.frame, frame);
        }
        assert_eq!(bench.sent(), [], "one for each call");
    }
    assert_eq!(bench.engine.counters.values(), [], "a question is no announcement");
}

#[test]
fn a_probe_carries_the_precedence_of_its_call() {
    let mut bench = Bench::watching(&[2]);
    bench.engine.probe(&[V4]);
    bench.engine.set_precedence(Some(HIGHER));
    bench.engine.probe(&[V4]);
    bench.engine.set_precedence(None);
    bench.engine.probe(&[V4]);
    let precedences: Vec<_> = bench.sent().iter().map(carried).collect();
    assert_eq!(precedences, [Some(OURS), Some(HIGHER), None]);
}

#[test]
fn what_an_owned_address_sends_carries_no_precedence() {
    let mut bench = Bench::watching(&[2]);
    bench.own(&everywhere(&[V4, V6]));
    let sent = bench.sent();
    assert_eq!(sent.len(), 5, "two announcements and a question, one announcement and a question");
    assert!(sent.iter().all(|transmit| carried(transmit).is_none()));
    bench.engine.probe(&[V4, V6]);
    assert_eq!(bench.sent().iter().filter(|transmit| carried(transmit).is_some()).count(), 2);
}

#[test]
fn a_probe_that_waits_is_left_out_when_its_reason_is_gone() {
    let mut bench = Bench::watching(&[2, 3]);
    bench.engine.probe(&[V4, V6]);
    bench.engine.drop_probes();
    assert_eq!(bench.sent(), []);
    bench.engine.probe(&[V4, V6]);
    bench.watch(V4, None);
    bench.watch(V6, Some(&only(&["eth2"])));
    let sent = bench.sent();
    assert_eq!(sent.iter().map(|it| (it.address, it.link)).collect::<Vec<_>>(), [(V6, 2)]);
    bench.engine.probe(&[V6]);
    bench.link(LinkFacts { up: false, ..facts(2) });
    assert_eq!(bench.sent(), []);
}

#[test]
fn a_probe_that_waits_goes_out_though_the_address_is_lost_and_from_the_newest_hardware_address() {
    let mut bench = Bench::watching(&[2]);
    bench.own(&everywhere(&[V4]));
    bench.sent();
    bench.engine.probe(&[V4]);
    bench.own(&[]);
    bench.link(LinkFacts { hardware_address: Some(station(1)), ..facts(2) });
    let sent = bench.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].frame, probe(station(1), V4, Some(OURS)));
}

#[test]
fn every_claim_of_another_station_is_told() {
    let IpAddr::V6(v6) = V6 else { panic!() };
    let advertisement = Ndp::parse(question(V6).as_bytes()).unwrap();
    let Message::Solicitation(asked) = advertisement.message else { panic!() };
    let advertisement = asked.answer(&advertisement.envelope, station(5), v6).unwrap();
    let mut answer = advertisement;
    answer.envelope.ethernet_destination = mac(2);
    let claims = [
        (V4, station(1), arp_reply(station(1), mac(2), v4())),
        (V4, station(2), Arp::announcement(Operation::Reply, station(2), v4()).emit()),
        (V4, station(3), announcement(station(3), V4)),
        (V4, station(4), probe(station(4), V4, None)),
        (V6, station(5), answer.emit()),
        (V6, station(6), announcement(station(6), V6)),
        (V6, station(7), detection(station(7), v6)),
        (V6, station(8), probe(station(8), V6, Some(HIGHER))),
    ];
    let mut bench = Bench::watching(&[2]);
    for (address, who, frame) in claims {
        // These three only ask themselves whether the address is free.
        let by_probe = [4, 7, 8].map(station).contains(&who);
        let (interface, hardware_address) = ("eth2".into(), who);
        assert_eq!(bench.hear(2, address, frame), None);
        assert_eq!(
            bench.events(),
            [Event::Answered { address, interface, hardware_address, by_probe }]
        );
    }
    assert_eq!(bench.sent(), []);
    assert_eq!(bench.engine.counters.values(), []);
}

#[test]
fn what_claims_nothing_is_not_told() {
    let IpAddr::V6(v6) = V6 else { panic!() };
    let mut bench = Bench::watching(&[2, 3]);
    bench.watch(V6, Some(&only(&["eth3"])));
    for address in [V4, V6] {
        assert_eq!(bench.hear(2, address, question(address)), None, "a question");
    }
    for own in [mac(2), mac(3)] {
        for precedence in [None, Some(HIGHER)] {
            bench.hear(2, V4, probe(own, V4, precedence));
            bench.hear(3, V6, probe(own, V6, precedence));
        }
        bench.hear(2, V4, announcement(own, V4));
        bench.hear(3, V6, announcement(own, V6));
        bench.hear(3, V6, detection(own, v6));
    }
    for nobody in [MacAddress::BROADCAST, MacAddress::default()] {
        bench.hear(2, V4, probe(nobody, V4, Some(HIGHER)));
        bench.hear(3, V6, probe(nobody, V6, Some(HIGHER)));
    }
    bench.hear(2, V6, announcement(STATION, V6));
    bench.hear(4, V4, announcement(STATION, V4));
    let other = "192.0.2.101".parse().unwrap();
    bench.hear(2, other, announcement(STATION, other));
    bench.hear(2, V4, probe(STATION, V4, Some(LOWER)));
    bench.hear(3, V6, probe(STATION, V6, Some(LOWER)));
    assert_eq!(bench.events(), []);
    bench.watch(V4, None);
    bench.hear(2, V4, announcement(STATION, V4));
    assert_eq!(bench.events(), [], "watched no more");
}

#[test]
fn a_station_is_told_once_between_two_probes_and_four_at_most() {
    let mut bench = Bench::watching(&[2, 3]);
    bench.engine.probe(&[V4, V6]);
    let flood = |bench: &mut Bench| -> Vec<MacAddress> {
        for n in 0..=255 {
            for (link, address) in [(2, V4), (3, V4), (2, V4)] {
                bench.hear(link, address, announcement(station(n), address));
            }
        }
        bench.answered().into_iter().map(|(_, _, who)| who).collect()
    };
    assert_eq!(flood(&mut bench), [0, 1, 2, 3].map(station));
    assert_eq!(flood(&mut bench), []);
    bench.hear(2, V6, announcement(station(9), V6));
    assert_eq!(bench.answered(), [(V6, "eth2".into(), station(9))], "another address");
    bench.watch(V4, Some(&Scope::AllInterfaces));
    bench.engine.probe(&[V6]);
    assert_eq!(flood(&mut bench), [], "watched already, and the probe was for another address");
    bench.engine.probe(&[V4]);
    assert_eq!(flood(&mut bench), [0, 1, 2, 3].map(station));
    assert!(bench.engine.events.is_empty());
}

#[test]
fn a_tie_is_decided_by_the_hardware_address() {
    for (who, told) in [(MacAddress([2, 0, 0, 0, 0, 0xff]), true), (station(1), false)] {
        assert_eq!(who < mac(2), told);
        for address in [V4, V6] {
            let mut bench = Bench::watching(&[2]);
            bench.hear(2, address, probe(who, address, Some(OURS)));
            assert_eq!(!bench.answered().is_empty(), told, "{who} {address}");
            bench.own(&everywhere(&[address]));
            assert_eq!(bench.hear(2, address, probe(who, address, Some(OURS))).is_none(), told);
        }
    }
}

#[test]
fn who_answers_against_the_count_gives_way_to_a_higher_precedence_alone() {
    let mut bench = Bench::watching(&[2]);
    bench.own(&everywhere(&[V4, V6]));
    bench.events();
    for address in [V4, V6] {
        for precedence in [None, Some(LOWER)] {
            assert!(bench.hear(2, address, probe(STATION, address, precedence)).is_some());
        }
        assert!(bench.ask(2, address).is_some());
        assert_eq!(bench.events(), []);
        for _ in 0..3 {
            assert!(bench.hear(2, address, probe(STATION, address, Some(HIGHER))).is_none());
        }
        assert_eq!(
            bench.events(),
            [Event::Answered {
                address,
                interface: "eth2".into(),
                hardware_address: STATION,
                by_probe: true
            }]
        );
        assert!(bench.ask(2, address).is_some(), "other questions are answered still");
        assert!(bench.hear(2, address, probe(mac(2), address, Some(HIGHER))).is_none());
    }
    let counted = bench.engine.counters.values();
    assert!(counted.iter().all(|(_, values)| values.requests_received == 7), "{counted:?}");
}

#[test]
fn an_owned_address_that_is_not_watched_is_answered_whatever_the_precedence() {
    let IpAddr::V6(v6) = V6 else { panic!() };
    let mut bench = Bench::watching(&[2, 3]);
    bench.own(&everywhere(&[V4, V6]));
    bench.events();
    for address in [V4, V6] {
        bench.watch(address, Some(&only(&["eth3"])));
        assert!(bench.hear(2, address, probe(STATION, address, Some(HIGHER))).is_some());
        bench.watch(address, None);
        for link in [2, 3] {
            for precedence in [None, Some(LOWER), Some(HIGHER)] {
                assert!(bench.hear(link, address, probe(STATION, address, precedence)).is_some());
            }
        }
    }
    assert!(bench.hear(2, V6, detection(STATION, v6)).is_some());
    assert_eq!(bench.events(), []);
}

#[test]
fn without_a_precedence_of_its_own_a_node_gives_way_to_every_other() {
    let mut bench = Bench::watching(&[2]);
    bench.engine.set_precedence(None);
    for address in [V4, V6] {
        bench.hear(2, address, probe(STATION, address, Some(LOWER)));
        assert_eq!(bench.answered().len(), 1);
        bench.own(&everywhere(&[address]));
        assert!(bench.hear(2, address, probe(STATION, address, Some(LOWER))).is_none());
        assert!(bench.hear(2, address, probe(STATION, address, None)).is_some());
    }
}

#[test]
fn conflicts_and_what_was_waited_for_are_told_as_without_watching() {
    for address in [V4, V6] {
        let mut bench = Bench::watching(&[2]);
        bench.own(&everywhere(&[address]));
        bench.events();
        bench.hear(2, address, announcement(STATION, address));
        bench.hear(2, address, announcement(STATION, address));
        let answered = |who| Event::Answered {
            address,
            interface: "eth2".into(),
            hardware_address: who,
            by_probe: false,
        };
        let conflict = Event::Conflict {
            address,
            interface: "eth2".into(),
            hardware_address: STATION,
            found_by: ConflictSource::Heard,
        };
        assert_eq!(bench.events(), [answered(STATION), conflict]);
        assert_eq!(bench.values().conflicts, 2);
        bench.engine.answer_only(address);
        bench.hear(2, address, announcement(station(1), address));
        assert_eq!(bench.events(), [answered(station(1)), Event::Claimed(address)]);
    }
}
