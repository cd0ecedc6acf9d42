// SPDX-License-Identifier: Apache-2.0
use super::*;

fn address(number: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, number])
}

/// A node that announces these addresses, and whose speaker has counted these connections.
fn view(owned: &[u8], counted: &[(u8, i64, i64)]) -> View {
    let draining: Vec<Draining> = counted
        .iter()
        .map(|(number, tcp, udp)| Draining {
            ip: address(*number).to_string(),
            tcp: *tcp,
            udp: *udp,
        })
        .collect();
    let connections = Connections {
        kept: true,
        message: String::new(),
        addresses: i64::try_from(draining.len()).unwrap(),
        tcp: draining.iter().map(|it| it.tcp).sum(),
        udp: draining.iter().map(|it| it.udp).sum(),
        draining,
    };
    let owned = owned.iter().copied().map(address).collect();
    View { owned, connections: Some(connections), unreadable: None }
}

#[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
fn start() -> Instant {
    Instant::now()
}

/// The words of a look that wants another one.
fn waits(step: Step) -> String {
    match step {
        Step::Wait(line) => line,
        other => panic!("{other:?}"),
    }
}

fn done(step: Step) -> String {
    match step {
        Step::Done(line) => line,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_drain_is_over_when_every_address_was_counted_after_its_move_and_nothing_is_left() {
    let (now, mut progress) = (start(), Progress::new("n1"));
    let line = waits(progress.look(now, view(&[1, 2], &[])));
    assert_eq!(line, "node n1: still announces 192.0.2.1, 192.0.2.2");
    let line = waits(progress.look(now, view(&[2], &[(1, 3, 1)])));
    assert_eq!(line, "node n1: still announces 192.0.2.2");
    // The report is older than the move of the second address.
    let line = waits(progress.look(now, view(&[], &[(1, 0, 0)])));
    assert_eq!(line, "node n1: counts the connections of 192.0.2.2");
    let line = waits(progress.look(now, view(&[], &[(1, 0, 0), (2, 1, 2)])));
    let wanted = "node n1: 1 TCP connection and 2 flows of UDP left, which may be idle: 192.0.2.2 (TCP 1, UDP 2)";
    assert_eq!(line, wanted);
    assert_eq!(progress.left(), wanted, "what a time-out says");
    let line = done(progress.look(now, view(&[], &[(1, 0, 0), (2, 0, 0)])));
    assert_eq!(line, "node n1: no connection is left");
}

#[test]
fn a_node_that_was_drained_before_is_waited_for_as_well() {
    let (now, mut progress) = (start(), Progress::new("n1"));
    assert!(waits(progress.look(now, view(&[], &[(1, 2, 0)]))).contains("2 TCP connections"));
    done(progress.look(now, view(&[], &[(1, 0, 0)])));
}

#[test]
fn a_node_of_which_the_api_shows_nothing_yet_gets_the_time_of_a_first_count() {
    let (now, mut progress) = (start(), Progress::new("n1"));
    waits(progress.look(now, view(&[], &[])));
    waits(progress.look(now + FIRST_COUNT - Duration::from_millis(1), view(&[], &[])));
    done(progress.look(now + FIRST_COUNT, view(&[], &[])));
}

#[test]
fn an_address_that_is_never_counted_is_not_waited_for_for_ever_and_is_named() {
    let (now, mut progress) = (start(), Progress::new("n1"));
    waits(progress.look(now, view(&[1], &[])));
    waits(progress.look(now, view(&[], &[])));
    waits(progress.look(now + FIRST_COUNT - Duration::from_millis(1), view(&[], &[])));
    let line = done(progress.look(now + FIRST_COUNT, view(&[], &[])));
    assert!(line.contains("192.0.2.1") && line.contains("not counted"), "{line}");
}

#[test]
fn a_speaker_that_keeps_nothing_is_waited_for_until_it_announces_nothing() {
    let (now, mut progress) = (start(), Progress::new("n1"));
    let owned = BTreeSet::from([address(1)]);
    waits(progress.look(now, View { owned, ..View::default() }));
    let line = done(progress.look(now, View::default()));
    assert!(line.contains("no kept connections"), "{line}");
    let unreadable = Some("no such kind".to_owned());
    let failed = progress.look(now, View { unreadable, ..View::default() });
    assert!(matches!(&failed, Step::Failed(line) if line.contains("no such kind")), "{failed:?}");
    let message = "the permission CAP_NET_ADMIN is missing".to_owned();
    let connections = Some(Connections { message, ..Connections::default() });
    let line = done(progress.look(now, View { connections, ..View::default() }));
    assert!(line.contains("CAP_NET_ADMIN"), "{line}");
}

#[test]
fn connections_that_nothing_leads_to_any_more_are_a_failure() {
    let (now, mut progress) = (start(), Progress::new("n1"));
    waits(progress.look(now, view(&[], &[(1, 2, 0), (2, 0, 0)])));
    // A speaker that begins anew tells a moment later what drains.
    waits(progress.look(now, view(&[], &[])));
    waits(progress.look(now + FIRST_COUNT / 2, view(&[], &[(1, 2, 0), (2, 0, 0)])));
    let later = now + FIRST_COUNT;
    waits(progress.look(later, view(&[], &[])));
    waits(progress.look(later + FIRST_COUNT - Duration::from_millis(1), view(&[], &[])));
    let failed = progress.look(later + FIRST_COUNT, view(&[], &[]));
    let Step::Failed(line) = failed else { panic!("{failed:?}") };
    assert!(line.contains("192.0.2.1 (TCP 2, UDP 0)") && !line.contains("192.0.2.2"), "{line}");
    // An address that the node has again has its connections again.
    let mut progress = Progress::new("n1");
    waits(progress.look(now, view(&[], &[(1, 2, 0)])));
    waits(progress.look(now, view(&[1], &[])));
    waits(progress.look(now, view(&[], &[])));
    done(progress.look(now, view(&[], &[(1, 0, 0)])));
}

#[test]
fn a_speaker_whose_object_goes_with_its_pod_is_waited_for() {
    let (now, mut progress) = (start(), Progress::new("n1"));
    waits(progress.look(now, view(&[], &[(1, 2, 0)])));
    waits(progress.look(now, View::default()));
    let ends = |at, progress: &mut Progress<'_>| {
        waits(progress.look(at - Duration::from_millis(1), View::default()));
        done(progress.look(at, View::default()))
    };
    assert!(ends(now + FIRST_COUNT, &mut progress).contains("no kept connections"));
    waits(progress.look(now, view(&[], &[(1, 1, 0)])));
    waits(progress.look(now + FIRST_COUNT * 2, View::default()));
    ends(now + FIRST_COUNT * 3, &mut progress);
}

#[test]
fn connections_that_cannot_be_counted_may_be_there() {
    let (now, mut progress) = (start(), Progress::new("n1"));
    let mut uncounted = view(&[], &[(1, 0, 0)]);
    if let Some(said) = &mut uncounted.connections {
        said.message = "open connections are not counted: no list".to_owned();
    }
    let line = waits(progress.look(now, uncounted));
    assert_eq!(line, "node n1: open connections are not counted: no list");
}

#[test]
fn of_very_many_addresses_the_sum_counts() {
    let (now, mut progress) = (start(), Progress::new("n1"));
    waits(progress.look(now, view(&[1, 2], &[])));
    let more = |tcp| {
        let mut view = view(&[], &[(1, 0, 0)]);
        if let Some(said) = &mut view.connections {
            (said.addresses, said.tcp) = (3_000, tcp);
        }
        view
    };
    waits(progress.look(now, more(7)));
    done(progress.look(now, more(0)));
    let all: Vec<u8> = (1..=20).collect();
    let line = waits(progress.look(now, view(&all, &[])));
    assert!(line.ends_with("192.0.2.8 and 12 more"), "{line}");
}
