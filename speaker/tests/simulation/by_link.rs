// SPDX-License-Identifier: Apache-2.0
//! `--fencing=link`: the rows of docs/failover.md's table in its column.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use members::quorum::Fencing;

use crate::history::{Fault, History};
use crate::host::Pause;
use crate::judge::Interval;
use crate::link::Stranger;
use crate::world::{MS, World};

/// Within this time after a fault an address that a running speaker could serve has an answer.
pub(crate) const ANSWER: Duration = Duration::from_millis(3_000);
/// How long two may answer on one link, whatever happens to it while the ring is blocked: one probing period, and 0.3 s.
pub(crate) const TWO_BLOCKED: Duration = Duration::from_millis(2_300);
/// How long two may answer on one link after a heal with the ring open.
const TWO_HEALED: Duration = Duration::from_millis(500);
/// How long two may answer on one link in a planned move whose word is lost.
pub(crate) const TWO: Duration = Duration::from_millis(1_200);

pub(crate) fn begin(seed: u64, count: usize) -> History {
    History::begin_fenced(seed, count, Fencing::Link, false)
}

/// Asserts that each address is answered for by exactly one of these nodes.
pub(crate) fn assert_served_by(history: &History, nodes: &[usize], row: &str) {
    for owners in history.owners() {
        let inside: Vec<&usize> = owners.iter().filter(|it| nodes.contains(it)).collect();
        assert_eq!(inside.len(), 1, "{row}: {owners:?} of {nodes:?}");
    }
}

pub(crate) fn assert_nobody(history: &History, nodes: &[usize], row: &str) {
    for owners in history.owners() {
        let inside = owners.iter().any(|it| nodes.contains(it));
        assert!(!inside, "{row}: {owners:?} of {nodes:?}");
    }
}

/// The longest time in which several answered for an address on one link.
fn longest_double(history: &History) -> Duration {
    let several = history.world.judge.all().into_iter().filter(|it| it.owners.len() > 1);
    several.map(|it| it.to - it.from).max().unwrap_or_default()
}

/// The pairs of which nothing passes between the nodes and the others.
fn between(nodes: &[usize], count: usize) -> BTreeSet<(usize, usize)> {
    let others = || (0..count).filter(|other| !nodes.contains(other));
    nodes.iter().flat_map(|one| others().flat_map(|other| [(*one, other), (other, *one)])).collect()
}

/// The ring is cut between the nodes and the others, and the link is not.
pub(crate) fn block_ring(history: &mut History, nodes: &[usize]) {
    history.world.link_cut = Some(BTreeSet::new());
    history.world.cut = between(nodes, history.count);
    history.world.judge_link();
}

/// The ring and the link are cut between the nodes and the others.
pub(crate) fn part(history: &mut History, nodes: &[usize]) {
    history.world.cut = between(nodes, history.count);
    history.world.link_cut = None;
    history.world.judge_link();
}

/// Everything passes again.
pub(crate) fn heal(history: &mut History) {
    history.world.cut.clear();
    history.world.link_cut = None;
    history.world.judge_link();
}

/// All is well again: one owner of each address, and everybody is known.
pub(crate) fn assert_whole(history: &mut History, row: &str) {
    heal(history);
    history.world.run(15_000 * MS);
    let all: Vec<usize> = (0..history.count).collect();
    assert_served_by(history, &all, row);
    for index in all {
        assert_eq!(history.world.members_of(index), history.count, "{row}: node {index}");
    }
}

#[test]
fn what_is_left_of_a_ring_answers() {
    for (count, down) in [(2, 1), (3, 2), (4, 2), (4, 3), (5, 3), (5, 4)] {
        for seed in 0..8 {
            for greatest in [false, true] {
                let row = format!("{down} of {count} without power, seed {seed}, {greatest}");
                let mut history = begin(seed, count);
                let all: Vec<usize> = (0..count).collect();
                history.strike(Fault::Api, &all);
                let dead: Vec<usize> =
                    if greatest { (count - down..count).collect() } else { (0..down).collect() };
                for node in &dead {
                    history.strike(Fault::Power, &[*node]);
                }
                history.world.run(ANSWER);
                let left: Vec<usize> = all.into_iter().filter(|it| !dead.contains(it)).collect();
                assert_served_by(&history, &left, &row);
                history.recover();
                history.world.run(15_000 * MS);
                assert_whole(&mut history, &row);
            }
        }
    }
}

