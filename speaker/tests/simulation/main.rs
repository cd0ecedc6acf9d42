// SPDX-License-Identifier: Apache-2.0
//! Whole speakers on a simulated network: who answers, at every virtual moment, through partitions, pauses, crashes, loss and planned
//! moves. A history follows from its seed; one that fails tells it, and `FERROLB_SEED=N` plays it alone. `FERROLB_SEEDS=N` plays N.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

mod events;
mod history;
mod host;
mod joins;
mod judge;
mod lossy;
mod membership;
mod modes;
mod network;
mod table;
mod world;

use history::{ALL, Fault, History};

/// Histories of a usual run.
const SEEDS: u64 = 400;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
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
    let mut failed = 0;
    for seed in seeds.clone() {
        if let Err(text) = History::play(seed, &faults) {
            failed += 1;
            eprintln!("FERROLB_SEED={seed}: {text}");
        }
    }
    assert_eq!(failed, 0, "of {} histories", seeds.end - seeds.start);
}
