// SPDX-License-Identifier: Apache-2.0
//! Random histories of `--fencing=link` in which the ring and the link fail apart: the link is as wide as what is left of the ring, wider,
//! narrower, open one way only, or open between some pairs. Two that hear one another on the link answer for one address within the stated
//! windows only, and an address that a running speaker could serve has an answer among the stations that this speaker hears.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

use members::quorum::Fencing;
use speaker::Modes;

use crate::by_link::{ANSWER, TWO, TWO_BLOCKED, block_ring, heal, part};
use crate::events::Chance;
use crate::history::History;
use crate::host::Pause;
use crate::judge::components;
use crate::world::{MS, World};
use crate::{number, share_out};

/// What is cut, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// The ring and the link alike.
    Both,
    /// The ring alone: the link is wider.
    Ring,
    /// The ring first, and a moment later the link.
    RingFirst,
    /// The ring and the link, of which the link comes back first.
    LinkBack,
    /// The link alone: the link is narrower.
    Link,
    /// The ring and the link alike, one way only.
    OneWay,
    /// The ring, and one way of the link.
    LinkOneWay,
    /// Some pairs lose one another on the link, and the nodes lose the others on the ring.
    Pairs,
}

const CUTS: [Cut; 8] = [
    Cut::Both,
    Cut::Ring,
    Cut::RingFirst,
    Cut::LinkBack,
    Cut::Link,
    Cut::OneWay,
    Cut::LinkOneWay,
    Cut::Pairs,
];

impl Cut {
    fn begin(self, history: &mut History, chance: &mut Chance, nodes: &[usize]) {
        let count = history.count;
        let outside = |it: &usize| !nodes.contains(it);
        let one_way = |deaf: bool| -> BTreeSet<(usize, usize)> {
            let pairs = nodes.iter().flat_map(|one| {
                (0..count).filter(outside).map(
                    move |other| {
                        if deaf { (other, *one) } else { (*one, other) }
                    },
                )
            });
            pairs.collect()
        };
        match self {
            Self::Both | Self::LinkBack => part(history, nodes),
            Self::Ring | Self::RingFirst => block_ring(history, nodes),
            Self::Link => {
                part(history, nodes);
                history.world.link_cut = Some(std::mem::take(&mut history.world.cut));
            }
            Self::OneWay => history.world.cut = one_way(chance.below(2) == 0),
            Self::LinkOneWay => {
                part(history, nodes);
                history.world.link_cut = Some(one_way(chance.below(2) == 0));
            }
            Self::Pairs => {
                part(history, nodes);
                let mut cut = BTreeSet::new();
                for one in 0..count {
                    for other in one + 1..count {
                        if chance.below(3) == 0 {
                            cut.extend([(one, other), (other, one)]);
                        }
                    }
                }
                history.world.link_cut = Some(cut);
            }
        }
        history.world.judge_link();
    }

    /// A while later.
    fn go_on(self, history: &mut History, nodes: &[usize]) {
        match self {
            Self::RingFirst => part(history, nodes),
            Self::LinkBack => {
                heal(history);
                block_ring(history, nodes);
            }
            _ => {}
        }
    }

    /// How long two that hear one another may answer for one address.
    fn bound(self, is_alone: bool) -> Duration {
        match self {
            Self::Both | Self::Link if is_alone => TWO,
            _ => TWO_BLOCKED,
        }
    }
}

