// SPDX-License-Identifier: Apache-2.0
//! Which of several speakers that probe for the same address comes first, and the octets that say so in a probe. Not
//! the frames that carry these octets: [`crate::frame`] has them.

use std::cmp::Reverse;

use crate::MacAddress;

/// The precedence of a speaker that probes for an address. Its probes carry it, so that of several speakers that probe
/// for the same address all know the one that comes first: the speaker that sees more members, then the one with the
/// smaller position, then the one with the smaller hardware address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Precedence {
    /// The number of speakers that the sender sees, itself included. More come first.
    pub members: u16,
    /// The position of the sender's node name among the names that it knows. The smaller comes first.
    pub position: u16,
}

/// The first two octets, "FL". A hardware address that begins so is that of one station, and locally administered.
const MARK: [u8; 2] = [0x46, 0x4c];

impl Precedence {
    /// The six octets that a probe carries: `46 4c`, then members and position, each big-endian.
    #[must_use]
    pub const fn octets(self) -> [u8; 6] {
        let [first, second] = MARK;
        let ([a, b], [c, d]) = (self.members.to_be_bytes(), self.position.to_be_bytes());
        [first, second, a, b, c, d]
    }

    /// Reads these octets; `None` when they do not begin with `46 4c`.
    #[must_use]
    pub const fn from_octets(octets: [u8; 6]) -> Option<Self> {
        let [first, second, a, b, c, d] = octets;
        if first != MARK[0] || second != MARK[1] {
            return None;
        }
        let (members, position) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        Some(Self { members, position })
    }

    /// Whether this precedence, in a probe of `station`, is higher than `other` in a probe of `other_station`.
    #[must_use]
    pub fn is_higher(self, station: MacAddress, other: Self, other_station: MacAddress) -> bool {
        self.rank(station) < other.rank(other_station)
    }

    /// The lowest comes first.
    const fn rank(self, station: MacAddress) -> (Reverse<u16>, u16, MacAddress) {
        (Reverse(self.members), self.position, station)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_octets_are_the_mark_and_both_numbers_big_endian() {
        let precedence = Precedence { members: 0x0102, position: 0x0304 };
        assert_eq!(precedence.octets(), [0x46, 0x4c, 1, 2, 3, 4]);
        assert_eq!(Precedence::from_octets([0x46, 0x4c, 1, 2, 3, 4]), Some(precedence));
        for other in [[0; 6], [0x46, 0x4d, 1, 2, 3, 4], [0x47, 0x4c, 1, 2, 3, 4], [0xff; 6]] {
            assert_eq!(Precedence::from_octets(other), None);
        }
        assert!(MacAddress(precedence.octets()).is_station());
    }

    #[test]
    fn more_members_then_the_smaller_position_then_the_smaller_station_come_first() {
        let station = |last| MacAddress([2, 0, 0, 0, 0, last]);
        let first = |members, position| Precedence { members, position };
        let in_order = [
            (first(0x0100, 9), station(9)),
            (first(0x00ff, 0), station(9)),
            (first(0x00ff, 0x00ff), station(9)),
            (first(0x00ff, 0x0100), station(1)),
            (first(0x00ff, 0x0100), station(2)),
        ];
        for (n, (one, its)) in in_order.iter().enumerate() {
            for (m, (other, others)) in in_order.iter().enumerate() {
                assert_eq!(one.is_higher(*its, *other, *others), n < m, "{n} {m}");
            }
        }
    }

    proptest! {
        #[test]
        fn of_two_stations_exactly_one_comes_first(members in any::<[u16; 2]>(), position in any::<[u16; 2]>(), macs in any::<[[u8; 6]; 2]>()) {
            prop_assume!(macs[0] != macs[1]);
            let [one, other] = [0, 1].map(|n| Precedence { members: members[n], position: position[n] });
            let [its, others] = macs.map(MacAddress);
            prop_assert_ne!(one.is_higher(its, other, others), other.is_higher(others, one, its));
            prop_assert_eq!(Precedence::from_octets(one.octets()), Some(one));
        }
    }
}
