// SPDX-License-Identifier: Apache-2.0
//! The stations that answer for addresses which nobody has: routers with proxy ARP, and proxies of NDP.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use super::Station;

/// The time for which a station counts as a proxy after it has answered for a control address.
const MEMORY_TIME: Duration = Duration::from_secs(30);
/// The stations that are remembered, at most: somebody may invent them.
const STATIONS_LIMIT: usize = 256;

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Proxies(BTreeMap<Station, Instant>);

impl Proxies {
    /// The control addresses. In IPv4 one of the last 256 link-local addresses, which no host may take (RFC 3927 section 2.1); in IPv6 one of
    /// the prefix for documentation (RFC 3849), with a random interface identifier.
    pub(super) fn controls(seed: u64) -> [IpAddr; 2] {
        let [a, b, c, d, e, f, g, h] = seed.to_be_bytes();
        let pair = |high: u8, low: u8| u16::from_be_bytes([high, low]);
        let v6 =
            Ipv6Addr::new(0x2001, 0xdb8, 0xfe44, 0, pair(a, b), pair(c, d), pair(e, f), pair(g, h));
        [Ipv4Addr::new(169, 254, 255, h).into(), v6.into()]
    }

    /// A station answers for a control address. Returns true if that was not known.
    pub(super) fn note(&mut self, now: Instant, station: Station) -> bool {
        self.0.retain(|_, since| now < *since + MEMORY_TIME);
        if self.0.len() >= STATIONS_LIMIT && !self.0.contains_key(&station) {
            return false;
        }
        self.0.insert(station, now).is_none()
    }

    pub(super) fn contains(&self, now: Instant, station: &Station) -> bool {
        self.0.get(station).is_some_and(|since| now < *since + MEMORY_TIME)
    }
}