#[test]
fn each_part_of_a_parted_network_answers_and_meets_again() {
    for (count, nodes) in [
        (2, &[0][..]),
        (2, &[1]),
        (3, &[2]),
        (3, &[0]),
        (5, &[0, 3]),
        (5, &[2, 3, 4]),
        (4, &[1, 2]),
    ] {
        for seed in 0..8 {
            let row = format!("{nodes:?} of {count} cut off, seed {seed}");
            let mut history = begin(seed, count);
            part(&mut history, nodes);
            history.world.run(ANSWER);
            assert_served_by(&history, nodes, &row);
            let others: Vec<usize> = (0..count).filter(|it| !nodes.contains(it)).collect();
            assert_served_by(&history, &others, &row);
            heal(&mut history);
            history.world.run(8_000 * MS);
            let double = longest_double(&history);
            assert!(double <= TWO_HEALED, "{row}: several answered for {double:?}");
            assert_whole(&mut history, &row);
        }
    }
}

#[test]
fn a_node_whose_ring_is_blocked_is_silent_while_others_answer() {
    for (count, nodes) in [
        (2, &[0][..]),
        (2, &[1]),
        (3, &[1]),
        (3, &[0]),
        (5, &[0, 1]),
        (5, &[2, 3, 4]),
        (4, &[0, 3]),
    ] {
        for seed in 0..8 {
            let row = format!("the ring of {nodes:?} of {count} is blocked, seed {seed}");
            let mut history = begin(seed, count);
            block_ring(&mut history, nodes);
            history.world.run(20_000 * MS);
            let all: Vec<usize> = (0..count).collect();
            assert_served_by(&history, &all, &row);
            let double = longest_double(&history);
            assert!(double <= TWO_HEALED, "{row}: several answered for {double:?}");
            assert_whole(&mut history, &row);
        }
    }
}

#[test]
fn the_link_comes_back_before_the_ring() {
    for (count, nodes) in [(2, &[1][..]), (3, &[2]), (5, &[0, 3]), (5, &[2, 3]), (4, &[1, 2])] {
        for seed in 0..8 {
            let row = format!("the link of {nodes:?} of {count} comes back, seed {seed}");
            let mut history = begin(seed, count);
            part(&mut history, nodes);
            history.world.run(5_000 * MS);
            heal(&mut history);
            block_ring(&mut history, nodes);
            history.world.run(20_000 * MS);
            let double = longest_double(&history);
            assert!(double <= TWO_BLOCKED, "{row}: several answered for {double:?}");
            let all: Vec<usize> = (0..count).collect();
            assert_served_by(&history, &all, &row);
            assert_whole(&mut history, &row);
        }
    }
}

/// Three parts, none of which has a majority: the one with more members stays, then the one with the smaller name.
#[test]
fn of_parts_without_majority_the_greater_one_stays() {
    for seed in 0..8 {
        let row = format!("seed {seed}");
        let mut history = begin(seed, 5);
        // Node 0 alone, 1 and 2, 3 and 4; first on links of their own.
        let cut = [&[0][..], &[1, 2], &[3, 4]].into_iter().flat_map(|it| between(it, 5)).collect();
        history.world.cut = cut;
        history.world.judge_link();
        history.world.run(ANSWER);
        for nodes in [&[0][..], &[1, 2], &[3, 4]] {
            assert_served_by(&history, nodes, &row);
        }
        history.world.link_cut = Some(BTreeSet::new());
        history.world.judge_link();
        history.world.run(20_000 * MS);
        assert_served_by(&history, &[1, 2], &row);
        assert_nobody(&history, &[0, 3, 4], &row);
        let double = longest_double(&history);
        assert!(double <= TWO_BLOCKED, "{row}: several answered for {double:?}");
        assert_whole(&mut history, &row);
    }
}

#[test]
fn with_datagrams_blocked_nobody_answers_beside_another_for_long() {
    for seed in 0..8 {
        let mut history = begin(seed, 3);
        history.world.block_datagrams(&[2]);
        history.world.run(20_000 * MS);
        let all = [0, 1, 2];
        assert_served_by(&history, &all, &format!("seed {seed}"));
        history.world.mute.clear();
        assert_whole(&mut history, &format!("seed {seed}"));
    }
}

