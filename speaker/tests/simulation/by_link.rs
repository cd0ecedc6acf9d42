// SPDX-License-Identifier: Apache-2.0
//! `--fencing=link`: the rows of docs/failover.md's table in its column, and histories in which the ring and the link fail apart.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use members::quorum::Fencing;
use speaker::Modes;

use crate::events::Chance;
use crate::history::{Fault, History};
use crate::host::Pause;
use crate::judge::Interval;
use crate::link::Stranger;
use crate::world::{MS, World};
use crate::{number, share_out};

/// Within this time after a fault an address that a running speaker could serve has an answer.
const ANSWER: Duration = Duration::from_millis(3_000);
/// How long two may answer on one link, whatever happens to it while the ring is blocked: one probing period, and 0.3 s.
const TWO_BLOCKED: Duration = Duration::from_millis(2_300);
/// How long two may answer on one link after a heal with the ring open.
const TWO_HEALED: Duration = Duration::from_millis(500);
/// How long two may answer on one link in a planned move whose word is lost.
const TWO: Duration = Duration::from_millis(1_200);

fn begin(seed: u64, count: usize) -> History {
    History::begin_fenced(seed, count, Fencing::Link, false)
}

/// The nodes that answer for each address.
fn owners(history: &History) -> Vec<Vec<usize>> {
    history.world.addresses.iter().map(|it| history.world.owners(*it)).collect()
}

/// Asserts that each address is answered for by exactly one of these nodes.
fn assert_served_by(history: &History, nodes: &[usize], row: &str) {
    for owners in owners(history) {
        let inside: Vec<&usize> = owners.iter().filter(|it| nodes.contains(it)).collect();
        assert_eq!(inside.len(), 1, "{row}: {owners:?} of {nodes:?}");
    }
}

