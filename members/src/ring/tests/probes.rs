// SPDX-License-Identifier: Apache-2.0
//! Probes, and pings for others.

use super::*;

#[test]
fn an_answered_probe_is_the_end_of_it() {
    let mut one = One::new(1);
    one.ring.awareness.worse(3);
    let ping = one.next_probe();
    assert_eq!((ping.to, &*ping.node), (address(2), "m2"));
    one.hear(&Message::Ack { sequence: ping.sequence.wrapping_add(1) });
    assert_eq!(one.ring.health_score(), 3);
    one.hear(&Message::Ack { sequence: ping.sequence });
    assert_eq!(one.ring.health_score(), 2);
    one.pass(Duration::from_millis(900));
    assert!(one.sent().iter().all(|sent| sent.kind == 4));
    assert_eq!(one.state("m2").0, State::Alive);
}

#[test]
fn an_unanswered_probe_asks_others_and_tcp_before_it_suspects() {
    let mut one = One::new(5);
    let ping = one.next_probe();
    one.pass(Duration::from_millis(500));
    let outputs = one.outputs();
    let asked: Vec<&Output> =
        outputs.iter().filter(|it| matches!(it, Output::Packet { .. })).collect();
    let open = outputs.iter().find_map(|it| match it {
        Output::Open { stream, to, timeout } => Some((*stream, *to, *timeout)),
        _ => None,
    });
    let (stream, to, timeout) = open.unwrap();
    let octets = one.ring.stream_message(stream).unwrap();
    assert_eq!((to, timeout), (ping.to, Duration::from_millis(500)));
    assert!(matches!(StreamMessage::decode(&octets), Ok(StreamMessage::Ping(_))));
    assert!(asked.len() >= 3, "{asked:?}");
    // Two of three nacks: one point for the one that is missing.
    for _ in 0..2 {
        one.hear(&Message::Nack { sequence: ping.sequence });
    }
    one.ring.response(one.now, stream, Err("refused"));
    one.pass(Duration::from_millis(600));
    assert_eq!(one.state(&ping.node).0, State::Suspect);
    assert_eq!(one.ring.health_score(), 1);

    // The same, but TCP is answered.
    let mut one = One::new(5);
    let ping = one.next_probe();
    one.pass(Duration::from_millis(500));
    let stream = one.outputs().into_iter().find_map(|it| match it {
        Output::Open { stream, .. } => Some(stream),
        _ => None,
    });
    let ack = Message::Ack { sequence: ping.sequence }.encode();
    let (stream, result) = (stream.unwrap(), Ok(ack.as_slice()));
    one.ring.response(one.now, stream, result);
    one.pass(Duration::from_millis(600));
    assert_eq!((one.state(&ping.node).0, one.ring.health_score()), (State::Alive, 0));
}

#[test]
fn without_tcp_pings_none_is_opened_and_an_unreachable_host_is_asked_for_at_once() {
    let settings =
        Settings { disable_tcp_pings: true, enable_compression: false, ..Settings::lan() };
    let mut one = One::with(3, settings);
    let ping = one.next_probe();
    one.ring.unreachable(one.now, address(77), false);
    assert!(one.outputs().is_empty());
    one.ring.unreachable(one.now, ping.to, false);
    let outputs = one.outputs();
    assert!(outputs.iter().all(|it| matches!(it, Output::Packet { .. })) && outputs.len() == 2);
    one.ring.unreachable(one.now, ping.to, true);
    assert!(one.outputs().is_empty(), "only once");
}

#[test]
fn pings_are_answered_to_their_source_and_only_if_they_are_for_us() {
    let mut one = One::new(0);
    let ping = |node, address| {
        Message::Ping(Ping { sequence: 5, node, source: Source { address, node: "" } })
    };
    for (message, to) in [
        (ping("us", Some(address(4))), Some(address(4))),
        (ping("", None), Some(address(9))),
        (ping("other", Some(address(4))), None),
    ] {
        one.hear(&message);
        let sent = one.sent();
        let ack = sent.iter().find(|sent| sent.kind == 2);
        assert_eq!(ack.map(|sent| (sent.to, sent.sequence)), to.map(|to| (to, 5)));
    }
}

#[test]
fn we_ping_for_others_and_tell_them_either_way() {
    let mut one = One::new(1);
    let source = Source { address: Some(address(4)), node: "m4" };
    let wish = IndirectPing {
        sequence: 8,
        target: address(2).ip(),
        port: 7946,
        node: "m2",
        nack: true,
        source,
    };
    one.hear(&Message::IndirectPing(wish.clone()));
    let ping = one.sent().into_iter().find(|sent| sent.kind == 0).unwrap();
    assert_eq!((ping.to, &*ping.node), (address(2), "m2"));
    one.hear(&Message::Ack { sequence: ping.sequence });
    let ack = one.sent().into_iter().find(|sent| sent.kind == 2).unwrap();
    assert_eq!((ack.to, ack.sequence), (address(4), 8));
    assert!(one.ring.relays.is_empty());

    one.hear(&Message::IndirectPing(wish));
    one.sent();
    one.pass(Duration::from_millis(510));
    let nack = one.sent().into_iter().find(|sent| sent.kind == 11).unwrap();
    assert_eq!((nack.to, nack.sequence), (address(4), 8));
    assert!(one.ring.relays.is_empty());
}

#[test]
fn a_stall_is_not_held_against_the_others() {
    let mut one = One::new(3);
    let ping = one.next_probe();
    one.hear(&suspect("m4", 1, "m3"));
    one.now += SECOND * 20;
    one.ring.expire(one.now);
    assert!(one.events().iter().all(|it| !matches!(it, Event::Dead { .. })));
    assert_eq!(
        one.state(&ping.node).0,
        if ping.node == "m4" { State::Suspect } else { State::Alive }
    );
    one.pass(SECOND * 30);
    assert_eq!(one.state("m4").0, State::Dead, "it is put off, not dropped");
}

#[test]
fn whoever_is_vouched_for_is_not_suspected_by_us() {
    let mut one = One::new(3);
    let ping = one.next_probe();
    one.ring.vouch(one.now, &ping.node);
    one.pass(Duration::from_millis(990));
    assert!(one.events().is_empty(), "the probe was answered");
    let ping = one.next_probe();
    one.pass(Duration::from_millis(1050));
    assert_eq!(one.state(&ping.node).0, State::Suspect);
    one.events();
    one.ring.vouch(one.now, &ping.node);
    assert!(matches!(&one.events()[..], [Event::Refuted(it)] if *it.name == *ping.node));
    assert_eq!(one.state(&ping.node).0, State::Alive);
    // A suspicion of another member is not dropped.
    one.hear(&suspect(&ping.node, 1, "m9"));
    one.ring.vouch(one.now, &ping.node);
    assert_eq!(one.state(&ping.node).0, State::Suspect);
}
