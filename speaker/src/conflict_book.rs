// SPDX-License-Identifier: Apache-2.0
//! A limit on the claims of other stations that are told to people, so that a flood of invented ones costs a bounded number of look-ups, log
//! lines and events. The engine in `l2` recognises the claims.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The time between two notices about the same address.
const ADDRESS_INTERVAL: Duration = Duration::from_secs(10);
/// The number of addresses that are told at once, at most; after that one in each [`REFILL_INTERVAL`].
const BURST: u32 = 10;
const REFILL_INTERVAL: Duration = Duration::from_secs(1);
/// The number of addresses that are remembered, at most; claims to more are counted with the next one that is told.
const ADDRESS_LIMIT: usize = 1024;

/// The claims that were told, with their times, and the numbers that were not.
#[derive(Debug)]
pub struct ConflictBook {
    addresses: BTreeMap<IpAddr, Told>,
    left: u32,
    refilled: Instant,
    /// Claims to addresses that could not be remembered.
    elsewhere: u64,
}

#[derive(Debug, Default)]
struct Told {
    at: Option<Instant>,
    untold: u64,
}

impl ConflictBook {
    /// A book in which nothing was told yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { addresses: BTreeMap::new(), left: BURST, refilled: now, elsewhere: 0 }
    }

    /// A claim was heard and could not be looked at; it is counted with the next one that is told.
    pub fn missed(&mut self) {
        self.elsewhere += 1;
    }

    /// Another station claims `address`. Returns `Some` if the claim is to be told now, with the number of earlier claims that were not.
    pub fn heard(&mut self, now: Instant, address: IpAddr) -> Option<u64> {
        while self.left < BURST && now >= self.refilled + REFILL_INTERVAL {
            self.left += 1;
            self.refilled += REFILL_INTERVAL;
        }
        if self.left == BURST {
            self.refilled = now;
        }
        if self.addresses.len() >= ADDRESS_LIMIT && !self.addresses.contains_key(&address) {
            self.addresses.retain(|_, told| {
                let stays = told.at.is_some_and(|at| now < at + ADDRESS_INTERVAL);
                self.elsewhere += if stays { 0 } else { told.untold };
                stays
            });
            if self.addresses.len() >= ADDRESS_LIMIT {
                self.elsewhere += 1;
                return None;
            }
        }
        let told = self.addresses.entry(address).or_default();
        if self.left == 0 || told.at.is_some_and(|at| now < at + ADDRESS_INTERVAL) {
            told.untold += 1;
            return None;
        }
        told.at = Some(now);
        self.left -= 1;
        Some(std::mem::take(&mut told.untold) + std::mem::take(&mut self.elsewhere))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        std::net::Ipv4Addr::from(0xc000_0200 + n).into()
    }

    #[test]
    fn an_address_is_told_every_ten_seconds_with_the_number_of_claims_between() {
        let now = Instant::now();
        let mut book = ConflictBook::new(now);
        let told: Vec<(u64, u64)> = (0..25_000)
            .step_by(100)
            .filter_map(|ms| Some((ms, book.heard(now + Duration::from_millis(ms), address(1))?)))
            .collect();
        assert_eq!(told, [(0, 0), (10_000, 99), (20_000, 99)]);
    }

    #[test]
    fn a_flood_about_many_addresses_is_told_once_a_second_and_nothing_is_left_uncounted() {
        let now = Instant::now();
        let mut book = ConflictBook::new(now);
        let (mut told, mut counted) = (0, 0);
        for ms in 0..60_000_u32 {
            let at = now + Duration::from_millis(ms.into());
            if let Some(untold) = book.heard(at, address(ms % 5_000)) {
                told += 1;
                counted += untold;
            }
        }
        assert!((60..=70).contains(&told), "{told}");
        assert!(book.addresses.len() <= ADDRESS_LIMIT);
        let waiting: u64 = book.addresses.values().map(|told| told.untold).sum();
        assert_eq!(told + counted + waiting + book.elsewhere, 60_000);
        // After the flood an address is told at once.
        assert!(book.heard(now + Duration::from_secs(90), address(9_999)).is_some());
    }
}
