// SPDX-License-Identifier: Apache-2.0
//! What one session shall be, resolved: no names of Secrets, no defaults still to be looked up. What a change of each field
//! does to a running session is said at the field and decided in [`Config::change`].

mod change;
mod values;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

pub use change::Change;
pub use values::{
    Families, Family, Fqdn, GracefulRestart, HoldTime, Ipv6NextHop, Password, PeerAsn, Remote,
    Role, RolePolicy,
};

/// The port of BGP (RFC 4271 §8.2.1).
pub(crate) const BGP_PORT: u16 = 179;

/// One session. Build it with [`Config::new`] and set the fields that differ from the default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How the peer is called in statuses and logs. A label: it has no meaning to the protocol.
    pub name: Arc<str>,
    /// The AS to show to the peer, 1 to 4294967295. A change resets the session.
    pub local_asn: u32,
    /// The AS that the peer must show. A change resets the session.
    pub peer_asn: PeerAsn,
    /// BGP Identifier, not 0.0.0.0 (RFC 6286). A change resets the session.
    pub identifier: Ipv4Addr,
    /// Where the peer is. A change resets the session.
    pub remote: Remote,
    /// The peer's TCP port. A change resets the session.
    pub port: u16,
    /// The local address to connect from, and the only one to be connected to; it must be on this host. A change resets the
    /// session.
    pub source_address: Option<IpAddr>,
    /// Binds the sockets to this interface, usually a VRF device. A change resets the session.
    pub bind_interface: Option<Arc<str>>,
    /// Hold Time to propose (RFC 4271 §4.2). A change is proposed in the next OPEN; the running session keeps its own.
    pub hold_time: HoldTime,
    /// Interval of KEEPALIVEs; `None` or zero: a third of the negotiated Hold Time, which is also the most. Applies at once.
    pub keepalive_time: Option<Duration>,
    /// The longest pause between two attempts to connect; an attempt itself gets no more than this or 10 s. Applies at once.
    pub connect_time: Duration,
    /// TCP MD5 key (RFC 2385). Another key is set on the running connection, which lives on if the peer changes its own within
    /// the Hold Time; to begin or to cease to use one resets the session.
    pub password: Option<Password>,
    /// The families to offer. A change resets the session.
    pub families: Families,
    /// Offers IPv4 prefixes with IPv6 next hops (RFC 8950). A change resets the session.
    pub extended_next_hop: bool,
    /// Which addresses an IPv6 next hop is written with. After a change what was announced is announced again at once.
    pub ipv6_next_hop: Ipv6NextHop,
    /// Never connects, only accepts. A change applies to the next connection.
    pub passive: bool,
    /// The port to accept the peer's connections on; `None`: none, or 179 if `passive`. A change applies to the next connection.
    pub listen_port: Option<u16>,
    /// GTSM (RFC 5082): sends with TTL 255 and takes only packets that came over at most so many hops (1: directly connected).
    /// A change is set on the running connection.
    pub ttl_security: Option<u8>,
    /// TTL of sent packets; `None`: the kernel's default. Without effect under `ttl_security`. A change is set on the running
    /// connection.
    pub multihop_ttl: Option<u8>,
    /// Graceful restart (RFC 4724). To switch it or its N-bit resets the session; another restart time is told in the next OPEN.
    pub graceful_restart: Option<GracefulRestart>,
    /// Long-lived stale time (RFC 9494), up to 2^24 - 1 s; needs `graceful_restart`. To switch it resets the session; another
    /// time is told in the next OPEN.
    pub long_lived_stale_time: Option<Duration>,
    /// Role on an external session (RFC 9234). A change resets the session.
    pub role: Option<RolePolicy>,
    /// Offers messages of up to 65535 octets (RFC 8654). A change resets the session.
    pub extended_message: bool,
    /// Offers enhanced route refresh (RFC 7313). A change resets the session.
    pub enhanced_route_refresh: bool,
    /// Names to tell the peer (FQDN capability). A change is told in the next OPEN.
    pub fqdn: Option<Fqdn>,
    /// How many prefixes the peer may send before the session is closed (CEASE/1); `None`: any number, as none is kept. Applies
    /// at once.
    pub max_prefixes: Option<u32>,
}

impl Config {
    /// Hold Time 90 s, pauses of up to 30 s, port 179, the family of the address (both for an unnumbered peer, then with
    /// extended next hop), nothing optional.
    #[must_use]
    pub fn new(
        name: impl Into<Arc<str>>,
        local_asn: u32,
        peer_asn: PeerAsn,
        identifier: Ipv4Addr,
        remote: Remote,
    ) -> Self {
        let (families, extended_next_hop) = match &remote {
            Remote::Address { address: IpAddr::V4(_), .. } => (Families::IPV4, false),
            Remote::Address { address: IpAddr::V6(_), .. } => (Families::IPV6, false),
            Remote::Interface(_) => (Families::BOTH, true),
        };
        Self {
            name: name.into(),
            local_asn,
            peer_asn,
            identifier,
            remote,
            port: BGP_PORT,
            source_address: None,
            bind_interface: None,
            hold_time: HoldTime::DEFAULT,
            keepalive_time: None,
            connect_time: Duration::from_secs(30),
            password: None,
            families,
            extended_next_hop,
            ipv6_next_hop: Ipv6NextHop::default(),
            passive: false,
            listen_port: None,
            ttl_security: None,
            multihop_ttl: None,
            graceful_restart: None,
            long_lived_stale_time: None,
            role: None,
            extended_message: false,
            enhanced_route_refresh: false,
            fqdn: None,
            max_prefixes: None,
        }
    }

    /// The port to listen on, if any.
    #[must_use]
    pub fn listens_on(&self) -> Option<u16> {
        self.listen_port.or(self.passive.then_some(BGP_PORT))
    }

    /// What must happen to a session that runs with `self` so that it runs with `new`.
    #[must_use]
    pub fn change(&self, new: &Self) -> Change {
        change::between(self, new)
    }
}

#[cfg(test)]
mod tests;
