// SPDX-License-Identifier: Apache-2.0
//! A 48-bit hardware address (IEEE 802) as a type of its own. Not an EUI-64 and not of any other link type.

use std::fmt;
use std::str::FromStr;

/// The hardware address of an Ethernet station.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

/// The text is not six pairs of hexadecimal digits joined by colons.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid hardware address {0:?}: expected aa:bb:cc:dd:ee:ff")]
pub struct InvalidMacAddress(String);

impl MacAddress {
    /// ff:ff:ff:ff:ff:ff, every station on the link.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// From a slice of exactly six octets.
    #[must_use]
    pub fn from_slice(octets: &[u8]) -> Option<Self> {
        octets.try_into().ok().map(Self)
    }

    /// Whether it addresses a group (multicast or broadcast): never a sender.
    #[must_use]
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// Whether it can stand for one station: not a group and not all zero.
    #[must_use]
    pub fn is_station(self) -> bool {
        !self.is_group() && self.0 != [0; 6]
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddress {
    type Err = InvalidMacAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidMacAddress(text.to_owned());
        let mut parts = text.split(':');
        let mut octets = [0; 6];
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(invalid)?;
            if !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(invalid());
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
        }
        if parts.next().is_some() { Err(invalid()) } else { Ok(Self(octets)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_both_ways_and_nonsense_is_refused() {
        let mac: MacAddress = "02:00:5e:AA:0b:ff".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:5e:aa:0b:ff");
        for wrong in [
            "",
            "02:00:5e:aa:0b",
            "02:00:5e:aa:0b:ff:00",
            "2:0:5e:aa:b:ff",
            "+2:00:5e:aa:0b:ff",
            "é0:00:5e:aa:0b",
        ] {
            assert!(wrong.parse::<MacAddress>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_a_station_can_be_a_sender() {
        assert!("02:00:00:00:00:01".parse::<MacAddress>().unwrap().is_station());
        assert!(!MacAddress::BROADCAST.is_station());
        assert!(!MacAddress::default().is_station());
    }
}
