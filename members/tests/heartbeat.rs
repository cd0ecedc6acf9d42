// SPDX-License-Identifier: Apache-2.0
//! The detector on simulated networks: what is dead is found in time, what lives is left alone. No sockets, no clock; each case
//! runs over many seeds, and a failing one names its seed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod field;

use std::time::{Duration, Instant};

use field::{Field, name};
use members::heartbeat::wire::{Body, Mark, Message, Opinion, Stamp};
use members::heartbeat::{Cause, Detector, Options, Output};
use members::quorum::Side;

const MS: Duration = Duration::from_millis(1);

/// A field that has been quiet for a moment that differs by the seed.
fn quiet(count: usize, seed: u64) -> Field {
    let mut field = Field::new(count, seed);
    field.run_for(1_000 * MS + (seed % 100) as u32 * MS);
    assert!(field.verdicts.is_empty(), "seed {seed}: {:?}", field.verdicts);
    field
}

#[test]
fn a_node_that_is_cut_off_is_found_within_half_a_second() {
    for count in [2, 3, 4, 7, 10, 50] {
        for seed in 0..60 {
            let mut field = quiet(count, seed);
            let cut = field.now;
            field.isolate(0);
            let found = field.run_until(cut + 450 * MS, |field| {
                (1..count).all(|node| field.nodes[node].dead.contains(&0))
            });
            assert!(found, "{count} nodes, seed {seed}: {:?}", field.verdicts);
            assert!(field.now - cut >= 280 * MS, "no patience: {:?}", field.now - cut);
            let others = field.verdicts.iter().filter(|verdict| verdict.by != 0);
            assert!(
                others.clone().all(|verdict| verdict.of == 0 && verdict.cause == Cause::Silent)
            );
        }
    }
}

#[test]
fn whoever_is_cut_off_knows_it_before_the_others_act() {
    for count in [3, 4, 7, 10, 50, 100] {
        for seed in 0..40 {
            let mut field = quiet(count, seed);
            field.tell = false;
            let cut = field.now;
            field.isolate(0);
            let alone = field
                .run_until(cut + 450 * MS, |field| field.present(0) * 2 <= count)
                .then(|| field.now - cut);
            let Some(alone) = alone else { panic!("{count} nodes, seed {seed}") };
            field.run_until(cut + 450 * MS, |field| {
                field.verdicts.iter().any(|verdict| verdict.of == 0)
            });
            // Their phases differ by up to a heartbeat; whoever was cut off is ahead by a quarter of the probing.
            let lead = field.now - cut + 100 * MS;
            assert!(alone <= lead, "{count} nodes, seed {seed}: {alone:?} against {lead:?}");
        }
    }
}

#[test]
fn a_frozen_node_is_found_and_a_stall_of_200_ms_is_not() {
    for count in [2, 3, 10] {
        for seed in 0..60 {
            let mut field = quiet(count, seed);
            field.freeze(0, 200 * MS);
            field.run_for(2_000 * MS);
            assert!(field.verdicts.is_empty(), "{count} nodes, seed {seed}: {:?}", field.verdicts);
            let frozen = field.now;
            field.freeze(0, 60_000 * MS);
            let found = field.run_until(frozen + 450 * MS, |field| {
                (1..count).all(|node| field.nodes[node].dead.contains(&0))
            });
            assert!(found, "{count} nodes, seed {seed}");
        }
    }
}

#[test]
fn a_stall_of_the_watcher_is_nobody_elses_death() {
    for seed in 0..60 {
        let mut field = quiet(3, seed);
        field.freeze(0, 350 * MS);
        field.run_for(350 * MS);
        let before = field.verdicts.len();
        field.run_for(2_000 * MS);
        let by_it = field.verdicts.iter().skip(before).filter(|verdict| verdict.by == 0);
        assert_eq!(by_it.count(), 0, "seed {seed}");
    }
}

#[test]
fn a_killed_process_is_found_faster() {
    for count in [2, 3, 10] {
        for seed in 0..60 {
            let mut field = quiet(count, seed);
            let kill = field.now;
            field.nodes[0].killed = true;
            let found = field.run_until(kill + 150 * MS, |field| {
                (1..count).all(|node| field.nodes[node].dead.contains(&0))
            });
            assert!(found, "{count} nodes, seed {seed}: {:?}", field.verdicts);
            assert!(field.verdicts.iter().any(|verdict| verdict.cause == Cause::PortClosed));
        }
    }
}

#[test]
fn one_message_that_the_port_is_closed_is_enough() {
    for count in [2, 3, 10] {
        for seed in 0..60 {
            let mut field = quiet(count, seed);
            let kill = field.now;
            field.nodes[0].killed = true;
            // With more, some of them reach members that do not watch it.
            field.unreachable = if count <= 3 { 1 } else { 4 };
            let found = field.run_until(kill + 150 * MS, |field| {
                (1..count).all(|node| field.nodes[node].dead.contains(&0))
            });
            assert!(found, "{count} nodes, seed {seed}: {:?}", field.verdicts);
        }
    }
}

