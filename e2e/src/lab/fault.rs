// SPDX-License-Identifier: Apache-2.0
//! What happens to an owner, and what the client saw of it.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;

use super::node::Node;
use super::wait::{SOON, eventually, now};
use super::watched::{ADDRESS, Watched};
use super::{Lab, loss};

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
