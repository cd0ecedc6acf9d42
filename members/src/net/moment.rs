// SPDX-License-Identifier: Apache-2.0
//! The clocks of the shell, and the system's random octets.

use ring::rand::{SecureRandom, SystemRandom};

use crate::Moment;

/// Random octets of the system, for nonces and seeds.
pub(super) fn random<const LENGTH: usize>() -> Option<[u8; LENGTH]> {
    let mut octets = [0; LENGTH];
    SystemRandom::new().fill(&mut octets).ok().map(|()| octets)
}

pub(super) fn moment() -> Moment {
    Moment { monotonic: clock::now(), boottime: clock::boottime().unwrap_or_default() }
}
