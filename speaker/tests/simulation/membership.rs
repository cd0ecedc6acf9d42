// SPDX-License-Identifier: Apache-2.0
//! Who counts: speakers that only TCP reaches, and nodes of which the API says that they are not ready, or no more.

use std::collections::BTreeSet;
use std::time::Duration;

use members::quorum::Fencing;
use speaker::Modes;

use crate::host::Pause;
use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);

fn world(seed: u64, count: usize) -> World {
    let mut world = World::new(seed, count, 6);
    (world.fencing, world.modes) = (Fencing::Majority, Modes::default());
    world
}

/// One node answers for each address.
fn settled(world: &World) -> bool {
    world.addresses.iter().all(|address| world.owners(*address).len() == 1)
}

/// A speaker starts anew on each of these nodes, one after the other, as in a rollout.
fn roll(world: &mut World, nodes: impl IntoIterator<Item = usize>) {
    for node in nodes {
        world.kill(node, true);
        world.run(SECOND / 5);
        world.boot(node);
        world.run(SECOND * 4);
    }
}

#[test]
fn where_only_tcp_passes_somebody_answers_and_it_is_said() {
    for count in 2..=5 {
        for seed in 0..4 {
            let mut world = world(seed, count);
            let all: Vec<usize> = (0..count).collect();
            world.block_datagrams(&all);
            for node in &all {
                world.boot(*node);
            }
            // What they say of themselves goes round by the exchanges that are made every half minute.
            world.run(SECOND * 5);
            for address in &world.addresses {
                let owners = world.owners(*address);
                assert!(!owners.is_empty(), "{count} nodes, seed {seed}: nobody for {address}");
            }
            world.run(SECOND * 120);
            assert!(settled(&world), "{count} nodes, seed {seed}");
            for node in &all {
                let unheard = &world.hosts[*node].process.as_ref().unwrap().unheard;
                assert_eq!(unheard.len(), count - 1, "{count} nodes, seed {seed}, node {node}");
            }
        }
    }
}

#[test]
fn one_that_only_tcp_reaches_costs_no_rollout_an_owner() {
    for count in 3..=4 {
        for seed in 0..3 {
            let mut world = world(seed, count);
            let last = count - 1;
            world.block_datagrams(&[last]);
            for node in 0..count {
                world.boot(node);
            }
            world.run(SECOND * 5);
            roll(&mut world, 0..count);
            world.run(SECOND * 45);
            assert!(settled(&world), "{count} nodes, seed {seed}");
            for node in 0..last {
                let unheard = &world.hosts[node].process.as_ref().unwrap().unheard;
                assert_eq!(unheard, &BTreeSet::from([crate::world::name(last)]), "seed {seed}");
            }
            // Whoever stood still is confirmed by those that it hears.
            world.pause(0, Pause::Stopped);
            world.run(SECOND * 5);
            world.resume(0);
            world.run(SECOND * 3);
            assert!(world.hosts[0].may_answer(world.now), "{count} nodes, seed {seed}");
        }
    }
}

/// Five nodes, of which the last three lost power.
fn two_of_five(seed: u64) -> World {
    let mut world = world(seed, 5);
    for node in 0..5 {
        world.boot(node);
    }
    world.run(SECOND * 5);
    for node in 2..5 {
        world.kill(node, false);
    }
    world.run(SECOND * 5);
    assert!(world.addresses.iter().all(|it| world.owners(*it).is_empty()), "seed {seed}");
    world
}

#[test]
fn nodes_that_are_not_ready_for_a_minute_count_neither_now_nor_after_a_rollout() {
    for seed in 0..4 {
        let mut world = two_of_five(seed);
        for node in 2..5 {
            world.set_ready(node, Some(Duration::ZERO));
        }
        world.run(SECOND * 55);
        assert!(world.addresses.iter().all(|it| world.owners(*it).is_empty()), "seed {seed}");
        world.run(SECOND * 12);
        assert!(settled(&world), "seed {seed}");
        // Whoever starts believes the API since when they are not ready.
        for node in 2..5 {
            world.set_ready(node, Some(SECOND * 3_600));
        }
        world.run(SECOND);
        roll(&mut world, [0, 1]);
        assert!(settled(&world), "seed {seed}, after the rollout");
    }
}

#[test]
fn without_the_api_no_node_is_given_up() {
    for seed in 0..4 {
        let mut world = two_of_five(seed);
        for node in 2..5 {
            world.set_ready(node, Some(Duration::ZERO));
        }
        world.run(SECOND * 5);
        for node in 0..2 {
            world.set_api(node, false);
        }
        world.run(SECOND * 120);
        assert!(world.addresses.iter().all(|it| world.owners(*it).is_empty()), "seed {seed}");
        for node in 0..2 {
            world.set_api(node, true);
        }
        world.run(SECOND * 10);
        assert!(settled(&world), "seed {seed}");
    }
}

