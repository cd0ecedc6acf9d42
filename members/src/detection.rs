// SPDX-License-Identifier: Apache-2.0
//! How the failure detector is set up.

use std::time::Duration;

use crate::heartbeat;
use crate::quorum::Fencing;

/// How the dead are found, and what makes this member fall silent.
#[derive(Clone, Debug)]
pub struct Detection {
    /// How fast.
    pub heartbeat: heartbeat::Options,
    /// What makes this member fall silent.
    pub fencing: Fencing,
    /// Whether of two members that lost one another only that with the smaller name goes on.
    pub fence_two: bool,
    /// A random number that no earlier run has had.
    pub session: u64,
    /// How long a start waits for the ring at least; it goes on while hosts are being contacted for the first time.
    pub start_wait: Duration,
    /// Whether there is nobody to wait for at the start.
    pub alone: bool,
    /// Whether a member with this metadata speaks the heartbeat.
    pub speaks: fn(&[u8]) -> bool,
}

impl Detection {
    /// For a ring of memberlist alone: nobody speaks the heartbeat, and nothing makes this member fall silent.
    #[must_use]
    pub fn off() -> Self {
        Self {
            heartbeat: heartbeat::Options::default(),
            fencing: Fencing::Off,
            fence_two: false,
            session: 1,
            start_wait: Duration::ZERO,
            alone: true,
            speaks: |_| false,
        }
    }
}
