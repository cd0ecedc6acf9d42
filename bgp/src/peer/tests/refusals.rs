// SPDX-License-Identifier: Apache-2.0
//! Routers that refuse parts of our OPEN (RFC 5492 §3, §5), and the OPEN that follows.

use super::*;

fn codes(open: &Open) -> Vec<u8> {
    open.capabilities.iter().map(Capability::code).collect()
}

/// The peer refuses the OPEN with these octets of data; at once another one follows.
fn refuse(scripted: &mut Scripted, subcode: u8, data: &[u8]) -> Open {
    scripted.receive(|out| Notification::new(2, subcode, data).encode(out));
    assert_eq!(scripted.timer(), Duration::ZERO, "less is offered at once");
    scripted.connect();
    scripted.open()
}

/// The OPEN that the peer gets first.
fn first(change: impl Fn(&mut Config)) -> (Scripted, Open) {
    let mut scripted = Scripted::new(change);
    scripted.connect();
    let open = scripted.open();
    (scripted, open)
}

/// The peer answers the last OPEN with one without capabilities, and the session is up.
fn comes_up_with_an_old_router(scripted: &mut Scripted, ours: &Open) {
    let theirs = Open::new(64502, HoldTime::DEFAULT, [192, 0, 2, 2].into(), vec![]);
    assert_eq!(ours.my_as, 64501);
    scripted.receive(|out| {
        theirs.encode(out);
        crate::wire::write_keepalive(out);
    });
    assert_eq!(scripted.peer.status().state, State::Established);
}

fn problem(scripted: &Scripted) -> String {
    scripted.peer.status().problem.unwrap_or_default()
}

/// A prefix of each family.
fn both_families() -> Event<'static> {
    let prefixes = ["10.0.0.1/32", "2001:db8::1/128"];
    let entry = |prefix: &str| (prefix.parse().unwrap(), Arc::default());
    Event::Routes(Arc::new(prefixes.map(entry).into_iter().collect()))
}

#[test]
fn a_router_without_optional_parameters_gets_an_open_without_any() {
    for families in [Families::IPV4, Families::BOTH] {
        let (mut scripted, whole) = first(|config| {
            config.families = families;
            config.extended_message = true;
        });
        assert!(!whole.capabilities.is_empty());
        scripted.handle(both_families());
        let second = refuse(&mut scripted, 4, &[]);
        assert_eq!(second.capabilities, []);
        comes_up_with_an_old_router(&mut scripted, &second);
        let status = scripted.peer.status();
        let negotiated = status.negotiated.unwrap();
        assert_eq!((negotiated.families, negotiated.four_octet_asn), (Families::IPV4, false));
        assert_eq!(status.announced_prefixes + status.queued_prefixes, 1, "IPv4 is carried");
        let told = (families == Families::BOTH)
            .then_some("the peer refused optional parameters: IPv6 is not carried");
        assert_eq!(status.problem.as_deref(), told);
    }
}

#[test]
fn the_open_without_parameters_is_told_while_it_is_tried() {
    let (mut scripted, _) = first(|_| {});
    let second = refuse(&mut scripted, 4, &[]);
    assert_eq!(second.capabilities, []);
    let text =
        "the peer refused optional parameters: the next OPEN leaves them out, IPv6 is not carried";
    assert_eq!(problem(&scripted), text);
    assert_eq!(scripted.peer.status().omitted_capabilities, [1, 2, 65]);
    // The session comes back with everything once it was up: another router may answer.
    comes_up_with_an_old_router(&mut scripted, &second);
    scripted.handle(Event::Disconnected { direction: Direction::Outgoing, error: None });
    assert_eq!(problem(&scripted), "");
    assert_eq!(scripted.peer.status().omitted_capabilities, []);
}

#[test]
fn an_as_of_four_octets_is_told_with_what_stands_for_it() {
    let (mut scripted, _) = first(|config| {
        config.families = Families::IPV4;
        config.local_asn = 4_200_000_001;
    });
    assert_eq!(refuse(&mut scripted, 4, &[]).my_as, 23456);
    let text = "the peer refused optional parameters: the next OPEN leaves them out, \
                AS 23456 is shown for 4200000001";
    assert_eq!(problem(&scripted), text);
}

#[test]
fn ipv6_alone_cannot_do_without_parameters_and_that_is_told() {
    for (subcode, data, text) in [
        (
            4,
            &[][..],
            "the peer refused optional parameters, without which an OPEN cannot say IPv6: \
             no session is possible while it does",
        ),
        (
            7,
            &[1, 4, 0, 2, 0, 1][..],
            "the peer refused capability 1 (Multiprotocol) for IPv6, the only family of this session: \
             no session is possible while it does",
        ),
    ] {
        let (mut scripted, whole) = first(|config| config.families = Families::IPV6);
        let mut last = Duration::ZERO;
        for _ in 0..4 {
            scripted.receive(|out| Notification::new(2, subcode, data).encode(out));
            assert_eq!(problem(&scripted), text);
            let pause = scripted.timer();
            assert!(pause > last, "no storm: {pause:?} after {last:?}");
            last = pause;
            scripted.connect();
            assert_eq!(scripted.open(), whole, "it may take them one day");
        }
        let theirs = answer(&whole);
        scripted.receive(|out| {
            theirs.encode(out);
            crate::wire::write_keepalive(out);
        });
        assert_eq!(problem(&scripted), "", "that day");
    }
}

