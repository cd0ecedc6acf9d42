// SPDX-License-Identifier: Apache-2.0
//! Claims about members, and the ones that are believed.

use super::*;

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
        // A claim of death is worse than one of no answer: the others may act on it.
        let accused = message == &cases[1];
        let rest = match &events[..] {
            [Event::Refuted(us), rest @ ..] if &*us.name == "us" => rest,
            _ => panic!("{events:?}"),
        };
        assert_eq!(rest, if accused { &[Event::Accused][..] } else { &[] });
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

/// A message about this member for another reason shows the others no second change of its metadata within the second.
#[test]
fn what_is_said_of_us_for_another_reason_does_not_hurry_meta_data() {
    let again: [fn(&mut One); 2] = [
        |one| one.ring.reappear(one.now),
        |one| {
            one.ring.leave(one.now);
            one.ring.join(one.now, []);
        },
    ];
    for say in again {
        let mut one = One::new(1);
        let told = |one: &One| one.ring.member("us").unwrap().meta[0];
        one.pass(SECOND * 2);
        one.ring.set_meta(one.now, &[5]).unwrap();
        one.ring.set_meta(one.now, &[6]).unwrap();
        let before = one.state("us").1;
        say(&mut one);
        assert_eq!((one.state("us"), told(&one)), ((State::Alive, before + 1), 5));
        one.pass(Duration::from_millis(990));
        assert_eq!(told(&one), 5);
        one.pass(Duration::from_millis(20));
        assert_eq!(told(&one), 6);
        say(&mut one);
        one.ring.set_meta(one.now, &[7]).unwrap();
        assert_eq!(told(&one), 6);
    }
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
fn whose_port_is_closed_is_told_nothing_until_it_is_back() {
    for (closed, told) in [(None, true), (Some(3), false), (Some(4), true)] {
        let mut one = One::new(3);
        if let Some(last) = closed {
            let (to, port_closed) = (address(last), true);
            one.ring.unreachable(one.now, to, port_closed);
        }
        one.ring.declare_dead(one.now, "m3");
        let mut sent = one.sent();
        for _ in 0..10 {
            one.hear(&alive("m2", 2, one.state("m2").1 + 1, &[]));
            one.pass(Duration::from_millis(200));
            sent.extend(one.sent());
        }
        assert_eq!(sent.iter().any(|it| it.to == address(3)), told, "{closed:?}");
        assert!(sent.iter().any(|it| it.to == address(2)));
        one.hear(&alive("m3", 3, one.state("m3").1 + 1, &[]));
        one.pass(SECOND * 2);
        assert!(one.sent().iter().any(|it| it.to == address(3)), "it is back");
        // The next death has another reason.
        one.ring.declare_dead(one.now, "m3");
        assert!(one.sent().iter().any(|it| it.to == address(3)));
    }
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
fn incarnations_that_nobody_can_have_are_not_believed() {
    let mut one = One::new(2);
    for absurd in [
        suspect("us", u32::MAX, "m3"),
        dead("us", u32::MAX, "m3"),
        alive("us", 1, u32::MAX, &[9]),
        suspect("m2", u32::MAX, "m3"),
        dead("m2", u32::MAX - 1, "m3"),
        dead("m2", u32::MAX, "m2"),
        alive("m2", 2, 1 << 31, &[9]),
        alive("new", 4, u32::MAX, &[]),
    ] {
        one.hear(&absurd);
        assert_eq!(one.events(), [], "{absurd:?}");
    }
    assert_eq!((one.state("us").1, one.state("m2")), (1, (State::Alive, 1)));
    assert!(one.ring.member("new").is_none());
    // A station with the key may come near the end of the numbers step by step: its claim is still refuted.
    let mut accused = 1;
    while let Some(next) = one.state("us").1.checked_add(1 << 24) {
        accused = next;
        one.hear(&dead("us", accused, "m3"));
        one.events();
        if one.state("us").1 < accused {
            break;
        }
    }
    assert!(accused > u32::MAX - (1 << 24));
    let told = one.state("us");
    assert!(told.0 == State::Alive && told.1 < u32::MAX);
    one.hear(&dead("us", told.1, "m3"));
    assert_eq!(one.state("us").0, State::Alive);
}

#[test]
fn names_that_nobody_has_reached_make_room_for_others() {
    let mut one = One::new(3);
    one.ring.vouch(one.now, "m2");
    one.hear(&dead("m3", 1, "m2"));
    let mut left = 0;
    for number in 0..2 * MEMBERS {
        one.now += Duration::from_micros(10);
        one.hear(&alive(&format!("ghost-{number}"), 77, 1, &[]));
        let gone = |it: &Event| matches!(it, Event::Left(member) if member.name.starts_with("ghost-") || &*member.name == "m4");
        left += one.events().iter().filter(|it| gone(it)).count();
    }
    assert_eq!(one.ring.members().count(), MEMBERS);
    assert_eq!(left, 2 * MEMBERS + 4 - MEMBERS - 1, "all that went but the dead one are told");
    assert_eq!(one.state("m2").0, State::Alive, "it was heard");
    assert!(one.ring.member("m3").is_none() && one.ring.member("ghost-0").is_none());
    one.hear(&alive("new", 5, 1, &[]));
    assert_eq!(one.state("new").0, State::Alive);
    one.ring.vouch(one.now, "new");
    for number in 0..2 * MEMBERS {
        one.now += Duration::from_micros(10);
        one.hear(&alive(&format!("other-{number}"), 77, 1, &[]));
    }
    assert_eq!(one.state("new").0, State::Alive);
}
