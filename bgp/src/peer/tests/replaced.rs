// SPDX-License-Identifier: Apache-2.0
//! Another connection of a peer whose session is still up here (RFC 4724 §4.2, §5).

use super::*;

fn graceful(config: &mut Config) {
    config.graceful_restart =
        Some(GracefulRestart { restart_time: 120 * SECOND, notification: false });
}

/// The graceful restart capability with this R bit and with families or without.
fn restart(restarted: bool, families: bool) -> Capability {
    let family = |family: crate::Family| crate::wire::RestartFamily {
        family: family.into(),
        forwarding: false,
    };
    Capability::GracefulRestart {
        restarted,
        notification: false,
        restart_time: 120,
        families: if families { crate::Family::ALL.map(family).to_vec() } else { Vec::new() },
    }
}

/// With other capabilities for graceful restart than it has.
fn with(mut open: Open, restarts: &[Capability]) -> Open {
    open.capabilities.retain(|one| one.code() != crate::wire::iana::capability::GRACEFUL_RESTART);
    open.capabilities.extend_from_slice(restarts);
    open
}

/// A session over our connection with a peer that offered the first; then the peer connects and offers the second.
fn connects_anew(before: &[Capability], anew: &[Capability]) -> Scripted {
    let mut scripted = Scripted::new(graceful);
    scripted.connect();
    let theirs = with(answer(&scripted.open()), before);
    scripted.receive(|out| {
        theirs.encode(out);
        crate::wire::write_keepalive(out);
    });
    assert_eq!(scripted.peer.status().state, State::Established);
    assert!(!scripted.peer.accepts(scripted.now), "both sides may just have connected");
    scripted.now += 6 * SECOND;
    assert!(scripted.peer.accepts(scripted.now));
    scripted.handle(Event::Connected {
        direction: Direction::Incoming,
        local: "192.0.2.1:179".parse().unwrap(),
        remote: "192.0.2.2:40000".parse().unwrap(),
        next_hops: NextHops::default(),
    });
    assert_eq!(scripted.peer.status().state, State::Established, "not before an OPEN comes");
    let mut octets = Vec::new();
    with(theirs, anew).encode(&mut octets);
    scripted.handle(Event::Received { direction: Direction::Incoming, octets: &octets });
    scripted
}

#[test]
fn a_new_connection_replaces_a_session_that_the_peer_has_lost() {
    for (before, anew, text) in [
        (restart(false, true), restart(true, true), "the peer has restarted"),
        // A router that lost its state, or whose operator cleared it: no R bit.
        (restart(false, true), restart(false, true), "the peer opened another connection"),
        (restart(false, false), restart(true, false), "the peer has restarted"),
    ] {
        let mut scripted = connects_anew(&[before], &[anew]);
        assert_eq!(scripted.closed, [Vec::<u8>::new()], "the old one ends without a word");
        assert_eq!(scripted.peer.status().state, State::OpenConfirm);
        let reason = DownReason::Tcp(text.to_owned());
        assert_eq!(scripted.downs, std::slice::from_ref(&reason));
        assert_eq!(scripted.peer.status().last_down.map(|down| down.reason), Some(reason));
        let mut octets = Vec::new();
        crate::wire::write_keepalive(&mut octets);
        scripted.handle(Event::Received { direction: Direction::Incoming, octets: &octets });
        assert_eq!(scripted.peer.status().state, State::Established, "at once");
        assert_eq!(scripted.peer.status().established, 2);
    }
}

#[test]
fn a_peer_that_keeps_no_routes_itself_must_say_that_it_restarted() {
    // As BIRD with "graceful restart aware": the capability without families.
    let scripted = connects_anew(&[restart(false, false)], &[restart(false, false)]);
    assert_eq!(scripted.last_notification(), (6, 7, vec![]));
    assert_eq!(scripted.peer.status().state, State::Established);
    let mut scripted = Scripted::established(|_| {});
    scripted.now += 6 * SECOND;
    assert!(!scripted.peer.accepts(scripted.now), "without graceful restart the old one stays");
}

#[test]
fn of_several_capabilities_for_graceful_restart_the_last_counts() {
    // RFC 4724 §3, for both questions that are asked of it.
    let (named, silent) = (restart(false, true), restart(false, false));
    let replaced = connects_anew(&[silent.clone(), named.clone()], std::slice::from_ref(&silent));
    assert_eq!(replaced.peer.status().state, State::OpenConfirm);
    let kept = connects_anew(&[named, silent.clone()], &[restart(true, false), silent]);
    assert_eq!(kept.last_notification(), (6, 7, vec![]));
}

#[test]
fn a_connection_beside_one_that_the_peer_opened_is_held_until_it_says_why() {
    let mut scripted = Scripted::new(|config| {
        config.passive = true;
        graceful(config);
    });
    assert_eq!(scripted.peer.judge(&[]), Admission::Take, "nothing is up");
    let direction = Direction::Incoming;
    let connected = || Event::Connected {
        direction: Direction::Incoming,
        local: "192.0.2.1:179".parse().unwrap(),
        remote: "192.0.2.2:40000".parse().unwrap(),
        next_hops: NextHops::default(),
    };
    scripted.handle(connected());
    let sent = messages(scripted.peer.transmit(scripted.now, direction));
    let theirs = answer(&Open::decode(sent[0].1.clone().into()).unwrap());
    let says = |bit: bool, asn: u32| {
        let mut open = theirs.clone();
        for capability in &mut open.capabilities {
            match capability {
                Capability::GracefulRestart { restarted, .. } => *restarted = bit,
                Capability::FourOctetAsn(number) => *number = asn,
                _ => {}
            }
        }
        let mut octets = Vec::new();
        open.encode(&mut octets);
        octets
    };
    let mut octets = says(false, 64502);
    crate::wire::write_keepalive(&mut octets);
    scripted.handle(Event::Received { direction, octets: &octets });
    assert_eq!(scripted.peer.status().state, State::Established);
    let good = says(true, 64502);
    for length in 0..good.len() {
        assert_eq!(scripted.peer.judge(&good[..length]), Admission::Wait, "{length}");
    }
    assert_eq!(scripted.peer.judge(&good), Admission::Take);
    let mut keepalive = Vec::new();
    crate::wire::write_keepalive(&mut keepalive);
    let without = says(false, 64502);
    assert_eq!(scripted.peer.judge(&without), Admission::Take, "the R bit is not needed");
    for bad in [says(true, 64999), says(false, 64999), keepalive, vec![0; 19]] {
        let verdict = scripted.peer.judge(&bad);
        let Admission::Refuse(octets) = verdict else { panic!("{verdict:?}") };
        assert_eq!(messages(&octets), [(MessageType::Notification, vec![6, 7])]);
    }
    scripted.handle(Event::Disconnected { direction, error: None });
    assert_eq!(scripted.peer.judge(&[]), Admission::Take, "the session has ended");
    scripted.handle(Event::Stop(Stop::PeerDeconfigured));
    assert_eq!(scripted.peer.judge(&[]), Admission::Refuse(vec![]));
}

#[test]
fn two_active_sides_with_graceful_restart_end_with_one_connection() {
    for seed in 0..200 {
        let mut pair = Pair::started(seed, |_, config| graceful(config));
        pair.delay = Duration::from_millis(seed % 7 * 30);
        pair.until("both up", Pair::both_up);
        pair.run(60 * SECOND);
        assert!(pair.both_up());
        assert!(pair.sides.iter().all(|side| side.peer.status().dropped == 0), "seed {seed}");
    }
}
