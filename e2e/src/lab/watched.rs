// SPDX-License-Identifier: Apache-2.0
//! An address that the client asks for all the time, and who was seen to answer.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;

use super::Lab;
use super::node::{Node, PodAddresses, Proxy};
use super::objects::{POOL_V4, POOL_V6, l2_advertisement, pool, service};
use super::process::Process;
use super::wait::{SOON, eventually, eventually_true, now};
use super::watcher::{Record, Watcher, milliseconds};

/// The address that is watched.
pub const ADDRESS: &str = "172.30.0.200";

/// An address that is watched, and its owner.
#[derive(Debug)]
pub struct Watched {
    /// The eyes.
    pub watcher: Watcher,
    /// Who has it while nothing is wrong.
    pub owner: String,
}

impl Watched {
    /// Nodes with speakers and no pods, one Service; the ring is met and the address has its owner.
    ///
    /// # Errors
    /// When something does not start.
    pub fn start(lab: &mut Lab, nodes: usize, flags: &[&str]) -> anyhow::Result<Self> {
        lab.client()?;
        lab.start_controller(&[])?;
        lab.start_nodes(nodes, Proxy::Absent)?;
        lab.start_speakers(flags)?;
        lab.kube().apply(&pool("pool", &[POOL_V4, POOL_V6]))?;
        lab.kube().apply(&l2_advertisement("all", json!({})))?;
        let endpoint = PodAddresses {
            node: "node1".into(),
            v4: "10.244.1.99".into(),
            v6: "fd00:244:1::99".into(),
        };
        lab.set_endpoints("web", &[endpoint])?;
        lab.kube().create(&service("web", json!({})))?;
        lab.expect_addresses("web", &[ADDRESS])?;
        Self::of(lab, ADDRESS.parse()?)
    }

    /// Watches an address that somebody owns.
    ///
    /// # Errors
    /// When nobody owns it, or the ring is not met.
    pub fn of(lab: &mut Lab, address: IpAddr) -> anyhow::Result<Self> {
        for node in &lab.nodes {
            eventually_true("the speaker may announce", SOON, || Ok(is_confirmed(node)))
                .with_context(|| node.name.clone())?;
        }
        let owner = lab.wait_owner(&address.to_string())?;
        let watcher = Watcher::start(&lab.client()?.namespace, "eth0", address, true)?;
        let watched = Self { watcher, owner };
        watched.settle(Duration::from_secs(1))?;
        Ok(watched)
    }

    /// Waits until the usual owner has been the only one for this time; that is no fixed wait, but a condition on what
    /// is seen.
    ///
    /// # Errors
    /// When that does not happen.
    pub fn settle(&self, quiet: Duration) -> anyhow::Result<()> {
        let owner = self.owner.clone();
        self.settle_on(&owner, now(), quiet).with_context(|| self.last_seen())
    }

    /// Waits until for this time after `since` this station was the only one, and answered all along.
    ///
    /// # Errors
    /// When that does not happen.
    pub fn settle_on(&self, station: &str, since: Instant, quiet: Duration) -> anyhow::Result<()> {
        eventually_true(&format!("{station} alone answers"), SOON, || {
            let to = now();
            let from = to.checked_sub(quiet).filter(|from| *from >= since);
            let Some(from) = from else { return Ok(false) };
            Ok(self.watcher.with(|record| {
                let stations = record.stations(from, to);
                // Half of the questions answered: the machine may be busy, and the last answers are on their way.
                let asked = record.questions.iter().filter(|asked| **asked >= from).count();
                stations.len() == 1 && stations.get(station).is_some_and(|seen| seen * 2 > asked)
            }))
        })
        .with_context(|| self.last_seen())
    }