/// A node hears nobody, or nobody hears it, on the ring and on the link: the others have an owner. A node that hears nobody answers as well, for the
/// stations that it hears; nobody hears what the other one says.
#[test]
fn a_loss_one_way_leaves_the_others_their_owner() {
    for (count, node) in [(3, 0), (3, 2), (5, 0), (5, 4)] {
        for deaf in [true, false] {
            for seed in 0..8 {
                let row = format!("node {node} of {count}, deaf {deaf}, seed {seed}");
                let mut history = begin(seed, count);
                let others = (0..count).filter(|other| *other != node);
                let pairs = others.clone().map(|it| if deaf { (it, node) } else { (node, it) });
                history.world.cut = pairs.collect();
                history.world.judge_link();
                history.world.run(ANSWER);
                let others: Vec<usize> = others.collect();
                assert_served_by(&history, &others, &row);
                if deaf {
                    assert_served_by(&history, &[node], &row);
                }
                heal(&mut history);
                history.world.run(8_000 * MS);
                let double = longest_double(&history);
                assert!(double <= TWO_HEALED, "{row}: several answered for {double:?}");
                assert_whole(&mut history, &row);
            }
        }
    }
}

/// Frames are lost on the link alone, and the ring is whole: the ring's owner stays, and no other node answers, whatever the link has become.
#[test]
fn a_link_that_is_narrower_than_the_ring_moves_nothing() {
    for (count, nodes) in [(2, &[0][..]), (3, &[1]), (5, &[2, 3])] {
        for seed in 0..8 {
            let row = format!("the link of {nodes:?} of {count} is cut, seed {seed}");
            let mut history = begin(seed, count);
            let before = history.owners();
            history.world.link_cut = Some(between(nodes, count));
            history.world.judge_link();
            history.world.run(20_000 * MS);
            assert_eq!(history.owners(), before, "{row}");
            assert_whole(&mut history, &row);
        }
    }
}

/// A node that runs alone keeps its addresses when another one is listed that it cannot meet.
#[test]
fn a_node_that_has_met_nobody_keeps_what_it_announces() {
    for seed in 0..8 {
        let row = format!("seed {seed}");
        let mut world = World::new(seed, 2, 6);
        world.fencing = Fencing::Link;
        world.link_cut = Some(BTreeSet::new());
        world.cut = between(&[0], 2);
        world.pods.remove(&1);
        world.boot(0);
        world.run(4_000 * MS);
        let mut history = History::of(world, 2);
        assert_served_by(&history, &[0], &row);
        let known = history.world.judge.all().len();
        history.world.pods.insert(1);
        history.world.boot(1);
        history.world.run(20_000 * MS);
        assert_eq!(history.world.hosts[0].standing().map(members::Standing::name), Some("link"));
        assert_served_by(&history, &[0], &row);
        let after: Vec<Interval> = history.world.judge.all().split_off(known);
        assert!(after.is_empty(), "{row}: {after:?}");
    }
}

/// Of three nodes one is dead, and another one is stopped in order while the API server is away: the last one has been told to take over, and answers
/// from then on, though the process that ends answers its probes still.
#[test]
fn an_orderly_stop_beside_a_dead_node_leaves_no_gap() {
    for seed in 0..16 {
        for (dead, leaver) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            let row = format!("{dead} is dead and {leaver} leaves, seed {seed}");
            let mut history = begin(seed, 3);
            history.strike(Fault::Api, &[0, 1, 2]);
            history.strike(Fault::Killed, &[dead]);
            history.world.run(ANSWER);
            let known = history.world.judge.all().len();
            history.strike(Fault::Planned, &[leaver]);
            history.world.run(5_000 * MS);
            assert_served_by(&history, &[3 - dead - leaver], &row);
            let mut gaps: Vec<Interval> = history.world.judge.all().split_off(known);
            gaps.retain(|it| it.owners.is_empty());
            assert!(gaps.is_empty(), "{row}: {gaps:?}");
        }
    }
}

/// Each node is started again with another key: it hears only those that have the same.
#[test]
fn a_key_that_is_changed_node_by_node_makes_no_second_owner() {
    for count in [2, 3, 5] {
        for seed in 0..8 {
            let row = format!("{count} nodes, seed {seed}");
            let mut history = begin(seed, count);
            history.world.link_cut = Some(BTreeSet::new());
            for node in 0..count {
                history.world.terminate(node);
                history.world.run(2_500 * MS);
                history.world.kill(node, true);
                let changed: Vec<usize> = (0..=node).collect();
                history.world.cut = between(&changed, count);
                history.world.boot(node);
                // A rolling update waits until the pod is ready; a start waits ten seconds for those that do not answer.
                history.world.run(15_000 * MS);
                let all: Vec<usize> = (0..count).collect();
                assert_served_by(&history, &all, &format!("{row}, after node {node}"));
            }
            let double = longest_double(&history);
            assert!(double <= TWO_BLOCKED, "{row}: several answered for {double:?}");
            assert_whole(&mut history, &row);
        }
    }
}

