// SPDX-License-Identifier: Apache-2.0
//! One ring of MetalLB's kind of speakers and ours: whoever joins, leaves or dies, each address has the one owner that MetalLB would elect,
//! and never two or none beyond what it takes to notice.
//!
//! Topology: four nodes, two with members by HashiCorp's memberlist that have MetalLB's election and a responder, two with our speakers; four
//! addresses, each node the owner of one; a client that sees every claim to them.
//! Steps: one of each kind is stopped in order and starts again; one of each kind is killed and starts again.

use crate::lab::Lab;
use crate::lab::fleet::{Fleet, GAP, Kind, STOPPED, judge};

/// So many questions, one every 10 ms, may stay unanswered until the others know that one of ours was killed. MetalLB's kind is judged by
/// the memberlist alone.
const OURS_DEAD: usize = 50;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let mut fleet = Fleet::prepare(lab, 4)?;
    let kinds = [
        ("node1", Kind::MetalLb),
        ("node2", Kind::Ferrolb),
        ("node3", Kind::Ferrolb),
        ("node4", Kind::MetalLb),
    ];
    for (node, kind) in kinds {
        fleet.start(lab, node, kind, &[])?;
    }
    fleet.watch(lab)?;
    for (node, kind) in [("node1", Kind::MetalLb), ("node3", Kind::Ferrolb)] {
        let what = format!("{kind:?} stops");
        let passed = fleet.step(lab, &what, |fleet, lab| fleet.stop(lab, node))?;
        // MetalLB's kind stops when it stops, whether the next one has begun or not.
        judge(&passed, if kind == Kind::MetalLb { STOPPED } else { 0 })?;
        starts(lab, &mut fleet, node, kind)?;
    }
    for (node, kind, unanswered) in
        [("node3", Kind::Ferrolb, OURS_DEAD), ("node4", Kind::MetalLb, usize::MAX)]
    {
        let what = format!("{kind:?} is killed");
        let passed = fleet.step(lab, &what, |fleet, lab| fleet.kill(lab, node))?;
        judge(&passed, unanswered)?;
        starts(lab, &mut fleet, node, kind)?;
    }
    Ok(())
}

fn starts(lab: &mut Lab, fleet: &mut Fleet, node: &str, kind: Kind) -> anyhow::Result<()> {
    let what = format!("{kind:?} starts");
    let passed = fleet.step(lab, &what, |fleet, lab| fleet.start(lab, node, kind, &[]))?;
    judge(&passed, GAP)
}
