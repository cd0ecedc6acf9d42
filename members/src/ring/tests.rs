// SPDX-License-Identifier: Apache-2.0
//! The rules of the ring, one member under a virtual clock. Whole rings are in tests/simulation.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::DecodeError;
use crate::wire::message::{Accusation, Alive, IndirectPing, Ping, Source};
use crate::wire::push_pull::{self, NodeState};
use crate::wire::stream::StreamMessage;

const SECOND: Duration = Duration::from_secs(1);

struct One {
    ring: Ring,
    now: Instant,
}

/// A message that left, without what is borrowed.
#[derive(Debug, PartialEq, Eq)]
struct Sent {
    to: SocketAddr,
    kind: u8,
    node: String,
    sequence: u32,
    incarnation: u32,
}

fn address(last: u8) -> SocketAddr {
    (Ipv4Addr::new(192, 0, 2, last), 7946).into()
}

fn alive<'a>(node: &'a str, last: u8, incarnation: u32, meta: &'a [u8]) -> Message<'a> {
    let (address, port) = (address(last).ip(), 7946);
    Message::Alive(Alive { incarnation, node, address, port, meta, versions: Some(VERSIONS) })
}

fn suspect<'a>(node: &'a str, incarnation: u32, from: &'a str) -> Message<'a> {
    Message::Suspect(Accusation { incarnation, node, from })
}

fn dead<'a>(node: &'a str, incarnation: u32, from: &'a str) -> Message<'a> {
    Message::Dead(Accusation { incarnation, node, from })
}

impl One {
    /// "us" at .1, with so many others: "m2" at .2 and so on, all silent.
    fn new(others: u8) -> Self {
        Self::with(others, Settings { enable_compression: false, ..Settings::lan() })
    }

    fn with(others: u8, settings: Settings) -> Self {
        #[allow(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
        let now = Instant::now();
        let (name, meta) = ("us".into(), vec![1]);
        let config = Config { name, address: address(1), settings, meta, overhead: 0, seed: 7 };
        let mut one = Self { ring: Ring::new(config, now).unwrap(), now };
        for last in 2..2 + others {
            one.hear(&alive(&format!("m{last}"), last, 1, &[]));
        }
        one.events();
        one
    }

    fn hear(&mut self, message: &Message<'_>) {
        let octets = message.encode();
        self.ring.handle(self.now, Input::Packet { from: address(9), octets: &octets });
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.ring.poll()).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        let outputs = self.outputs().into_iter();
        outputs
            .filter_map(|it| if let Output::Event(event) = it { Some(event) } else { None })
            .collect()
    }

    /// The messages of the packets that left, in order.
    fn sent(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        for output in self.outputs() {
            let Output::Packet { to, octets } = output else { continue };
            packet::decode(&octets, &mut |message| {
                let (kind, node, sequence, incarnation) = match &message {
                    Message::Ping(ping) => (0, ping.node, ping.sequence, 0),
                    Message::IndirectPing(ping) => (1, ping.node, ping.sequence, 0),
                    Message::Ack { sequence } => (2, "", *sequence, 0),
                    Message::Nack { sequence } => (11, "", *sequence, 0),
                    Message::Suspect(accusation) => (3, accusation.node, 0, accusation.incarnation),
                    Message::Alive(alive) => (4, alive.node, 0, alive.incarnation),
                    Message::Dead(accusation) => (5, accusation.node, 0, accusation.incarnation),
                    Message::User => (8, "", 0, 0),
                };
                sent.push(Sent { to, kind, node: node.to_owned(), sequence, incarnation });
            })
            .unwrap();
        }
        sent
    }

    /// Lets time pass in steps of the deadlines.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.ring.deadline().filter(|at| *at <= end) {
            self.now = at;
            self.ring.handle(at, Input::Deadline);
        }
        self.now = end;
    }

    fn state(&self, name: &str) -> (State, u32) {
        let member = self.ring.member(name).unwrap();
        (member.state, member.incarnation)
    }

    /// Until a probe begins; its ping.
    fn next_probe(&mut self) -> Sent {
        loop {
            let at = self.ring.deadline().unwrap();
            self.now = at;
            self.ring.handle(at, Input::Deadline);
            if let Some(ping) = self.sent().into_iter().find(|sent| sent.kind == 0) {
                return ping;
            }
        }
    }
}