#[test]
fn the_second_message_that_the_port_is_closed_is_not_wasted_on_what_was_sent_before_the_first() {
    for seed in 0..60 {
        let mut field = quiet(2, seed);
        let kill = field.now;
        field.nodes[0].killed = true;
        field.unreachable = 3;
        let found = field.run_until(kill + 118 * MS, |field| field.nodes[1].dead.contains(&0));
        assert!(found, "seed {seed}: {:?}", field.verdicts);
    }
}

#[test]
fn a_fifth_of_all_datagrams_lost_kills_nobody() {
    for count in [2, 3, 4, 10] {
        for seed in 0..4 {
            let mut field = quiet(count, seed);
            field.loss = 0.2;
            field.run_for(Duration::from_secs(120));
            assert!(field.verdicts.is_empty(), "{count} nodes, seed {seed}: {:?}", field.verdicts);
        }
    }
}

#[test]
fn a_pair_that_cannot_talk_leaves_both_alive() {
    for seed in 0..40 {
        let mut field = quiet(4, seed);
        field.part(&[0], &[1]);
        field.run_for(5_000 * MS);
        assert!(field.verdicts.is_empty(), "seed {seed}: {:?}", field.verdicts);
    }
}

#[test]
fn one_way_is_no_way() {
    let cases = [(3, 500 * MS), (4, 500 * MS), (10, 700 * MS)];
    for ((count, limit), seed) in
        cases.into_iter().flat_map(|case| (0..40).map(move |seed| (case, seed)))
    {
        for outbound in [false, true] {
            let mut field = quiet(count, seed);
            let cut = field.now;
            for other in 1..count {
                field.cut.insert(if outbound { (0, other) } else { (other, 0) });
            }
            let found = field.run_until(cut + 450 * MS, |field| {
                if outbound {
                    (1..count).all(|node| field.nodes[node].dead.contains(&0))
                } else {
                    field.present(0) == 1
                }
            });
            assert!(found, "seed {seed}, outbound {outbound}: {:?}", field.verdicts);
            // What a deaf one says is still heard: that it hears nobody is what it says, and then somebody has to take its place.
            let found = field.run_until(cut + limit, |field| {
                (1..count).all(|node| field.nodes[node].dead.contains(&0))
            });
            assert!(found, "{count} nodes, seed {seed}, outbound {outbound}: {:?}", field.verdicts);
        }
    }
}

#[test]
fn each_part_of_a_parted_network_can_count_itself() {
    for (count, small) in [(3, 1), (5, 2), (10, 4), (10, 5), (100, 10), (100, 49)] {
        for seed in 0..10 {
            let mut field = quiet(count, seed);
            field.tell = false;
            // Numbers are scattered over the topology by the hash of the names.
            let (one, other): (Vec<usize>, Vec<usize>) = (0..count).partition(|node| *node < small);
            field.part(&one, &other);
            field.run_for(600 * MS);
            for node in one {
                assert!(
                    field.present(node) * 2 <= count,
                    "{small} of {count}, seed {seed}: node {node} counts {}",
                    field.present(node)
                );
            }
            for node in other {
                assert!(field.present(node) * 2 >= count, "{small} of {count}, seed {seed}");
            }
        }
    }
}

#[test]
fn the_absent_count_again_when_they_are_back() {
    for seed in 0..10 {
        let mut field = quiet(10, seed);
        field.tell = false;
        field.part(&[0, 1, 2], &[3, 4, 5, 6, 7, 8, 9]);
        field.run_for(3_000 * MS);
        assert!(field.present(0) < 5);
        field.cut.clear();
        field.run_for(1_500 * MS);
        for node in 0..10 {
            assert_eq!(field.present(node), 10, "seed {seed}, node {node}");
        }
    }
}

#[test]
fn self_suspicion_is_settled_by_the_others() {
    for seed in 0..40 {
        let mut field = quiet(3, seed);
        let now = field.now;
        field.nodes[0].detector.suspect_self(now);
        assert!(field.nodes[0].detector.suspects_itself());
        let settled =
            field.run_until(now + 150 * MS, |field| !field.nodes[0].detector.suspects_itself());
        assert!(settled, "seed {seed}");
        // Cut off, nobody can settle it.
        field.tell = false;
        field.isolate(0);
        let now = field.now;
        field.nodes[0].detector.suspect_self(now);
        field.run_for(250 * MS);
        assert!(field.nodes[0].detector.suspects_itself(), "seed {seed}");
    }
}

