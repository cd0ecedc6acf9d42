// SPDX-License-Identifier: Apache-2.0
//! Messages of an Established peer that depend on what both OPENs offered.

use super::*;

/// Up with a router that answers our OPEN like this.
fn with(change: impl Fn(&mut Config), reply: impl Fn(&mut Open)) -> Scripted {
    let mut scripted = Scripted::new(change);
    scripted.connect();
    let mut theirs = answer(&scripted.open());
    reply(&mut theirs);
    scripted.receive(|out| {
        theirs.encode(out);
        crate::wire::write_keepalive(out);
    });
    assert_eq!(scripted.peer.status().state, State::Established);
    scripted.sent();
    scripted
}

fn without(code: u8) -> impl Fn(&mut Open) {
    move |open| open.capabilities.retain(|capability| capability.code() != code)
}

/// An UPDATE of 5023 octets that withdraws 10.0.0.0/24 again and again.
fn long(out: &mut Vec<u8>) {
    crate::wire::write_update(out, &[24, 10, 0, 0].repeat(1250), &[], &[]);
}

#[test]
fn long_messages_are_taken_of_everybody_whom_they_were_offered() {
    // RFC 8654 §4: to offer them is to take them; only sending needs the peer's offer.
    let offers = |config: &mut Config| config.extended_message = true;
    for reply in [0, crate::wire::iana::capability::EXTENDED_MESSAGE] {
        let mut scripted = with(offers, without(reply));
        scripted.receive(long);
        let status = scripted.peer.status();
        assert_eq!(status.state, State::Established);
        assert_eq!(status.counters.received_withdrawals, 1250);
        assert_eq!(status.negotiated.unwrap().extended_message, reply == 0);
    }
    let mut scripted = with(|_| {}, |open| open.capabilities.push(Capability::ExtendedMessage));
    scripted.receive(long);
    assert_eq!(scripted.last_notification(), (1, 2, vec![0x13, 0x9f]), "not offered by us");
}

/// One prefix of each family is desired and was sent; then the peer asks in these words. Returns what is sent.
fn asks(enhanced: [bool; 2], families: Families, body: &[u8]) -> (Scripted, Vec<MessageType>) {
    let [ours, theirs] = enhanced;
    let mut scripted = with(
        |config| {
            config.enhanced_route_refresh = ours;
            config.families = families;
        },
        |open| {
            without(crate::wire::iana::capability::ENHANCED_ROUTE_REFRESH)(open);
            if theirs {
                open.capabilities.push(Capability::EnhancedRouteRefresh);
            }
        },
    );
    let prefixes = ["10.0.0.1/32", "2001:db8::1/128"];
    let entry = |prefix: &str| (prefix.parse().unwrap(), Arc::default());
    scripted.handle(Event::Routes(Arc::new(prefixes.map(entry).into_iter().collect())));
    while !scripted.sent().is_empty() {}
    scripted.receive(|out| crate::wire::write_message(out, MessageType::RouteRefresh, body));
    let mut kinds = Vec::new();
    loop {
        let sent = scripted.sent();
        if sent.is_empty() || scripted.peer.status().state != State::Established {
            return (scripted, kinds);
        }
        kinds.extend(sent.iter().map(|(kind, _)| *kind));
    }
}

#[test]
fn the_reserved_octet_of_a_refresh_is_ignored_of_who_has_no_subtypes() {
    for reserved in [0, 1, 2, 77, 255] {
        for body in [&[0, 1, reserved, 1][..], &[0, 1, reserved, 1, 0]] {
            let (_, sent) = asks([false, false], Families::IPV4, body);
            assert_eq!(sent, [MessageType::Update], "{body:?}");
        }
    }
}

#[test]
fn subtypes_are_read_of_who_has_them() {
    use MessageType::{RouteRefresh, Update};
    let marked = [RouteRefresh, Update, RouteRefresh];
    assert_eq!(asks([true, true], Families::IPV4, &[0, 1, 0, 1]).1, marked);
    assert_eq!(asks([false, true], Families::IPV4, &[0, 1, 0, 1]).1, [Update]);
    for (enhanced, body) in [([true, true], [0, 1, 3, 1]), ([false, true], [0, 1, 1, 1])] {
        assert_eq!(asks(enhanced, Families::IPV4, &body).1, []);
    }
    // RFC 7313 §5: a mark of another length is told so with the whole message.
    let (scripted, _) = asks([false, true], Families::IPV4, &[0, 1, 1, 1, 0]);
    let message = [&[0xff; 16][..], &[0, 24, 5, 0, 1, 1, 1, 0]].concat();
    assert_eq!(scripted.last_notification(), (7, 1, message));
}

#[test]
fn a_refresh_of_a_family_that_is_not_of_the_session_is_ignored() {
    // RFC 2918 §4: IPv6, labels and a family that nobody knows.
    for body in [[0, 2, 0, 1], [0, 1, 0, 4], [0x99, 0x99, 0, 1]] {
        for enhanced in [[false, false], [true, true]] {
            let (scripted, sent) = asks(enhanced, Families::IPV4, &body);
            assert_eq!(sent, [], "{body:?}");
            assert_eq!(scripted.peer.status().state, State::Established);
        }
    }
}

#[test]
fn an_error_in_attributes_without_prefixes_ends_the_session() {
    // RFC 7606 §5.2, ORIGIN 9.
    let attributes = hex_literal::hex!("40010109");
    let mut scripted = Scripted::established(|_| {});
    scripted.receive(|out| crate::wire::write_update(out, &[8, 10], &attributes, &[]));
    assert_eq!(scripted.last_notification(), (3, 6, attributes.to_vec()));
}
