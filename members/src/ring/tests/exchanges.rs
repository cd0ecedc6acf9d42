// SPDX-License-Identifier: Apache-2.0
//! Streams, joins, departures, and states that cannot be merged.

use super::*;

fn state(name: &str, state: State) -> NodeState<'_> {
    let (address, versions) = (Some(address(2).ip()), Some(VERSIONS));
    NodeState { name, address, port: 7946, meta: &[], incarnation: 1, state, versions }
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
    one.ring.request(one.now, 3, &octets);
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
fn who_says_in_an_exchange_that_we_are_dead_accuses_us() {
    let mut one = One::new(1);
    for (told, accused) in [(State::Suspect, false), (State::Dead, true)] {
        let incarnation = one.state("us").1;
        let nodes = [NodeState { incarnation, ..state("us", told) }];
        let octets = push_pull::encode(false, 1, nodes.into_iter());
        one.ring.request(one.now, 3, &octets);
        let events = one.events();
        assert!(events.iter().any(|it| matches!(it, Event::Refuted(us) if &*us.name == "us")));
        assert_eq!(events.contains(&Event::Accused), accused, "{events:?}");
        assert_eq!(one.state("us"), (State::Alive, incarnation + 1));
    }
}

#[test]
fn a_state_of_members_that_cannot_be_understood_is_not_merged() {
    let mut one = One::new(1);
    let versions = Some(Versions { minimum: 6, maximum: 7, current: 6, ..VERSIONS });
    let nodes = [NodeState { versions, ..state("a", State::Alive) }];
    let octets = push_pull::encode(false, 1, nodes.into_iter());
    one.ring.join(one.now, [address(2)]);
    one.outputs();
    one.ring.response(one.now, 0, Ok(&octets));
    let events = one.events();
    let failed = |it: &Event| matches!(it, Event::Contacted { error: Some(_), .. });
    assert!(one.ring.member("a").is_none() && events.iter().any(failed), "{events:?}");
    // A state that is cut off is not merged either.
    let whole = push_pull::encode(
        false,
        2,
        [state("b", State::Alive), state("c", State::Alive)].into_iter(),
    );
    one.ring.request(one.now, 1, &whole[..whole.len() - 1]);
    assert!(one.ring.member("b").is_none());
}

#[test]
fn joining_opens_few_streams_at_once_and_tells_of_each() {
    let mut one = One::new(0);
    one.ring.join(one.now, (1..=100).map(address));
    let mut told = 0;
    let mut outputs = one.outputs();
    let streams = |outputs: &[Output]| {
        let open = outputs.iter().filter_map(|it| match it {
            Output::Open { stream, to, .. } => Some((*stream, *to)),
            _ => None,
        });
        open.collect::<Vec<_>>()
    };
    assert_eq!(streams(&outputs).len(), 64);
    let joining = |outputs: &mut Vec<Output>, first: bool| {
        let is_that = |it: &Output| *it == Output::Event(Event::Joining(first));
        let count = outputs.len();
        outputs.retain(|it| !is_that(it));
        count - outputs.len()
    };
    assert_eq!(joining(&mut outputs, true), 1);
    while let Some((stream, to)) = streams(&outputs).first().copied() {
        assert_ne!(to, address(1), "not ourselves");
        one.ring.response(one.now, stream, Err("refused"));
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
        assert!(streams(&outputs).len() <= 64);
    }
    assert_eq!(told, 99);
    assert_eq!(joining(&mut outputs, false), 1, "all have been tried");
    one.ring.join(one.now, (1..=100).map(address));
    assert_eq!(joining(&mut one.outputs(), true), 0, "they were in vain before");
}

#[test]
fn a_stream_that_takes_its_time_tells_what_is_known_when_it_is_open() {
    let mut one = One::new(0);
    one.ring.join(one.now, [address(7)]);
    let open = one.outputs().into_iter().find_map(|it| match it {
        Output::Open { stream, .. } => Some(stream),
        _ => None,
    });
    let stream = open.unwrap();
    one.hear(&alive("m2", 2, 1, &[]));
    one.hear(&dead("m2", 1, "m3"));
    let message = StreamMessage::decode(&one.ring.stream_message(stream).unwrap()).unwrap();
    let StreamMessage::PushPull(body) = message else { panic!("{message:?}") };
    let (_, known) = push_pull::decode(&body).unwrap();
    let known: Vec<_> = known.map(|node| node.map(|it| (it.name, it.state)).unwrap()).collect();
    assert!(known.contains(&("m2", State::Dead)), "{known:?}");
    one.ring.response(one.now, stream, Err("refused"));
    assert_eq!(one.ring.stream_message(stream), None);
}

#[test]
fn unreadable_packets_are_counted() {
    let mut one = One::new(0);
    for octets in [&[][..], &[250], &[0, 0x81], &[7, 3], &[9, 0x80]] {
        one.ring.receive(one.now, address(9), octets);
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

#[test]
fn an_odd_entry_of_a_state_is_dropped_and_no_other() {
    let name = |text: &[u8; 1]| [&b"\xa4Name\xa1"[..], text].concat();
    let address = b"\xa4Addr\xa4\xc0\x00\x02\x07\xabIncarnation\x01".to_vec();
    let odd = [
        [&[0x84][..], &name(b"a"), &address, b"\xa3Vsn\xa3\x01\x05\x02"].concat(),
        [&[0x84][..], &name(b"b"), &address, b"\xa5State\x09"].concat(),
        [&[0x83, 0xa4][..], b"Name\xda\x01\x2c", &[b'x'; 300], &address].concat(),
        [&[0x83, 0xa4][..], b"Name\xc3", &address].concat(),
        vec![0xc0],
        b"\x91\xa1a".to_vec(),
    ];
    for odd in odd {
        let mut one = One::new(0);
        let entries = [state("first", State::Alive), state("last", State::Alive)];
        let mut octets = push_pull::encode(false, 3, entries[..1].iter().cloned());
        octets.extend_from_slice(&odd);
        // The entry alone, without kind and head.
        let last = push_pull::encode(false, 1, entries[1..].iter().cloned());
        let head = push_pull::encode(false, 1, std::iter::empty()).len();
        octets.extend_from_slice(&last[head..]);
        one.ring.request(one.now, 1, &octets);
        let there = ["first", "last"].map(|name| one.ring.member(name).is_some());
        assert_eq!(there, [true, true], "{odd:?}");
        assert_eq!((one.ring.members().count(), one.ring.discarded()), (3, 1), "{odd:?}");
    }
}
