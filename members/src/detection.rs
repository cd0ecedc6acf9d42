// SPDX-License-Identifier: Apache-2.0
//! The options of the failure detector.

use std::time::Duration;

use crate::heartbeat;
use crate::quorum::Fencing;

/// The options for finding dead members, and for silencing this one.
#[derive(Clone, Debug)]
pub struct Detection {
    /// The times of the heartbeat.
    pub heartbeat: heartbeat::Options,
    /// The conditions that silence this member.
    pub fencing: Fencing,
    /// True if of two members that lost one another only the one with the smaller name goes on.
    pub fence_two: bool,
    /// A random number that no earlier run has had.
    pub session: u64,
    /// The least time that a start waits for the ring; the wait goes on while hosts are being contacted for the first time.
    pub start_wait: Duration,
    /// True if there is nobody to wait for at the start.
    pub alone: bool,
    /// True for the metadata of a member that uses the heartbeat.
    pub speaks: fn(&[u8]) -> bool,
}

impl Detection {
    /// The options for a ring of memberlist alone: no member uses the heartbeat, and nothing silences this member.
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