#[test]
fn a_newer_word_of_a_member_is_believed_and_an_older_one_is_not() {
    let mut one = One::new(0);
    one.hear(&alive("a", 2, 5, &[1]));
    let joined = one.events();
    assert!(matches!(&joined[..], [Event::Joined(member)] if &*member.name == "a"));
    for old in
        [alive("a", 2, 5, &[2]), alive("a", 2, 4, &[2]), suspect("a", 4, "b"), dead("a", 4, "b")]
    {
        one.hear(&old);
        assert_eq!((one.events(), one.state("a")), (vec![], (State::Alive, 5)));
    }
    one.hear(&alive("a", 2, 6, &[2]));
    assert!(matches!(&one.events()[..], [Event::Updated(member)] if *member.meta == [2]));
    one.hear(&dead("a", 6, "b"));
    assert!(matches!(&one.events()[..], [Event::Dead { by, .. }] if &**by == "b"));
    one.hear(&alive("a", 2, 6, &[2]));
    assert_eq!(one.state("a"), (State::Dead, 6), "only a refutation brings it back");
    one.hear(&alive("a", 2, 7, &[2]));
    assert!(matches!(&one.events()[..], [Event::Joined(_)]));
    one.hear(&dead("a", 7, "a"));
    assert!(matches!(&one.events()[..], [Event::Left(_)]));
    for unknown in [suspect("z", 1, "a"), dead("z", 1, "a"), alive("z", 4, 0, &[])] {
        one.hear(&unknown);
    }
    assert!(one.events().is_empty() && one.ring.member("z").is_none());
}

#[test]
fn a_suspicion_is_refuted_or_ends_in_death() {
    let mut one = One::new(2);
    one.hear(&suspect("m2", 1, "m3"));
    assert!(matches!(&one.events()[..], [Event::Suspected { by, .. }] if &**by == "m3"));
    one.hear(&alive("m2", 2, 2, &[]));
    assert!(matches!(&one.events()[..], [Event::Refuted(_)]));
    one.pass(SECOND * 30);
    one.hear(&alive("m2", 2, 9, &[]));
    one.events();
    one.hear(&suspect("m2", 9, "m3"));
    one.events();
    one.pass(Duration::from_millis(3900));
    assert_eq!(one.state("m2").0, State::Suspect);
    one.pass(Duration::from_millis(200));
    assert_eq!(one.state("m2").0, State::Dead);
    let events = one.events();
    assert!(
        events.iter().any(|it| matches!(it, Event::Dead { by, .. } if &**by == "us")),
        "{events:?}"
    );
}

#[test]
fn we_refute_what_is_said_of_us_with_a_greater_incarnation() {
    let mut one = One::new(1);
    let cases = [
        suspect("us", 1, "m2"),
        dead("us", 7, "m2"),
        alive("us", 1, 20, &[9]),
        alive("us", 1, 21, &[9]),
    ];
    for (message, incarnation) in cases.iter().zip([2, 8, 21, 22]) {
        one.hear(message);
        let events = one.events();
        assert!(matches!(&events[..], [Event::Refuted(us)] if &*us.name == "us"), "{events:?}");
        assert_eq!(one.state("us"), (State::Alive, incarnation));
    }
    for nothing in [alive("us", 1, 22, &[1]), alive("us", 1, 3, &[9]), suspect("us", 21, "m2")] {
        one.hear(&nothing);
        assert_eq!((one.events(), one.state("us").1), (vec![], 22));
    }
    assert_eq!(one.ring.health_score(), 4);
    one.pass(SECOND);
    let sent = one.sent();
    assert!(
        sent.iter().any(|it| (it.kind, &*it.node, it.incarnation) == (4, "us", 22)),
        "{sent:?}"
    );
    one.hear(&dead("us", u32::MAX, "m2"));
    assert_eq!(one.state("us").0, State::Alive, "what cannot be beaten is not believed either");
}

