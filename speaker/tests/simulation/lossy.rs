// SPDX-License-Identifier: Apache-2.0
//! Half hours in which a fifth of all datagrams is lost and each node stands still now and then, for up to 200 ms: nothing moves, and
//! every address has its one owner all the time. `FERROLB_HALF_HOURS=N` plays N; a usual run a few minutes of one.

use std::time::Duration;

use crate::events::Chance;
use crate::history::History;
use crate::host::Pause;
use crate::number;
use crate::world::MS;

const HALF_HOUR: Duration = Duration::from_secs(1_800);
/// What a usual run plays.
const SHORT: Duration = Duration::from_secs(300);
const NODES: usize = 3;
/// Of a thousand datagrams.
const LOST: u64 = 200;
/// What the heartbeat takes for nothing.
const STALL: u64 = 200_000;

/// What moved, and when.
fn play(seed: u64, length: Duration) -> Result<(), String> {
    let mut chance = Chance(seed ^ 0x10_55);
    let mut history = History::begin(seed, NODES);
    let world = &mut history.world;
    let owners: Vec<Vec<usize>> = world.addresses.iter().map(|it| world.owners(*it)).collect();
    let settled = world.now;
    world.loss = LOST;
    while world.now < settled + length {
        world.run(chance.micros(1, 1_500_000));
        let host = chance.index(NODES);
        world.pause(host, Pause::Stopped);
        world.run(chance.micros(1_000, STALL));
        world.resume(host);
        world.run(MS);
        for (address, before) in world.addresses.iter().zip(&owners) {
            let now = world.owners(*address);
            if now != *before {
                return Err(format!(
                    "{address} was at {before:?} and is at {now:?} at {:?}",
                    world.now
                ));
            }
        }
    }
    match world.judge.intervals.iter().find(|interval| interval.to > settled) {
        Some(interval) => Err(format!("{interval:?}")),
        None => Ok(()),
    }
}

#[test]
fn loss_and_stalls_move_nothing() {
    let (count, length) = match number("FERROLB_HALF_HOURS") {
        Some(count) => (count, HALF_HOUR),
        None => (1, SHORT),
    };
    let moved: Vec<String> = (0..count)
        .filter_map(|seed| play(seed, length).err().map(|text| format!("seed {seed}: {text}")))
        .collect();
    assert!(moved.is_empty(), "in {} of {count}: {moved:#?}", moved.len());
}
