// SPDX-License-Identifier: Apache-2.0
//! How sessions end by our will or by our rules, and what the peer is told.

use super::*;

fn graceful(notification: bool) -> impl Fn(&mut Config) {
    move |config| {
        config.graceful_restart =
            Some(GracefulRestart { restart_time: 120 * SECOND, notification });
    }
}

fn stopped(change: impl Fn(&mut Config), stop: Stop) -> Scripted {
    let mut scripted = Scripted::established(change);
    scripted.handle(Event::Stop(stop));
    assert_eq!(scripted.peer.status().state, State::Idle);
    assert_eq!(scripted.peer.deadline(), None, "it stays that way");
    assert!(!scripted.peer.accepts(scripted.now));
    scripted
}

#[test]
fn a_shutdown_is_told_with_its_text_and_as_hard_reset_with_the_n_bit() {
    let text = || Stop::Shutdown("bye".to_owned());
    assert_eq!(stopped(|_| {}, text()).last_notification(), (6, 2, b"\x03bye".to_vec()));
    assert_eq!(stopped(graceful(false), text()).last_notification(), (6, 2, b"\x03bye".to_vec()));
    assert_eq!(
        stopped(graceful(true), text()).last_notification(),
        (6, 9, b"\x06\x02\x03bye".to_vec())
    );
}

#[test]
fn a_restart_is_silent_only_where_it_is_expected() {
    let stop = || Stop::Restarting("upgrade".to_owned());
    assert_eq!(stopped(|_| {}, stop()).last_notification().1, 2);
    assert_eq!(stopped(graceful(true), stop()).closed, [Vec::<u8>::new()]);
    assert_eq!(stopped(graceful(false), stop()).closed, [Vec::<u8>::new()]);
}

#[test]
fn a_peer_that_was_taken_away_is_told() {
    assert_eq!(stopped(|_| {}, Stop::PeerDeconfigured).last_notification(), (6, 3, vec![]));
    let hard = stopped(graceful(true), Stop::PeerDeconfigured).last_notification();
    assert_eq!(hard, (6, 9, vec![6, 3]));
}

#[test]
fn the_text_of_the_other_side_is_shown() {
    let mut pair = Pair::up(1, |_, config| graceful(true)(config));
    pair.handle(0, Event::Stop(Stop::Shutdown("rack moves".to_owned())));
    pair.until("told", |pair| pair.sides[1].peer.status().dropped == 1);
    let reason = pair.sides[1].peer.status().last_down.unwrap().reason;
    assert_eq!(
        reason.to_string(),
        "the peer sent NOTIFICATION 6/2 (Cease/Administrative Shutdown) as Hard Reset saying \"rack moves\""
    );
}

#[test]
fn bfd_down_ends_a_session_with_its_own_subcode() {
    let mut scripted = Scripted::established(|_| {});
    scripted.handle(Event::BfdDown);
    assert_eq!(scripted.last_notification(), (6, 10, vec![]));
    assert_eq!(scripted.downs, [DownReason::BfdDown]);
    let mut scripted = Scripted::established(graceful(true));
    scripted.handle(Event::BfdDown);
    assert_eq!(scripted.last_notification(), (6, 9, vec![6, 10]));
    let mut scripted = Scripted::new(|_| {});
    scripted.handle(Event::BfdDown);
    assert_eq!(scripted.peer.status().state, State::Connect, "only what is up can go down");
}

#[test]
fn a_change_resets_only_what_an_open_carries() {
    let mut scripted = Scripted::established(|_| {});
    let change = |scripted: &mut Scripted, change: &dyn Fn(&mut Config)| {
        let mut config = Config::clone(scripted.peer.config());
        change(&mut config);
        scripted.handle(Event::Configure(Arc::new(config)));
    };
    change(&mut scripted, &|config| {
        config.hold_time = HoldTime::from_seconds(30).unwrap();
        config.keepalive_time = Some(5 * SECOND);
        config.connect_time = 3 * SECOND;
        config.max_prefixes = Some(5);
        config.passive = true;
    });
    let status = scripted.peer.status();
    assert_eq!(status.state, State::Established);
    let negotiated = status.negotiated.unwrap();
    assert_eq!(negotiated.hold_time.seconds(), 90, "until the next OPEN");
    assert_eq!(negotiated.keepalive_time, Some(5 * SECOND), "at once");
    assert!(scripted.timer() <= 5 * SECOND);
    change(&mut scripted, &|config| config.local_asn = 65010);
    assert_eq!(scripted.last_notification(), (6, 6, vec![]));
    let reason = DownReason::ConfigurationChanged("changed: local AS".to_owned());
    assert_eq!(scripted.downs, [reason]);
    assert_eq!(scripted.timer(), Duration::ZERO);
    assert_eq!(scripted.peer.status().state, State::Active, "passive by now");
}

