// SPDX-License-Identifier: Apache-2.0
//! How a session behaves. The defaults are those of a BFDProfile whose fields are unset.

use std::time::Duration;

/// The wishes of our side; what is used follows from these and the peer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Profile {
    /// Required Min RX Interval: how often the peer may send, 10 ms to 60 s.
    pub receive_interval: Duration,
    /// Desired Min TX Interval while Up: how often we want to send, 10 ms to 60 s.
    pub transmit_interval: Duration,
    /// Detect Mult: intervals without a packet until the session is down; 2 to 255 in a BFDProfile, 1 by the protocol.
    pub detect_multiplier: u8,
    /// How often Echo packets are sent and taken, 10 ms to 60 s.
    pub echo_interval: Duration,
    /// Whether the Echo function is used and offered; single hop only.
    pub echo_mode: bool,
    /// The Passive role: nothing is sent before the peer was heard (RFC 5880 section 6.1).
    pub passive_mode: bool,
    /// Multihop only: packets that arrive with a lower TTL are discarded, 1 to 254. FRR and we send with 255, BIRD 2.0 with 64.
    pub minimum_ttl: u8,
}

/// The least and the greatest interval.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(60));

impl Profile {
    /// The same with every value brought into its range.
    #[must_use]
    pub fn within_ranges(self) -> Self {
        let (least, greatest) = INTERVALS;
        Self {
            receive_interval: self.receive_interval.clamp(least, greatest),
            transmit_interval: self.transmit_interval.clamp(least, greatest),
            detect_multiplier: self.detect_multiplier.max(1),
            echo_interval: self.echo_interval.clamp(least, greatest),
            minimum_ttl: self.minimum_ttl.clamp(1, 254),
            ..self
        }
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self {
            receive_interval: Duration::from_millis(300),
            transmit_interval: Duration::from_millis(300),
            detect_multiplier: 3,
            echo_interval: Duration::from_millis(50),
            echo_mode: false,
            passive_mode: false,
            minimum_ttl: 254,
        }
    }
}
