// SPDX-License-Identifier: Apache-2.0
//! From a validated BGPPeer to the session that the protocol is told of (contract 1.4, 5.5, 5.6). Pure; what depends on this
//! host's routes is handed in as [`Way`].

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bgp::{
    Config, Families, GracefulRestart, HoldTime, Ipv6NextHop, Password, PeerAsn, Remote, Role,
    RolePolicy,
};
use crds::config::{BfdProfile, Peer, PeerAddress};

use crate::options::BgpMode;

/// The restart time of FRR, which is what routers see today (contract 5.7).
const RESTART_TIME: Duration = Duration::from_secs(120);

/// The TTL of sessions with `ebgpMultiHop`.
const MULTIHOP_TTL: u8 = 255;

/// How packets to the peer leave this host, as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Our address towards the peer.
    pub local: Option<IpAddr>,
    /// The first IPv4 address of the interface towards the peer.
    pub first_ipv4: Option<Ipv4Addr>,
    /// Whether the peer is on the link.
    pub on_link: bool,
}

/// Why there is no session for a peer that is valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSession {
    /// The key does not fit into the kernel's option.
    #[error("spec.password: a TCP MD5 key has 1 to 80 octets, this one has {0}")]
    Password(usize),
    /// The hold time is no hold time.
    #[error("spec.holdTime: {0:?} is not a hold time")]
    HoldTime(Duration),
}

/// The session of a peer.
///
/// # Errors
/// Why there cannot be one, naming the field.
pub fn session(peer: &Peer, identifier: Ipv4Addr, mode: BgpMode) -> Result<Config, NoSession> {
    // Named one by one, so that a new field cannot be forgotten here.
    let Peer {
        name,
        my_asn,
        peer_asn,
        local_asn,
        address,
        port,
        source_address,
        timers,
        connect_time,
        // The identifier is chosen by `identifier`.
        router_id: _,
        // Whether the node has a session at all is asked before.
        node_selectors: _,
        password,
        // BFD has sessions of its own.
        bfd_profile: _,
        graceful_restart,
        ebgp_multi_hop,
        vrf,
        dual_stack,
        passive,
        listen_port,
        ttl_security,
        graceful_restart_time,
        long_lived_stale_time,
        role,
        ipv6_next_hop,
        max_prefixes,
    } = peer;
    let local_asn = local_asn.unwrap_or(*my_asn);
    let (peer_asn, remote) = (self::peer_asn(*peer_asn), remote(address));
    let mut config = Config::new(Arc::clone(name), local_asn, peer_asn, identifier, remote);
    config.port = *port;
    config.source_address = *source_address;
    config.bind_interface = vrf.as_deref().map(Into::into);
    match (timers, mode) {
        (Some(timers), _) => {
            config.hold_time =
                HoldTime::from_duration(timers.hold).ok_or(NoSession::HoldTime(timers.hold))?;
            config.keepalive_time = Some(timers.keepalive);
        }
        (None, BgpMode::Native) => {}
        (None, BgpMode::Frr) => {
            config.hold_time = HoldTime::from_seconds(180).unwrap_or(HoldTime::DEFAULT);
        }
    }
    if let Some(connect_time) = connect_time {
        config.connect_time = *connect_time;
    }
    if let Some(password) = password {
        let octets = password.as_bytes();
        config.password = Some(Password::new(octets).ok_or(NoSession::Password(octets.len()))?);
    }
    if *dual_stack {
        config.families = Families::BOTH;
        config.extended_next_hop = true;
    }
    config.passive = *passive;
    config.listen_port = *listen_port;
    config.ttl_security = *ttl_security;
    config.multihop_ttl = ebgp_multi_hop.then_some(MULTIHOP_TTL);
    if *graceful_restart {
        config.graceful_restart = Some(GracefulRestart {
            restart_time: graceful_restart_time.unwrap_or(RESTART_TIME),
            notification: true,
        });
        config.long_lived_stale_time = *long_lived_stale_time;
    }
    config.role = role.map(|role| RolePolicy { role: self::role(role), strict: false });
    config.ipv6_next_hop = match ipv6_next_hop {
        crds::config::Ipv6NextHop::GlobalAndLinkLocal => Ipv6NextHop::GlobalAndLinkLocal,
        crds::config::Ipv6NextHop::Global => Ipv6NextHop::Global,
    };
    config.max_prefixes = *max_prefixes;
    Ok(config)
}

fn remote(address: &PeerAddress) -> Remote {
    match address {
        PeerAddress::Address(address) => Remote::address(*address),
        PeerAddress::Interface(name) => Remote::Interface((**name).into()),
    }
}

fn peer_asn(asn: crds::config::PeerAsn) -> PeerAsn {
    match asn {
        crds::config::PeerAsn::Number(number) => PeerAsn::Number(number),
        crds::config::PeerAsn::Internal => PeerAsn::Internal,
        crds::config::PeerAsn::External => PeerAsn::External,
    }
}

fn role(role: crds::config::Role) -> Role {
    match role {
        crds::config::Role::Provider => Role::Provider,
        crds::config::Role::RouteServer => Role::RouteServer,
        crds::config::Role::RouteServerClient => Role::RouteServerClient,
        crds::config::Role::Customer => Role::Customer,
        crds::config::Role::Peer => Role::Peer,
    }
}

/// The families that a peer carries: that of its address, or both.
#[must_use]
pub fn families(peer: &Peer) -> Families {
    match &peer.address {
        _ if peer.dual_stack => Families::BOTH,
        PeerAddress::Interface(_) => Families::BOTH,
        PeerAddress::Address(IpAddr::V4(_)) => Families::IPV4,
        PeerAddress::Address(IpAddr::V6(_)) => Families::IPV6,
    }
}

/// The BFD profile in the protocol's own type.
#[must_use]
pub fn bfd_profile(profile: &BfdProfile) -> bfd::Profile {
    bfd::Profile {
        receive_interval: profile.receive_interval,
        transmit_interval: profile.transmit_interval,
        detect_multiplier: profile.detect_multiplier,
        echo_interval: profile.echo_interval,
        echo_mode: profile.echo_mode,
        passive_mode: profile.passive_mode,
        minimum_ttl: profile.minimum_ttl,
    }
}

/// Single hop when the peer is on the link and `ebgpMultiHop` is not set, else multihop; an unnumbered peer is always on the link.
#[must_use]
pub fn bfd_hops(peer: &Peer, way: &Way) -> bfd::Hops {
    let on_link = way.on_link || matches!(peer.address, PeerAddress::Interface(_));
    if on_link && !peer.ebgp_multi_hop { bfd::Hops::Single } else { bfd::Hops::Multi }
}