#[test]
fn another_address_is_a_conflict_unless_the_member_has_left() {
    let mut one = One::new(1);
    for state in [State::Alive, State::Dead] {
        for (last, told) in [(8, 1), (8, 0), (9, 1)] {
            one.hear(&alive("m2", last, 50, &[]));
            let events = one.events();
            let conflicts = events.iter().filter(
                |it| matches!(it, Event::Conflict { other, .. } if *other == address(last)),
            );
            assert_eq!((conflicts.count(), events.len()), (told, told), "{state:?}");
        }
        assert_eq!(one.ring.member("m2").unwrap().address, address(2));
        one.hear(&dead("m2", 1, "m3"));
        one.events();
    }
    let mut one = One::new(1);
    one.hear(&dead("m2", 1, "m2"));
    one.events();
    one.hear(&alive("m2", 8, 1, &[]));
    assert!(matches!(&one.events()[..], [Event::Joined(it)] if it.address == address(8)));
    one.hear(&alive("us", 8, 1, &[]));
    assert!(matches!(&one.events()[..], [Event::Conflict { member, .. }] if &*member.name == "us"));
}

#[test]
fn an_ipv4_address_in_ipv6_clothes_is_the_same_and_is_passed_on_as_it_came() {
    let mut one = One::new(0);
    let mapped = IpAddr::V6(Ipv4Addr::new(192, 0, 2, 2).to_ipv6_mapped());
    let message = |incarnation, address| {
        let versions = Some(VERSIONS);
        Message::Alive(Alive { incarnation, node: "a", address, port: 7946, meta: &[], versions })
    };
    one.hear(&message(1, mapped));
    one.hear(&message(2, mapped.to_canonical()));
    assert!(matches!(&one.events()[..], [Event::Joined(it)] if it.address == address(2)));
    one.hear(&message(3, mapped));
    one.pass(SECOND);
    let found = one.outputs().into_iter().any(|output| {
        let Output::Packet { to, octets } = output else { return false };
        let mut found = false;
        packet::decode(&octets, &mut |it| found |= it == message(3, mapped)).unwrap();
        found && to == address(2)
    });
    assert!(found);
}

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
        Output::Open { stream, to, octets, timeout } => Some((*stream, *to, octets, *timeout)),
        _ => None,
    });
    let (stream, to, octets, timeout) = open.unwrap();
    assert_eq!((to, timeout), (ping.to, Duration::from_millis(500)));
    assert!(matches!(StreamMessage::decode(octets), Ok(StreamMessage::Ping(_))));
    assert!(asked.len() >= 3, "{asked:?}");
    // Two of three nacks: one point for the one that is missing.
    for _ in 0..2 {
        one.hear(&Message::Nack { sequence: ping.sequence });
    }
    one.ring.handle(one.now, Input::Response { stream, result: Err("refused") });
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
    one.ring.handle(one.now, Input::Response { stream, result });
    one.pass(Duration::from_millis(600));
    assert_eq!((one.state(&ping.node).0, one.ring.health_score()), (State::Alive, 0));
}

#[test]
fn without_tcp_pings_none_is_opened_and_an_unreachable_host_is_asked_for_at_once() {
    let settings =
        Settings { disable_tcp_pings: true, enable_compression: false, ..Settings::lan() };
    let mut one = One::with(3, settings);
    let ping = one.next_probe();
    one.ring.handle(one.now, Input::Unreachable { to: address(77) });
    assert!(one.outputs().is_empty());
    one.ring.handle(one.now, Input::Unreachable { to: ping.to });
    let outputs = one.outputs();
    assert!(outputs.iter().all(|it| matches!(it, Output::Packet { .. })) && outputs.len() == 2);
    one.ring.handle(one.now, Input::Unreachable { to: ping.to });
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
    one.ring.handle(one.now, Input::Deadline);
    assert!(one.events().iter().all(|it| !matches!(it, Event::Dead { .. })));
    assert_eq!(
        one.state(&ping.node).0,
        if ping.node == "m4" { State::Suspect } else { State::Alive }
    );
    one.pass(SECOND * 30);
    assert_eq!(one.state("m4").0, State::Dead, "it is put off, not dropped");
}