#[test]
fn a_capability_that_is_named_is_left_out_and_said() {
    let (mut scripted, whole) = first(|config| config.extended_message = true);
    assert_eq!(codes(&whole), [1, 1, 2, 65, 6]);
    assert_eq!(codes(&refuse(&mut scripted, 7, &[6, 0])), [1, 1, 2, 65]);
    let text = "the peer refused capability 6 (Extended Message): the next OPEN leaves it out";
    assert_eq!(problem(&scripted), text);
    assert_eq!(scripted.peer.status().omitted_capabilities, [6]);
    assert_eq!(codes(&refuse(&mut scripted, 4, &[])), [] as [u8; 0], "then all of them");
    assert_eq!(scripted.peer.status().omitted_capabilities, [1, 2, 6, 65]);
}

#[test]
fn a_family_that_is_named_is_left_out_and_the_other_carried() {
    // As FRR answers while the neighbour has IPv6 not activated and capabilities must match.
    let (mut scripted, _) = first(|config| {
        config.graceful_restart =
            Some(GracefulRestart { restart_time: 120 * SECOND, notification: false });
    });
    scripted.handle(both_families());
    let second = refuse(&mut scripted, 7, &[1, 4, 0, 2, 0, 1]);
    assert_eq!(codes(&second), [1, 2, 65, 64]);
    let ipv4 = crate::wire::AfiSafi::from(crate::Family::Ipv4);
    assert_eq!(second.capabilities[0], Capability::Multiprotocol(ipv4));
    let Some(Capability::GracefulRestart { families, .. }) = second.capabilities.last() else {
        panic!("{second:?}")
    };
    assert_eq!(families.len(), 1, "nor is it named for graceful restart");
    let theirs = answer(&second);
    scripted.receive(|out| {
        theirs.encode(out);
        crate::wire::write_keepalive(out);
    });
    let status = scripted.peer.status();
    assert_eq!(status.negotiated.unwrap().families, Families::IPV4);
    let text = "the peer refused capability 1 (Multiprotocol): IPv6 is not carried";
    assert_eq!(status.problem.as_deref(), Some(text));
}

#[test]
fn a_router_that_does_not_know_families_gets_an_open_that_means_ipv4() {
    for data in [&[1, 4, 0, 1, 0, 1, 1, 4, 0, 2, 0, 1][..], &[1, 0]] {
        let (mut scripted, _) = first(|_| {});
        let second = refuse(&mut scripted, 7, data);
        assert_eq!(codes(&second), [2, 65]);
        comes_up_with_an_old_router(&mut scripted, &second);
        assert_eq!(scripted.peer.status().negotiated.unwrap().families, Families::IPV4);
    }
    // A peer that knows them and has IPv4 not enabled is not taken for one that carries it.
    let (mut scripted, _) = first(|config| config.families = Families::IPV4);
    let second = refuse(&mut scripted, 7, &[1, 4, 0, 1, 0, 1]);
    assert_eq!(codes(&second), [2, 65]);
    let ipv6 = Capability::Multiprotocol(crate::Family::Ipv6.into());
    let theirs = Open::new(64502, HoldTime::DEFAULT, [192, 0, 2, 2].into(), vec![ipv6]);
    scripted.receive(|out| theirs.encode(out));
    assert_eq!(scripted.last_notification(), (2, 7, vec![1, 4, 0, 1, 0, 1]));
}

#[test]
fn what_was_not_offered_cannot_be_left_out() {
    let (mut scripted, whole) = first(|config| config.families = Families::IPV4);
    let mut last = Duration::ZERO;
    // RFC 5492 §5: usually a 2/7 names what the peer misses.
    for _ in 0..4 {
        scripted.receive(|out| Notification::new(2, 7, [1, 4, 0, 2, 0, 1]).encode(out));
        assert_eq!(scripted.peer.status().omitted_capabilities, []);
        let pause = scripted.timer();
        assert!(pause > last, "no storm: {pause:?} after {last:?}");
        last = pause;
        scripted.connect();
        assert_eq!(scripted.open(), whole);
    }
}

#[test]
fn a_reduced_open_that_fails_too_is_followed_by_the_full_one_after_a_pause() {
    let (mut scripted, whole) = first(|config| config.extended_message = true);
    let mut last = Duration::ZERO;
    for subcode in [7, 4, 7, 4] {
        let second = refuse(&mut scripted, subcode, &[]);
        let left: &[u8] = if subcode == 7 { &[1, 1, 65] } else { &[] };
        assert_eq!(codes(&second), left, "after 2/7 without a list what is needed stays");
        scripted.receive(|out| Notification::new(2, subcode, []).encode(out));
        let pause = scripted.timer();
        assert!(pause > last, "no storm: {pause:?} after {last:?}");
        last = pause;
        scripted.connect();
        assert_eq!(scripted.open(), whole);
    }
}

#[test]
fn what_was_refused_is_offered_again_after_a_while() {
    let (mut scripted, whole) = first(|config| config.extended_message = true);
    scripted.receive(|out| Notification::new(2, 7, [6, 0]).encode(out));
    scripted.timer();
    scripted.now += Duration::from_secs(600);
    scripted.connect();
    assert_eq!(scripted.open(), whole);
    assert_eq!(scripted.peer.status().problem, None);
}
