// SPDX-License-Identifier: Apache-2.0
//! Ranges of addresses: how pools are written, counted and compared.

use std::fmt;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv4Subnets, Ipv6Net, Ipv6Subnets};

use crate::address::{PrefixError, parse_address, parse_prefix};

/// The address family of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of `address`.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }
}

/// An address as a number, for arithmetic within one family.
#[must_use]
pub fn to_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// The address of `family` with that number; a number above IPv4's range gives its last address.
#[must_use]
pub fn from_number(family: Family, number: u128) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(u32::try_from(number).unwrap_or(u32::MAX).into()),
        Family::V6 => IpAddr::V6(number.into()),
    }
}

/// An inclusive range of addresses of one family, first not above last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

/// Why an entry of `addresses` is not a range (contract 6.2).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Neither `a.b.c.d/n` nor `start-end`.
    #[error("invalid CIDR {0:?}")]
    NotCidr(String),
    /// A CIDR of an IPv4 address in IPv6's form that reaches beyond IPv4.
    #[error("invalid CIDR {entry:?}: {error}")]
    Mapped {
        /// The whole entry.
        entry: String,
        /// Why.
        error: PrefixError,
    },
    /// More than one `-`.
    #[error("invalid IP range {0:?}")]
    NotRange(String),
    /// The start is not an address.
    #[error("invalid IP range {entry:?}: invalid start IP {start:?}")]
    Start {
        /// The whole entry.
        entry: String,
        /// What stands before the dash.
        start: String,
    },
    /// The end is not an address.
    #[error("invalid IP range {entry:?}: invalid end IP {end:?}")]
    End {
        /// The whole entry.
        entry: String,
        /// What stands behind the dash.
        end: String,
    },
    /// One end is IPv4, the other IPv6.
    #[error("invalid IP range {0:?}: start and end are of different families")]
    MixedFamilies(String),
    /// The start lies after the end.
    #[error("invalid IP range {entry:?}: start IP {start} is after the end IP {end}")]
    Reversed {
        /// The whole entry.
        entry: String,
        /// The start.
        start: IpAddr,
        /// The end.
        end: IpAddr,
    },
}

impl AddressRange {
    /// A range from `first` to `last`; none when the families differ or the order is wrong.
    #[must_use]
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        (Family::of(first) == Family::of(last) && first <= last).then_some(Self { first, last })
    }

    /// Parses an entry of `IPAddressPool.spec.addresses`: a CIDR, whose host bits are masked away,
    /// or `start-end` with optional spaces (contract 1.1).
    ///
    /// # Errors
    /// When it is neither; a plain address without a prefix length is neither.
    pub fn parse(entry: &str) -> Result<Self, RangeError> {
        if !entry.contains('-') {
            let net = parse_prefix(entry).map_err(|error| match error {
                PrefixError::Syntax => RangeError::NotCidr(entry.to_owned()),
                PrefixError::Mapped => RangeError::Mapped { entry: entry.to_owned(), error },
            })?;
            return Ok(Self { first: net.network(), last: net.broadcast() });
        }
        let mut parts = entry.split('-');
        let (Some(start), Some(end), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err(RangeError::NotRange(entry.to_owned()));
        };
        let (start, end) = (start.trim(), end.trim());
        let first = parse_address(start).ok_or_else(|| RangeError::Start {
            entry: entry.to_owned(),
            start: start.to_owned(),
        })?;
        let last = parse_address(end)
            .ok_or_else(|| RangeError::End { entry: entry.to_owned(), end: end.to_owned() })?;
        if Family::of(first) != Family::of(last) {
            return Err(RangeError::MixedFamilies(entry.to_owned()));
        }
        Self::new(first, last).ok_or_else(|| RangeError::Reversed {
            entry: entry.to_owned(),
            start: first,
            end: last,
        })
    }

    /// The first address.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The last address.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        self.last
    }

    /// The family of both ends.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.first)
    }

    /// Whether `address` lies inside.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        Family::of(address) == self.family() && self.first <= address && address <= self.last
    }

    /// Whether the two have an address in common.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.family() == other.family() && self.first <= other.last && other.first <= self.last
    }

    /// The addresses that both have.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        self.overlaps(other)
            .then(|| Self { first: self.first.max(other.first), last: self.last.min(other.last) })
    }

    /// The fewest CIDRs that make up the range, ascending.
    #[must_use]
    pub fn cidrs(&self) -> Vec<IpNet> {
        match (self.first, self.last) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                Ipv4Subnets::new(a, b, 0).map(|net: Ipv4Net| IpNet::V4(net)).collect()
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                Ipv6Subnets::new(a, b, 0).map(|net: Ipv6Net| IpNet::V6(net)).collect()
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => Vec::new(),
        }
    }

    /// The prefix length of the largest of those CIDRs.
    #[must_use]
    pub fn shortest_prefix(&self) -> u8 {
        self.cidrs().iter().map(IpNet::prefix_len).min().unwrap_or(u8::MAX)
    }

    /// How many addresses there are, `u128::MAX` for the whole of IPv6.
    #[must_use]
    pub fn size(&self) -> u128 {
        (to_number(self.last) - to_number(self.first)).saturating_add(1)
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cidrs().as_slice() {
            [one] => one.fmt(formatter),
            _ => write!(formatter, "{}-{}", self.first, self.last),
        }
    }
}

#[cfg(test)]
mod tests;
