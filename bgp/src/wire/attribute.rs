// SPDX-License-Identifier: Apache-2.0
//! Path attributes (RFC 4271 §4.3 and the RFCs named at each).

mod decode;
mod encode;

pub(super) use decode::Attributes;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;

use super::iana::attribute as code;
use super::{AsPath, Prefixes};

/// Optional: not every implementation knows it.
const OPTIONAL: u8 = 0x80;
/// Transitive: passed on by those who do not know it.
const TRANSITIVE: u8 = 0x40;
/// Passed on by one who did not know it.
const PARTIAL: u8 = 0x20;
/// The length has two octets.
const EXTENDED_LENGTH: u8 = 0x10;

/// ORIGIN (RFC 4271 §5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// 0.
    Igp,
    /// 1.
    Egp,
    /// 2.
    Incomplete,
}

/// Next hop in MP_REACH_NLRI (RFC 4760 §3, RFC 2545 §3, RFC 8950 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// Four octets.
    Ipv4(Ipv4Addr),
    /// Sixteen octets, or 32 with the link-local address as well.
    Ipv6 {
        /// The global address; the link-local one again where there is no global.
        global: Ipv6Addr,
        /// The link-local address on the link that is shared with the peer.
        link_local: Option<Ipv6Addr>,
    },
}

impl NextHop {
    /// The address, the global one of two.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        match self {
            Self::Ipv4(address) => IpAddr::V4(address),
            Self::Ipv6 { global, .. } => IpAddr::V6(global),
        }
    }
}

/// MP_REACH_NLRI of a family that we speak (RFC 4760 §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MpReach {
    /// Where to send packets.
    pub next_hop: NextHop,
    /// The prefixes, which name the family.
    pub prefixes: Prefixes,
}

/// A path attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// ORIGIN.
    Origin(Origin),
    /// AS_PATH.
    AsPath(AsPath),
    /// NEXT_HOP.
    NextHop(Ipv4Addr),
    /// MULTI_EXIT_DISC.
    MultiExitDisc(u32),
    /// LOCAL_PREF.
    LocalPref(u32),
    /// ATOMIC_AGGREGATE.
    AtomicAggregate,
    /// AGGREGATOR: AS number (with four octets on the wire if both sides speak these) and identifier.
    Aggregator(u32, Ipv4Addr),
    /// COMMUNITIES (RFC 1997).
    Communities(Vec<u32>),
    /// ORIGINATOR_ID (RFC 4456).
    OriginatorId(Ipv4Addr),
    /// CLUSTER_LIST (RFC 4456).
    ClusterList(Vec<u32>),
    /// MP_REACH_NLRI.
    MpReach(MpReach),
    /// MP_UNREACH_NLRI of a family that we speak (RFC 4760 §4).
    MpUnreach(Prefixes),
    /// EXTENDED COMMUNITIES (RFC 4360).
    ExtendedCommunities(Vec<[u8; 8]>),
    /// AS4_PATH (RFC 6793).
    As4Path(AsPath),
    /// AS4_AGGREGATOR (RFC 6793).
    As4Aggregator(u32, Ipv4Addr),
    /// LARGE_COMMUNITY (RFC 8092).
    LargeCommunities(Vec<[u32; 3]>),
    /// Only to Customer (RFC 9234 §5).
    OnlyToCustomer(u32),
    /// Another one, or MP_REACH_NLRI and MP_UNREACH_NLRI of another family. Always optional.
    Unknown {
        /// Whether it is passed on.
        transitive: bool,
        /// Whether somebody passed it on without knowing it.
        partial: bool,
        /// Its type code.
        code: u8,
        /// Its value.
        value: Bytes,
    },
}

impl Attribute {
    /// The type code.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Origin(_) => code::ORIGIN,
            Self::AsPath(_) => code::AS_PATH,
            Self::NextHop(_) => code::NEXT_HOP,
            Self::MultiExitDisc(_) => code::MULTI_EXIT_DISC,
            Self::LocalPref(_) => code::LOCAL_PREF,
            Self::AtomicAggregate => code::ATOMIC_AGGREGATE,
            Self::Aggregator(..) => code::AGGREGATOR,
            Self::Communities(_) => code::COMMUNITIES,
            Self::OriginatorId(_) => code::ORIGINATOR_ID,
            Self::ClusterList(_) => code::CLUSTER_LIST,
            Self::MpReach(_) => code::MP_REACH_NLRI,
            Self::MpUnreach(_) => code::MP_UNREACH_NLRI,
            Self::ExtendedCommunities(_) => code::EXTENDED_COMMUNITIES,
            Self::As4Path(_) => code::AS4_PATH,
            Self::As4Aggregator(..) => code::AS4_AGGREGATOR,
            Self::LargeCommunities(_) => code::LARGE_COMMUNITY,
            Self::OnlyToCustomer(_) => code::ONLY_TO_CUSTOMER,
            Self::Unknown { code, .. } => *code,
        }
    }
}

/// The optional and transitive bits that an attribute must have; `None` for an unknown one.
const fn category(attribute: u8) -> Option<u8> {
    match attribute {
        code::ORIGIN
        | code::AS_PATH
        | code::NEXT_HOP
        | code::LOCAL_PREF
        | code::ATOMIC_AGGREGATE => Some(TRANSITIVE),
        code::MULTI_EXIT_DISC
        | code::ORIGINATOR_ID
        | code::CLUSTER_LIST
        | code::MP_REACH_NLRI
        | code::MP_UNREACH_NLRI => Some(OPTIONAL),
        code::AGGREGATOR
        | code::COMMUNITIES
        | code::EXTENDED_COMMUNITIES
        | code::AS4_PATH
        | code::AS4_AGGREGATOR
        | code::LARGE_COMMUNITY
        | code::ONLY_TO_CUSTOMER => Some(OPTIONAL | TRANSITIVE),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
