// SPDX-License-Identifier: Apache-2.0
//! The clocks of the shell, and the system's random octets: they are read here and nowhere else.

use std::time::{Duration, Instant, SystemTime};

use ring::rand::{SecureRandom, SystemRandom};

use crate::Moment;

/// Random octets of the system, for nonces and seeds.
pub(super) fn random<const LENGTH: usize>() -> Option<[u8; LENGTH]> {
    let mut octets = [0; LENGTH];
    SystemRandom::new().fill(&mut octets).ok().map(|()| octets)
}

#[allow(
    clippy::disallowed_methods,
    reason = "this is the shell: the one place that reads the clock"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}

pub(super) fn moment() -> Moment {
    Moment { monotonic: now(), boottime: boottime() }
}

/// Since the epoch, as far as this machine knows.
#[allow(clippy::disallowed_methods, reason = "this is the shell: it reads the clocks")]
pub(super) fn time_of_day() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// The clock that goes on while the system is suspended.
fn boottime() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of our own, which the call fills; this clock exists on every Linux.
    #[allow(unsafe_code, reason = "the standard library has no clock that counts suspension")]
    let result = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    if result != 0 {
        return Duration::ZERO;
    }
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}