/// The addresses of which a running node that asks its link has no answer, or that have no owner at all. The nodes that hear one another on the ring elect
/// one of them, which asks for all: an answer is an owner whose frames reach the part of the link of any of them. A node that sees a majority leaves the
/// election to the ring too: it may count on an owner that it does not hear on the link.
fn unserved(history: &History, able: impl Fn(&usize) -> bool) -> String {
    let mut wrong = String::new();
    let world = &history.world;
    let cut = world.link_cut.as_ref().unwrap_or(&world.cut);
    let parts = |cut: &BTreeSet<(usize, usize)>| {
        components(history.count, |one, other| {
            !cut.contains(&(one, other)) && !cut.contains(&(other, one))
        })
    };
    let (rings, links) = (parts(&world.cut), parts(cut));
    for (address, owners) in world.addresses.iter().zip(history.owners()) {
        for node in (0..history.count).filter(&able) {
            let fellows =
                rings.iter().find(|part| part.contains(&node)).cloned().unwrap_or_default();
            let reaches = |owner: &usize| {
                let heard = |it: &usize| it == owner || !cut.contains(&(*owner, *it));
                let mut near = links.iter().filter(|part| !part.is_disjoint(&fellows));
                near.any(|part| part.iter().any(heard))
            };
            let asks = world.hosts[node].standing().is_some_and(|it| it.asks_link());
            if !owners.iter().any(reaches) && (asks || owners.is_empty()) {
                let _ = writeln!(wrong, "{address}: {owners:?} answer, not to node {node}");
            }
        }
    }
    wrong
}

/// A random history: a part is cut off in some way, and nodes end or stand still meanwhile.
fn play(seed: u64) -> Result<(), String> {
    let mut chance = Chance(seed ^ 0x11_4b);
    let count = 2 + chance.index(4);
    let modes = Modes { sticky: seed % 4 == 2, spread: seed % 4 == 3 };
    let mut history = History::begin_with(seed, count, 6, modes, Fencing::Link, false);
    let size = 1 + chance.index(count - 1);
    let nodes: Vec<usize> = (0..size).map(|_| chance.index(count)).collect();
    let cut = CUTS[chance.index(CUTS.len())];
    let down = (chance.below(2) == 0).then(|| chance.index(count));
    let paused = (chance.below(3) == 0).then(|| chance.index(count)).filter(|it| Some(*it) != down);
    let before = chance.below(2) == 0;
    history.world.note(format!("{cut:?} {nodes:?}, down {down:?} {before}, paused {paused:?}"));
    let strike = |world: &mut World| {
        if let Some(down) = down {
            world.kill(down, false);
        }
        if let Some(paused) = paused {
            world.pause(paused, Pause::Stopped);
        }
    };
    if before {
        strike(&mut history.world);
        let wait = chance.micros(1_000, 1_500_000);
        history.world.run(wait);
    }
    cut.begin(&mut history, &mut chance, &nodes);
    let wait = chance.micros(1_000, 1_500_000);
    history.world.run(wait);
    if !before {
        strike(&mut history.world);
    }
    cut.go_on(&mut history, &nodes);
    history.world.run(ANSWER);
    let mut wrong = unserved(&history, |it| Some(*it) != down && Some(*it) != paused);
    if let Some(paused) = paused {
        history.world.resume(paused);
    }
    let wait = chance.micros(1_000, 3_000_000);
    history.world.run(wait);
    heal(&mut history);
    if let Some(down) = down {
        history.world.boot(down);
    }
    history.world.run(20_000 * MS);
    for (address, owners) in history.world.addresses.iter().zip(history.owners()) {
        if owners.len() != 1 {
            let _ = writeln!(wrong, "at the end {owners:?} answer for {address}");
        }
    }
    let bound = cut.bound(down.is_none() && paused.is_none());
    for interval in history.world.judge.all() {
        let length = interval.to - interval.from;
        if interval.owners.len() > 1 && length > bound {
            let _ = writeln!(wrong, "several answer for {length:?}: {interval:?}");
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(history.story() + &wrong) }
}

#[test]
fn whatever_is_cut_each_link_has_one_owner() {
    let seeds = match number("FERROLB_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FERROLB_SEEDS").unwrap_or(240) / 2,
    };
    let count = seeds.end - seeds.start;
    let failed: Vec<(u64, String)> = share_out(seeds, play)
        .into_iter()
        .filter_map(|(seed, played)| Some((seed, played.err()?)))
        .collect();
    for (seed, text) in failed.iter().take(3) {
        eprintln!("FERROLB_SEED={seed}: {text}");
    }
    let numbers: Vec<u64> = failed.iter().map(|(seed, _)| *seed).collect();
    assert!(failed.is_empty(), "{} of {count} histories: {numbers:?}", failed.len());
}
