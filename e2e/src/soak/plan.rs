// SPDX-License-Identifier: Apache-2.0
//! What is to be played, how often and how long.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use crate::lab::fault::Fault;

/// What MetalLB's manifests run with.
pub(super) const FLAGS: &[&str] = &["--log-level=info"];

/// A part that is played by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Faults with three nodes.
    Three,
    /// Faults with ten nodes.
    Ten,
    /// Faults of the owner of an ExternalIPPool's address.
    Antrea,
    /// Loss with three nodes.
    LossThree,
    /// Loss with ten nodes.
    LossTen,
    /// Strangers to the ring; their table stands in a document of its own, and they are played only as this part.
    Attacks,
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where controller and speaker are.
    pub binaries: PathBuf,
    /// How often each fault strikes that has a goal.
    pub trials: usize,
    /// How often each of the others strikes.
    pub ring_trials: usize,
    /// With how many nodes, one size after the other.
    pub nodes: Vec<usize>,
    /// With how many nodes faults strike the owner of an ExternalIPPool's address.
    pub antrea_nodes: Vec<usize>,
    /// Only these faults; all, if none is named.
    pub faults: Vec<String>,
    /// How long packets are lost.
    pub loss: Duration,
    /// With how many nodes, one size after the other.
    pub loss_nodes: Vec<usize>,
    /// How long each attack of a stranger lasts, in whole seconds.
    pub attacks: Duration,
    /// The file whose figures are written anew.
    pub out: PathBuf,
}

/// Whose address is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum World {
    MetalLb,
    Antrea,
}

impl World {
    /// What stands beside the number of nodes.
    pub(super) fn mark(self) -> &'static str {
        match self {
            Self::MetalLb => "",
            Self::Antrea => ", ExternalIPPool",
        }
    }
}

impl Plan {
    /// Of all that is planned only this part.
    #[must_use]
    pub fn only(self, part: Part) -> Self {
        let of = |part_of: Part, wanted: usize, sizes: &[usize]| {
            let is_wanted = |size: &usize| part == part_of && (wanted == 0 || *size == wanted);
            sizes.iter().copied().filter(is_wanted).collect::<Vec<usize>>()
        };
        let nodes = [of(Part::Three, 3, &self.nodes), of(Part::Ten, 10, &self.nodes)].concat();
        let antrea_nodes = of(Part::Antrea, 0, &self.antrea_nodes);
        let loss = &self.loss_nodes;
        let loss_nodes = [of(Part::LossThree, 3, loss), of(Part::LossTen, 10, loss)].concat();
        Self { nodes, antrea_nodes, loss_nodes, ..self }
    }

    pub(super) fn wants(&self, what: &str) -> bool {
        self.faults.is_empty() || self.faults.iter().any(|name| name == what)
    }

    /// The faults of a node, and, where MetalLB's rules say who owns an address, those of the ring: the election does
    /// not change them. With how often each strikes.
    pub(super) fn faults(&self, world: World) -> Vec<(Fault, usize)> {
        let of_nodes = Fault::NODE.into_iter().map(|fault| (fault, self.trials));
        let of_ring = Fault::RING.into_iter().filter(|_| world == World::MetalLb);
        let all = of_nodes.chain(of_ring.map(|fault| (fault, self.ring_trials)));
        all.filter(|(fault, trials)| *trials > 0 && self.wants(fault.name())).collect()
    }
}

/// The name of what happens while the API server is away, for [`Plan::faults`].
pub(super) const API_AWAY: &str = "API server away";

/// The first frame of the new owner: in the middle of all trials, and at worst; faults of the ring have no goal.
pub(super) fn goal(fault: Fault) -> Option<(Duration, Duration)> {
    let (middle, worst) = match fault {
        Fault::LinkCut | Fault::Freeze => (450, 500),
        Fault::Kill => (200, 200),
        Fault::Stop => (30, 30),
        Fault::Part | Fault::Deafen | Fault::Mute => return None,
    };
    Some((Duration::from_millis(middle), Duration::from_millis(worst)))
}
