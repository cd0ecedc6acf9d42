// SPDX-License-Identifier: Apache-2.0
//! A stranger on the link, who has no key, does to the ring's port what it can: nobody counts as dead, the address
//! stays where it is and is answered, and a speaker that starts meanwhile finds the others.
//!
//! Topology: three nodes with speakers that have a key, a client that asks for the address every 10 ms, a stranger with
//! sixty addresses.
//! Steps: a while without the stranger, and the owner's speaker is started anew; each attack for as long; the owner's
//! speaker is started anew while the stranger holds 300 connections to each node. Each is held against the same without
//! the stranger.

use std::time::Duration;

use anyhow::{Context, ensure};

use crate::lab::Lab;
use crate::lab::fault::{Fault, strike};
use crate::lab::watched::{Watched, is_confirmed, story};
use crate::lab::process::Process;
use crate::lab::stranger::{Attack, Kept, Stranger};
use crate::lab::wait::{eventually_true, now};
use crate::lab::SOON;
use crate::strangers::Kind;

pub(super) const FLAGS: &[&str] = &["--log-level=info"];
const ATTACKED: Duration = Duration::from_secs(3);
const ATTACKS: [Attack; 5] = [
    Attack { kind: Kind::Unreachable, amount: 3_000 },
    Attack { kind: Kind::Datagrams, amount: 3_000 },
    Attack { kind: Kind::Idle, amount: 900 },
    Attack { kind: Kind::Slow, amount: 300 },
    Attack { kind: Kind::Garbled, amount: 300 },
];
/// Those that are held while a speaker starts, for longer than anything here takes.
const HELD: (Attack, Duration) =
    (Attack { kind: Kind::Idle, amount: 900 }, Duration::from_secs(120));
/// So many questions more than without the stranger may stay unanswered, where the machine is busy: what one failover
/// costs at worst (docs/failover.md). The attacks cost as much in half a second before they were held.
pub(super) const FAILOVER: usize = 40;
/// So many may be answered by two where an address passes on by plan and the machine is busy: the old owner waits for a
/// second at most for the new one's word (docs/failover.md).
pub(super) const PLANNED: usize = 120;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let watched = Watched::start(lab, 3, FLAGS)?;
    let stranger = Stranger::new(lab)?;
    let quiet = Kept::quiet(&watched, ATTACKED)?;
    let started = start_anew(lab, &watched).context("without the stranger")?;
    println!("     without the stranger: {quiet}; started anew: {started}");
    for attack in ATTACKS {
        let name = attack.kind.name();
        let from = now();
        let (kept, done) = stranger.attack(lab, &watched, attack, ATTACKED).context(name)?;
        println!("     {name}, {done}: {kept}");
        let told = || watched.watcher.with(|record| story(record, from, now()));
        ensure!(kept.changes == 0 && kept.twice == 0, "{name}: it moved: {kept}\n{}", told());
        ensure!(kept.unanswered <= quiet.unanswered + FAILOVER, "{name}: {kept}\n{}", told());
        watched.only(&watched.owner, from, now()).context(name)?;
        watched.settle(Duration::from_millis(300)).context(name)?;
    }
    let (attack, time) = HELD;
    let holding = stranger.start(lab, attack, time)?;
    let kept = start_anew(lab, &watched).context("beside held connections")?;
    drop(holding);
    println!("     started anew beside {} connections: {kept}", attack.amount);
    ensure!(kept.twice <= started.twice + PLANNED, "answered by two: {kept}, without: {started}");
    ensure!(kept.unanswered <= started.unanswered + FAILOVER, "{kept}, without: {started}");
    nobody_died(lab)
}

/// The owner's speaker is stopped in order and starts again: its heir has the address meanwhile, then it has it again.
pub(super) fn start_anew(lab: &mut Lab, watched: &Watched) -> anyhow::Result<Kept> {
    let from = now();
    let outcome = strike(lab, watched, Fault::Stop)?;
    let started = Fault::Stop.repair(lab, &watched.owner, FLAGS)?;
    let heir = outcome.successor;
    watched.settle_on(&watched.owner, started, Duration::from_millis(500)).with_context(|| {
        let told = watched.watcher.with(|record| story(record, from, now()));
        format!("beside {heir}:\n{told}")
    })?;
    let owner = lab.node(&watched.owner)?;
    eventually_true("the owner is confirmed", SOON, || Ok(is_confirmed(owner)))?;
    Ok(Kept::of(watched, from))
}

pub(super) fn nobody_died(lab: &Lab) -> anyhow::Result<()> {
    for node in &lab.nodes {
        let log = node.speaker.as_ref().map(Process::log).context("no speaker")?;
        let died: Vec<&str> = log.lines().filter(|line| line.contains("memberDead")).collect();
        ensure!(died.is_empty(), "{}: {died:#?}", node.name);
    }
    Ok(())
}
