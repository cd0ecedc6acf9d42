// SPDX-License-Identifier: Apache-2.0
//! Owners that stay, and owners that are spread.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use members::quorum::Fencing;
use speaker::Modes;

use crate::history::{Fault, History, TWO};
use crate::world::{MS, World};

const STICKY: Modes = Modes { sticky: true, spread: false };
const SPREAD: Modes = Modes { sticky: false, spread: true };
const BOTH: Modes = Modes { sticky: true, spread: true };
const SEEDS: std::ops::Range<u64> = 0..12;

fn begin(seed: u64, count: usize, modes: Modes, addresses: usize) -> History {
    History::begin_with(seed, count, addresses, modes, Fencing::Majority, false)
}

/// Who answers for what: each address has one owner.
fn owners(world: &World) -> BTreeMap<IpAddr, usize> {
    let owner = |address: &IpAddr| {
        let owners = world.owners(*address);
        assert_eq!(owners.len(), 1, "{address}: {owners:?}");
        (*address, owners[0])
    };
    world.addresses.iter().map(owner).collect()
}

fn loads(world: &World) -> Vec<usize> {
    let mut loads = vec![0; world.hosts.len()];
    for owner in owners(world).into_values() {
        loads[owner] += 1;
    }
    loads
}

/// No node has more than 1.25 times the mean of those that live.
fn assert_spread(world: &World, living: usize) {
    let loads = loads(world);
    let limit = (5 * world.addresses.len()).div_ceil(4 * living);
    assert!(loads.iter().all(|load| *load <= limit), "{loads:?}, and {limit} are allowed");
}

#[test]
fn an_owner_that_comes_back_takes_nothing_back() {
    for modes in [STICKY, BOTH] {
        for fault in [
            Fault::Killed,
            Fault::Power,
            Fault::Planned,
            Fault::Part,
            Fault::Suspended,
            Fault::Drain,
        ] {
            for seed in SEEDS {
                let mut history = begin(seed, 3, modes, 3);
                let before = owners(&history.world);
                let victim = before.values().next().copied().unwrap();
                let number = history.strike(fault, &[victim]);
                history.world.run(5_000 * MS);
                let during: BTreeMap<IpAddr, Vec<usize>> =
                    before.keys().map(|it| (*it, history.world.owners(*it))).collect();
                history.end(number);
                history.world.run(10_000 * MS);
                history.verdict().unwrap_or_else(|text| panic!("{fault:?}, seed {seed}: {text}"));
                for (address, owner) in owners(&history.world) {
                    // Who was parted may have heard that others are dead, and they that it is: until that is settled an address may come
                    // back.
                    let clear = !matches!(fault, Fault::Part | Fault::Suspended);
                    if modes == STICKY && clear {
                        assert_eq!(during[&address], [owner], "{fault:?}, seed {seed}: {address}");
                        assert_ne!(owner, victim, "it had all by sticky's rule, or none");
                    }
                }
                if modes == BOTH {
                    assert_spread(&history.world, 3);
                }
            }
        }
    }
}

/// The same history without the mode: the test above tells the two apart.
#[test]
fn without_it_the_better_candidate_has_its_addresses_again() {
    for seed in SEEDS {
        let mut history = begin(seed, 3, Modes::default(), 6);
        let before = owners(&history.world);
        let victim = before.values().next().copied().unwrap();
        let number = history.strike(Fault::Killed, &[victim]);
        history.world.run(5_000 * MS);
        history.end(number);
        history.world.run(10_000 * MS);
        assert_eq!(owners(&history.world), before);
    }
}

#[test]
fn no_node_has_much_more_than_the_mean() {
    for modes in [SPREAD, BOTH] {
        for (seed, count) in SEEDS.zip([2, 3, 4, 5, 7, 10].into_iter().cycle()) {
            let mut history = begin(seed, count, modes, 60);
            assert_spread(&history.world, count);
            let number = history.strike(Fault::Power, &[count / 2]);
            history.world.run(5_000 * MS);
            assert_spread(&history.world, count - 1);
            history.end(number);
            history.world.run(10_000 * MS);
            history.verdict().unwrap_or_else(|text| panic!("seed {seed}: {text}"));
            assert_spread(&history.world, count);
            let number = history.strike(Fault::Drain, &[0]);
            history.world.run(5_000 * MS);
            assert_eq!(loads(&history.world)[0], 0, "a drained node has nothing");
            assert_spread(&history.world, count - 1);
            history.end(number);
            history.world.run(10_000 * MS);
            assert_spread(&history.world, count);
        }
    }
}

/// Each node hears of each Service in its own time, up to five seconds late. Only where addresses are spread one may move: away from a node
/// that a new one brings above its share.
#[test]
fn a_new_service_moves_no_other_address() {
    for modes in [Modes::default(), STICKY, SPREAD, BOTH] {
        for seed in SEEDS {
            let mut history = begin(seed, 5, modes, 5);
            let world = &mut history.world;
            world.lag = Duration::from_secs(5);
            let mut known = owners(world);
            let mut moved = 0;
            for number in 0..30 {
                let address: IpAddr = Ipv4Addr::new(192, 0, 2, 100 + number).into();
                world.create(address);
                let pause = world.chance.micros(1_000, 3_000_000);
                world.run(pause);
                let full = (5 * known.len()).div_ceil(4 * 5);
                for (address, owner) in &known {
                    let owners = world.owners(*address);
                    if owners == [*owner] {
                        continue;
                    }
                    // By nodes that know different Services one may get more than its share, and gives one address away.
                    let load = known.values().filter(|it| *it == owner).count();
                    assert!(
                        modes.spread && load + 2 > full,
                        "{modes:?}, seed {seed}: {address} from {owner} to {owners:?}, {load} of {full}"
                    );
                    moved += 1;
                }
                let fresh = world.addresses.iter().filter_map(|address| {
                    let owners = world.owners(*address);
                    (owners.len() == 1).then(|| (*address, owners[0]))
                });
                known.extend(fresh.collect::<Vec<_>>());
            }
            assert!(moved <= 2, "{modes:?}, seed {seed}: {moved} moved");
            world.run(6_000 * MS);
            assert_eq!(owners(world).len(), 35);
            if modes.spread {
                assert_spread(world, 5);
            }
            let several = world.judge.all().into_iter().filter(|it| it.owners.len() > 1);
            let longest = several.map(|it| it.to - it.from).max().unwrap_or_default();
            assert!(longest <= TWO, "{modes:?}, seed {seed}: {longest:?}");
        }
    }
}

/// The flag comes node by node: until all have it nothing is different.
#[test]
fn it_begins_when_all_have_it() {
    for seed in SEEDS {
        let mut history = begin(seed, 3, Modes::default(), 6);
        let plain = owners(&history.world);
        history.world.modes = BOTH;
        for node in 0..3 {
            assert_eq!(owners(&history.world), plain);
            history.world.terminate(node);
            history.world.run(3_000 * MS);
            history.world.boot(node);
            history.world.run(6_000 * MS);
        }
        assert_ne!(owners(&history.world), plain, "the last to start took nothing back");
        history.verdict().unwrap();
    }
}
