// SPDX-License-Identifier: Apache-2.0
//! Whole speakers on a simulated network: who answers, at every virtual moment, through partitions, pauses, crashes, loss and planned
//! moves. A history follows from its seed; one that fails tells it, and `FERROLB_SEED=N` plays it alone. `FERROLB_SEEDS=N` plays N, as `make test`
//! does with thousands, in a build that is optimized.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod by_link;
mod carrier;
mod digests;
mod events;
mod history;
mod host;
mod joins;
mod judge;
mod keeping;
mod link;
mod link_cuts;
mod lossy;
mod membership;
mod modes;
mod network;
mod restarts;
mod table;
mod world;

use std::collections::BTreeMap;
use std::ops::Range;

use history::{ALL, Fault, History, LinkCuts};
use members::quorum::Fencing;

/// Histories of a run that is not told how many.
const SEEDS: u64 = 100;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Plays each seed, shared out among the processors; what came of each.
fn share_out<T: Send>(seeds: Range<u64>, play: impl Fn(u64) -> T + Sync) -> Vec<(u64, T)> {
    let threads = std::thread::available_parallelism().map_or(1, |number| number.get() as u64);
    std::thread::scope(|scope| {
        let play = &play;
        let share = |first: u64| {
            let seeds = seeds.start + first..seeds.end;
            let seeds = seeds.step_by(usize::try_from(threads).unwrap_or(1));
            move || seeds.map(|seed| (seed, play(seed))).collect::<Vec<_>>()
        };
        let running: Vec<_> = (0..threads).map(|first| scope.spawn(share(first))).collect();
        running.into_iter().flat_map(|thread| thread.join().expect("a history panicked")).collect()
    })
}

/// The faults that are wanted, by their names in `FERROLB_FAULTS`; else all.
fn faults() -> Vec<Fault> {
    let wanted = std::env::var("FERROLB_FAULTS").unwrap_or_default();
    let named = |fault: &Fault| wanted.split(',').any(|name| name == format!("{fault:?}"));
    let chosen: Vec<Fault> = ALL.into_iter().filter(named).collect();
    if chosen.is_empty() { ALL.to_vec() } else { chosen }
}

#[test]
fn whatever_happens_each_address_has_its_owner() {
    let faults = faults();
    let seeds = match number("FERROLB_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FERROLB_SEEDS").unwrap_or(SEEDS),
    };
    let count = seeds.end - seeds.start;
    let play = |seed| {
        let played = History::play(seed, &faults, Fencing::Majority, LinkCuts::Unseen);
        played.map(|history| history.world.judge.digest())
    };
    let mut failed = Vec::new();
    let mut digests = BTreeMap::new();
    for (seed, played) in share_out(seeds, play) {
        match played {
            Ok(digest) => drop(digests.insert(seed, digest)),
            Err(text) => failed.push((seed, text)),
        }
    }
    for (seed, text) in &failed {
        eprintln!("FERROLB_SEED={seed}: {text}");
    }
    assert!(failed.is_empty(), "{} of {count} histories", failed.len());
    if faults == ALL {
        digests::compare(&digests);
    }
}

/// The same with the link as the last word: on a link that stays whole, and on one that is cut as the ring is. Each is played with a
/// sixteenth of the seeds, or with as many as `FERROLB_SEEDS_BY_LINK` says.
#[test]
fn whatever_happens_by_link_each_address_has_its_owner() {
    let faults = faults();
    let seeds = match number("FERROLB_SEED") {
        Some(seed) => seed..seed + 1,
        None => {
            let few = || number("FERROLB_SEEDS").unwrap_or(SEEDS) / 16;
            0..number("FERROLB_SEEDS_BY_LINK").unwrap_or_else(few)
        }
    };
    let count = seeds.end - seeds.start;
    for link_cuts in [LinkCuts::None, LinkCuts::Equal] {
        let play = |seed| History::play(seed, &faults, Fencing::Link, link_cuts).err();
        let failed: Vec<(u64, String)> = share_out(seeds.clone(), play)
            .into_iter()
            .filter_map(|(seed, wrong)| Some((seed, wrong?)))
            .collect();
        for (seed, text) in &failed {
            eprintln!("FERROLB_SEED={seed}: {text}");
        }
        let numbers: Vec<u64> = failed.iter().map(|(seed, _)| *seed).collect();
        assert!(
            failed.is_empty(),
            "{} of {count} histories with cuts {link_cuts:?}: {numbers:?}",
            failed.len()
        );
    }
}
