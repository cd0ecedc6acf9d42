// SPDX-License-Identifier: Apache-2.0
//! Prefixes as they stand in UPDATEs (RFC 4271 §4.3): a length in bits, then as many octets as these bits need. They are kept
//! that way, so that a message of prefixes costs no more memory than itself.

use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::Family;

/// A list of prefixes of one family whose octets have been checked.
#[derive(Clone, Debug)]
pub struct Prefixes {
    family: Family,
    octets: Bytes,
    count: usize,
}

impl Prefixes {
    /// No prefix.
    #[must_use]
    pub const fn none(family: Family) -> Self {
        Self { family, octets: Bytes::new(), count: 0 }
    }

    /// These prefixes; those of another family are left out.
    pub fn new(family: Family, prefixes: impl IntoIterator<Item = IpNet>) -> Self {
        let mut octets = Vec::new();
        let mut count = 0;
        for prefix in prefixes {
            if Family::of(&prefix) == family {
                write_prefix(&prefix, &mut octets);
                count += 1;
            }
        }
        Self { family, octets: octets.into(), count }
    }

    /// Checks the octets; the error says what is wrong.
    pub(super) fn decode(family: Family, octets: Bytes) -> Result<Self, &'static str> {
        let mut rest: &[u8] = &octets;
        let mut count = 0;
        while let Some((bits, after)) = rest.split_first() {
            if *bits > longest(family) {
                return Err("prefix longer than an address");
            }
            rest = after.get(octets_of(*bits)..).ok_or("prefix reaches beyond the message")?;
            count += 1;
        }
        Ok(Self { family, octets, count })
    }

    /// The family.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// How many prefixes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// As on the wire.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// The prefixes, bits beyond the length taken as zero.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> {
        let mut rest: &[u8] = &self.octets;
        std::iter::from_fn(move || {
            let (bits, after) = rest.split_first()?;
            let (octets, after) = after.split_at_checked(octets_of(*bits))?;
            rest = after;
            prefix(self.family, *bits, octets)
        })
    }
}

/// By the prefixes, not by bits that mean nothing.
impl PartialEq for Prefixes {
    fn eq(&self, other: &Self) -> bool {
        self.family == other.family && self.count == other.count && self.iter().eq(other.iter())
    }
}

impl Eq for Prefixes {}

/// Appends one prefix.
pub(crate) fn write_prefix(prefix: &IpNet, out: &mut Vec<u8>) {
    let bits = prefix.prefix_len();
    out.push(bits);
    match prefix {
        IpNet::V4(prefix) => {
            let octets = prefix.network().octets();
            out.extend_from_slice(octets.get(..octets_of(bits)).unwrap_or_default());
        }
        IpNet::V6(prefix) => {
            let octets = prefix.network().octets();
            out.extend_from_slice(octets.get(..octets_of(bits)).unwrap_or_default());
        }
    }
}

/// Octets of a prefix on the wire.
pub(crate) fn wire_length(prefix: &IpNet) -> usize {
    1 + octets_of(prefix.prefix_len())
}

const fn longest(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 32,
        Family::Ipv6 => 128,
    }
}

const fn octets_of(bits: u8) -> usize {
    (bits as usize).div_ceil(8)
}

fn prefix(family: Family, bits: u8, octets: &[u8]) -> Option<IpNet> {
    Some(match family {
        Family::Ipv4 => {
            let address = Ipv4Addr::from(padded(octets));
            Ipv4Net::new(address, bits).ok()?.trunc().into()
        }
        Family::Ipv6 => {
            let address = Ipv6Addr::from(padded(octets));
            Ipv6Net::new(address, bits).ok()?.trunc().into()
        }
    })
}

fn padded<const N: usize>(octets: &[u8]) -> [u8; N] {
    let mut whole = [0; N];
    for (to, from) in whole.iter_mut().zip(octets) {
        *to = *from;
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    // Built by hand from RFC 4271 §4.3: 0.0.0.0/0, 10.0.0.0/7, 192.0.2.0/24, 192.0.2.1/32.
    const V4: [u8; 12] = hex!("00" "07 0a" "18 c00002" "20 c0000201");
    // Built by hand from RFC 4760 §5: ::/0, 2001:db8::/33.
    const V6: [u8; 7] = hex!("00" "21 20010db8 00");

    #[test]
    fn prefixes_are_the_octets_of_their_bits() {
        let v4 = ["0.0.0.0/0", "10.0.0.0/7", "192.0.2.0/24", "192.0.2.1/32"];
        for (family, octets, text) in [
            (Family::Ipv4, V4.as_slice(), v4.as_slice()),
            (Family::Ipv6, V6.as_slice(), &["::/0", "2001:db8::/33"]),
        ] {
            let prefixes: Vec<IpNet> = text.iter().map(|text| text.parse().unwrap()).collect();
            let decoded = Prefixes::decode(family, Bytes::copy_from_slice(octets)).unwrap();
            assert_eq!(decoded.iter().collect::<Vec<_>>(), prefixes);
            assert_eq!(decoded.len(), prefixes.len());
            assert_eq!(Prefixes::new(family, prefixes).octets(), octets);
        }
    }

    #[test]
    fn bits_beyond_the_length_mean_nothing() {
        let untidy = Prefixes::decode(Family::Ipv4, Bytes::from_static(&[7, 0x0b])).unwrap();
        let tidy = Prefixes::decode(Family::Ipv4, Bytes::from_static(&[7, 0x0a])).unwrap();
        assert_eq!(untidy, tidy);
    }

    #[test]
    fn lengths_beyond_the_address_or_the_message_are_refused() {
        for octets in [&[33, 1, 2, 3, 4, 5][..], &[24, 1, 2], &[1], &[255]] {
            assert!(Prefixes::decode(Family::Ipv4, Bytes::copy_from_slice(octets)).is_err());
        }
        assert!(Prefixes::decode(Family::Ipv6, Bytes::from_static(&[129; 20])).is_err());
    }
}
