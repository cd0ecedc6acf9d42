// SPDX-License-Identifier: Apache-2.0
//! The types of the fields of a session's configuration.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

/// The AS that the peer must show in its OPEN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAsn {
    /// This one.
    Number(u32),
    /// Our own: an internal session, whatever the number.
    Internal,
    /// Any but our own: an external session.
    External,
}

impl PeerAsn {
    /// Whether a peer that shows `asn` to us, who show `local`, is the one that is meant.
    #[must_use]
    pub const fn accepts(self, local: u32, asn: u32) -> bool {
        match self {
            Self::Number(number) => number == asn,
            Self::Internal => local == asn,
            Self::External => local != asn,
        }
    }
}

/// Where the peer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// At this address.
    Address {
        /// The address.
        address: IpAddr,
        /// The interface that the address is to be taken on; needed for a link-local address.
        interface: Option<Arc<str>>,
    },
    /// The one router behind this interface, whose link-local address its router advertisements tell (unnumbered).
    Interface(Arc<str>),
}

impl Remote {
    /// A peer at an address that needs no interface.
    #[must_use]
    pub fn address(address: impl Into<IpAddr>) -> Self {
        Self::Address { address: address.into(), interface: None }
    }
}

/// Hold Time (RFC 4271 §4.2): zero (never expires, no KEEPALIVEs) or at least three seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldTime(u16);

impl HoldTime {
    /// The suggestion of RFC 4271 §10: 90 s.
    pub const DEFAULT: Self = Self(90);
    /// Never expires.
    pub const ZERO: Self = Self(0);

    /// `None` for one and two seconds, which the protocol does not allow.
    #[must_use]
    pub const fn from_seconds(seconds: u16) -> Option<Self> {
        if matches!(seconds, 1 | 2) { None } else { Some(Self(seconds)) }
    }

    /// The whole seconds of a duration; `None` if these are one, two or more than 65535.
    #[must_use]
    pub fn from_duration(duration: Duration) -> Option<Self> {
        u16::try_from(duration.as_secs()).ok().and_then(Self::from_seconds)
    }

    /// Seconds.
    #[must_use]
    pub const fn seconds(self) -> u16 {
        self.0
    }

    /// `None` if it never expires.
    #[must_use]
    pub const fn duration(self) -> Option<Duration> {
        if self.0 == 0 { None } else { Some(Duration::from_secs(self.0 as u64)) }
    }
}

/// A TCP MD5 key. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Arc<[u8]>);

impl Password {
    /// The most that Linux takes, in octets.
    pub const LONGEST: usize = 80;

    /// `None` if it is empty or longer than [`Password::LONGEST`].
    #[must_use]
    pub fn new(key: &[u8]) -> Option<Self> {
        (!key.is_empty() && key.len() <= Self::LONGEST).then(|| Self(key.into()))
    }

    /// The key, for the socket.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// An address family, always with SAFI unicast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// AFI 1, SAFI 1.
    Ipv4,
    /// AFI 2, SAFI 1.
    Ipv6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The family of a prefix.
    #[must_use]
    pub const fn of(prefix: &IpNet) -> Self {
        match prefix {
            IpNet::V4(_) => Self::Ipv4,
            IpNet::V6(_) => Self::Ipv6,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// A set of families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Families {
    /// IPv4 unicast.
    pub ipv4: bool,
    /// IPv6 unicast.
    pub ipv6: bool,
}

impl Families {
    /// Only IPv4.
    pub const IPV4: Self = Self { ipv4: true, ipv6: false };
    /// Only IPv6.
    pub const IPV6: Self = Self { ipv4: false, ipv6: true };
    /// Both.
    pub const BOTH: Self = Self { ipv4: true, ipv6: true };
    /// None.
    pub const NONE: Self = Self { ipv4: false, ipv6: false };

    /// Whether the family is in it.
    #[must_use]
    pub const fn contains(self, family: Family) -> bool {
        match family {
            Family::Ipv4 => self.ipv4,
            Family::Ipv6 => self.ipv6,
        }
    }

    /// Puts the family in.
    pub const fn insert(&mut self, family: Family) {
        match family {
            Family::Ipv4 => self.ipv4 = true,
            Family::Ipv6 => self.ipv6 = true,
        }
    }

    /// Takes the family out.
    pub const fn remove(&mut self, family: Family) {
        match family {
            Family::Ipv4 => self.ipv4 = false,
            Family::Ipv6 => self.ipv6 = false,
        }
    }

    /// What is in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self { ipv4: self.ipv4 && other.ipv4, ipv6: self.ipv6 && other.ipv6 }
    }

    /// Whether none is in it.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        !self.ipv4 && !self.ipv6
    }

    /// The families in it, IPv4 first.
    pub fn iter(self) -> impl Iterator<Item = Family> {
        Family::ALL.into_iter().filter(move |family| self.contains(*family))
    }
}

/// Form of an IPv6 next hop in MP_REACH_NLRI, for prefixes of either family (RFC 2545 §3, RFC 8950 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ipv6NextHop {
    /// The global address, and the link-local one too where the peer is on the same link: 16 or 32 octets.
    #[default]
    GlobalAndLinkLocal,
    /// The global address alone, the link-local one where there is no global: always 16 octets, for routers that refuse 32.
    Global,
}

/// Graceful restart (RFC 4724): the peer shall keep our routes while this process is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GracefulRestart {
    /// How long at most, up to 4095 s.
    pub restart_time: Duration,
    /// The N-bit (RFC 8538): also over a NOTIFICATION that is not a Hard Reset.
    pub notification: bool,
}

/// BGP Role (RFC 9234 §4.1) of the one who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// 0.
    Provider,
    /// 1.
    RouteServer,
    /// 2.
    RouteServerClient,
    /// 3.
    Customer,
    /// 4.
    Peer,
}

/// The role that we have, and whether the peer must say its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RolePolicy {
    /// Ours.
    pub role: Role,
    /// Refuse a peer that does not say its role (RFC 9234 §4.2, strict mode).
    pub strict: bool,
}

/// Names for the FQDN capability, each up to 64 octets of it are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fqdn {
    /// Host name.
    pub host: Arc<str>,
    /// Domain name, may be empty.
    pub domain: Arc<str>,
}
