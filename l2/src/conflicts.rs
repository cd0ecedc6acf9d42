// SPDX-License-Identifier: Apache-2.0
//! Remembers what we asked and what we already told, so that a foreign claim becomes at most one report a minute
//! (RFC 5227 §2.1 and §2.4; the one defence is the [`crate::Announcer`]'s). Not the recognition of a claim in a frame.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::{ConflictSource, MacAddress};

/// A reply within this time of our probe is an answer to it.
const PROBE_WINDOW: Duration = Duration::from_secs(3);
/// The same station and address are told once in this time.
const QUIET: Duration = Duration::from_secs(60);
/// So many stations of one address are remembered and told: whoever invents more is counted, and mutes no other address.
const STATIONS: usize = 4;
/// So many addresses are remembered; of more the one that was told longest ago is forgotten.
const ADDRESSES: usize = 1024;

/// The memory of probes sent and conflicts told.
#[derive(Debug, Default)]
pub struct Conflicts {
    probes: BTreeMap<(IpAddr, u32), Instant>,
    probe_order: VecDeque<(Instant, IpAddr, u32)>,
    told: BTreeMap<IpAddr, Vec<(MacAddress, Instant)>>,
    /// When which address was told, the earliest first.
    told_order: VecDeque<(Instant, IpAddr)>,
}

impl Conflicts {
    /// We asked for the address on this link.
    pub fn probed(&mut self, now: Instant, address: IpAddr, link: u32) {
        self.forget_probes(now);
        self.probes.insert((address, link), now);
        self.probe_order.push_back((now, address, link));
    }

    /// Another station claimed the address; `directed` says that it spoke to us alone. Returns how it was found when the
    /// caller is to be told.
    pub fn heard(
        &mut self,
        now: Instant,
        address: IpAddr,
        link: u32,
        station: MacAddress,
        directed: bool,
    ) -> Option<ConflictSource> {
        self.forget_told(now);
        let stations = self.told.entry(address).or_default();
        if stations.len() >= STATIONS || stations.iter().any(|(told, _)| *told == station) {
            return None;
        }
        stations.push((station, now));
        self.told_order.push_back((now, address));
        self.forget_probes(now);
        let answered = directed && self.probes.contains_key(&(address, link));
        Some(if answered { ConflictSource::Probe } else { ConflictSource::Heard })
    }

    /// Forgets reports that are older than [`QUIET`], and the oldest ones beyond [`ADDRESSES`].
    fn forget_told(&mut self, now: Instant) {
        while let Some((at, address)) = self.told_order.front().copied() {
            if now.duration_since(at) < QUIET && self.told.len() < ADDRESSES {
                break;
            }
            self.told_order.pop_front();
            if let Some(stations) = self.told.get_mut(&address) {
                stations.retain(|(_, told)| *told != at);
                if stations.is_empty() {
                    self.told.remove(&address);
                }
            }
        }
        crate::shrink(&mut self.told_order);
    }

    fn forget_probes(&mut self, now: Instant) {
        while let Some((at, address, link)) = self.probe_order.front().copied() {
            if now.duration_since(at) <= PROBE_WINDOW {
                break;
            }
            self.probe_order.pop_front();
            if self.probes.get(&(address, link)) == Some(&at) {
                self.probes.remove(&(address, link));
            }
        }
        crate::shrink(&mut self.probe_order);
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
mod tests {
    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn station(last: u16) -> MacAddress {
        let [high, low] = last.to_be_bytes();
        MacAddress([2, 0, 0, 0, high, low])
    }

    #[test]
    fn a_reply_soon_after_our_question_was_found_by_the_probe() {
        let (mut conflicts, now) = (Conflicts::default(), Instant::now());
        conflicts.probed(now, ADDRESS, 2);
        let late = now + Duration::from_millis(3_001);
        assert_eq!(conflicts.heard(now, ADDRESS, 2, station(1), true), Some(ConflictSource::Probe));
        assert_eq!(conflicts.heard(now, ADDRESS, 3, station(2), true), Some(ConflictSource::Heard));
        assert_eq!(
            conflicts.heard(now, ADDRESS, 2, station(3), false),
            Some(ConflictSource::Heard)
        );
        assert_eq!(
            conflicts.heard(late, ADDRESS, 2, station(4), true),
            Some(ConflictSource::Heard)
        );
        assert!(conflicts.probes.is_empty() && conflicts.probe_order.is_empty());
    }

    #[test]
    fn the_same_claim_is_told_once_a_minute() {
        let (mut conflicts, now) = (Conflicts::default(), Instant::now());
        assert!(conflicts.heard(now, ADDRESS, 2, station(1), false).is_some());
        assert!(
            conflicts.heard(now + Duration::from_secs(59), ADDRESS, 2, station(1), false).is_none()
        );
        assert!(
            conflicts.heard(now + Duration::from_secs(60), ADDRESS, 2, station(1), false).is_some()
        );
    }

    #[test]
    fn a_flood_of_invented_stations_does_not_grow_the_memory_nor_mute_other_addresses() {
        let (mut conflicts, now) = (Conflicts::default(), Instant::now());
        let told = (0..5_000)
            .filter(|n| conflicts.heard(now, ADDRESS, 2, station(*n), false).is_some())
            .count();
        assert_eq!(
            (told, conflicts.told.len(), conflicts.told_order.len()),
            (STATIONS, 1, STATIONS)
        );
        let other = |n: u32| IpAddr::V4(std::net::Ipv4Addr::from(0xc000_0200 + n));
        assert!(conflicts.heard(now, other(9), 2, station(1), false).is_some());
        assert!(conflicts.heard(now + QUIET, ADDRESS, 2, station(1), false).is_some());
        assert_eq!(conflicts.told.len(), 1);
        for n in 0..3_000 {
            assert!(conflicts.heard(now + QUIET, other(10 + n), 2, station(1), false).is_some());
        }
        assert!(conflicts.told.len() <= ADDRESSES && conflicts.told_order.len() <= ADDRESSES + 1);
    }
}
