// SPDX-License-Identifier: Apache-2.0
//! `--fencing=link` on a node whose carrier goes and comes back: the link says nothing while it is gone.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::by_link::{ANSWER, assert_nobody, assert_served_by, assert_whole, begin};
use crate::history::{Fault, History};
use crate::judge::Interval;
use crate::world::MS;

/// The times in which several answered from the interval of this number on.
fn doubles_since(history: &History, known: usize) -> Vec<Interval> {
    let after = history.world.judge.all().into_iter().skip(known);
    after.filter(|it| it.owners.len() > 1).collect()
}

/// A node hears nobody on the ring, and has no carrier for a time. The others answer on the link all along: the node hears that when the carrier is
/// back, and answers for nothing.
#[test]
fn a_node_that_gets_its_carrier_back_asks_before_it_answers() {
    // The carrier goes before the ring's datagrams do, or this long after them.
    let moments = [None, Some(0), Some(400), Some(900)];
    for (count, node) in [(3, 0), (3, 2), (5, 1)] {
        for after in moments {
            for seed in 0..8 {
                let row = format!("node {node} of {count}, after {after:?} ms, seed {seed}");
                let mut history = begin(seed, count);
                history.world.link_cut = Some(BTreeSet::new());
                if after.is_none() {
                    history.world.set_carrier(node, false);
                    history.world.run(2_000 * MS);
                }
                let others: Vec<usize> = (0..count).filter(|other| *other != node).collect();
                history.world.cut = others.iter().map(|other| (*other, node)).collect();
                history.world.run(Duration::from_millis(after.unwrap_or(0)));
                history.world.set_carrier(node, false);
                history.world.run(ANSWER);
                assert_nobody(&history, &[node], &row);
                assert_served_by(&history, &others, &row);
                let known = history.world.judge.all().len();
                history.world.set_carrier(node, true);
                history.world.run(10_000 * MS);
                assert_served_by(&history, &others, &row);
                let doubles = doubles_since(&history, known);
                assert!(doubles.is_empty(), "{row}: {doubles:?}");
                assert_whole(&mut history, &row);
            }
        }
    }
}

/// The last node of three answers for nobody without its carrier, and again when the carrier is back.
#[test]
fn the_last_node_answers_again_with_its_carrier() {
    for seed in 0..8 {
        for left in 0..3 {
            let row = format!("node {left} is left, seed {seed}");
            let mut history = begin(seed, 3);
            for dead in (0..3).filter(|it| *it != left) {
                history.strike(Fault::Power, &[dead]);
            }
            history.world.run(ANSWER);
            assert_served_by(&history, &[left], &row);
            history.world.set_carrier(left, false);
            history.world.run(1_000 * MS);
            assert_nobody(&history, &[left], &row);
            history.world.set_carrier(left, true);
            history.world.run(ANSWER);
            assert_served_by(&history, &[left], &row);
            history.recover();
            history.world.run(15_000 * MS);
            assert_whole(&mut history, &row);
        }
    }
}
