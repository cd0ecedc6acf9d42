// SPDX-License-Identifier: Apache-2.0
//! The time that a decision is given.

use std::time::Instant;

use jiff::Timestamp;

/// A moment, by both clocks that decisions need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// The monotonic clock, by which waiting times are measured.
    pub monotonic: Instant,
    /// Microseconds since 1970, for everything that outlives the process or comes from the API.
    pub wall: u64,
}

impl ClockReading {
    /// The time of the wall clock as the API writes it.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        i64::try_from(self.wall)
            .ok()
            .and_then(|wall| Timestamp::from_microsecond(wall).ok())
            .unwrap_or(Timestamp::MAX)
    }
}
