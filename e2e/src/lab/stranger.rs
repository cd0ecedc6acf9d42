// SPDX-License-Identifier: Apache-2.0
//! A stranger to the ring on the switch, and what the client sees of an address meanwhile.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::Lab;
use super::netns::Namespace;
use super::node::Node;
use super::process::{Process, Rights, Start};
use super::wait::{SOON, eventually, eventually_true, now};
use super::watched::Watched;
use super::watcher::Record;
use crate::strangers::{BEGINS, DID, Kind};

/// The name of its log.
const NAME: &str = "stranger";
/// The last number of its first address; those of the pool begin with 200.
const FIRST: u8 = 120;
/// How many addresses it has.
const ADDRESSES: u8 = 60;

/// An attack.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    /// What is done.
    pub kind: Kind,
    /// Packets a second, or connections that are held at a time.
    pub amount: u32,
}

/// A machine on the switch that is in no list and has no key.
#[derive(Debug)]
pub struct Stranger {
    namespace: Namespace,
}

impl Stranger {
    /// Makes it, with sixty addresses.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(lab: &Lab) -> anyhow::Result<Self> {
        let namespace = lab.switch.attach(NAME, "eth0", "02:fb:00:00:00:66")?;
        let lines = sources().map(|source| format!("address add {source}/24 dev eth0\n"));
        namespace.ip(&lines.collect::<String>())?;
        // Every connection ends at once; so many may begin at a time.
        namespace.sysctl(&[("net/ipv4/ip_local_port_range", "1024 65000")])?;
        Ok(Self { namespace })
    }

    /// Begins an attack on all nodes; it ends after this time, in whole seconds, or when it is dropped.
    ///
    /// # Errors
    /// When it does not begin.
    pub fn start(&self, lab: &Lab, attack: Attack, time: Duration) -> anyhow::Result<Process> {
        let kind = clap::ValueEnum::to_possible_value(&attack.kind).context("no such kind")?;
        let members: Vec<String> = lab.nodes.iter().map(Node::v4).collect();
        let sources: Vec<String> = sources().map(|source| source.to_string()).collect();
        let before = said(lab, BEGINS);
        let mut process = Process::start(
            lab.folder(),
            Start {
                name: NAME.into(),
                namespace: &self.namespace,
                program: &lab.programs.e2e,
                arguments: vec![
                    "stranger".into(),
                    kind.get_name().into(),
                    attack.amount.to_string(),
                    time.as_secs().to_string(),
                    format!("--members={}", members.join(",")),
                    format!("--sources={}", sources.join(",")),
                ],
                environment: Vec::new(),
                rights: Rights::All,
            },
        )?;
        process.wait_ready(SOON, || Ok(said(lab, BEGINS).len() > before.len()))?;
        Ok(process)
    }

    /// Lets an attack go on for this long; what became of the address meanwhile, and how much it was really.
    ///
    /// # Errors
    /// When it cannot be done.
    pub fn attack(
        &self,
        lab: &Lab,
        watched: &Watched,
        attack: Attack,
        time: Duration,
    ) -> anyhow::Result<(Kept, Done)> {
        let from = now();
        let process = self.start(lab, attack, time)?;
        let done = ended(lab, process, time)?;
        Ok((Kept::of(watched, from), done))
    }
}

/// How much an attack was really.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Packets in a second, or connections at once.
    pub amount: u64,
    /// Connections that were opened in a second, where it is them.
    pub opened: Option<u64>,
}

impl std::fmt::Display for Done {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.opened {
            Some(opened) => write!(formatter, "{} at once, {opened} opened/s", self.amount),
            None => write!(formatter, "{}/s", self.amount),
        }
    }
}

/// Waits until an attack is over; how much it was.
///
/// # Errors
/// When it failed or does not end.
pub fn ended(lab: &Lab, mut process: Process, time: Duration) -> anyhow::Result<Done> {
    let status = eventually("the attack is over", time + SOON, || Ok(process.ended()))?;
    anyhow::ensure!(status.success(), "the stranger: {status}: {}", process.log());
    let last = said(lab, DID).pop().context("it did not say how much it was")?;
    let mut numbers = last.split(' ').skip(1).map(str::parse);
    let amount = numbers.next().context("no number")?.with_context(|| last.clone())?;
    Ok(Done { amount, opened: numbers.next().transpose()? })
}

/// The lines of its log with this first word.
fn said(lab: &Lab, word: &str) -> Vec<String> {
    let log = std::fs::read_to_string(lab.folder().join(format!("{NAME}.log")));
    let log = log.unwrap_or_default();
    log.lines().filter(|line| line.starts_with(word)).map(str::to_owned).collect()
}

fn sources() -> impl Iterator<Item = Ipv4Addr> {
    (FIRST..FIRST + ADDRESSES).map(|last| Ipv4Addr::new(172, 30, 0, last))
}

/// What became of an address in some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// How often another station claimed it than the one before.
    pub changes: usize,
    /// How many questions two answered.
    pub twice: usize,
    /// How many questions nobody answered.
    pub unanswered: usize,
    /// How many there were.
    pub asked: usize,
}

impl Kept {
    /// From a moment until now; the last questions may still be on their way.
    #[must_use]
    pub fn of(watched: &Watched, from: Instant) -> Self {
        let to = now();
        watched.watcher.with(|record| Self::between(record, from, to))
    }

    fn between(record: &Record, from: Instant, to: Instant) -> Self {
        let last = to.checked_sub(Duration::from_millis(200)).unwrap_or(to);
        Self {
            changes: record.changes(from, to),
            twice: record.answered_by_several(from, to),
            unanswered: record.unanswered(from, last).len(),
            asked: record.questions.iter().filter(|asked| (from..last).contains(*asked)).count(),
        }
    }

    /// What becomes of it while nobody does anything.
    ///
    /// # Errors
    /// When it cannot be seen.
    pub fn quiet(watched: &Watched, time: Duration) -> anyhow::Result<Self> {
        let from = now();
        eventually_true("the time is over", time + SOON, || Ok(from.elapsed() >= time))?;
        Ok(Self::of(watched, from))
    }
}

impl std::fmt::Display for Kept {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { changes, twice, unanswered, asked } = self;
        write!(formatter, "{changes} / {twice} / {unanswered} of {asked}")
    }
}
