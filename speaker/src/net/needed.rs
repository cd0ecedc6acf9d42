// SPDX-License-Identifier: Apache-2.0
//! The kinds of the cluster that the speaker must have listed before it announces anything.

use cluster::{Kind, Snapshot};

/// The kinds.
pub(super) fn kinds() -> Vec<Kind> {
    Kind::with_configuration(&[Kind::Service, Kind::EndpointSlice, Kind::Node, Kind::Secret])
}

/// True if all of them are listed.
pub(super) fn has_read(snapshot: &Snapshot) -> bool {
    kinds().iter().all(|kind| snapshot.is_synced(*kind))
}