    /// Waits for the first frame of somebody else than `station` after a moment; who, and when.
    ///
    /// # Errors
    /// When none comes.
    pub fn successor(&self, station: &str, since: Instant) -> anyhow::Result<(String, Instant)> {
        eventually(&format!("another than {station} claims the address"), SOON, || {
            Ok(self.watcher.with(|record| {
                record.first_of_others(station, since).map(|first| (first.station(), first.at))
            }))
        })
    }

    /// Nobody but this station claimed the address from one moment to another.
    ///
    /// # Errors
    /// When somebody did.
    pub fn only(&self, station: &str, from: Instant, to: Instant) -> anyhow::Result<()> {
        let stations = self.watcher.with(|record| record.stations(from, to));
        let strangers: Vec<_> = stations.iter().filter(|(name, _)| *name != station).collect();
        ensure!(
            strangers.is_empty(),
            "beside {station} {strangers:?} claimed the address\n{}",
            self.watcher.with(|record| story(record, from, to))
        );
        Ok(())
    }

    fn last_seen(&self) -> String {
        let to = now();
        let from = to.checked_sub(Duration::from_secs(1)).unwrap_or(to);
        format!("last: {:?}", self.watcher.with(|record| record.stations(from, to)))
    }
}

/// Whether the last that the speaker said of itself is that it may announce.
#[must_use]
pub fn is_confirmed(node: &Node) -> bool {
    let log = node.speaker.as_ref().map(Process::log).unwrap_or_default();
    log.lines()
        .rfind(|line| line.contains(r#""event":"standing""#))
        .is_some_and(|line| line.contains(r#""standing":"confirmed""#))
}

/// Waits until the last standing that the speaker has told of itself is this one.
///
/// # Errors
/// When that does not happen.
pub fn expect_standing(node: &Node, standing: &str) -> anyhow::Result<()> {
    let speaker = node.speaker.as_ref().context("no speaker")?;
    let wanted = format!(r#""standing":"{standing}""#);
    eventually_true(&format!("{} says that it is {standing}", node.name), SOON, || {
        let log = speaker.log();
        let last = log.lines().rfind(|line| line.contains(r#""event":"standing""#));
        Ok(last.is_some_and(|line| line.contains(&wanted)))
    })
}

/// Waits until the speaker has logged this event.
///
/// # Errors
/// When that does not happen.
pub fn expect_said(node: &Node, event: &str) -> anyhow::Result<()> {
    let speaker = node.speaker.as_ref().context("no speaker")?;
    eventually_true(&format!("{} says {event}", node.name), SOON, || {
        Ok(speaker.log().contains(&format!(r#""event":"{event}""#)))
    })
}

/// Who was seen from when to when, for a failure's message.
#[must_use]
pub fn story(record: &Record, from: Instant, to: Instant) -> String {
    let mut lines: Vec<(String, Instant, Instant, usize)> = Vec::new();
    for sighting in record.sightings.iter().filter(|sighting| (from..to).contains(&sighting.at)) {
        match lines.last_mut() {
            Some((station, _, last, count)) if *station == sighting.station() => {
                *last = sighting.at;
                *count += 1;
            }
            _ => lines.push((sighting.station(), sighting.at, sighting.at, 1)),
        }
    }
    let line = |(station, first, last, count): &(String, Instant, Instant, usize)| {
        let (first, last) = (milliseconds(from, *first), milliseconds(from, *last));
        format!("  {first:.1} to {last:.1} ms: {station}, {count} frames\n")
    };
    // In a hand-over two answer in turn: its beginning and its end say enough.
    const SHOWN: usize = 6;
    let told: Vec<String> = lines.iter().map(line).collect();
    match told.len().checked_sub(2 * SHOWN) {
        Some(more) if more > 0 => {
            let (begin, end) = (told.iter().take(SHOWN), told.iter().skip(SHOWN + more));
            format!(
                "{}  ... in turn, {more} more times\n{}",
                begin.cloned().collect::<String>(),
                end.cloned().collect::<String>()
            )
        }
        Some(_) | None => told.concat(),
    }
}
