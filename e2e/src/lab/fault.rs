// SPDX-License-Identifier: Apache-2.0
//! What happens to an owner, and what the client saw of it.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use serde_json::json;

use super::node::{Node, PodAddresses, Proxy};
use super::objects::service;
use super::wait::{eventually, eventually_true, now};
use super::watcher::{Record, Watcher, milliseconds};
use super::{Lab, SOON, loss};

/// The address that is watched.
pub const ADDRESS: &str = "172.30.0.200";
/// Within this time after a fault the address has one owner and nobody else claims it, on a busy machine as well.
pub const SETTLED: Duration = Duration::from_secs(2);

/// What happens to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its cable is pulled: its carrier goes as well.
    LinkCut,
    /// Speaker and kube-proxy stand still.
    Freeze,
    /// Its speaker is killed.
    Kill,
    /// Its speaker is asked to end.
    Stop,
    /// It is parted from the others on the ring's port, with as many beside it as are no majority.
    Part,
    /// Nothing comes to it on the ring's port.
    Deafen,
    /// Nothing comes from it on the ring's port.
    Mute,
}

impl Fault {
    /// What happens to a node itself.
    pub const NODE: [Self; 4] = [Self::LinkCut, Self::Freeze, Self::Kill, Self::Stop];
    /// What happens between the nodes, while the client reaches all of them.
    pub const RING: [Self; 3] = [Self::Part, Self::Deafen, Self::Mute];

    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LinkCut => "link cut",
            Self::Freeze => "node frozen",
            Self::Kill => "speaker killed",
            Self::Stop => "speaker stopped in order",
            Self::Part => "owner parted with the few",
            Self::Deafen => "owner hears nobody",
            Self::Mute => "nobody hears the owner",
        }
    }

    /// Lets it happen; the moment just before.
    ///
    /// # Errors
    /// When it cannot be done.
    pub fn strike(self, lab: &mut Lab, name: &str) -> anyhow::Result<Instant> {
        let before = now();
        match self {
            Self::LinkCut => lab.switch.set_cable(name, false)?,
            Self::Part => loss::part_few(lab, name)?,
            Self::Deafen => loss::one_way(lab, name, true)?,
            Self::Mute => loss::one_way(lab, name, false)?,
            Self::Freeze => signal_all(lab.node(name)?, Signal::SIGSTOP)?,
            Self::Kill => lab.node(name)?.speaker.as_mut().context("no speaker")?.kill(),
            Self::Stop => {
                let speaker = lab.node(name)?.speaker.as_mut().context("no speaker")?;
                speaker.signal(Signal::SIGTERM)?;
            }
        }
        Ok(before)
    }

    /// Makes good again; the moment just before.
    ///
    /// # Errors
    /// When it cannot be done.
    pub fn repair(self, lab: &mut Lab, name: &str, flags: &[&str]) -> anyhow::Result<Instant> {
        let before = now();
        match self {
            Self::LinkCut => lab.switch.set_cable(name, true)?,
            Self::Part | Self::Deafen | Self::Mute => loss::heal(lab)?,
            Self::Freeze => signal_all(lab.node(name)?, Signal::SIGCONT)?,
            Self::Kill | Self::Stop => {
                let node = lab.node(name)?;
                if self == Self::Stop {
                    let speaker = node.speaker.as_mut().context("no speaker")?;
                    eventually("the speaker has ended", SOON, || Ok(speaker.ended()))?;
                }
                node.start_speaker(flags)?;
                node.wait_speaker()?;
            }
        }
        Ok(before)
    }
}

fn signal_all(node: &Node, signal: Signal) -> anyhow::Result<()> {
    node.speaker.iter().chain(&node.proxy).try_for_each(|process| process.signal(signal))
}

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
        use super::objects::{POOL_V4, POOL_V6, l2_advertisement, pool};
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

    /// Waits until the usual owner has been the only one for this time; that is no fixed wait, but a condition on what is seen.
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
    let log = node.speaker.as_ref().map(super::process::Process::log).unwrap_or_default();
    log.lines()
        .rfind(|line| line.contains(r#""event":"standing""#))
        .is_some_and(|line| line.contains(r#""standing":"confirmed""#))
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

/// One fault, from its beginning until the new owner is alone.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Who took over.
    pub successor: String,
    /// From the fault to the first frame of the new owner.
    pub took: Duration,
    /// How many questions nobody answered.
    pub unanswered: usize,
    /// The frames of the old owner after the first one of the new one, in time after that.
    pub overlap: Vec<Duration>,
}

/// Lets a fault happen to the owner and waits until another node has the address and is alone.
///
/// # Errors
/// When nobody takes over, or somebody else claims the address later than [`SETTLED`] after the fault.
pub fn strike(lab: &mut Lab, watched: &Watched, fault: Fault) -> anyhow::Result<Outcome> {
    let owner = watched.owner.clone();
    let struck = fault.strike(lab, &owner)?;
    let (successor, first) = watched.successor(&owner, struck)?;
    // Where they only lose one another nobody sees at once who is there.
    let since = if Fault::RING.contains(&fault) { struck + SETTLED } else { first };
    watched.settle_on(&successor, since, Duration::from_millis(500))?;
    let to = now();
    if let Some(settled) = struck.checked_add(SETTLED) {
        watched.only(&successor, settled, to)?;
    }
    Ok(watched.watcher.with(|record| Outcome {
        took: first.saturating_duration_since(struck),
        // The last questions may still be on their way.
        unanswered: record.unanswered(struck, to - Duration::from_millis(200)).len(),
        overlap: record
            .of(&owner, first)
            .map(|sighting| sighting.at.saturating_duration_since(first))
            .collect(),
        successor,
    }))
}

/// The owner's speaker is killed, and then that of its heir is stopped in order.
///
/// # Errors
/// As [`strike`]'s.
pub fn strike_twice(lab: &mut Lab, watched: &Watched) -> anyhow::Result<[Outcome; 2]> {
    let killed = strike(lab, watched, Fault::Kill).context("killed")?;
    // The one that was killed says nothing any more, so that it still counts as confirmed.
    let heir = Watched::of(lab, ADDRESS.parse()?).context("the heir")?;
    ensure!(heir.owner == killed.successor, "{} answers", heir.owner);
    let stopped = strike(lab, &heir, Fault::Stop).context("stopped")?;
    Ok([killed, stopped])
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { successor, took, unanswered, overlap } = self;
        write!(
            formatter,
            "{successor} after {:.1} ms, {unanswered} questions unanswered, {} frames of the old owner after that",
            took.as_secs_f64() * 1e3,
            overlap.len(),
        )?;
        match overlap.last() {
            Some(last) => write!(formatter, " (the last {:.1} ms later)", last.as_secs_f64() * 1e3),
            None => Ok(()),
        }
    }
}
