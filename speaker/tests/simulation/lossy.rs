// SPDX-License-Identifier: Apache-2.0
//! Half hours in which a fifth of all datagrams is lost while something else takes the processor for some milliseconds again and again, and
//! others in which nodes stand still for up to 200 ms: nothing moves. How long nobody answers is counted.
//! `FERROLB_HALF_HOURS=N` plays N, of the seeds from `FERROLB_FIRST_SEED` on (0); a usual run a few minutes of each kind.

use std::time::Duration;

use crate::events::Chance;
use crate::history::{CLEAN, History};
use crate::host::Pause;
use crate::world::MS;
use crate::{number, share_out};

const HALF_HOUR: Duration = Duration::from_secs(1_800);
/// What a usual run plays.
const SHORT: Duration = Duration::from_secs(300);
const NODES: usize = 3;

/// What goes on all the time.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    /// Of a thousand datagrams.
    lost: u64,
    /// How long a node does not run, in microseconds, at most.
    stall: u64,
    /// How long all run between two such times, in microseconds, at most.
    between: u64,
}

/// As a process that takes all it gets of the same processor, on a bad network.
const LOSS_AND_HOG: Trouble = Trouble { lost: 200, stall: 30_000, between: 200_000 };
const STALLS: Trouble = Trouble { lost: 0, stall: 200_000, between: 1_500_000 };

/// How often and how long nobody answered for an address.
#[derive(Clone, Copy, Debug, Default)]
struct Silence {
    times: u32,
    longest: Duration,
    sum: Duration,
}

impl Silence {
    fn add(&mut self, other: Self) {
        self.times += other.times;
        self.longest = self.longest.max(other.longest);
        self.sum += other.sum;
    }
}

/// The silence of all addresses together; an error says what moved, and when.
fn play(seed: u64, length: Duration, trouble: Trouble) -> Result<Silence, String> {
    let mut chance = Chance(seed ^ 0x10_55);
    let mut history = History::begin(seed, NODES);
    let world = &mut history.world;
    let owners: Vec<Vec<usize>> = world.addresses.iter().map(|it| world.owners(*it)).collect();
    let settled = world.now;
    world.loss = trouble.lost;
    while world.now < settled + length {
        world.run(chance.micros(1, trouble.between));
        let host = chance.index(NODES);
        world.pause(host, Pause::Stopped);
        world.run(chance.micros(1_000, trouble.stall));
        world.resume(host);
        world.run(MS);
        for (address, before) in world.addresses.iter().zip(&owners) {
            let now = world.owners(*address);
            if !now.is_empty() && now != *before {
                return Err(format!(
                    "{address} was at {before:?}, is at {now:?} at {:?}",
                    world.now
                ));
            }
        }
    }
    let mut silence = Silence::default();
    for interval in world.judge.intervals.iter().filter(|interval| interval.to > settled) {
        if !interval.owners.is_empty() {
            return Err(format!("two answered: {interval:?}"));
        }
        let time = interval.to - interval.from;
        silence.add(Silence { times: 1, longest: time, sum: time });
    }
    if silence.longest > CLEAN {
        return Err(format!("nobody answered for {:?}", silence.longest));
    }
    Ok(silence)
}

fn moves_nothing(trouble: Trouble) {
    let (count, length) = match number("FERROLB_HALF_HOURS") {
        Some(count) => (count, HALF_HOUR),
        None => (1, SHORT),
    };
    let first = number("FERROLB_FIRST_SEED").unwrap_or(0);
    let seeds = first..first + count;
    let mut silence = Silence::default();
    let mut moved = Vec::new();
    for (seed, outcome) in share_out(seeds, |seed| play(seed, length, trouble)) {
        match outcome {
            Ok(more) => silence.add(more),
            Err(text) => moved.push(format!("seed {seed}: {text}")),
        }
    }
    println!("{trouble:?}, {count} of {length:?}: nobody answered for an address {silence:?}");
    assert!(moved.is_empty(), "in {} of {count}: {moved:#?}", moved.len());
}

#[test]
fn loss_and_a_hog_move_nothing() {
    moves_nothing(LOSS_AND_HOG);
}

#[test]
fn stalls_move_nothing() {
    moves_nothing(STALLS);
}
