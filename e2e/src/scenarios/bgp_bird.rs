// SPDX-License-Identifier: Apache-2.0
//! As bgp_frr, with BIRD as the judge.

use crate::lab::Lab;
use crate::lab::router::Kind;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    super::bgp_frr::play(lab, Kind::Bird)
}