fn assert_nobody(history: &History, nodes: &[usize], row: &str) {
    for owners in owners(history) {
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
fn block_ring(history: &mut History, nodes: &[usize]) {
    history.world.link_cut = Some(BTreeSet::new());
    history.world.cut = between(nodes, history.count);
}

/// The ring and the link are cut between the nodes and the others.
fn part(history: &mut History, nodes: &[usize]) {
    history.world.cut = between(nodes, history.count);
    history.world.link_cut = None;
    let groups = (0..history.count).map(|it| usize::from(nodes.contains(&it))).collect();
    history.world.judge.regroup(history.world.now, groups);
}

/// Everything passes again.
fn heal(history: &mut History) {
    history.world.cut.clear();
    history.world.link_cut = None;
    let groups = vec![0; history.count];
    history.world.judge.regroup(history.world.now, groups);
}

/// All is well again: one owner of each address, and everybody is known.
fn assert_whole(history: &mut History, row: &str) {
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
        history.world.judge.regroup(history.world.now, vec![0, 1, 1, 2, 2]);
        history.world.run(ANSWER);
        for nodes in [&[0][..], &[1, 2], &[3, 4]] {
            assert_served_by(&history, nodes, &row);
        }
        history.world.link_cut = Some(BTreeSet::new());
        history.world.judge.regroup(history.world.now, vec![0; 5]);
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
            let before = owners(&history);
            history.strike(Fault::Api, &all);
            for node in &all {
                history.strike(Fault::Power, &[*node]);
            }
            history.world.run(1_000 * MS);
            for node in &all {
                history.world.boot(*node);
            }
            history.world.run(6_000 * MS);
            assert_eq!(owners(&history), before, "{row}");
            // One of them dies: nobody knows what it owned, so that its addresses wait for the API.
            history.world.run(5_000 * MS);
            assert_eq!(owners(&history), before, "{row}, later");
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

/// What may be cut, and where.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// The ring and the link alike.
    Both,
    /// The ring alone: the link is wider.
    Ring,
    /// The ring first, and a moment later the link.
    RingFirst,
    /// The link comes back first.
    LinkBack,
}

/// A random history: a part is cut off in some way, and nodes end or stand still meanwhile.
fn play(seed: u64) -> Result<(), String> {
    let mut chance = Chance(seed ^ 0x11_4b);
    let count = 2 + chance.index(4);
    let modes = Modes { sticky: seed % 4 == 2, spread: seed % 4 == 3 };
    let mut history = History::begin_with(seed, count, 6, modes, Fencing::Link, false);
    let size = 1 + chance.index(count - 1);
    let nodes: Vec<usize> = (0..size).map(|_| chance.index(count)).collect();
    let cut = [Cut::Both, Cut::Ring, Cut::RingFirst, Cut::LinkBack][chance.index(4)];
    let down = (chance.below(2) == 0).then(|| chance.index(count));
    let paused = (chance.below(3) == 0).then(|| chance.index(count)).filter(|it| Some(*it) != down);
    let before = chance.below(2) == 0;
    history.world.note(format!("{cut:?} {nodes:?}, down {down:?} {before}, paused {paused:?}"));
    let mut wrong = String::new();
    let strike = |world: &mut World| {
        if let Some(down) = down {
            world.kill(down, false);
        }
        if let Some(paused) = paused {
            world.pause(paused, Pause::Stopped);
        }
    };
    if before {
        strike(&mut history.world);
        let wait = chance.micros(1_000, 1_500_000);
        history.world.run(wait);
    }
    match cut {
        Cut::Both | Cut::LinkBack => part(&mut history, &nodes),
        Cut::Ring | Cut::RingFirst => block_ring(&mut history, &nodes),
    }
    let wait = chance.micros(1_000, 1_500_000);
    history.world.run(wait);
    if !before {
        strike(&mut history.world);
    }
    match cut {
        Cut::RingFirst => part(&mut history, &nodes),
        Cut::LinkBack => {
            heal(&mut history);
            block_ring(&mut history, &nodes);
        }
        Cut::Both | Cut::Ring => {}
    }
    history.world.run(ANSWER);
    let parted = matches!(cut, Cut::Both | Cut::RingFirst);
    let able = |it: &usize| Some(*it) != down && Some(*it) != paused;
    let inside: Vec<usize> = (0..count).filter(|it| !parted || nodes.contains(it)).collect();
    let outside: Vec<usize> = (0..count).filter(|it| parted && !nodes.contains(it)).collect();
    for group in [inside, outside] {
        if group.iter().any(able) {
            for (address, owners) in history.world.addresses.iter().zip(owners(&history)) {
                let answers = owners.iter().filter(|it| group.contains(it)).count();
                if answers != 1 {
                    let _ = writeln!(wrong, "{address}: {owners:?} answer in {group:?}");
                }
            }
        }
    }
    if let Some(paused) = paused {
        history.world.resume(paused);
    }
    let wait = chance.micros(1_000, 3_000_000);
    history.world.run(wait);
    heal(&mut history);
    if let Some(down) = down {
        history.world.boot(down);
    }
    history.world.run(20_000 * MS);
    for (address, owners) in history.world.addresses.iter().zip(owners(&history)) {
        if owners.len() != 1 {
            let _ = writeln!(wrong, "at the end {owners:?} answer for {address}");
        }
    }
    let bound = match cut {
        Cut::Both if down.is_none() && paused.is_none() => TWO,
        _ => TWO_BLOCKED,
    };
    for interval in history.world.judge.all() {
        let length = interval.to - interval.from;
        if interval.owners.len() > 1 && length > bound {
            let _ = writeln!(
                wrong,
                "several answer for {length:?} on link {}: {interval:?}",
                interval.group
            );
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let mut text = format!("{count} nodes\n");
    for (at, what) in &history.world.log {
        let _ = writeln!(text, "  {at:?} {what}");
    }
    for (index, host) in history.world.hosts.iter().enumerate() {
        let _ = writeln!(text, "  node {index}: {}", host.describe());
    }
    Err(text + &wrong)
}

#[test]
fn whatever_is_cut_each_link_has_one_owner() {
    let seeds = match number("FERROLB_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FERROLB_SEEDS").unwrap_or(240) / 4,
    };
    let count = seeds.end - seeds.start;
    let failed: Vec<(u64, String)> = share_out(seeds, play)
        .into_iter()
        .filter_map(|(seed, played)| Some((seed, played.err()?)))
        .collect();
    for (seed, text) in failed.iter().take(3) {
        eprintln!("FERROLB_SEED={seed}: {text}");
    }
    let numbers: Vec<u64> = failed.iter().map(|(seed, _)| *seed).collect();
    assert!(failed.is_empty(), "{} of {count} histories: {numbers:?}", failed.len());
}
