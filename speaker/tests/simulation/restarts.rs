// SPDX-License-Identifier: Apache-2.0
//! All speakers end and start again, and the Node of a living owner is deleted. Virtual time: what it takes is exact.

use std::time::Duration;

use members::quorum::Fencing;

use crate::history::History;
use crate::world::{MS, World};

/// How long a start may take: two seconds for the ring, and what the rest takes.
const START: Duration = Duration::from_secs(4);
const STEP: Duration = Duration::from_millis(20);

fn settled(world: &World) -> bool {
    world.addresses.iter().all(|address| world.owners(*address).len() == 1)
}

/// How long at least one address has nobody who answers for it, within this time.
fn silence(world: &mut World, within: Duration) -> Duration {
    let (mut silent, end) = (Duration::ZERO, world.now + within);
    while world.now < end {
        world.run(STEP);
        if world.addresses.iter().any(|address| world.owners(*address).is_empty()) {
            silent += STEP;
        }
    }
    silent
}

#[test]
fn all_speakers_that_start_again_a_second_later_have_one_owner_each() {
    for fencing in [Fencing::Majority, Fencing::Stall] {
        for (seed, count, in_order) in
            [(0, 3, false), (1, 3, true), (2, 2, true), (3, 5, false), (4, 5, true), (5, 2, false)]
        {
            let mut world = History::begin_fenced(seed, count, fencing, false).world;
            assert!(settled(&world), "seed {seed}");
            for node in 0..count {
                if in_order {
                    world.terminate(node);
                } else {
                    world.kill(node, true);
                }
            }
            // In order, each waits for others that would take over.
            while world.hosts.iter().any(|host| host.process.is_some()) {
                world.run(STEP);
            }
            world.run(Duration::from_secs(1));
            (0..count).for_each(|node| world.boot(node));
            let after = silence(&mut world, Duration::from_secs(60));
            assert!(settled(&world), "seed {seed}");
            assert!(after <= START, "{fencing:?}, seed {seed}: nobody answers for {after:?}");
        }
    }
}

#[test]
fn the_addresses_of_a_node_that_is_deleted_while_it_lives_move_without_a_gap() {
    for seed in 0..6 {
        let mut world = History::begin(seed, 3).world;
        let address = world.addresses[0];
        let owner = world.owners(address)[0];
        world.delete_node(owner);
        let silent = silence(&mut world, Duration::from_secs(30));
        assert!(settled(&world), "seed {seed}");
        assert!(silent <= 100 * MS, "seed {seed}: nobody answers for {silent:?}");
    }
}