#[test]
fn nodes_and_pods_that_are_deleted_do_not_count() {
    for seed in 0..4 {
        for nodes in [true, false] {
            let mut world = two_of_five(seed);
            for node in 2..5 {
                if nodes {
                    world.delete_node(node);
                } else {
                    world.pods.remove(&node);
                }
            }
            // The next usual list is at most 16 s away here.
            world.run(SECOND * if nodes { 2 } else { 17 });
            assert!(settled(&world), "seed {seed}, nodes {nodes}");
            roll(&mut world, [0, 1]);
            assert!(settled(&world), "seed {seed}, nodes {nodes}, after the rollout");
        }
    }
}

/// Speakers leave in order and start again on the side of the parted ring on which only one is of those that went on.
fn back_beside_one(world: &mut World, left: &[usize], parted: &[usize], seed: u64) {
    for node in left {
        world.terminate(*node);
        world.run(SECOND * 3);
        world.kill(*node, true);
    }
    world.part(parted);
    world.run(SECOND * 3);
    for node in left {
        world.boot(*node);
    }
    for _ in 0..20 {
        world.run(SECOND / 2);
        for address in &world.addresses {
            let owners = world.owners(*address);
            assert!(
                matches!(&*owners, [owner] if !parted.contains(owner)),
                "seed {seed}: {owners:?} for {address}, the few are {parted:?}"
            );
        }
    }
}

#[test]
fn who_starts_beside_the_few_makes_them_no_majority() {
    for seed in 0..8 {
        // The others know three and are two of them. These would be two of four, with the smallest name; and three of five.
        for (count, left, parted) in [(4, &[0][..], &[0, 1][..]), (5, &[0, 1], &[0, 1, 2])] {
            for heals in [true, false] {
                let mut world = world(seed, count);
                for node in 0..count {
                    world.boot(node);
                }
                world.run(SECOND * 5);
                back_beside_one(&mut world, left, parted, seed);
                if heals {
                    world.cut.clear();
                } else {
                    // Without the others, for good: these are all there is.
                    for node in (0..count).filter(|node| !parted.contains(node)) {
                        world.kill(node, false);
                        world.delete_node(node);
                        world.pods.remove(&node);
                    }
                }
                world.run(SECOND * 25);
                assert!(settled(&world), "seed {seed}, {count} nodes, heals {heals}");
            }
        }
    }
}

/// Their pods are listed and do not run: the image is missing, the port is taken, the program ends at once.
#[test]
fn pods_that_never_ran_take_nobody_the_majority() {
    for seed in 0..4 {
        for count in [2, 3, 5] {
            for running in 1..=2 {
                let mut world = world(seed, count);
                world.broken.extend(running..count);
                for node in 0..running {
                    world.boot(node);
                    world.run(SECOND * 6);
                    assert!(settled(&world), "seed {seed}, {node} is the last of {count} to start");
                }
                roll(&mut world, 0..running);
                assert!(settled(&world), "seed {seed}, {running} of {count} after a rollout");
                // One more runs after all.
                if running < count {
                    world.broken.remove(&running);
                    world.boot(running);
                    world.run(SECOND * 6);
                    assert!(settled(&world), "seed {seed}, {running} of {count}, and one more");
                }
            }
        }
    }
}

#[test]
fn pods_that_run_and_were_never_met_count() {
    for seed in 0..4 {
        let mut world = world(seed, 5);
        (0..2).for_each(|node| world.boot(node));
        world.run(SECOND * 40);
        assert!(world.addresses.iter().all(|it| world.owners(*it).is_empty()), "seed {seed}");
        world.broken.extend(2..5);
        world.run(SECOND * 40);
        assert!(settled(&world), "seed {seed}: the API says that they do not run");
    }
}

/// Those that did not run begin to, where the others do not hear them; the API tells both parts.
#[test]
fn pods_that_begin_to_run_beyond_a_partition_count_again() {
    for seed in 0..4 {
        let mut world = world(seed, 5);
        world.broken.extend(2..5);
        (0..2).for_each(|node| world.boot(node));
        world.run(SECOND * 20);
        assert!(settled(&world), "seed {seed}");
        world.part(&[0, 1]);
        world.broken.clear();
        (2..5).for_each(|node| world.boot(node));
        world.run(SECOND * 45);
        for address in &world.addresses {
            let owners = world.owners(*address);
            assert!(matches!(&*owners, [owner] if *owner >= 2), "seed {seed}: {owners:?}");
        }
    }
}
