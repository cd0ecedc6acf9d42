// SPDX-License-Identifier: Apache-2.0
//! One packet in five of the ring is lost and the speakers share a core with a process that never waits: nothing moves.
//!
//! Topology: three nodes with speakers, a client that asks for the address every 10 ms and sees every claim to it.
//! Steps: two minutes of loss on port 7946 at every node, all speakers and a busy loop on core 0; the owner alone claims the
//! address all the time.

use std::time::Duration;

use crate::lab::watched::Watched;
use crate::lab::{Lab, loss};

const TIME: Duration = Duration::from_secs(120);

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let watched = Watched::start(lab, 3, &[])?;
    let (asked, unanswered) = loss::endure(lab, &watched, TIME)?;
    println!("     {unanswered} of {asked} questions unanswered");
    Ok(())
}
