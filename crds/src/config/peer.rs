// SPDX-License-Identifier: Apache-2.0
//! Validated BGP peers and BFD profiles.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::labels::{Labels, Selector, any_matches};

/// A password: never shown, not even in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Arc<[u8]>);

impl Password {
    /// The octets, for the one place that hands them to the kernel.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Password {
    fn from(octets: &[u8]) -> Self {
        Self(octets.into())
    }
}

impl From<&str> for Password {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(hidden)")
    }
}

/// Which AS the peer is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerAsn {
    /// This one.
    Number(u32),
    /// Whatever it says, as long as it is ours.
    Internal,
    /// Whatever it says, as long as it is not ours.
    External,
}

/// How the peer is found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PeerAddress {
    /// By its address.
    Address(IpAddr),
    /// By its router advertisements on this interface (unnumbered).
    Interface(Box<str>),
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(formatter),
            Self::Interface(name) => formatter.write_str(name),
        }
    }
}

/// The timers of a session, when the peer sets any (contract 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timers {
    /// Hold time in whole seconds: zero, or at least three (RFC 4271 §4.2). At most 65535.
    pub hold: Duration,
    /// Between keepalives; not longer than the hold time.
    pub keepalive: Duration,
}

/// What we are to the peer (RFC 9234 §4.1), by the role's own name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// We are its provider.
    Provider,
    /// We are its route server.
    RouteServer,
    /// We are a client of the route server it is.
    RouteServerClient,
    /// We are its customer.
    Customer,
    /// We are equals.
    Peer,
}

/// Which addresses an IPv6 next hop is sent with (RFC 2545 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ipv6NextHop {
    /// The global one, and the link-local one to a peer on the same link.
    #[default]
    GlobalAndLinkLocal,
    /// The global one alone.
    Global,
}

/// A validated `BGPPeer` (contract 1.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The object's name.
    pub name: Arc<str>,
    /// Our own AS number (`myASN`), never zero.
    pub my_asn: u32,
    /// The peer's.
    pub peer_asn: PeerAsn,
    /// The AS number to show to the peer in place of ours (`localASN`).
    pub local_asn: Option<u32>,
    /// Where it is.
    pub address: PeerAddress,
    /// The port to connect to.
    pub port: u16,
    /// The address to connect from.
    pub source_address: Option<IpAddr>,
    /// Hold and keepalive time; the mode's default when absent.
    pub timers: Option<Timers>,
    /// Between attempts to connect; the mode's default when absent.
    pub connect_time: Option<Duration>,
    /// Our BGP identifier; chosen from the node's addresses when absent.
    pub router_id: Option<Ipv4Addr>,
    /// Which nodes hold the session; empty means all.
    pub node_selectors: Vec<Selector>,
    /// The TCP-MD5 key, from the object or from its Secret.
    pub password: Option<Password>,
    /// The BFD profile, when one is named.
    pub bfd_profile: Option<BfdProfile>,
    /// Whether graceful restart is announced (RFC 4724).
    pub graceful_restart: bool,
    /// Whether the peer may be several hops away.
    pub ebgp_multi_hop: bool,
    /// The VRF of the session.
    pub vrf: Option<Box<str>>,
    /// Whether both families are carried, whatever the session's own is.
    pub dual_stack: bool,
    /// Whether we wait for the peer to connect.
    pub passive: bool,
    /// Where we listen for the peer; `None` means nowhere.
    pub listen_port: Option<u16>,
    /// How many hops away the peer is at most (RFC 5082), 1 to 254.
    pub ttl_security: Option<u8>,
    /// Restart time announced (RFC 4724), at most 4095 s.
    pub graceful_restart_time: Option<Duration>,
    /// Long-lived stale time announced (RFC 9494), at most 2^24 - 1 s.
    pub long_lived_stale_time: Option<Duration>,
    /// Our role (RFC 9234).
    pub role: Option<Role>,
    /// Which addresses an IPv6 next hop is sent with.
    pub ipv6_next_hop: Ipv6NextHop,
    /// How many prefixes the peer may send.
    pub max_prefixes: Option<u32>,
}

impl Peer {
    /// Whether a node with these labels holds the session.
    #[must_use]
    pub fn selects_node(&self, labels: &Labels) -> bool {
        self.node_selectors.is_empty() || any_matches(&self.node_selectors, labels)
    }

    /// Whether the peer is known to be in our own AS.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        match self.peer_asn {
            PeerAsn::Number(number) => number == self.my_asn,
            PeerAsn::Internal => true,
            PeerAsn::External => false,
        }
    }
}

/// A validated `BFDProfile` (contract 1.7), with the defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BfdProfile {
    /// The object's name.
    pub name: Arc<str>,
    /// 10 ms to 60 s.
    pub receive_interval: Duration,
    /// 10 ms to 60 s.
    pub transmit_interval: Duration,
    /// 2 to 255.
    pub detect_multiplier: u8,
    /// For sending and for receiving, 10 ms to 60 s.
    pub echo_interval: Duration,
    /// Whether echo packets are used.
    pub echo_mode: bool,
    /// Whether we wait for the peer to begin.
    pub passive_mode: bool,
    /// The lowest TTL accepted on multi-hop sessions, 1 to 254.
    pub minimum_ttl: u8,
}
