// SPDX-License-Identifier: Apache-2.0
//! The table of docs/failover.md, row by row: so many nodes, a fault, and who answers two seconds after it, or three by the link.

use std::collections::BTreeSet;
use std::time::Duration;

use members::quorum::Fencing;

use crate::history::{BY_LINK, Fault, History};
use crate::world::MS;

/// The time from a fault to the answer of the table, where the count decides.
const AFTER: Duration = Duration::from_secs(2);

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    /// The part named, and nobody else.
    Part,
    /// The others, and nobody else.
    Others,
    /// Somebody in each.
    Both,
    /// Nobody at all.
    Nobody,
}

use Answers::{Both, Nobody, Others, Part};

fn answers(history: &History, part: &[usize]) -> Answers {
    let mut seen = BTreeSet::new();
    for address in &history.world.addresses {
        let owners = history.world.owners(*address);
        let (inside, outside): (Vec<usize>, Vec<usize>) =
            owners.into_iter().partition(|owner| part.contains(owner));
        assert!(inside.len() <= 1 && outside.len() <= 1, "{address}: {inside:?} {outside:?}");
        seen.insert((!inside.is_empty(), !outside.is_empty()));
    }
    assert_eq!(seen.len(), 1, "all addresses alike: {seen:?}");
    match seen.first() {
        Some((true, true)) => Both,
        Some((true, false)) => Part,
        Some((false, true)) => Others,
        _ => Nobody,
    }
}

fn check(
    rows: impl IntoIterator<Item = (usize, Fault, &'static [usize], Answers)>,
    fencing: Fencing,
    fence_two: bool,
) {
    let after = if fencing == Fencing::Link { BY_LINK } else { AFTER };
    for (count, fault, part, expected) in rows {
        for seed in 0..8 {
            let mut history = History::begin_fenced(seed, count, fencing, fence_two);
            let row = format!("{count} nodes, {fault:?} of {part:?}, seed {seed}");
            assert_eq!(answers(&history, &[]), Others, "{row}, before");
            history.strike(fault, part);
            history.world.run(after);
            assert_eq!(answers(&history, part), expected, "{row}");
            history.recover();
            history.world.run(8_000 * MS);
            assert_eq!(answers(&history, &[]), Others, "{row}, after");
        }
    }
}

/// A part is cut off, or ends in some way; who answers with [`Fencing::Link`] and with [`Fencing::Majority`]. Node 0 has the smallest name. What is
/// cut off has lost the link too.
const ROWS: &[(usize, Fault, &[usize], Answers, Answers)] = &[
    (1, Fault::Killed, &[0], Nobody, Nobody),
    (1, Fault::Api, &[0], Part, Part),
    (2, Fault::Part, &[0], Both, Both),
    (2, Fault::Power, &[0], Others, Others),
    (2, Fault::Killed, &[1], Others, Others),
    (2, Fault::Stopped, &[1], Others, Others),
    (3, Fault::Part, &[0], Both, Others),
    (3, Fault::Part, &[2], Both, Others),
    (3, Fault::Power, &[0], Others, Others),
    (3, Fault::Killed, &[1], Others, Others),
    (3, Fault::Stopped, &[2], Others, Others),
    (4, Fault::Part, &[0], Both, Others),
    (4, Fault::Part, &[0, 3], Both, Part),
    (4, Fault::Part, &[1, 2], Both, Others),
    (4, Fault::Power, &[1], Others, Others),
    (4, Fault::Killed, &[1], Others, Others),
    (4, Fault::Stopped, &[0], Others, Others),
    (5, Fault::Part, &[3], Both, Others),
    (5, Fault::Part, &[0, 1], Both, Others),
    (5, Fault::Part, &[1, 2, 4], Both, Part),
    (5, Fault::Power, &[0], Others, Others),
    (5, Fault::Killed, &[1], Others, Others),
    (5, Fault::Stopped, &[2], Others, Others),
];

#[test]
fn who_answers_with_majority() {
    let rows =
        ROWS.iter().map(|(count, fault, part, _, majority)| (*count, *fault, *part, *majority));
    check(rows, Fencing::Majority, false);
}

#[test]
fn who_answers_by_link() {
    let rows = ROWS.iter().map(|(count, fault, part, link, _)| (*count, *fault, *part, *link));
    check(rows, Fencing::Link, false);
}

/// So many at once that the rest is not the majority.
#[test]
fn the_few_that_are_left_are_silent_with_majority_and_answer_by_link() {
    for (count, down, majority) in
        [(2, 1, Others), (3, 2, Nobody), (4, 2, Others), (4, 3, Nobody), (5, 3, Nobody)]
    {
        for (fencing, expected) in [(Fencing::Majority, majority), (Fencing::Link, Others)] {
            for seed in 0..8 {
                let mut history = History::begin_fenced(seed, count, fencing, false);
                // Those with the greatest names.
                let part: Vec<usize> = (count - down..count).collect();
                for node in &part {
                    history.strike(Fault::Power, &[*node]);
                }
                history.world.run(if fencing == Fencing::Link { BY_LINK } else { AFTER });
                let row = format!("{down} of {count}, seed {seed}, {fencing:?}");
                assert_eq!(answers(&history, &part), expected, "{row}");
            }
        }
    }
}

#[test]
fn of_two_that_count_the_smaller_name_goes_on() {
    let rows: [(usize, Fault, &[usize], Answers); 8] = [
        (2, Fault::Part, &[0], Part),
        (2, Fault::Part, &[1], Others),
        (2, Fault::Power, &[1], Others),
        (2, Fault::Power, &[0], Nobody),
        (2, Fault::Killed, &[1], Others),
        (2, Fault::Killed, &[0], Nobody),
        (2, Fault::Stopped, &[1], Others),
        (2, Fault::Stopped, &[0], Nobody),
    ];
    check(rows, Fencing::Majority, true);
}

#[test]
fn by_the_stall_rule_alone_each_part_answers() {
    let rows: [(usize, Fault, &[usize], Answers); 3] = [
        (3, Fault::Part, &[0], Both),
        (5, Fault::Part, &[0, 1], Both),
        (3, Fault::Stopped, &[2], Others),
    ];
    check(rows, Fencing::Stall, false);
}

/// What the API does costs nobody an address.
#[test]
fn without_the_api_all_stays_as_it_is() {
    for count in 1..=5 {
        for seed in 0..8 {
            let mut history = History::begin(seed, count);
            let all: Vec<usize> = (0..count).collect();
            let before: Vec<_> =
                history.world.addresses.iter().map(|it| history.world.owners(*it)).collect();
            history.strike(Fault::Api, &all);
            history.world.run(20_000 * MS);
            let after: Vec<_> =
                history.world.addresses.iter().map(|it| history.world.owners(*it)).collect();
            assert_eq!(before, after, "{count} nodes, seed {seed}");
        }
    }
}

/// A speaker that starts while the API is away answers for nothing, and takes nothing from those who can.
#[test]
fn who_starts_without_the_api_takes_nothing() {
    for seed in 0..8 {
        let mut history = History::begin(seed, 3);
        let all = [0, 1, 2];
        history.strike(Fault::Api, &all);
        history.strike(Fault::Killed, &[1]);
        history.world.run(AFTER);
        assert_eq!(answers(&history, &[1]), Others, "seed {seed}");
        history.world.boot(1);
        history.world.run(5 * AFTER);
        assert_eq!(answers(&history, &[1]), Others, "seed {seed}: it takes nothing");
    }
}
