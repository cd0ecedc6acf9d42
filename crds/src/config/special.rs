// SPDX-License-Identifier: Apache-2.0
//! Addresses that no load balancer can have, because no other station may send to them across a link, or not to one station alone
//! (RFC 6890 and RFC 4291 §2.4). A pool may name such addresses; they are never given.

use std::net::IpAddr;

use super::range::{AddressRange, Family, from_number, to_number};

/// A block of such addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpecialBlock {
    /// `0.0.0.0/8` and `::` (RFC 1122 §3.2.1.3, RFC 4291 §2.5.2).
    Unspecified,
    /// `127.0.0.0/8` and `::1`.
    Loopback,
    /// `169.254.0.0/16` (RFC 3927) and `fe80::/10`.
    LinkLocal,
    /// `224.0.0.0/4` and `ff00::/8`.
    Multicast,
    /// `255.255.255.255`.
    LimitedBroadcast,
}

impl SpecialBlock {
    /// All blocks of a family with their first and last address, in ascending order, none overlapping.
    const fn all(family: Family) -> &'static [(Self, u128, u128)] {
        const V6: u32 = 128;
        match family {
            Family::V4 => &[
                (Self::Unspecified, 0, 0x00ff_ffff),
                (Self::Loopback, 0x7f00_0000, 0x7fff_ffff),
                (Self::LinkLocal, 0xa9fe_0000, 0xa9fe_ffff),
                (Self::Multicast, 0xe000_0000, 0xefff_ffff),
                (Self::LimitedBroadcast, 0xffff_ffff, 0xffff_ffff),
            ],
            Family::V6 => &[
                (Self::Unspecified, 0, 0),
                (Self::Loopback, 1, 1),
                (Self::LinkLocal, 0xfe80 << (V6 - 16), (0xfec0 << (V6 - 16)) - 1),
                (Self::Multicast, 0xff << (V6 - 8), u128::MAX),
            ],
        }
    }

    /// The block that holds `address`, if one does.
    #[must_use]
    pub fn of(address: IpAddr) -> Option<Self> {
        let number = to_number(address);
        Self::all(Family::of(address))
            .iter()
            .find(|(_, first, last)| (*first..=*last).contains(&number))
            .map(|(block, _, _)| *block)
    }

    /// The word for an address of the block, as in "a loopback address".
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::Multicast => "multicast",
            Self::LimitedBroadcast => "limited broadcast",
        }
    }
}

/// The parts of `range` outside and inside such blocks, each in ascending order.
#[must_use]
pub(crate) fn split(
    range: &AddressRange,
) -> (Vec<AddressRange>, Vec<(SpecialBlock, AddressRange)>) {
    let family = range.family();
    let part = |first: u128, last: u128| {
        let ends = (from_number(family, first), from_number(family, last));
        (first <= last).then(|| AddressRange::new(ends.0, ends.1)).flatten()
    };
    let (mut plain, mut special) = (Vec::new(), Vec::new());
    let (mut from, end) = (to_number(range.first()), to_number(range.last()));
    for (block, first, last) in SpecialBlock::all(family).iter().copied() {
        if last < from || end < first {
            continue;
        }
        if let Some(before) = first.checked_sub(1) {
            plain.extend(part(from, before));
        }
        special.extend(part(from.max(first), end.min(last)).map(|part| (block, part)));
        match last.checked_add(1) {
            Some(next) if last < end => from = next,
            // The range ends within the block.
            _ => return (plain, special),
        }
    }
    plain.extend(part(from, end));
    (plain, special)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_range_loses_what_lies_in_a_block_and_keeps_the_rest_in_order() {
        for (text, plain, special) in [
            ("192.0.2.0/24", "192.0.2.0/24", ""),
            ("127.0.0.1/32", "", "loopback 127.0.0.1/32"),
            ("0.0.0.0/32", "", "unspecified 0.0.0.0/32"),
            ("255.255.255.255/32", "", "limited broadcast 255.255.255.255/32"),
            ("223.255.255.255-224.0.0.1", "223.255.255.255/32", "multicast 224.0.0.0/31"),
            (
                "169.253.255.255-169.255.0.0",
                "169.253.255.255/32, 169.255.0.0/32",
                "link-local 169.254.0.0/16",
            ),
            ("::-::2", "::2/128", "unspecified ::/128, loopback ::1/128"),
            ("fe80::/64", "", "link-local fe80::/64"),
            ("fec0::/127", "fec0::/127", ""),
            ("ff02::/16", "", "multicast ff02::/16"),
        ] {
            let (kept, left_out) = split(&AddressRange::parse(text).unwrap());
            let kept: Vec<String> = kept.iter().map(ToString::to_string).collect();
            let left_out: Vec<String> =
                left_out.iter().map(|(block, range)| format!("{} {range}", block.name())).collect();
            assert_eq!((&*kept.join(", "), &*left_out.join(", ")), (plain, special), "{text}");
        }
    }

    proptest! {
        #[test]
        fn each_address_of_a_range_is_in_one_part(
            first: u32, length in 0_u32..u32::MAX, offset: u32, v6: bool,
        ) {
            let family = if v6 { Family::V6 } else { Family::V4 };
            // The upper half of the numbers lies at the other end of IPv6.
            let number = |n: u32| match v6 && n > u32::MAX / 2 {
                true => u128::MAX - u128::from(u32::MAX - n),
                false => u128::from(n),
            };
            let last = first.saturating_add(length);
            let inside = first + offset % (last - first).max(1);
            let address = |n| from_number(family, number(n));
            let range = AddressRange::new(address(first), address(last)).unwrap();
            let (plain, special) = split(&range);
            let held = |parts: &[AddressRange]| {
                parts.iter().filter(|part| part.contains(address(inside))).count()
            };
            let special: Vec<_> = special.into_iter().map(|(_, part)| part).collect();
            let is_special = usize::from(SpecialBlock::of(address(inside)).is_some());
            prop_assert_eq!(held(&special), is_special);
            prop_assert_eq!(held(&plain), 1 - is_special);
            let sizes: u128 = plain.iter().chain(&special).map(AddressRange::size).sum();
            prop_assert_eq!(sizes, range.size());
        }
    }
}