#[test]
fn a_station_that_has_the_address_keeps_the_few_silent_and_a_proxy_does_not() {
    for seed in 0..8 {
        for proxy in [false, true] {
            let row = format!("seed {seed}, proxy {proxy}");
            let mut history = begin(seed, 3);
            let addresses: BTreeSet<IpAddr> = history.world.addresses.iter().copied().collect();
            history.world.stranger =
                Some(if proxy { Stranger::Everything } else { Stranger::Has(addresses) });
            history.strike(Fault::Power, &[0]);
            history.strike(Fault::Power, &[1]);
            history.world.run(ANSWER);
            if proxy {
                assert_served_by(&history, &[2], &row);
            } else {
                assert_nobody(&history, &[2], &row);
                history.world.stranger = None;
                history.world.run(ANSWER);
                assert_served_by(&history, &[2], &row);
            }
            history.recover();
            history.world.run(10_000 * MS);
            assert_whole(&mut history, &row);
        }
    }
}

#[test]
fn a_survivor_that_stood_still_asks_again() {
    for seed in 0..8 {
        for pause in [Pause::Stopped, Pause::Suspended, Pause::Machine] {
            let row = format!("seed {seed}, {pause:?}");
            let mut history = begin(seed, 3);
            history.strike(Fault::Power, &[0]);
            history.strike(Fault::Power, &[1]);
            history.world.run(ANSWER);
            assert_served_by(&history, &[2], &row);
            history.world.pause(2, pause);
            history.world.run(2_000 * MS);
            let addresses: BTreeSet<IpAddr> = history.world.addresses.iter().copied().collect();
            history.world.stranger = Some(Stranger::Has(addresses));
            history.world.resume(2);
            // A machine whose clocks stood still does not know; the probes of the next period tell.
            let known = if pause == Pause::Machine { 2_100 } else { 1 };
            history.world.run(known * MS);
            assert_nobody(&history, &[2], &row);
            history.world.run(ANSWER);
            assert_nobody(&history, &[2], &row);
        }
    }
}

/// All nodes lose their power at once, and start again while the API is away.
#[test]
fn all_rebooted_without_the_api_answer_for_what_they_owned() {
    for count in [1, 2, 3, 5] {
        for seed in 0..8 {
            let row = format!("{count} nodes, seed {seed}");
            let mut history = begin(seed, count);
            let all: Vec<usize> = (0..count).collect();
            let before = history.owners();
            history.strike(Fault::Api, &all);
            for node in &all {
                history.strike(Fault::Power, &[*node]);
            }
            history.world.run(1_000 * MS);
            for node in &all {
                history.world.boot(*node);
            }
            history.world.run(6_000 * MS);
            assert_eq!(history.owners(), before, "{row}");
            // One of them dies: nobody knows what it owned, so that its addresses wait for the API.
            history.world.run(5_000 * MS);
            assert_eq!(history.owners(), before, "{row}, later");
            let known = history.world.judge.all().len();
            history.recover();
            history.world.run(10_000 * MS);
            assert_served_by(&history, &all, &row);
            let long = |it: &Interval| it.to - it.from > TWO && it.owners.len() > 1;
            let after = history.world.judge.all().into_iter().skip(known);
            let double: Vec<Interval> = after.filter(long).collect();
            assert!(double.is_empty(), "{row}: {double:?}");
        }
    }
}

/// A node that starts without the API takes nothing from those that own its former addresses now.
#[test]
fn a_node_that_starts_without_the_api_asks_for_what_it_owned() {
    for seed in 0..8 {
        let row = format!("seed {seed}");
        let mut history = begin(seed, 3);
        history.strike(Fault::Api, &[0, 1, 2]);
        history.strike(Fault::Power, &[1]);
        history.world.run(ANSWER);
        assert_served_by(&history, &[0, 2], &row);
        history.world.boot(1);
        history.world.run(20_000 * MS);
        assert_nobody(&history, &[1], &row);
        assert_served_by(&history, &[0, 2], &row);
        history.recover();
        history.world.run(10_000 * MS);
        assert_whole(&mut history, &row);
    }
}
