// SPDX-License-Identifier: Apache-2.0
//! Failover over and over, and long loss: here times are judged, which no test of a change does.
//!
//! Topology: one lane, first with three nodes and then with ten (no kube-proxy, no pods), and with three for an ExternalIPPool, a client that asks for the address
//! every 10 ms.

mod figures;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use crate::lab::control_plane::{self, Families};
use crate::lab::fault::{Fault, Watched, is_confirmed, strike};
use crate::lab::loss;
use crate::lab::wait::eventually_true;
use crate::lab::{Lab, SOON, cleanup};
use figures::Figures;

/// What MetalLB's manifests run with.
const FLAGS: &[&str] = &["--log-level=info"];

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where controller and speaker are.
    pub binaries: PathBuf,
    /// How often each fault strikes.
    pub trials: usize,
    /// With how many nodes, one size after the other.
    pub nodes: Vec<usize>,
    /// With how many nodes faults strike the owner of an ExternalIPPool's address.
    pub antrea_nodes: Vec<usize>,
    /// Only these faults; all, if none is named.
    pub faults: Vec<String>,
    /// How long packets are lost.
    pub loss: Duration,
    /// With how many nodes.
    pub loss_nodes: usize,
    /// The file whose figures are written anew.
    pub out: PathBuf,
}

/// Whose address is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum World {
    MetalLb,
    Antrea,
}

impl World {
    /// What stands beside the number of nodes.
    fn mark(self) -> &'static str {
        match self {
            Self::MetalLb => "",
            Self::Antrea => ", ExternalIPPool",
        }
    }
}

impl Plan {
    fn wants(&self, fault: Fault) -> bool {
        self.faults.is_empty() || self.faults.iter().any(|name| name == fault.name())
    }
}

/// Does it; true when every goal was met.
///
/// # Errors
/// When the rack cannot be made, an address has no owner or two, or moves without need.
pub fn run(plan: &Plan) -> anyhow::Result<bool> {
    anyhow::ensure!(nix::unistd::Uid::effective().is_root(), "network namespaces need root");
    cleanup::remove_leftovers();
    let mut figures = Figures::default();
    let result = control_plane::binary().and_then(|cluster| strikes(plan, &cluster, &mut figures));
    cleanup::remove_own();
    result?;
    figures.write(&plan.out)?;
    Ok(figures.all_met())
}

fn strikes(plan: &Plan, cluster: &Path, figures: &mut Figures) -> anyhow::Result<()> {
    let mut lab = Lab::new(0, &plan.binaries, cluster, Families::Dual)?;
    let result = strike_all(plan, &mut lab, figures);
    if result.is_err() {
        println!("{}", lab.evidence());
    }
    result
}

fn strike_all(plan: &Plan, lab: &mut Lab, figures: &mut Figures) -> anyhow::Result<()> {
    let strikes = Fault::ALL.into_iter().any(|fault| plan.wants(fault));
    let metallb = plan.nodes.iter().map(|nodes| (*nodes, World::MetalLb));
    let antrea = plan.antrea_nodes.iter().map(|nodes| (*nodes, World::Antrea));
    for (nodes, world) in metallb.chain(antrea).filter(|_| strikes) {
        let watched = match world {
            World::MetalLb => Watched::start(lab, nodes, FLAGS)?,
            World::Antrea => lab.watch_for_antrea(nodes, FLAGS)?,
        };
        for fault in Fault::ALL.into_iter().filter(|fault| plan.wants(*fault)) {
            let mut outcomes = Vec::new();
            for trial in 1..=plan.trials {
                let outcome = strike(lab, &watched, fault)
                    .with_context(|| format!("{}, trial {trial}", fault.name()))?;
                println!("{nodes} nodes, {}, trial {trial}: {outcome}", fault.name());
                outcomes.push(outcome);
                let repaired = fault.repair(lab, &watched.owner, FLAGS)?;
                watched.settle_on(&watched.owner, repaired, Duration::from_millis(500))?;
                for node in &lab.nodes {
                    eventually_true("the speaker is confirmed", SOON, || Ok(is_confirmed(node)))?;
                }
            }
            figures.add(nodes, world, fault, &outcomes);
        }
        drop(watched);
        lab.reset()?;
    }
    if !plan.loss.is_zero() {
        let watched = Watched::start(lab, plan.loss_nodes, FLAGS)?;
        let kept = loss::endure(lab, &watched, plan.loss)?;
        figures.add_loss(plan.loss_nodes, plan.loss, kept);
    }
    Ok(())
}
