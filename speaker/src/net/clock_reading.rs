// SPDX-License-Identifier: Apache-2.0
//! The clocks in the form that the core takes.

use crate::core::ClockReading;

/// The present moment, by both clocks.
#[must_use]
pub fn clock_reading() -> ClockReading {
    let wall = u64::try_from(clock::time_of_day().as_micros()).unwrap_or(u64::MAX);
    ClockReading { monotonic: clock::now(), wall }
}
