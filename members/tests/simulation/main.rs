// SPDX-License-Identifier: Apache-2.0
//! Histories of whole rings in virtual time: they become one after healing, nobody is held for dead without a fault, who crashed is
//! dead everywhere within the bound of the formulas, and who is accused wrongly is believed. A history that fails tells its seed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what tests share fails by panicking, as they do"
)]

mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use members::{Event, Settings, State};
use world::{World, name};

const SECOND: Duration = Duration::from_secs(1);

/// The library's, without compression, which takes most of the time.
fn settings() -> Settings {
    Settings { enable_compression: false, ..Settings::lan() }
}

/// Runs a history with several seeds, and tells the one that fails.
fn histories(count: u64, history: impl Fn(u64)) {
    for seed in 0..count {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| history(seed))) {
            eprintln!("the history of seed {seed} failed");
            resume_unwind(panic);
        }
    }
}

/// A ring in which all know all.
fn joined(seed: u64, count: usize) -> World {
    let mut world = World::new(seed, count, &settings());
    for index in 1..count {
        world.join(index, 0);
        if index % 20 == 0 {
            world.run(SECOND / 10);
        }
    }
    assert!(world.run_while_not(SECOND * 60, World::agree).is_some(), "all know all");
    world.forget_events();
    world
}

/// The most that may pass until a crash is known to all: the turn of the probe (two rounds, because each is shuffled anew), the
/// probe, the suspicion, and gossip.
fn bound(count: u32) -> Duration {
    let settings = settings();
    let n = f64::from(count);
    let suspicion = settings.probe_interval * settings.suspicion_mult;
    let suspicion = suspicion.mul_f64(n.log10().max(1.0)) * settings.suspicion_max_timeout_mult;
    settings.probe_interval * (2 * count + 2) + suspicion + settings.gossip_interval * 40
}

#[test]
fn nobody_is_held_for_dead_without_a_fault() {
    histories(10, |seed| {
        let mut world = joined(seed, 3 + usize::try_from(seed).unwrap());
        world.run(SECOND * 120);
        assert_eq!(world.deaths(), []);
        assert!(world.agree());
        assert!(world.nodes.iter().all(|node| node.ring.health_score() == 0));
    });
}

#[test]
fn loss_delay_and_clocks_of_different_speed_kill_nobody() {
    histories(10, |seed| {
        let mut world = World::new(seed, 8, &settings());
        for index in 0..8 {
            // Up to a tenth fast or slow.
            let rate = i64::try_from(world.random(200_000)).unwrap() - 100_000;
            world.set_rate(index, rate);
        }
        for index in 1..8 {
            world.join(index, 0);
        }
        assert!(world.run_while_not(SECOND * 60, World::agree).is_some());
        world.loss = 100;
        world.delay = Duration::from_millis(100);
        world.forget_events();
        world.run(SECOND * 300);
        assert_eq!(world.deaths(), []);
        assert!(world.agree());
    });
}

#[test]
fn a_crash_is_known_everywhere_within_the_bound() {
    histories(20, |seed| {
        let count = 3 + usize::try_from(seed).unwrap() * 2;
        let mut world = joined(seed, count);
        world.loss = 10;
        let wait = Duration::from_millis(world.random(5000));
        world.run(wait);
        let victim = count / 2;
        world.crash(victim);
        let bound = bound(u32::try_from(count).unwrap());
        let took = world.run_while_not(bound, |world| world.believers(victim) == 0);
        assert!(took.is_some(), "{count} members: not within {bound:?}");
        let wrong: Vec<_> = world.deaths().into_iter().filter(|it| it.2 != name(victim)).collect();
        assert_eq!(wrong, []);
    });
}

#[test]
fn with_three_members_a_crash_is_known_within_nine_seconds_and_usually_six() {
    // MetalLB's usual ring: up to three probe intervals until it is probed, one for the probe, four of suspicion, gossip.
    let mut times = Vec::new();
    for seed in 0..50 {
        let mut world = joined(seed, 3);
        let wait = Duration::from_millis(world.random(3000));
        world.run(wait);
        world.crash(2);
        let took = world.run_while_not(SECOND * 20, |world| world.believers(2) == 0);
        times.push(took.unwrap_or_else(|| panic!("the history of seed {seed} failed")));
    }
    times.sort();
    println!("three members: median {:?}, at most {:?}", times[25], times[49]);
    assert!(times[25] <= SECOND * 6 && times[49] <= SECOND * 9, "{times:?}");
}

#[test]
fn a_certain_death_is_known_everywhere_at_once() {
    histories(10, |seed| {
        let mut world = joined(seed, 12);
        world.crash(3);
        world.with(5, |ring, now| ring.declare_dead(now, &name(3)));
        world.run(Duration::from_millis(3));
        assert_eq!(world.believers(3), 0);
        world.run(SECOND * 30);
        assert_eq!(world.believers(3), 0);
    });
}

#[test]
fn who_is_wrongly_declared_dead_is_believed_to_live() {
    histories(10, |seed| {
        let mut world = joined(seed, 6);
        world.with(1, |ring, now| ring.declare_dead(now, &name(3)));
        let healed = world.run_while_not(SECOND * 3, World::agree);
        assert!(healed.is_some(), "the refutation wins");
        let us =
            |event: &Event| matches!(event, Event::Refuted(member) if *member.name == *name(3));
        assert!(world.nodes[3].events.iter().any(|(_, event)| us(event)));
        world.forget_events();
        world.run(SECOND * 60);
        assert_eq!(world.deaths(), []);
    });
}

