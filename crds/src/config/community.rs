// SPDX-License-Identifier: Apache-2.0
//! BGP communities as values, and how they are written (contract 1.6).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A standard (RFC 1997) or large (RFC 8092) community.
///
/// Ordered as they are sent: a standard community counts as the triple (value, 0, 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Community {
    /// Four octets, written `A:B`.
    Standard(u32),
    /// Three numbers, written `large:A:B:C`.
    Large(u32, u32, u32),
}

/// What an advertisement names: a community by value, or an alias of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CommunityReference {
    /// Written as a value.
    Value(Community),
    /// The name of an alias or of a well-known community.
    Alias(Box<str>),
}

/// An extended community (RFC 4360), all eight octets of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExtendedCommunity(pub [u8; 8]);

/// Why a text is not a community (contract 1.6).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommunityError {
    /// Two or four fields, but not numbers of the right size, or not marked `large`.
    #[error("invalid community value: {0}")]
    Value(String),
    /// Another number of fields: in an advertisement, an alias that nobody defines.
    #[error("invalid community format: {0}")]
    Format(String),
    /// Not an extended community.
    #[error("invalid extended community: {0}")]
    Extended(String),
}

/// The names that IANA's registry gives to communities, understood where no alias has the same name.
const WELL_KNOWN: [(&str, u32); 13] = [
    ("graceful-shutdown", 0xffff_0000),
    ("accept-own", 0xffff_0001),
    ("llgr-stale", 0xffff_0006),
    ("no-llgr", 0xffff_0007),
    ("accept-own-nexthop", 0xffff_0008),
    ("standby-pe", 0xffff_0009),
    ("blackhole", 0xffff_029a),
    ("no-export", 0xffff_ff01),
    ("no-advertise", 0xffff_ff02),
    ("no-export-subconfed", 0xffff_ff03),
    ("local-as", 0xffff_ff03),
    ("no-peer", 0xffff_ff04),
    ("internet", 0),
];

impl Community {
    /// The community with that well-known name.
    #[must_use]
    pub fn well_known(name: &str) -> Option<Self> {
        WELL_KNOWN.iter().find(|(known, _)| *known == name).map(|(_, value)| Self::Standard(*value))
    }

    fn triple(self) -> (u32, u32, u32) {
        match self {
            Self::Standard(value) => (value, 0, 0),
            Self::Large(a, b, c) => (a, b, c),
        }
    }
}

/// A decimal number, digits only.
fn decimal<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl FromStr for Community {
    type Err = CommunityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let value = || CommunityError::Value(text.to_owned());
        let fields: Vec<&str> = text.split(':').collect();
        match fields.as_slice() {
            [a, b] => {
                let (a, b) = decimal::<u16>(a).zip(decimal::<u16>(b)).ok_or_else(value)?;
                Ok(Self::Standard(u32::from(a) << 16 | u32::from(b)))
            }
            ["large", a, b, c] => match (decimal(a), decimal(b), decimal(c)) {
                (Some(a), Some(b), Some(c)) => Ok(Self::Large(a, b, c)),
                _ => Err(value()),
            },
            [_, _, _, _] => Err(value()),
            _ => Err(CommunityError::Format(text.to_owned())),
        }
    }
}

impl fmt::Display for Community {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(value) => write!(formatter, "{}:{}", value >> 16, value & 0xffff),
            Self::Large(a, b, c) => write!(formatter, "large:{a}:{b}:{c}"),
        }
    }
}

impl Ord for Community {
    fn cmp(&self, other: &Self) -> Ordering {
        let large = |community: &Self| matches!(community, Self::Large(..));
        self.triple().cmp(&other.triple()).then(large(self).cmp(&large(other)))
    }
}

impl PartialOrd for Community {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for CommunityReference {
    type Err = CommunityError;

    /// Never fails for lack of a definition: that is found out when the alias is looked up.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(value) => Ok(Self::Value(value)),
            Err(CommunityError::Format(_)) => Ok(Self::Alias(text.into())),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Display for CommunityReference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => value.fmt(formatter),
            Self::Alias(name) => formatter.write_str(name),
        }
    }
}

impl ExtendedCommunity {
    /// Two octets of type, then an AS number and a number, in the widths that RFC 4360 (two-octet AS)
    /// and RFC 5668 (four-octet AS) give them.
    fn of_as(subtype: u8, administrator: u32, number: u32) -> Option<Self> {
        let mut octets = [0; 8];
        let (head, tail) = octets.split_at_mut(2);
        if let Ok(short) = u16::try_from(administrator) {
            head.copy_from_slice(&[0x00, subtype]);
            tail.copy_from_slice(&(u64::from(short) << 32 | u64::from(number)).to_be_bytes()[2..]);
        } else {
            let number = u16::try_from(number).ok()?;
            head.copy_from_slice(&[0x02, subtype]);
            let value = u64::from(administrator) << 16 | u64::from(number);
            tail.copy_from_slice(&value.to_be_bytes()[2..]);
        }
        Some(Self(octets))
    }