#[test]
fn meta_data_is_told_once_a_second_at_most_and_the_newest_counts() {
    let mut one = One::new(1);
    one.pass(SECOND * 2);
    one.outputs();
    for meta in 0..10 {
        one.ring.set_meta(one.now, &[meta]).unwrap();
    }
    assert_eq!(one.state("us"), (State::Alive, 2));
    assert_eq!(*one.ring.member("us").unwrap().meta, [0], "the first at once");
    one.pass(Duration::from_millis(990));
    assert_eq!(one.state("us").1, 2);
    one.pass(Duration::from_millis(20));
    assert_eq!((one.state("us").1, &*one.ring.member("us").unwrap().meta), (3, &[9][..]));
    one.pass(SECOND * 5);
    one.ring.set_meta(one.now, &[9]).unwrap();
    assert_eq!(one.state("us").1, 3, "the same is nothing new");
    assert_eq!(one.ring.set_meta(one.now, &[0; 513]), Err(ConfigError::Meta));
}

#[test]
fn a_certain_death_goes_to_everyone_and_to_the_dead() {
    let mut one = One::new(4);
    one.ring.declare_dead(one.now, "m3");
    let sent = one.sent();
    let mut told: Vec<SocketAddr> =
        sent.iter().filter(|it| (it.kind, &*it.node) == (5, "m3")).map(|it| it.to).collect();
    told.sort();
    assert_eq!(told, [2, 3, 4, 5].map(address));
    assert_eq!(one.state("m3").0, State::Dead);
    for nothing in ["m3", "us", "unknown"] {
        one.ring.declare_dead(one.now, nothing);
        assert!(one.outputs().is_empty());
    }
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
    // A suspicion of somebody else is his to drop.
    one.hear(&suspect(&ping.node, 1, "m9"));
    one.ring.vouch(one.now, &ping.node);
    assert_eq!(one.state(&ping.node).0, State::Suspect);
}

#[test]
fn leaving_is_told_directly_and_by_gossip_and_joining_ends_it() {
    let mut one = One::new(3);
    one.ring.leave(one.now);
    let told = one.sent().into_iter().filter(|it| (it.kind, &*it.node) == (5, "us")).count();
    assert_eq!((told, one.state("us").0), (3, State::Left));
    one.hear(&alive("us", 1, 9, &[9]));
    one.hear(&dead("us", 9, "m2"));
    assert_eq!(one.state("us").0, State::Left, "nothing is refuted");
    one.pass(SECOND * 2);
    assert!(one.events().contains(&Event::Departed));
    one.ring.leave(one.now);
    assert_eq!(one.events(), [Event::Departed]);
    one.ring.join(one.now, [address(2)]);
    assert_eq!(one.state("us").0, State::Alive);
    let mut alone = One::new(0);
    alone.ring.leave(alone.now);
    assert_eq!(alone.events(), [Event::Departed], "there is nobody to tell");
}

fn state(name: &str, state: State) -> NodeState<'_> {
    let (address, versions) = (Some(address(2).ip()), Some(VERSIONS));
    NodeState { name, address, port: 7946, meta: &[], incarnation: 1, state, versions }
}

#[test]
fn a_push_pull_is_answered_and_merged_and_the_dead_are_only_suspected() {
    let mut one = One::new(1);
    let nodes = [
        state("a", State::Alive),
        state("m2", State::Dead),
        state("z", State::Dead),
        state("y", State::Left),
    ];
    let octets = push_pull::encode(true, nodes.len(), nodes.iter().cloned());
    one.ring.handle(one.now, Input::Request { stream: 3, octets: &octets });
    let mut outputs = one.outputs();
    let Some(Output::Answer { stream: 3, octets }) = outputs.pop() else { panic!("{outputs:?}") };
    let Ok(StreamMessage::PushPull(body)) = StreamMessage::decode(&octets) else { panic!() };
    let (head, known) = push_pull::decode(&body).unwrap();
    assert!(head.join);
    let mut known: Vec<String> = known.map(|node| node.unwrap().name.to_owned()).collect();
    known.sort();
    assert_eq!(known, ["m2", "us"], "what we knew before");
    assert_eq!((one.state("a").0, one.state("m2").0), (State::Alive, State::Suspect));
    assert!(one.ring.member("z").is_none() && one.ring.member("y").is_none());
}

