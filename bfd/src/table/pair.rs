// SPDX-License-Identifier: Apache-2.0
//! Two tables on a simulated link, with a clock that stands still until something is due: loss, delay, failure of one direction,
//! restart, AdminDown, changed intervals, Echo.

use std::time::Duration;

use super::*;
use crate::{Diagnostic, State};

const ADDRESSES: [[u8; 4]; 2] = [[192, 0, 2, 1], [192, 0, 2, 2]];
const A: usize = 0;
const B: usize = 1;
/// What is lost over the line from each side: control packets and Echo packets.
#[derive(Clone, Copy, Default)]
struct Cut {
    control: bool,
    echo: bool,
}

struct Pair {
    start: Instant,
    now: Instant,
    sides: [Table; 2],
    profiles: [Profile; 2],
    delay: Duration,
    cut: [Cut; 2],
    /// Percent of packets that are lost.
    loss: u32,
    dice: Random,
    line: BTreeMap<(Instant, usize), (usize, Packet)>,
    count: usize,
    /// What changed: when, on which side.
    changes: Vec<(Instant, usize, State, Diagnostic)>,
    /// What was sent: when, from where, and whether it was periodic.
    sent: Vec<(Instant, usize, ControlPacket, bool)>,
}

#[derive(Clone, Copy)]
enum Packet {
    Control([u8; 24]),
    Echo([u8; 24]),
}

