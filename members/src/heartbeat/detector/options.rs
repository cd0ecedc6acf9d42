// SPDX-License-Identifier: Apache-2.0
//! The times and numbers of the detection.

use std::time::Duration;

/// The times and numbers of the detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The time between two heartbeats.
    pub interval: Duration,
    /// The number of missing heartbeats that makes a member a suspect.
    pub misses: u32,
    /// The time between two probes of a suspect.
    pub probe_interval: Duration,
    /// The time that a suspect is probed.
    pub probe_time: Duration,
    /// The number of watchers of each member.
    pub watchers: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(100),
            misses: 3,
            probe_interval: Duration::from_millis(10),
            probe_time: Duration::from_millis(80),
            watchers: 3,
        }
    }
}

impl Options {
    /// The time that a member may be silent before it is a suspect: the heartbeats missed, and a tenth of one for the way.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.interval * self.misses + self.interval / 10
    }

    /// The least time between the last sign of life and the verdict.
    #[must_use]
    pub fn detection_time(&self) -> Duration {
        self.patience() + self.probe_time
    }
}