#[test]
fn a_router_that_is_left_for_good_is_told_so_with_the_n_bit() {
    let changed = |change: &dyn Fn(&mut Config)| {
        let mut scripted = Scripted::established(graceful(true));
        let mut config = Config::clone(scripted.peer.config());
        change(&mut config);
        scripted.handle(Event::Configure(Arc::new(config)));
        scripted.last_notification()
    };
    let hard = (6, 9, vec![6, 6]);
    let remote = crate::Remote::address(std::net::Ipv4Addr::new(192, 0, 2, 9));
    assert_eq!(changed(&|config| config.remote = remote.clone()), hard);
    assert_eq!(changed(&|config| config.port = 1790), hard);
    assert_eq!(changed(&|config| config.bind_interface = Some("vrf7".into())), hard);
    let same = changed(&|config| config.local_asn = 65010);
    assert_eq!(same, (6, 6, vec![]), "that router comes back and may keep the routes");
}

#[test]
fn a_session_whose_neighbour_has_moved_begins_anew_at_once() {
    let mut scripted = Scripted::established(|_| {});
    scripted.handle(Event::Moved("fe80::2".parse().unwrap()));
    assert_eq!(scripted.last_notification(), (6, 6, vec![]));
    let text = scripted.downs[0].to_string();
    assert_eq!(text, "configuration changed: the neighbour's address is now fe80::2");
    assert_eq!(scripted.timer(), Duration::ZERO);
    assert_eq!(scripted.connects, 2);
}

#[test]
fn problems_of_connecting_and_listening_do_not_hide_each_other() {
    let mut scripted = Scripted::new(|_| {});
    let tell = |scripted: &mut Scripted, hindrance, text: Option<&str>| {
        scripted.handle(Event::Problem { hindrance, text: text.map(str::to_owned) });
        scripted.peer.status().problem.unwrap_or_default()
    };
    assert_eq!(tell(&mut scripted, Hindrance::Listening, Some("port")), "port");
    assert_eq!(tell(&mut scripted, Hindrance::Connecting, Some("address")), "address; port");
    assert_eq!(tell(&mut scripted, Hindrance::Connecting, None), "port");
    assert_eq!(tell(&mut scripted, Hindrance::Listening, None), "");
}

#[test]
fn a_peer_that_becomes_active_begins_to_connect() {
    let mut scripted = Scripted::new(|config| config.passive = true);
    assert_eq!((scripted.connects, scripted.peer.status().state), (0, State::Active));
    let mut config = Config::clone(scripted.peer.config());
    config.passive = false;
    scripted.handle(Event::Configure(Arc::new(config)));
    scripted.timer();
    assert_eq!((scripted.connects, scripted.peer.status().state), (1, State::Connect));
}

#[test]
fn too_many_prefixes_end_the_session_but_the_same_ones_do_not() {
    let announce = |scripted: &mut Scripted, octets: &[u8]| {
        let attributes = hex_literal::hex!("40010100 400206020100 00fbf6 400304c0000202");
        scripted.receive(|out| crate::wire::write_update(out, &[], &attributes, octets));
    };
    let mut scripted = Scripted::established(|config| config.max_prefixes = Some(2));
    announce(&mut scripted, &[8, 10, 8, 11]);
    announce(&mut scripted, &[8, 10, 8, 11]);
    assert_eq!(scripted.peer.status().state, State::Established);
    scripted.receive(|out| crate::wire::write_update(out, &[8, 10], &[], &[]));
    announce(&mut scripted, &[8, 12]);
    assert_eq!(scripted.peer.status().counters.received_prefixes_dropped, 5);
    assert_eq!(scripted.peer.status().counters.received_withdrawals, 1);
    announce(&mut scripted, &[8, 13]);
    // RFC 4486 §4: AFI, SAFI, limit.
    assert_eq!(scripted.last_notification(), (6, 1, vec![0, 1, 1, 0, 0, 0, 2]));
    assert_eq!(scripted.downs, [DownReason::TooManyPrefixes { received: 3, limit: 2 }]);
}

#[test]
fn malformed_attributes_do_not_end_a_session() {
    let mut scripted = Scripted::established(|_| {});
    // ORIGIN 9, no AS_PATH, no NEXT_HOP.
    let attributes = hex_literal::hex!("40010109");
    scripted.receive(|out| crate::wire::write_update(out, &[], &attributes, &[8, 10, 8, 11]));
    let status = scripted.peer.status();
    assert_eq!(status.state, State::Established);
    assert_eq!(status.counters.received_prefixes_malformed, 2);
    assert_eq!(status.counters.received_updates_malformed, 1);
    assert_eq!(status.counters.received_prefixes_dropped, 0);
}

