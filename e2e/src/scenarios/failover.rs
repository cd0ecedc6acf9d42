// SPDX-License-Identifier: Apache-2.0
//! The owner's link is cut, its node stands still, its speaker is killed or stopped: another node takes over and is alone, and
//! what is repaired takes the address back.
//!
//! Topology: three nodes with speakers, a client that asks for the address every 10 ms and sees every claim to it.
//! Steps: each fault strikes the owner, and is repaired; a node that stood still claims nothing before the others have confirmed it, and
//! answers no question of the time before. A stop in order leaves no question unanswered. Then the API server is killed, and a speaker is
//! killed and another node's is stopped in order all the same. Times are told, not judged.

use std::time::Duration;

use anyhow::{Context, ensure};

use crate::lab::Lab;
use crate::lab::fault::{Fault, strike, strike_twice};
use crate::lab::watched::{Watched, is_confirmed};
use crate::lab::process::Process;
use crate::lab::wait::{eventually_true, now};
use crate::lab::SOON;

const STANDSTILL: Duration = Duration::from_secs(3);

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let watched = Watched::start(lab, 3, &[])?;
    for fault in Fault::NODE {
        let outcome = strike(lab, &watched, fault).with_context(|| fault.name())?;
        println!("     {}: {outcome}", fault.name());
        if fault == Fault::Stop {
            ensure!(outcome.unanswered == 0, "{} questions unanswered", outcome.unanswered);
        }
        if fault == Fault::Freeze {
            watched.settle_on(&outcome.successor, now(), STANDSTILL)?;
        }
        let said = log(lab, &watched.owner)?.len();
        let repaired = fault.repair(lab, &watched.owner, &[])?;
        watched.settle_on(&watched.owner, repaired, Duration::from_millis(500))?;
        let back = watched.successor(&outcome.successor, repaired)?.1;
        println!("     back after {:.1} ms", (back - repaired).as_secs_f64() * 1e3);
        if fault == Fault::Freeze {
            expect_silence_until_confirmed(lab, &watched, repaired, said)?;
        }
        let owner = lab.node(&watched.owner)?;
        eventually_true("the owner is confirmed", SOON, || Ok(is_confirmed(owner)))?;
    }
    without_api(lab, &watched)
}

/// What it claimed after it stood still came after the others' confirmation, and was no answer to older questions.
fn expect_silence_until_confirmed(
    lab: &mut Lab,
    watched: &Watched,
    resumed: std::time::Instant,
    said: usize,
) -> anyhow::Result<()> {
    let log = log(lab, &watched.owner)?;
    let log = log.get(said..).unwrap_or_default();
    let mut standings = log.lines().filter(|line| line.contains(r#""event":"standing""#));
    let doubtful = standings.next().context("the node that stood still says nothing of it")?;
    ensure!(doubtful.contains("doubtful"), "after the standstill it says first: {doubtful}");
    let confirmed = standings.next().context("it was not confirmed")?;
    let time = milliseconds_of_day(confirmed)?;
    watched.watcher.with(|record| {
        let first = record.of(&watched.owner, resumed).next().context("it claimed nothing")?;
        let seen = u64::try_from(first.real.as_millis() % 86_400_000)?;
        // The log's clock is cut off at milliseconds; midnight may lie between.
        ensure!(seen + 1 >= time || seen + 80_000_000 < time, "claimed at {seen}, confirmed at {time}");
        for sighting in record.of(&watched.owner, resumed) {
            let asked = record.asked(sighting);
            ensure!(
                asked.is_none_or(|asked| asked >= resumed),
                "it answered a question of the time when it stood still"
            );
        }
        Ok(())
    })
}

/// "2026-11-23T12:34:56.789..."
fn milliseconds_of_day(line: &str) -> anyhow::Result<u64> {
    let (_, rest) = line.split_once('T').context("no time")?;
    let time = rest.get(..12).context("no time")?;
    let number = |range: std::ops::Range<usize>| -> anyhow::Result<u64> {
        Ok(time.get(range).context("no time")?.parse()?)
    };
    Ok(((number(0..2)? * 60 + number(3..5)?) * 60 + number(6..8)?) * 1000 + number(9..12)?)
}

/// Neither speaker nor ring need the API server to notice who is dead.
fn without_api(lab: &mut Lab, watched: &Watched) -> anyhow::Result<()> {
    lab.control.apiserver.kill();
    let [killed, stopped] = strike_twice(lab, watched).context("without the API server")?;
    println!("     killed without the API server: {killed}");
    println!("     stopped without the API server: {stopped}");
    ensure!(stopped.unanswered == 0, "{} questions unanswered", stopped.unanswered);
    lab.control.restart_apiserver(&lab.plane)
}

fn log(lab: &mut Lab, node: &str) -> anyhow::Result<String> {
    Ok(lab.node(node)?.speaker.as_ref().map(Process::log).unwrap_or_default())
}