#[test]
fn a_member_that_was_paused_declares_nobody_dead_and_comes_back() {
    histories(20, |seed| {
        let mut world = joined(seed, 5);
        let pause = SECOND * u32::try_from(2 + seed * 2).unwrap();
        world.pause(2, pause, seed % 2 == 1);
        world.run(pause + Duration::from_millis(100));
        let by_it: Vec<_> = world.deaths().into_iter().filter(|(_, by, _)| *by == 2).collect();
        assert_eq!(by_it, [], "it does not take its own absence for that of others");
        assert!(world.run_while_not(SECOND * 60, World::agree).is_some());
        world.forget_events();
        world.run(SECOND * 60);
        assert_eq!(world.deaths(), []);
    });
}

#[test]
fn a_suspicion_does_not_run_out_while_nobody_could_refute_it() {
    histories(20, |seed| {
        let mut world = joined(seed, 5);
        let suspects = |world: &World| {
            let member = world.nodes[2].ring.member(&name(4)).unwrap();
            member.state == State::Suspect
        };
        world.apart = [4].into();
        assert!(world.run_while_not(SECOND * 30, suspects).is_some());
        world.apart.clear();
        // A suspended machine: what was refuted meanwhile, it did not hear.
        world.pause(2, SECOND * 40, true);
        world.run(SECOND * 60);
        let by_it: Vec<_> = world.deaths().into_iter().filter(|(_, by, _)| *by == 2).collect();
        assert_eq!(by_it, []);
        assert!(world.run_while_not(SECOND * 60, World::agree).is_some());
    });
}

#[test]
fn after_a_partition_the_ring_is_one_again() {
    histories(20, |seed| {
        let count = 4 + usize::try_from(seed % 5).unwrap() * 3;
        let mut world = joined(seed, count);
        world.apart = (0..count).filter(|index| (index * 7 + 3) % 4 < 2).collect();
        world.loss = 20;
        let time = SECOND * u32::try_from(2 + seed * 3).unwrap();
        world.run(time);
        if time > bound(u32::try_from(count).unwrap()) {
            assert!(world.agree(), "each side knows its own");
        }
        world.apart.clear();
        // As discovery does from time to time; after a short partition it is not needed.
        for index in 1..count {
            world.join(index, 0);
        }
        let healed = world.run_while_not(SECOND * 90, World::agree);
        assert!(healed.is_some());
        // What was said of the others may still be on its way.
        world.loss = 0;
        world.run(bound(u32::try_from(count).unwrap()));
        world.forget_events();
        world.run(SECOND * 60);
        assert_eq!(world.deaths(), []);
        assert!(world.agree());
    });
}

#[test]
fn restarts_leaves_and_crashes_in_any_order_end_in_agreement() {
    histories(30, |seed| {
        let count = 6;
        let mut world = joined(seed, count);
        world.loss = 20;
        for _ in 0..12 {
            let index = 1 + usize::try_from(world.random(5)).unwrap();
            match (world.random(4), world.nodes[index].up) {
                (0, true) => world.crash(index),
                (1, true) => {
                    world.with(index, members::Ring::leave);
                    world.run(SECOND);
                    world.crash(index);
                }
                (2, true) => {
                    let meta = [u8::try_from(world.random(200)).unwrap(); 20];
                    world.with(index, |ring, now| ring.set_meta(now, &meta).unwrap());
                }
                (_, true) => {
                    world.crash(index);
                    world.restart(index);
                    world.join(index, 0);
                }
                (_, false) => {
                    world.restart(index);
                    world.join(index, 0);
                }
            }
            let wait = Duration::from_millis(world.random(4000));
            world.run(wait);
        }
        assert!(world.run_while_not(SECOND * 90, World::agree).is_some(), "all agree who is there");
        let same_meta = |world: &World| {
            (0..count).filter(|index| world.nodes[*index].up).all(|index| {
                let own = world.nodes[index].ring.member(&name(index)).unwrap();
                let up = world.nodes.iter().filter(|node| node.up);
                up.map(|node| node.ring.member(&name(index)).unwrap())
                    .all(|seen| (&seen.meta, seen.incarnation) == (&own.meta, own.incarnation))
            })
        };
        let settled = world.run_while_not(SECOND * 60, same_meta);
        assert!(settled.is_some(), "and what they say of themselves");
    });
}

#[test]
fn five_hundred_members_agree_and_find_a_crash() {
    let mut world = joined(1, 500);
    // All know all before the gossip about it has died away.
    world.run(SECOND * 20);
    let packets = world.packets;
    world.run(SECOND * 10);
    let calm = (world.packets - packets) / 500 / 10;
    // A ping and an answer a second, of each.
    assert!(calm <= 3, "{calm} packets a second");
    world.crash(250);
    let bound = bound(500);
    let took = world.run_while_not(bound, |world| world.believers(250) == 0);
    println!("500 members: joined after {:?}, a crash known after {took:?}", world.now);
    assert!(took.is_some(), "not within {bound:?}");
    assert!(world.deaths().iter().all(|(_, _, dead)| *dead == name(250)));
    let members = world.nodes[0].ring.members();
    assert_eq!(members.filter(|member| member.state == State::Alive).count(), 499);
}
