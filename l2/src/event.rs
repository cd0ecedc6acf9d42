// SPDX-License-Identifier: Apache-2.0
//! What the caller is told. Not a log: only what somebody may act on or wants to read later.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::MacAddress;

/// Which of the two protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// RFC 826, for IPv4.
    Arp,
    /// RFC 4861, for IPv6.
    Ndp,
}

impl Protocol {
    /// The protocol that finds this address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Arp,
            IpAddr::V6(_) => Self::Ndp,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arp => "ARP",
            Self::Ndp => "NDP",
        })
    }
}

/// How a conflict came to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConflictSource {
    /// The other station announced the address or answered somebody else.
    Heard,
    /// It answered our own question.
    Probe,
}

/// Something happened that the caller may want to act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Another station answers for or announces an address that we own. At most once a minute for an address and a station.
    Conflict {
        /// The address that both claim.
        address: IpAddr,
        /// The link on which the other was heard.
        interface: Arc<str>,
        /// The other station.
        hardware_address: MacAddress,
        /// By listening or by asking.
        found_by: ConflictSource,
    },
    /// Another station claims an address that is only answered until its next owner has it.
    Claimed(IpAddr),
    /// Another station claims a watched address: it answers for the address, announces it, or, while this node does not
    /// own the address, probes for it; but a probe of lower precedence than ours counts for nothing, and one of higher
    /// precedence also counts while this node owns the address. At most once for an address, a station and a kind of claim
    /// between two probes of the address, and at most four times. Beside [`Self::Conflict`] and [`Self::Claimed`].
    Answered {
        /// The address that is watched.
        address: IpAddr,
        /// The link on which the other station was heard.
        interface: Arc<str>,
        /// The other station.
        hardware_address: MacAddress,
        /// True if the station only probes for the address, as this node does.
        by_probe: bool,
    },
    /// Everything that was wished before [`crate::Layer2::tell`] is in force, and announced for the first time.
    Done(u64),
    /// The report of links is another one than before.
    LinksChanged,
    /// A link is answered on from now.
    ResponderCreated {
        /// The link.
        interface: Arc<str>,
        /// The protocol.
        protocol: Protocol,
    },
    /// A link is no longer answered on.
    ResponderClosed {
        /// The link.
        interface: Arc<str>,
        /// The protocol.
        protocol: Protocol,
    },
    /// A socket of this link could not be opened or used; it is tried again. The other links go on.
    SocketFailed {
        /// The link.
        interface: Arc<str>,
        /// What failed and why.
        error: String,
    },
    /// After a failure the link works again.
    SocketRecovered {
        /// The link.
        interface: Arc<str>,
    },
}
