// SPDX-License-Identifier: Apache-2.0
//! Lives of sessions, in virtual time.

mod endings;
mod pair;
mod received;
mod refusals;
mod replaced;
mod routes;

use std::time::Duration;

use super::*;
use crate::wire::{Capability, MessageType, Notification, Open};
use crate::{
    Attributes, Families, GracefulRestart, HoldTime, NotificationText, Role, RolePolicy, Routes,
    Stop,
};
use pair::{Pair, config, start};

const SECOND: Duration = Duration::from_secs(1);

/// Where one connection with a router of our own making stands.
struct Scripted {
    now: Instant,
    peer: Peer,
    connects: usize,
    closed: Vec<Vec<u8>>,
    downs: Vec<DownReason>,
}

impl Scripted {
    fn new(change: impl Fn(&mut Config)) -> Self {
        let now = start();
        let mut peer = Peer::new(now, config(0, change), 1);
        peer.handle(now, Event::InitialSyncDone);
        peer.handle(now, Event::Start);
        let mut scripted = Self { now, peer, connects: 0, closed: Vec::new(), downs: Vec::new() };
        scripted.drain();
        scripted
    }

    fn drain(&mut self) {
        while let Some(output) = self.peer.poll() {
            match output {
                Output::Connect => self.connects += 1,
                Output::Close { octets, .. } => self.closed.push(octets),
                Output::Down(down) => self.downs.push(down.reason),
                Output::Established(_) => {}
            }
        }
    }

    fn handle(&mut self, event: Event<'_>) {
        self.peer.handle(self.now, event);
        self.drain();
    }

    fn connect(&mut self) {
        self.handle(Event::Connected {
            direction: Direction::Outgoing,
            local: "192.0.2.1:40000".parse().unwrap(),
            remote: "192.0.2.2:179".parse().unwrap(),
            next_hops: NextHops::default(),
        });
    }

    /// What it sends now.
    fn sent(&mut self) -> Vec<(MessageType, Vec<u8>)> {
        let octets = self.peer.transmit(self.now, Direction::Outgoing).to_vec();
        self.handle(Event::Written { direction: Direction::Outgoing, count: octets.len() });
        messages(&octets)
    }

    fn open(&mut self) -> Open {
        let sent = self.sent();
        assert_eq!(sent[0].0, MessageType::Open);
        Open::decode(sent[0].1.clone().into()).unwrap()
    }

    fn receive(&mut self, write: impl Fn(&mut Vec<u8>)) {
        let mut octets = Vec::new();
        write(&mut octets);
        self.handle(Event::Received { direction: Direction::Outgoing, octets: &octets });
    }

    /// Lets the next timer fire.
    fn timer(&mut self) -> Duration {
        let deadline = self.peer.deadline().unwrap();
        let waited = deadline.saturating_duration_since(self.now);
        self.now = deadline.max(self.now);
        self.handle(Event::Timer);
        waited
    }

    /// Up with a router that offers what we do.
    fn established(change: impl Fn(&mut Config)) -> Self {
        let mut scripted = Self::new(change);
        scripted.connect();
        let theirs = answer(&scripted.open());
        scripted.receive(|out| {
            theirs.encode(out);
            crate::wire::write_keepalive(out);
        });
        assert_eq!(scripted.peer.status().state, State::Established);
        scripted
    }

    fn last_notification(&self) -> (u8, u8, Vec<u8>) {
        let all = messages(self.closed.last().unwrap());
        let (kind, body) = all.last().expect("a NOTIFICATION");
        assert_eq!(*kind, MessageType::Notification);
        (body[0], body[1], body[2..].to_vec())
    }
}

fn messages(octets: &[u8]) -> Vec<(MessageType, Vec<u8>)> {
    let mut buffer = bytes::BytesMut::from(octets);
    let next = || crate::wire::next_message(&mut buffer, true).unwrap();
    std::iter::from_fn(next).map(|(kind, body)| (kind, body.to_vec())).collect()
}

/// The OPEN of the other side of [`config`], with the same capabilities.
fn answer(ours: &Open) -> Open {
    let mut open = ours.clone();
    open.my_as = 64502;
    open.identifier = [192, 0, 2, 2].into();
    for capability in &mut open.capabilities {
        if let Capability::FourOctetAsn(asn) = capability {
            *asn = 64502;
        }
    }
    open
}

#[test]
fn two_active_sides_end_with_one_connection() {
    for seed in 0..50 {
        let pair = Pair::up(seed, |_, _| {});
        for side in &pair.sides {
            let status = side.peer.status();
            assert_eq!((status.established, status.dropped), (1, 0), "seed {seed}");
            assert_eq!(status.last_down, None, "a lost connection is not an end");
        }
        let locals = pair.sides.each_ref().map(|side| side.peer.up.unwrap());
        assert_ne!(locals[0], locals[1], "both mean the same connection");
    }
}