#[test]
fn a_restarting_speaker_says_so_and_ends_its_rib_when_the_caller_does() {
    let change = |_: usize, config: &mut Config| graceful(false)(config);
    let mut pair = Pair::up(5, change);
    let restarted = |open: &Open| {
        open.capabilities.iter().any(|capability| {
            matches!(capability, Capability::GracefulRestart { restarted: true, families, .. }
                if families.iter().all(|family| family.forwarding))
        })
    };
    assert!(pair.sides[1].table.opens.iter().all(restarted), "it has just started");
    pair.run(60 * SECOND);
    assert_eq!(pair.sides[1].table.ended, [], "the caller is not ready");
    pair.handle(0, Event::InitialSyncDone);
    pair.run(SECOND);
    assert_eq!(pair.sides[1].table.ended, [crate::Family::Ipv4, crate::Family::Ipv6]);
    pair.sides[1].table.opens.clear();
    pair.cut();
    pair.until("up again", Pair::both_up);
    assert!(!pair.sides[1].table.opens.iter().any(restarted), "the process is the same");

    // Another process takes over.
    pair.run(60 * SECOND);
    pair.sides[1].table.notifications.clear();
    pair.handle(0, Event::Stop(Stop::Restarting("upgrade".to_owned())));
    pair.until("away", |pair| pair.sides[1].peer.status().state != State::Established);
    assert_eq!(pair.sides[1].table.notifications, [], "nothing is said");
    let reason = pair.sides[1].peer.status().last_down.unwrap().reason;
    assert_eq!(reason, DownReason::ClosedByPeer);
    pair.sides[1].table.opens.clear();
    pair.replace(0, Peer::new(pair.now, config(0, |config| change(0, config)), 77));
    pair.handle(0, Event::Start);
    pair.until("up with the new process", Pair::both_up);
    assert!(pair.sides[1].table.opens.iter().all(restarted));
    pair.run(119 * SECOND);
    assert_eq!(pair.sides[1].table.ended, []);
    pair.run(2 * SECOND);
    assert_eq!(pair.sides[1].table.ended.len(), 2, "the restart time bounds the wait");
}

#[test]
fn a_peer_that_does_not_read_costs_little_and_is_dropped_after_eight_minutes() {
    let mut scripted = Scripted::established(|_| {});
    let begin = scripted.now;
    let attributes = Arc::new(Attributes::default());
    let prefix = |n: u32| ipnet::Ipv4Net::new((0x0a00_0000 + n).into(), 32).unwrap().into();
    let table = (0..100_000).map(|n| (prefix(n), Arc::clone(&attributes))).collect();
    scripted.handle(Event::Routes(Arc::new(table)));
    let waiting = scripted.peer.transmit(scripted.now, Direction::Outgoing).len();
    assert!(waiting < 21_000, "{waiting}");
    scripted.handle(Event::Written { direction: Direction::Outgoing, count: 10_000 });
    while scripted.downs.is_empty() {
        // It is alive, it only does not read.
        scripted.receive(crate::wire::write_keepalive);
        scripted.timer();
        let waiting = scripted.peer.transmit(scripted.now, Direction::Outgoing).len();
        assert!(waiting < 21_000, "{waiting}");
    }
    let waited = scripted.now - begin;
    assert_eq!(waited, 480 * SECOND);
    assert_eq!(scripted.downs, [DownReason::SendHoldTimerExpired(waited)]);
    let last = scripted.closed.last().unwrap();
    assert!(last.len() < 4096 + 21, "the rest of a message, then the NOTIFICATION");
    assert!(last.ends_with(&[0, 21, 3, 8, 0]));
}

#[test]
fn another_key_on_a_running_session_is_tried_at_once() {
    let key =
        |key: &'static [u8]| move |config: &mut Config| config.password = crate::Password::new(key);
    let mut scripted = Scripted::established(key(b"first"));
    scripted.sent();
    let with_key = |next| config(0, key(next));
    scripted.handle(Event::Configure(with_key(b"next")));
    let kinds: Vec<MessageType> = scripted.sent().into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [MessageType::Keepalive]);
    scripted.handle(Event::Configure(with_key(b"next")));
    assert_eq!((scripted.sent(), scripted.peer.status().dropped), (Vec::new(), 0));
}

#[test]
fn a_connection_that_breaks_over_an_update_says_so() {
    let unsent = || Event::Unsent { direction: Direction::Outgoing, error: "reset".to_owned() };
    let mut scripted = Scripted::established(|_| {});
    scripted.sent();
    let prefix = ipnet::Ipv4Net::new([10, 0, 0, 1].into(), 32).unwrap().into();
    let table = [(prefix, Arc::new(Attributes::default()))].into();
    scripted.handle(Event::Routes(Arc::new(table)));
    assert!(!scripted.peer.transmit(scripted.now, Direction::Outgoing).is_empty());
    scripted.handle(unsent());
    assert_eq!(scripted.downs, [DownReason::UpdateUnsent("reset".to_owned())]);

    // What was sent whole does not count: here only a KEEPALIVE is lost.
    let mut scripted = Scripted::established(|_| {});
    scripted.sent();
    while scripted.peer.transmit(scripted.now, Direction::Outgoing).is_empty() {
        scripted.timer();
    }
    scripted.handle(unsent());
    assert_eq!(scripted.downs, [DownReason::Tcp("reset".to_owned())]);
}
