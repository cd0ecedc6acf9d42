// SPDX-License-Identifier: Apache-2.0
//! Parts of a ring that have forgotten one another find one another again, and need no API for that.

use std::time::Duration;

use members::quorum::Fencing;
use speaker::Modes;

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

/// Nodes that are off have the lower addresses, and the API lists their pods. Two speakers live; a third one starts. That the pods do not run
/// the API knows, or (`stale`) only that the nodes are not ready.
#[test]
fn who_starts_beside_many_that_do_not_answer_owns_nothing_that_others_own() {
    let few = [(15, 0, false), (16, 1, false), (16, 2, true), (40, 3, false), (40, 4, true)];
    // More than are contacted at once: often none of those that live is among the first.
    let many = (5..11).map(|seed| (150, seed, true));
    for (off, seed, stale) in few.into_iter().chain(many) {
        let mut world = World::new(seed, off + 3, 6);
        (world.fencing, world.modes) = (Fencing::Majority, Modes::default());
        for node in 0..off {
            world.hosts[node].kernel = false;
            if stale {
                world.set_ready(node, Some(Duration::from_secs(3_600)));
            } else {
                world.broken.insert(node);
            }
        }
        world.boot(off + 1);
        world.boot(off + 2);
        world.run(Duration::from_secs(25));
        assert_one_owner_each(&world, seed);
        world.boot(off);
        // Whoever hands an address over answers until the other one says that it does.
        let mut twice = 0;
        for _ in 0..400 {
            world.run(100 * MS);
            let two = |address: &std::net::IpAddr| world.owners(*address).len() > 1;
            twice += u32::from(world.addresses.iter().any(two));
        }
        assert!(twice <= 2, "{off} are off, seed {seed}: two answer for {twice}00 ms");
        assert_eq!(world.members_of(off), 3, "{off} are off, seed {seed}");
        assert_one_owner_each(&world, seed);
    }
}