#[test]
fn a_session_lives_on_keepalives() {
    let mut pair = Pair::up(1, |_, _| {});
    pair.run(Duration::from_secs(3600));
    for side in &pair.sides {
        let status = side.peer.status();
        assert_eq!(status.dropped, 0);
        let received = status.counters.received.keepalives;
        assert!((120..=161).contains(&received), "30 s, up to a quarter less: {received}");
    }
}

#[test]
fn hold_time_zero_sends_no_keepalives_and_never_expires() {
    let mut pair = Pair::up(1, |side, config| {
        if side == 0 {
            config.hold_time = HoldTime::ZERO;
        }
    });
    pair.run(Duration::from_secs(100_000));
    assert!(pair.both_up());
    for side in &pair.sides {
        assert!(side.table.keepalives <= 2, "one per connection");
        assert_eq!(side.peer.deadline(), None);
    }
}

#[test]
fn silence_ends_the_session_with_the_hold_timer_and_it_comes_back() {
    let mut pair = Pair::up(3, |_, config| {
        config.hold_time = HoldTime::from_seconds(3).unwrap();
    });
    let before = pair.now;
    pair.silent = true;
    pair.until("both down", |pair| pair.sides.iter().all(|side| side.peer.status().dropped == 1));
    let waited = pair.now - before;
    assert!((2 * SECOND..=4 * SECOND).contains(&waited), "{waited:?}");
    for side in &pair.sides {
        let reason = side.peer.status().last_down.unwrap().reason;
        assert!(matches!(reason, DownReason::HoldTimerExpired(_) | DownReason::Tcp(_)), "{reason}");
    }
    pair.silent = false;
    pair.until("both up again", Pair::both_up);
    assert!(pair.now - before < 60 * SECOND);
}

#[test]
fn a_passive_side_waits_and_two_passive_sides_never_meet() {
    let pair = Pair::up(1, |side, config| config.passive = side == 0);
    assert_eq!(pair.sides[0].peer.up, Some(Direction::Incoming));
    let mut pair = Pair::started(1, |_, config| config.passive = true);
    pair.run(Duration::from_secs(3600));
    assert_eq!(pair.sides[0].peer.status().state, State::Active);
}

#[test]
fn a_peer_that_is_deaf_is_tried_with_growing_pauses() {
    let mut scripted = Scripted::new(|config| config.connect_time = Duration::from_secs(30));
    let mut pauses = Vec::new();
    for _ in 0..10 {
        scripted.handle(Event::Disconnected {
            direction: Direction::Outgoing,
            error: Some("refused".to_owned()),
        });
        assert_eq!(scripted.peer.status().state, State::Idle);
        pauses.push(scripted.timer().as_secs_f64());
    }
    assert_eq!(scripted.connects, 11);
    for (pause, most) in pauses.iter().zip([1., 2., 4., 8., 16., 30., 30., 30., 30., 30.]) {
        assert!((most * 0.75..=most).contains(pause), "{pauses:?}");
    }
    assert_eq!(scripted.downs.last(), Some(&DownReason::Tcp("refused".to_owned())));
    scripted.handle(Event::Disconnected { direction: Direction::Outgoing, error: None });
    scripted.handle(Event::Reachable);
    assert_eq!(scripted.timer(), Duration::ZERO, "a path that works is tried at once");
}

#[test]
fn an_attempt_that_hangs_is_made_again() {
    let mut scripted = Scripted::new(|_| {});
    for attempts in 2..9 {
        assert!(scripted.timer() <= 3 * SECOND, "a fresh attempt every few seconds");
        assert_eq!((scripted.connects, scripted.closed.len()), (attempts, attempts - 1));
        assert_eq!(scripted.peer.status().state, State::Connect);
    }
    assert_eq!(scripted.downs, []);
}

#[test]
fn an_attempt_from_before_the_path_was_back_is_made_again_at_once() {
    let mut scripted = Scripted::new(|_| {});
    scripted.handle(Event::Reachable);
    assert_eq!((scripted.connects, scripted.closed.len()), (1, 0), "a young one goes on");
    scripted.now += SECOND;
    scripted.handle(Event::Reachable);
    assert_eq!((scripted.connects, scripted.closed.len()), (2, 1));
    // From Active, too: a connection that broke before the peer answered.
    scripted.connect();
    scripted.handle(Event::Disconnected { direction: Direction::Outgoing, error: None });
    assert_eq!(scripted.peer.status().state, State::Active);
    scripted.handle(Event::Reachable);
    assert_eq!((scripted.connects, scripted.peer.status().state), (3, State::Connect));
}

#[test]
fn a_connection_that_is_half_way_is_left_when_bfd_says_that_the_path_is_lost() {
    let mut scripted = Scripted::new(|_| {});
    scripted.connect();
    assert_eq!(scripted.peer.status().state, State::OpenSent);
    scripted.handle(Event::BfdDown);
    assert_eq!(scripted.downs, [DownReason::BfdDown]);
    scripted.handle(Event::Reachable);
    assert_eq!((scripted.connects, scripted.peer.status().state), (2, State::Connect));
}