fn key(side: usize) -> SessionKey {
    SessionKey {
        peer: ADDRESSES[1 - side].into(),
        local: None,
        interface: None,
        hops: Hops::Single,
    }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Pair {
    #[allow(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
    fn new(a: Profile, b: Profile) -> Self {
        let now = Instant::now();
        let mut pair = Self {
            start: now,
            now,
            sides: [Table::new(1), Table::new(2)],
            profiles: [a, b],
            delay: millis(1),
            cut: [Cut::default(); 2],
            loss: 0,
            dice: Random::new(3),
            line: BTreeMap::new(),
            count: 0,
            changes: Vec::new(),
            sent: Vec::new(),
        };
        pair.set(A, a);
        pair.set(B, b);
        pair
    }

    /// With both sides Up and the intervals negotiated.
    fn up(a: Profile, b: Profile) -> Self {
        let mut pair = Self::new(a, b);
        pair.run(millis(10_000));
        assert_eq!(pair.states(), [State::Up, State::Up]);
        pair.changes.clear();
        pair.sent.clear();
        pair
    }

    fn set(&mut self, side: usize, profile: Profile) {
        self.profiles[side] = profile;
        self.sides[side].set_sessions(self.now, &BTreeMap::from([(key(side), profile)]));
        self.carry_out(side);
    }

    fn restart(&mut self, side: usize, seed: u64) {
        self.sides[side] = Table::new(seed);
        self.set(side, self.profiles[side]);
    }

    fn status(&self, side: usize) -> Status {
        self.sides[side].statuses()[&key(side)].clone()
    }

    fn states(&self) -> [State; 2] {
        [self.status(A).state, self.status(B).state]
    }

    fn carry_out(&mut self, side: usize) {
        while let Some(output) = self.sides[side].poll() {
            match output {
                Output::Open { .. } | Output::Close { .. } => {}
                Output::Changed { status, .. } => {
                    self.changes.push((self.now, side, status.state, status.diagnostic));
                }
                Output::Control { discriminator, octets, due } => {
                    let packet = ControlPacket::decode(&octets).unwrap();
                    self.sent.push((self.now, side, packet, due.is_some()));
                    self.sides[side].handle(self.now, Event::ControlSent { discriminator, due });
                    if !self.cut[side].control {
                        self.put(1 - side, self.delay, Packet::Control(octets));
                    }
                }
                Output::Echo { discriminator, octets, due } => {
                    self.sides[side].handle(self.now, Event::EchoSent { discriminator, due });
                    if !self.cut[side].echo && !self.cut[1 - side].echo {
                        self.put(side, 2 * self.delay, Packet::Echo(octets));
                    }
                }
            }
        }
    }

    fn put(&mut self, to: usize, after: Duration, packet: Packet) {
        if self.dice.up_to(99) >= self.loss {
            self.count += 1;
            self.line.insert((self.now + after, self.count), (to, packet));
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let arrival = self.line.first_key_value().map(|(key, _)| *key);
            let due =
                [A, B].into_iter().filter_map(|side| Some((self.sides[side].deadline()?, side)));
            let due = due.min();
            let next = arrival.map(|(at, _)| at).into_iter().chain(due.map(|(at, _)| at)).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            assert!(next >= self.now, "nothing is due in the past");
            self.now = next;
            // What arrives comes before what is due at the same time, as in the shell.
            let side = match (arrival, due) {
                (Some(arrival), _) if arrival.0 == next => {
                    let Some((to, packet)) = self.line.remove(&arrival) else { break };
                    let from = Arrival {
                        source: ADDRESSES[1 - to].into(),
                        destination: ADDRESSES[to].into(),
                        interface: None,
                        hops: Hops::Single,
                        ttl: 255,
                    };
                    let event = match &packet {
                        Packet::Control(octets) => Event::Control(&from, octets),
                        Packet::Echo(octets) => Event::Echo(octets),
                    };
                    self.sides[to].handle(next, event);
                    to
                }
                (_, Some((_, side))) => {
                    self.sides[side].handle(next, Event::Deadline);
                    side
                }
                (_, None) => break,
            };
            self.carry_out(side);
        }
        self.now = end;
    }

    /// When a side first went into a state, and why.
    fn first(&self, side: usize, state: State) -> Option<(Duration, Diagnostic)> {
        let change = self.changes.iter().find(|change| (change.1, change.2) == (side, state))?;
        Some((change.0 - self.start, change.3))
    }
}

fn fast(interval: u64) -> Profile {
    Profile {
        receive_interval: millis(interval),
        transmit_interval: millis(interval),
        ..Profile::default()
    }
}

#[test]
fn both_come_up_and_go_by_the_slower_of_each_direction() {
    let a = Profile { receive_interval: millis(500), detect_multiplier: 5, ..fast(50) };
    let mut pair = Pair::up(a, fast(100));
    let (a, b) = (pair.status(A), pair.status(B));
    assert_eq!(a.transmit_interval, Some(millis(100)), "B takes no more");
    assert_eq!(b.transmit_interval, Some(millis(500)), "A takes no more");
    assert_eq!(a.detection_time, Some(millis(1500)), "B's multiplier");
    assert_eq!(b.detection_time, Some(millis(500)), "A's multiplier");
    assert_eq!(a.remote_discriminator, b.local_discriminator);
    assert_eq!((a.counters.session_up_events, a.counters.session_down_events), (1, 0));
    pair.run(millis(3_600_000));
    assert!(pair.changes.is_empty(), "an hour without a change");
}

#[test]
fn packets_keep_their_distance_before_and_after_up() {
    let mut pair = Pair::new(fast(100), Profile { detect_multiplier: 1, ..fast(100) });
    pair.cut = [Cut { control: true, echo: true }; 2];
    pair.run(millis(60_000));
    let check = |pair: &Pair, side, least, most| {
        let of_side: Vec<_> = pair.sent.iter().filter(|sent| sent.1 == side).collect();
        assert!(of_side.len() > 50);
        for two in of_side.windows(2).filter(|two| two[1].3) {
            let gap = two[1].0 - two[0].0;
            assert!((millis(least)..=millis(most)).contains(&gap), "{gap:?}");
        }
    };
    check(&pair, A, 750, 1000);
    check(&pair, B, 750, 900);
    let mut pair = Pair::up(fast(100), Profile { detect_multiplier: 1, ..fast(100) });
    pair.run(millis(60_000));
    check(&pair, A, 75, 100);
    check(&pair, B, 75, 90);
}

#[test]
fn a_cut_line_is_noticed_within_the_detection_time_and_not_by_one_lost_packet() {
    let mut pair = Pair::up(fast(50), fast(50));
    let cut_at = pair.now;
    pair.cut = [Cut { control: true, echo: true }; 2];
    pair.run(millis(60));
    assert!(pair.changes.is_empty());
    pair.run(millis(1000));
    for side in [A, B] {
        let (at, diagnostic) = pair.first(side, State::Down).unwrap();
        let after = at - (cut_at - pair.start);
        assert!(after <= millis(151) && after >= millis(99), "{after:?}");
        assert_eq!(diagnostic, Diagnostic::ControlDetectionTimeExpired);
        assert_eq!(pair.status(side).remote_discriminator, 0);
        assert_eq!(pair.status(side).counters.session_down_events, 1);
    }
    pair.cut = [Cut::default(); 2];
    pair.run(millis(5000));
    assert_eq!(pair.states(), [State::Up, State::Up]);
}

#[test]
fn failure_of_one_direction_is_signaled_to_the_side_that_still_hears() {
    let mut pair = Pair::up(fast(50), fast(50));
    pair.cut[B].control = true;
    pair.run(millis(1000));
    let (at_a, why_a) = pair.first(A, State::Down).unwrap();
    let (at_b, why_b) = pair.first(B, State::Down).unwrap();
    assert_eq!(why_a, Diagnostic::ControlDetectionTimeExpired);
    assert_eq!(why_b, Diagnostic::NeighborSignaledSessionDown);
    assert_eq!(at_b - at_a, pair.delay, "told at once");
    pair.run(millis(60_000));
    assert_eq!(pair.first(A, State::Up), None);
    assert_eq!(pair.first(B, State::Up), None, "never one-sided");
}

#[test]
fn restart_of_one_side_is_one_down_and_one_up() {
    let mut pair = Pair::up(fast(50), fast(50));
    let old = pair.status(B).local_discriminator;
    pair.restart(B, 99);
    pair.run(millis(5000));
    assert_eq!(pair.states(), [State::Up, State::Up]);
    assert_ne!(pair.status(A).remote_discriminator, old);
    let counters = pair.status(A).counters;
    assert_eq!((counters.session_up_events, counters.session_down_events), (2, 1));
}

#[test]
fn a_session_that_is_taken_away_ends_in_order_and_comes_back() {
    let mut pair = Pair::up(fast(50), fast(50));
    pair.sides[A].set_sessions(pair.now, &BTreeMap::new());
    pair.carry_out(A);
    pair.run(millis(5));
    let b = pair.status(B);
    assert_eq!((b.state, b.diagnostic), (State::Down, Diagnostic::NeighborSignaledSessionDown));
    assert_eq!(b.remote_state, State::AdminDown);
    assert_eq!(b.remote_diagnostic, Diagnostic::AdministrativelyDown);
    pair.run(millis(60_000));
    assert_eq!(pair.status(B).state, State::Down);
    pair.set(A, fast(50));
    pair.run(millis(5000));
    assert_eq!(pair.states(), [State::Up, State::Up]);
}

#[test]
fn intervals_change_by_poll_and_final_without_leaving_up() {
    for loss in [0, 30] {
        let steady = |interval| Profile { detect_multiplier: 50, ..fast(interval) };
        let mut pair = Pair::up(steady(50), steady(50));
        pair.loss = loss;
        for interval in [1000, 20, 300] {
            pair.set(A, steady(interval));
            pair.run(millis(60_000));
            let (a, b) = (pair.status(A), pair.status(B));
            assert_eq!(a.transmit_interval, Some(millis(interval.max(50))));
            assert_eq!(b.detection_time, Some(millis(interval.max(50) * 50)));
            assert_eq!(b.transmit_interval, Some(millis(interval.max(50))));
        }
        assert!(pair.changes.is_empty(), "{:?}", pair.changes);
        assert!(pair.sent.iter().any(|sent| sent.1 == A && sent.2.poll));
        assert!(pair.sent.iter().any(|sent| sent.1 == B && sent.2.is_final));
        assert!(!pair.sent.iter().any(|sent| sent.2.poll && sent.2.is_final));
        let last = pair.sent.iter().rev().find(|sent| sent.1 == A).unwrap();
        assert!(!last.2.poll, "the sequence has ended");
    }
}

#[test]
fn much_is_lost_and_the_session_stays() {
    let patient = Profile { detect_multiplier: 20, ..fast(50) };
    let mut pair = Pair::up(patient, patient);
    pair.loss = 30;
    pair.run(millis(3_600_000));
    assert!(pair.changes.is_empty(), "{:?}", pair.changes);
}

#[test]
fn a_long_line_comes_up_too() {
    let mut pair = Pair::new(fast(50), fast(50));
    pair.delay = millis(700);
    pair.run(millis(20_000));
    assert_eq!(pair.states(), [State::Up, State::Up]);
    pair.run(millis(600_000));
    assert_eq!(pair.status(A).counters.session_down_events, 0);
}

#[test]
fn passive_waits_for_active_and_for_ever_for_passive() {
    let passive = Profile { passive_mode: true, ..fast(50) };
    let pair = Pair::up(passive, fast(50));
    assert_eq!(pair.states(), [State::Up, State::Up]);
    let mut pair = Pair::new(passive, passive);
    pair.run(millis(60_000));
    assert!(pair.sent.is_empty());
}

#[test]
fn echo_runs_beside_slow_control_packets_and_finds_what_they_do_not() {
    let echo = Profile { echo_mode: true, echo_interval: millis(20), ..fast(50) };
    let mut pair = Pair::up(echo, Profile { echo_interval: millis(30), ..echo });
    let a = pair.status(A);
    assert_eq!(a.echo_interval, Some(millis(30)), "the peer takes no more");
    assert_eq!(a.receive_interval, Some(millis(1000)));
    assert_eq!(a.transmit_interval, Some(millis(1000)));
    assert!(a.counters.echo_packet_input > 200);
    pair.run(millis(600_000));
    assert!(pair.changes.is_empty());
    pair.cut[A].echo = true;
    pair.run(millis(200));
    let whys = [A, B].map(|side| pair.first(side, State::Down).unwrap().1);
    assert!(whys.contains(&Diagnostic::EchoFunctionFailed), "{whys:?}");
}

#[test]
fn one_side_without_echo_means_no_echo() {
    let echo = Profile { echo_mode: true, ..fast(50) };
    let mut pair = Pair::up(echo, fast(50));
    pair.run(millis(10_000));
    assert_eq!(pair.status(A).counters.echo_packet_output, 0);
    assert_eq!(pair.status(A).receive_interval, Some(millis(50)));
}