#[test]
fn a_state_of_members_that_cannot_be_understood_is_not_merged() {
    let mut one = One::new(1);
    let versions = Some(Versions { minimum: 6, maximum: 7, current: 6, ..VERSIONS });
    let nodes = [NodeState { versions, ..state("a", State::Alive) }];
    let octets = push_pull::encode(false, 1, nodes.into_iter());
    one.ring.join(one.now, [address(2)]);
    one.outputs();
    one.ring.handle(one.now, Input::Response { stream: 0, result: Ok(&octets) });
    let events = one.events();
    let failed = |it: &Event| matches!(it, Event::Contacted { error: Some(_), .. });
    assert!(one.ring.member("a").is_none() && events.iter().any(failed), "{events:?}");
    // Nor one that is cut off.
    let whole = push_pull::encode(
        false,
        2,
        [state("b", State::Alive), state("c", State::Alive)].into_iter(),
    );
    one.ring.handle(one.now, Input::Request { stream: 1, octets: &whole[..whole.len() - 1] });
    assert!(one.ring.member("b").is_none());
}

#[test]
fn joining_opens_few_streams_at_once_and_tells_of_each() {
    let mut one = One::new(0);
    one.ring.join(one.now, (1..=40).map(address));
    let mut told = 0;
    let mut outputs = one.outputs();
    let streams = |outputs: &[Output]| {
        let open = outputs.iter().filter_map(|it| match it {
            Output::Open { stream, to, .. } => Some((*stream, *to)),
            _ => None,
        });
        open.collect::<Vec<_>>()
    };
    assert_eq!(streams(&outputs).len(), 16);
    while let Some((stream, to)) = streams(&outputs).first().copied() {
        assert_ne!(to, address(1), "not ourselves");
        one.ring.handle(one.now, Input::Response { stream, result: Err("refused") });
        outputs.retain(|it| !matches!(it, Output::Open { stream: old, .. } if *old == stream));
        for output in one.outputs() {
            match output {
                Output::Event(Event::Contacted { to: of, error }) => {
                    assert_eq!((of, error.as_deref()), (to, Some("refused")));
                    told += 1;
                }
                other => outputs.push(other),
            }
        }
        assert!(streams(&outputs).len() <= 16);
    }
    assert_eq!(told, 39);
}

#[test]
fn the_number_of_members_is_bounded_and_the_dead_are_forgotten() {
    let mut one = One::new(0);
    for n in 0..5000 {
        one.hear(&alive(&format!("x{n}"), 2, 1, &[0; 512]));
    }
    assert_eq!(one.ring.members().count(), MEMBERS);
    let largest = one.outputs();
    one.pass(Duration::from_millis(300));
    let sizes = one.outputs().into_iter().chain(largest).filter_map(|it| match it {
        Output::Packet { octets, .. } => Some(octets.len()),
        _ => None,
    });
    assert!(sizes.max().is_some_and(|size| size > 600 && size <= 1400));
    let mut one = One::new(2);
    one.hear(&dead("m2", 1, "m3"));
    one.pass(SECOND * 25);
    assert!(one.ring.member("m2").is_some(), "it is gossiped to for thirty seconds");
    for _ in 0..20 {
        let incarnation = one.state("m3").1 + 1;
        one.hear(&alive("m3", 3, incarnation, &[]));
        one.pass(SECOND);
    }
    assert!(one.ring.member("m2").is_none());
    assert_eq!(one.ring.order.len(), 2);
}

#[test]
fn unreadable_packets_are_counted() {
    let mut one = One::new(0);
    for octets in [&[][..], &[250], &[0, 0x81], &[7, 3], &[9, 0x80]] {
        one.ring.handle(one.now, Input::Packet { from: address(9), octets });
    }
    assert_eq!(one.ring.discarded(), 5);
    assert_eq!(Message::decode(&[250]), Err(DecodeError::Kind(250)));
}

#[test]
fn an_impossible_name_or_meta_data_is_refused() {
    let one = One::new(0);
    let config = |name: &str, meta| Config {
        name: name.into(),
        address: address(1),
        settings: Settings::lan(),
        meta,
        overhead: 0,
        seed: 0,
    };
    for (config, error) in [
        (config("", vec![]), ConfigError::Name),
        (config(&"x".repeat(256), vec![]), ConfigError::Name),
        (config("x", vec![0; 513]), ConfigError::Meta),
    ] {
        assert_eq!(Ring::new(config, one.now).unwrap_err(), error);
    }
}
