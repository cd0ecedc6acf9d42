// SPDX-License-Identifier: Apache-2.0
//! Failover over and over, and long loss: here times are judged, which no test of a change does.
//!
//! Topology: one lane, first with three nodes and then with ten (no kube-proxy, no pods), and with three for an
//! ExternalIPPool, a client that asks for the address every 10 ms.
//! Steps: each fault of a node and of the ring strikes the owner and is repaired, many times; then, a few times, the
//! owner's speaker is killed and its heir's stopped while the API server is away; last packets of the ring are lost for
//! long.
//! Written: the table of the document, and in the folder `figures` beside the document the milliseconds of every trial
//! and a plot of them.

mod attacks;
mod figures;
mod plan;
mod trials;

use std::time::Duration;

use anyhow::Context;

use crate::lab::control_plane::{self, Families};
use crate::lab::fault::{Fault, strike, strike_twice};
use crate::lab::loss;
use crate::lab::wait::{eventually_true, now};
use crate::lab::watched::{Watched, is_confirmed};
use crate::lab::{Lab, SOON, cleanup};
use figures::Figures;
use plan::{API_AWAY, FLAGS, World};

pub use plan::{Part, Plan};

/// Plays the attacks of strangers, and writes their table.
///
/// # Errors
/// When the rack cannot be made, or an attack cannot be played.
pub fn attack(plan: &Plan) -> anyhow::Result<bool> {
    on_a_rack(plan, attacks::play).map(|()| true)
}

/// Does it; true when every goal was met.
///
/// # Errors
/// When the rack cannot be made, an address has no owner or two, or moves without need.
pub fn run(plan: &Plan) -> anyhow::Result<bool> {
    let mut figures = Figures::default();
    on_a_rack(plan, |plan, lab| strike_all(plan, lab, &mut figures))?;
    figures.write(&plan.out)?;
    Ok(figures.all_met())
}

fn on_a_rack(
    plan: &Plan,
    play: impl FnOnce(&Plan, &mut Lab) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    anyhow::ensure!(nix::unistd::Uid::effective().is_root(), "network namespaces need root");
    cleanup::remove_leftovers();
    let result = control_plane::binary().and_then(|cluster| {
        let mut lab = Lab::new(0, &plan.binaries, &cluster, Families::Dual)?;
        let result = play(plan, &mut lab);
        if result.is_err() {
            println!("{}", lab.evidence());
        }
        result
    });
    cleanup::remove_own();
    result
}

fn strike_all(plan: &Plan, lab: &mut Lab, figures: &mut Figures) -> anyhow::Result<()> {
    let metallb = plan.nodes.iter().map(|nodes| (*nodes, World::MetalLb));
    let antrea = plan.antrea_nodes.iter().map(|nodes| (*nodes, World::Antrea));
    for (nodes, world) in metallb.chain(antrea).filter(|(nodes, _)| *nodes > 0) {
        let faults = plan.faults(world);
        let api_away = world == World::MetalLb && plan.ring_trials > 0 && plan.wants(API_AWAY);
        if faults.is_empty() && !api_away {
            continue;
        }
        let watched = match world {
            World::MetalLb => Watched::start(lab, nodes, FLAGS)?,
            World::Antrea => lab.watch_for_antrea(nodes, FLAGS)?,
        };
        for (fault, trials) in faults {
            let mut outcomes = Vec::new();
            for trial in 1..=trials {
                let outcome = strike(lab, &watched, fault)
                    .with_context(|| format!("{}, trial {trial}", fault.name()))?;
                println!("{nodes} nodes, {}, trial {trial}: {outcome}", fault.name());
                outcomes.push(outcome);
                repair(lab, &watched, &[(fault, &watched.owner)])?;
            }
            figures.add(nodes, world.mark(), fault, &outcomes);
        }
        if api_away {
            without_api(plan, lab, &watched, nodes, figures)?;
        }
        drop(watched);
        lab.reset()?;
    }
    for nodes in plan.loss_nodes.iter().filter(|_| !plan.loss.is_zero()) {
        let watched = Watched::start(lab, *nodes, FLAGS)?;
        let kept = loss::endure(lab, &watched, plan.loss)?;
        figures.add_loss(*nodes, plan.loss, kept);
        drop(watched);
        lab.reset()?;
    }
    Ok(())
}

/// The owner's speaker is killed and its heir's is stopped while the API server is away.
fn without_api(
    plan: &Plan,
    lab: &mut Lab,
    watched: &Watched,
    nodes: usize,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let (mut killed, mut stopped) = (Vec::new(), Vec::new());
    for trial in 1..=plan.ring_trials {
        lab.control.apiserver.kill();
        let outcomes = strike_twice(lab, watched)
            .with_context(|| format!("without the API server, trial {trial}"))?;
        lab.control.restart_apiserver(&lab.plane)?;
        let [first, second] = outcomes;
        println!("{nodes} nodes, no API server, trial {trial}: killed {first}; stopped {second}");
        repair(lab, watched, &[(Fault::Kill, &watched.owner), (Fault::Stop, &first.successor)])?;
        killed.push(first);
        stopped.push(second);
    }
    figures.add(nodes, ", API server away", Fault::Kill, &killed);
    figures.add(nodes, ", API server away", Fault::Stop, &stopped);
    Ok(())
}

/// Makes good what was struck, and waits until everybody counts and the first owner has the address.
fn repair(lab: &mut Lab, watched: &Watched, struck: &[(Fault, &str)]) -> anyhow::Result<()> {
    let mut repaired = now();
    for (fault, node) in struck {
        repaired = fault.repair(lab, node, FLAGS)?;
    }
    watched.settle_on(&watched.owner, repaired, Duration::from_millis(500))?;
    for node in &lab.nodes {
        eventually_true("the speaker is confirmed", SOON, || Ok(is_confirmed(node)))?;
    }
    Ok(())
}
