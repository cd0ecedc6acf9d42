// SPDX-License-Identifier: Apache-2.0
//! Logs at level debug when a round of decisions begins and ends, for each Service that is decided again (contract
//! 7.2).

use crate::Dirty;

/// Logs that the dirty Services are decided now.
pub fn note_start(dirty: &Dirty) {
    if dirty.all {
        tracing::debug!(event = "startUpdate", "start of update of all services");
    }
    for service in &dirty.services {
        tracing::debug!(event = "startUpdate", %service, "start of service update");
    }
}

/// Logs that the dirty Services have been decided.
pub fn note_end(dirty: &Dirty) {
    for service in &dirty.services {
        tracing::debug!(event = "endUpdate", %service, "end of service update");
    }
    if dirty.all {
        tracing::debug!(event = "endUpdate", "end of update of all services");
    }
}
