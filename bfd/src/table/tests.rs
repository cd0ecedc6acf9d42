// SPDX-License-Identifier: Apache-2.0
//! Which packet belongs to which session, and hostile histories.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{Diagnostic, State, robustness};

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

#[allow(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
fn start() -> Instant {
    Instant::now()
}

fn key(hops: Hops) -> SessionKey {
    SessionKey { peer: PEER, local: None, interface: None, hops }
}

fn arrival(hops: Hops, ttl: u8) -> Arrival {
    Arrival { source: PEER, destination: LOCAL, interface: None, hops, ttl }
}

fn packet(state: State, your_discriminator: u32) -> [u8; 24] {
    ControlPacket {
        diagnostic: Diagnostic::None,
        state,
        poll: false,
        is_final: false,
        control_plane_independent: false,
        demand: false,
        detect_multiplier: 3,
        my_discriminator: 9,
        your_discriminator,
        desired_min_tx_interval: 300_000,
        required_min_rx_interval: 300_000,
        required_min_echo_rx_interval: 0,
    }
    .encode()
}

fn table(keys: &[SessionKey]) -> (Instant, Table) {
    let (now, mut table) = (start(), Table::new(7));
    let sessions = keys.iter().map(|key| (key.clone(), Profile::default())).collect();
    table.set_sessions(now, &sessions);
    (now, table)
}

fn discriminator(table: &Table, key: &SessionKey) -> u32 {
    table.statuses()[key].local_discriminator
}

fn inputs(table: &Table) -> Vec<u64> {
    table.statuses().values().map(|status| status.counters.control_packet_input).collect()
}

#[test]
fn a_single_hop_packet_that_may_have_passed_a_router_is_discarded() {
    let (now, mut table) = table(&[key(Hops::Single)]);
    let yours = discriminator(&table, &key(Hops::Single));
    for your_discriminator in [0, yours] {
        let octets = packet(State::Down, your_discriminator);
        table.handle(now, Event::Control(&arrival(Hops::Single, 254), &octets));
    }
    assert_eq!((inputs(&table), table.discarded()), (vec![0], 2));
    table.handle(now, Event::Control(&arrival(Hops::Single, 255), &packet(State::Down, 0)));
    assert_eq!(inputs(&table), [1]);
}

#[test]
fn a_multihop_packet_below_the_minimum_ttl_is_discarded() {
    let (now, mut table) = table(&[]);
    let profile = Profile { minimum_ttl: 250, ..Profile::default() };
    table.set_sessions(now, &BTreeMap::from([(key(Hops::Multi), profile)]));
    for (ttl, count) in [(249, 0), (250, 1), (255, 2)] {
        table.handle(now, Event::Control(&arrival(Hops::Multi, ttl), &packet(State::Down, 0)));
        assert_eq!(inputs(&table), [count], "TTL {ttl}");
    }
}

#[test]
fn a_your_discriminator_of_no_session_is_discarded_and_a_known_one_needs_no_address() {
    let (now, mut table) = table(&[key(Hops::Single)]);
    let yours = discriminator(&table, &key(Hops::Single));
    table.handle(now, Event::Control(&arrival(Hops::Single, 255), &packet(State::Down, yours ^ 1)));
    assert_eq!((inputs(&table), table.discarded()), (vec![0], 1));
    let elsewhere = Arrival { source: LOCAL, ..arrival(Hops::Single, 255) };
    table.handle(now, Event::Control(&elsewhere, &packet(State::Down, yours)));
    assert_eq!(inputs(&table), [1]);
}

#[test]
fn a_packet_on_the_port_of_the_other_kind_is_discarded() {
    let (now, mut table) = table(&[key(Hops::Single)]);
    let yours = discriminator(&table, &key(Hops::Single));
    for your_discriminator in [0, yours] {
        let octets = packet(State::Down, your_discriminator);
        table.handle(now, Event::Control(&arrival(Hops::Multi, 255), &octets));
    }
    assert_eq!((inputs(&table), table.discarded()), (vec![0], 2));
}

