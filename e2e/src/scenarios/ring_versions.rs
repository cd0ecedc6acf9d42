// SPDX-License-Identifier: Apache-2.0
//! Our speakers beside a build of ours that says other things to its like: both fall back to what the ring alone says, as beside MetalLB's
//! kind. Nobody takes the other for dead because it speaks no heartbeat that he understands, nobody falls silent, and each address has one owner.
//!
//! Topology: three nodes; on the first the later build, which is played by a member by HashiCorp's memberlist whose metadata are ours of another
//! version (and say, by what the bits mean today, that it is silent); on the others our speakers; four addresses; a client.
//! Steps: one of ours is stopped in order and starts again; so is the later build.

use anyhow::ensure;

use crate::lab::Lab;
use crate::lab::watched::is_confirmed;
use crate::lab::fleet::{Fleet, GAP, Kind, judge};

/// "ferrolb", version 255, the flag of silence, a generation, a digest, the bits of one pool.
const LATER: &str = "-meta=666572726f6c62ff080000000000000001aabbccdd80";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let mut fleet = Fleet::prepare(lab, 3)?;
    let kinds =
        [("node1", Kind::MetalLb, LATER), ("node2", Kind::Ferrolb, ""), ("node3", Kind::Ferrolb, "")];
    let extra = |flag: &'static str| if flag.is_empty() { vec![] } else { vec![flag] };
    for (node, kind, flag) in kinds {
        fleet.start(lab, node, kind, &extra(flag))?;
    }
    fleet.watch(lab)?;
    for (node, kind, flag) in [("node3", Kind::Ferrolb, ""), ("node1", Kind::MetalLb, LATER)] {
        let passed =
            fleet.step(lab, &format!("{node} stops"), |fleet, lab| fleet.stop(lab, node))?;
        judge(&passed, 0)?;
        let passed = fleet.step(lab, &format!("{node} starts"), |fleet, lab| {
            fleet.start(lab, node, kind, &extra(flag))
        })?;
        judge(&passed, GAP)?;
    }
    for node in lab.nodes.iter().filter(|node| node.name != "node1") {
        ensure!(is_confirmed(node), "{} may not announce", node.name);
        let log = node.speaker.as_ref().map(crate::lab::process::Process::log).unwrap_or_default();
        for alarm in ["memberDead", "minority"] {
            ensure!(!log.contains(alarm), "{}: {alarm}\n{log}", node.name);
        }
    }
    Ok(())
}