    /// The link bandwidth community: not transitive, an AS number and bytes per second as IEEE float.
    fn link_bandwidth(administrator: u16, bytes_per_second: f32) -> Self {
        let [a, b] = administrator.to_be_bytes();
        let [c, d, e, f] = bytes_per_second.to_be_bytes();
        Self([0x40, 0x04, a, b, c, d, e, f])
    }
}

impl FromStr for ExtendedCommunity {
    type Err = CommunityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fields: Vec<&str> = text.split(':').collect();
        let parsed = match fields.as_slice() {
            [kind @ ("rt" | "soo"), administrator, number] => {
                let subtype = if *kind == "rt" { 0x02 } else { 0x03 };
                decimal(administrator)
                    .zip(decimal(number))
                    .and_then(|(administrator, number)| Self::of_as(subtype, administrator, number))
            }
            ["link-bandwidth", administrator, bytes] => decimal(administrator)
                .zip(decimal::<u32>(bytes))
                // Rounded to the precision that the attribute has.
                .map(|(administrator, bytes)| Self::link_bandwidth(administrator, bytes as f32)),
            ["opaque", hex] if hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_hexdigit()) => {
                u64::from_str_radix(hex, 16).ok().map(|octets| Self(octets.to_be_bytes()))
            }
            _ => None,
        };
        parsed.ok_or_else(|| CommunityError::Extended(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_aliases_and_errors_are_told_apart_by_the_number_of_fields() {
        let alias = |text: &str| Ok(CommunityReference::Alias(text.into()));
        let value = |community| Ok(CommunityReference::Value(community));
        let error = |text: &str| Err(CommunityError::Value(text.into()));
        for (text, expected) in [
            ("0:0", value(Community::Standard(0))),
            ("64512:100", value(Community::Standard(64_512 << 16 | 100))),
            ("65535:65535", value(Community::Standard(u32::MAX))),
            ("large:4294967295:2:3", value(Community::Large(u32::MAX, 2, 3))),
            ("65536:1", error("65536:1")),
            ("1:+1", error("1:+1")),
            ("1:", error("1:")),
            ("a:b", error("a:b")),
            ("small:1:2:3", error("small:1:2:3")),
            ("large:1:2:4294967296", error("large:1:2:4294967296")),
            ("name", alias("name")),
            ("", alias("")),
            ("1:2:3", alias("1:2:3")),
            ("large:1:2:3:4", alias("large:1:2:3:4")),
        ] {
            assert_eq!(text.parse::<CommunityReference>(), expected, "{text}");
        }
        assert_eq!(
            "name".parse::<Community>().map_err(|error| error.to_string()),
            Err("invalid community format: name".into())
        );
    }

    #[test]
    fn communities_are_ordered_as_triples_and_written_as_read() {
        let mut all: Vec<Community> =
            ["large:1:0:1", "0:2", "0:1", "large:1:0:0", "large:0:9:9", "1:0"]
                .iter()
                .filter_map(|text| text.parse().ok())
                .collect();
        all.sort();
        let texts: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["large:0:9:9", "0:1", "large:1:0:0", "large:1:0:1", "0:2", "1:0"]);
    }

    #[test]
    fn well_known_names_have_the_registered_values() {
        for (name, text) in [
            ("no-export", "65535:65281"),
            ("no-advertise", "65535:65282"),
            ("local-as", "65535:65283"),
            ("no-export-subconfed", "65535:65283"),
            ("graceful-shutdown", "65535:0"),
            ("blackhole", "65535:666"),
        ] {
            assert_eq!(
                Community::well_known(name).map(|known| known.to_string()),
                Some(text.into())
            );
        }
        assert_eq!(Community::well_known("no-import"), None);
    }

    #[test]
    fn extended_communities_have_the_octets_of_their_rfcs() {
        for (text, octets) in [
            ("rt:64512:100", [0, 2, 0xfc, 0, 0, 0, 0, 100]),
            ("soo:64512:100", [0, 3, 0xfc, 0, 0, 0, 0, 100]),
            ("rt:4200000000:7", [2, 2, 0xfa, 0x56, 0xea, 0, 0, 7]),
            ("link-bandwidth:64512:125000000", [0x40, 4, 0xfc, 0, 0x4c, 0xee, 0x6b, 0x28]),
            ("opaque:0123456789abcdef", [1, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]),
        ] {
            assert_eq!(text.parse(), Ok(ExtendedCommunity(octets)), "{text}");
        }
        for text in
            ["", "rt:1", "rt:4200000000:65536", "xx:1:2", "opaque:01", "link-bandwidth:65536:1"]
        {
            assert!(text.parse::<ExtendedCommunity>().is_err(), "{text}");
        }
    }
}