#[test]
fn a_stranger_makes_no_session() {
    let (now, mut table) = table(&[key(Hops::Single)]);
    let stranger = Arrival { source: LOCAL, ..arrival(Hops::Single, 255) };
    table.handle(now, Event::Control(&stranger, &packet(State::Down, 0)));
    table.handle(now, Event::Echo(&[1; 24]));
    table.handle(now, Event::Echo(&[]));
    assert_eq!((table.statuses().len(), table.discarded()), (1, 3));
}

#[test]
fn without_discriminators_the_most_specific_session_is_taken() {
    let plain = key(Hops::Single);
    let local = SessionKey { local: Some(LOCAL), ..plain.clone() };
    let red = SessionKey { interface: Some("red".into()), ..plain.clone() };
    let (now, mut table) = table(&[plain.clone(), local.clone(), red.clone()]);
    let mut expect = |arrival: &Arrival, wanted: &SessionKey| {
        let before = table.statuses()[wanted].counters.control_packet_input;
        table.handle(now, Event::Control(arrival, &packet(State::Down, 0)));
        assert_eq!(table.statuses()[wanted].counters.control_packet_input, before + 1, "{wanted}");
    };
    expect(&arrival(Hops::Single, 255), &local);
    expect(&Arrival { destination: PEER, ..arrival(Hops::Single, 255) }, &plain);
    expect(&Arrival { interface: Some("red".into()), ..arrival(Hops::Single, 255) }, &red);
    expect(&Arrival { interface: Some("blue".into()), ..arrival(Hops::Single, 255) }, &local);
}

#[test]
fn a_session_that_stays_keeps_its_state_and_one_that_goes_says_so() {
    let (now, mut table) = table(&[key(Hops::Single), key(Hops::Multi)]);
    table.handle(now, Event::Control(&arrival(Hops::Single, 255), &packet(State::Down, 0)));
    let before = table.statuses()[&key(Hops::Single)].clone();
    let gone = discriminator(&table, &key(Hops::Multi));
    while table.poll().is_some() {}
    let rest = BTreeMap::from([(key(Hops::Single), Profile::default())]);
    table.set_sessions(now + Duration::from_secs(5), &rest);
    assert_eq!(table.statuses(), BTreeMap::from([(key(Hops::Single), before)]));
    let outputs: Vec<Output> = std::iter::from_fn(|| table.poll()).collect();
    let farewells = outputs.iter().filter(|output| match output {
        Output::Control { discriminator, octets, .. } => {
            let packet = ControlPacket::decode(octets).unwrap();
            *discriminator == gone
                && packet.state == State::AdminDown
                && packet.diagnostic == Diagnostic::AdministrativelyDown
        }
        _ => false,
    });
    assert_eq!(farewells.count(), FAREWELLS);
    assert_eq!(outputs.last(), Some(&Output::Close { discriminator: gone }));
}

#[test]
fn a_problem_is_told_once() {
    let (now, mut table) = table(&[key(Hops::Single)]);
    let discriminator = discriminator(&table, &key(Hops::Single));
    while table.poll().is_some() {}
    for _ in 0..2 {
        table.handle(now, Event::Problem { discriminator, problem: Some("held".into()) });
    }
    let Some(Output::Changed { status, .. }) = table.poll() else { panic!("not told") };
    assert_eq!(status.problem.as_deref(), Some("held"));
    assert_eq!(table.poll(), None);
}

proptest! {
    #[test]
    fn no_history_breaks_a_rule(data in proptest::collection::vec(any::<u8>(), 0..1024)) {
        robustness::history(&data);
    }

    /// Histories in which most packets reach a session.
    #[test]
    fn no_history_of_good_packets_breaks_a_rule(
        steps in proptest::collection::vec((0x45_u8..0x48, any::<[u8; 31]>(), any::<bool>()), 0..40),
    ) {
        let mut data = Vec::new();
        for (kind, rest, multi) in steps {
            data.push(if multi { kind | 0x80 } else { kind });
            data.extend_from_slice(&rest);
        }
        robustness::history(&data);
    }
}