#[test]
fn a_path_that_is_looked_for_is_asked_for_without_growing_pauses() {
    let mut scripted = Scripted::new(|config| config.connect_time = 120 * SECOND);
    for attempts in 2..30 {
        scripted.handle(Event::Unreachable { error: "no route to host".to_owned() });
        assert_eq!(scripted.peer.status().state, State::Idle);
        assert!(scripted.timer() <= 3 * SECOND);
        assert_eq!(scripted.connects, attempts);
    }
    let refused = || Event::Disconnected { direction: Direction::Outgoing, error: None };
    scripted.handle(refused());
    assert!(scripted.timer() <= SECOND, "the first pause for a peer that is there and says no");
}

#[test]
fn a_passive_peer_is_not_connected_to_because_it_is_reachable() {
    let mut scripted = Scripted::new(|config| config.passive = true);
    scripted.now += 10 * SECOND;
    scripted.handle(Event::Reachable);
    assert_eq!((scripted.connects, scripted.peer.status().state), (0, State::Active));
}

#[test]
fn an_open_of_another_as_is_refused_and_said() {
    let mut scripted = Scripted::new(|_| {});
    scripted.connect();
    let mut theirs = answer(&scripted.open());
    theirs.capabilities.clear();
    theirs.my_as = 65000;
    scripted.receive(|out| theirs.encode(out));
    assert_eq!(scripted.last_notification(), (2, 2, vec![]));
    let text = scripted.downs[0].to_string();
    assert_eq!(
        text,
        "sent NOTIFICATION 2/2 (OPEN Message Error/Bad Peer AS): the peer shows AS 65000, expected is 64502"
    );
    assert_eq!(scripted.peer.status().counters.sent.notifications, 1);
}

#[test]
fn messages_that_are_not_expected_name_the_state_and_themselves() {
    let mut scripted = Scripted::new(|_| {});
    scripted.connect();
    scripted.receive(crate::wire::write_keepalive);
    assert_eq!(scripted.last_notification(), (5, 1, vec![4]), "RFC 6608");
    let mut scripted = Scripted::new(|_| {});
    scripted.connect();
    let theirs = answer(&scripted.open());
    scripted.receive(|out| {
        theirs.encode(out);
        crate::wire::write_update(out, &[], &[], &[]);
    });
    assert_eq!(scripted.last_notification(), (5, 2, vec![2]));
    let mut scripted = Scripted::established(|_| {});
    scripted.receive(|out| theirs.encode(out));
    assert_eq!(scripted.last_notification(), (5, 3, vec![1]));
}

#[test]
fn garbage_after_established_is_answered_by_its_code() {
    for (octets, expected) in [
        (vec![0u8; 19], (1, 1, vec![])),
        ([&[0xff; 16][..], &[0, 18, 2]].concat(), (1, 2, vec![0, 18])),
        ([&[0xff; 16][..], &[0, 19, 9]].concat(), (1, 3, vec![9])),
        ([&[0xff; 16][..], &[0, 23, 2, 0, 9, 0, 0]].concat(), (3, 1, vec![])),
    ] {
        let mut scripted = Scripted::established(|_| {});
        scripted.receive(|out| out.extend_from_slice(&octets));
        assert_eq!(scripted.last_notification(), expected);
        assert_eq!(scripted.peer.status().state, State::Idle);
        assert_eq!(scripted.peer.status().dropped, 1);
    }
}

#[test]
fn roles_that_do_not_fit_keep_the_session_down_on_both_sides() {
    let mut pair = Pair::started(1, |_, config| {
        config.role = Some(RolePolicy { role: Role::Provider, strict: false });
    });
    pair.run(Duration::from_secs(60));
    let mismatch = |text: &NotificationText| (text.code, text.subcode) == (2, 11);
    assert!(pair.sides.iter().any(|side| {
        let reason = side.peer.status().last_down.unwrap().reason;
        matches!(&reason, DownReason::NotificationSent { notification, .. } if mismatch(notification))
    }));
    assert!(pair.sides.iter().all(|side| side.peer.status().established == 0));
}

#[test]
fn a_session_that_flaps_is_damped_and_one_that_lived_is_not() {
    let mut scripted = Scripted::established(|_| {});
    scripted.now += 11 * SECOND;
    scripted.handle(Event::Disconnected { direction: Direction::Outgoing, error: None });
    assert_eq!(scripted.timer(), Duration::ZERO);
    let mut scripted = Scripted::established(|_| {});
    scripted.handle(Event::Disconnected { direction: Direction::Outgoing, error: None });
    assert!(scripted.timer() >= SECOND * 3 / 4);
}

#[test]
fn hold_timer_waits_four_minutes_for_an_open() {
    let mut scripted = Scripted::new(|_| {});
    scripted.connect();
    scripted.open();
    assert_eq!(scripted.timer(), Duration::from_secs(240));
    assert_eq!(scripted.last_notification(), (4, 0, vec![]));
}
