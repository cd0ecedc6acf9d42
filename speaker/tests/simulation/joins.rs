// SPDX-License-Identifier: Apache-2.0
//! Parts of a ring that have forgotten one another find one another again, and need no API for that.

use std::time::Duration;

use crate::history::History;
use crate::world::{MS, World};

/// How often those are joined of whom it is known where they are, and what the rest takes.
const JOINED: Duration = Duration::from_secs(60 + 5);

fn assert_one_owner_each(world: &World, seed: u64) {
    for address in &world.addresses {
        let owners = world.owners(*address);
        assert_eq!(owners.len(), 1, "seed {seed}, {address}: {owners:?}");
    }
}

fn take_api_away(world: &mut World) {
    for index in 0..world.hosts.len() {
        world.set_api(index, false);
    }
}

/// As hosts of `ferrolb run --join`, which hear once where the others are, or speakers whose API was there only for a moment.
#[test]
fn hosts_that_boot_before_the_switch_forwards_find_one_another() {
    for (seed, minutes) in [(0, 1), (1, 20), (2, 3), (3, 7)] {
        let mut world = World::new(seed, 2, 6);
        world.part(&[0]);
        (0..2).for_each(|index| world.boot(index));
        world.run(300 * MS);
        take_api_away(&mut world);
        world.run(Duration::from_secs(60 * minutes));
        assert!((0..2).all(|index| world.members_of(index) == 1), "they have not met");
        world.cut.clear();
        world.run(JOINED);
        assert!((0..2).all(|index| world.members_of(index) == 2), "seed {seed}");
        assert_one_owner_each(&world, seed);
    }
}

#[test]
fn two_that_were_parted_for_long_find_one_another_while_the_api_is_away() {
    for seed in 0..4 {
        let mut world = History::begin(seed, 2).world;
        take_api_away(&mut world);
        world.part(&[0]);
        world.run(Duration::from_secs(900));
        world.cut.clear();
        world.run(JOINED);
        assert_one_owner_each(&world, seed);
    }
}