#[test]
fn whoever_was_declared_dead_stays_in_doubt() {
    for seed in 0..20 {
        let mut field = quiet(3, seed);
        field.freeze(0, 700 * MS);
        field.run_for(699 * MS);
        assert!((1..3).all(|node| field.nodes[node].dead.contains(&0)));
        field.run_for(2 * MS);
        let now = field.now;
        field.nodes[0].detector.suspect_self(now);
        field.run_for(200 * MS);
        assert!(field.nodes[0].detector.suspects_itself(), "seed {seed}");
    }
}

/// One detector, whose only other member is played by the test.
struct Pair {
    detector: Detector,
    address: std::net::SocketAddr,
    now: Instant,
}

impl Pair {
    fn new() -> Self {
        #[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
        let now = Instant::now();
        let detector = Detector::new(name(0), Options::default(), 7, now);
        let mut pair = Self { detector, address: ([192, 0, 2, 2], 7946).into(), now };
        pair.join();
        pair
    }

    fn join(&mut self) {
        self.detector.set_peers(self.now, [(name(1), self.address)]);
    }

    fn outputs(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.detector.poll()).collect()
    }

    /// Something comes that echoes the last that was sent. What follows from it.
    fn hear(&mut self, counter: u64, view: Opinion, side: Side) -> Vec<Output> {
        self.now += 200 * MS;
        self.detector.tick(self.now);
        let sent = self.outputs().into_iter().filter_map(|output| match output {
            Output::Send { message, .. } => Some(message.stamp),
            _ => None,
        });
        let (echo, stamp) = (sent.last(), Stamp { session: 1, counter });
        assert!(echo.is_some());
        let (from, mark, body) = (name(1), Mark::default(), Body::Answer);
        let message = Message { from, stamp, echo, view, side, mark, body };
        self.detector.handle(self.now, self.address, message);
        self.outputs()
    }

    /// Nothing comes for so long. What is wanted.
    fn pass(&mut self, time: Duration) -> Vec<Output> {
        let end = self.now + time;
        while self.now < end {
            self.now = self.detector.deadline().clamp(self.now + MS, end);
            self.detector.tick(self.now);
        }
        self.outputs()
    }
}

#[test]
fn what_comes_late_is_life_and_no_news() {
    let mut pair = Pair::new();
    for (counter, view, side, said) in [
        (5, Opinion::Alive, Side::Majority, Side::Majority),
        (4, Opinion::Unknown, Side::Undecided, Side::Majority),
        (6, Opinion::Unknown, Side::Minority, Side::Minority),
    ] {
        let forgotten = pair.hear(counter, view, side).contains(&Output::Forgotten);
        assert_eq!((forgotten, pair.detector.side_of(&name(1))), (counter == 6, said));
        assert_eq!(pair.detector.silent_for(pair.now, &name(1)), Some(Duration::ZERO));
    }
}

#[test]
fn whoever_is_said_to_be_back_and_is_not_heard_is_dead_if_it_spoke_before() {
    for (spoke, away, found) in [(true, 1, true), (true, 40, false), (false, 1, false)] {
        let mut pair = Pair::new();
        if spoke {
            pair.hear(1, Opinion::Alive, Side::Majority);
        }
        pair.detector.set_peers(pair.now, []);
        pair.pass(away * 1_000 * MS);
        // Somebody's word of it was under way for long.
        pair.join();
        let outputs = pair.pass(450 * MS);
        let dead = outputs.iter().any(|it| matches!(it, Output::Dead { .. }));
        assert_eq!(dead, found, "spoke {spoke}, away for {away} s");
    }
}

#[test]
fn notices_arrive_once_through_loss() {
    for seed in 0..40 {
        let mut field = quiet(5, seed);
        field.loss = 0.3;
        let now = field.now;
        field.nodes[0].detector.notify(now, None, b"to all");
        field.nodes[0].detector.notify(now, Some(&name(3)), b"to one");
        field.run_for(1_300 * MS);
        assert!(!field.nodes[0].detector.is_notifying());
        for node in 1..5 {
            let mut expected = vec![(name(0), b"to all".to_vec())];
            if node == 3 {
                expected.push((name(0), b"to one".to_vec()));
            }
            let mut got = field.nodes[node].notices.clone();
            got.sort();
            assert_eq!(got, expected, "seed {seed}");
        }
    }
}

#[test]
fn the_cost_does_not_grow_with_the_number() {
    let per_member = |count: usize| {
        let mut field = quiet(count, 1);
        let before = field.sent;
        field.run_for(2_000 * MS);
        (field.sent - before) as f64 / count as f64 / 2.0
    };
    // Ten heartbeats a second to each of three watchers and three that are watched.
    for count in [10, 300] {
        let cost = per_member(count);
        assert!((59.0..62.0).contains(&cost), "{count} members: {cost} datagrams a second each");
    }
}
