// SPDX-License-Identifier: Apache-2.0
//! The path from this host to a peer, and the conclusions from it.

use std::net::{IpAddr, Ipv4Addr};

use crds::config::{Peer, PeerAddress};

use crate::sessions::{Way, bfd_hops};

/// Tells whether the peer's BFD would be single hop or multihop from this host, and why; none without BFD.
#[must_use]
pub fn bfd_choice(peer: &Peer) -> Option<String> {
    let profile = peer.bfd_profile.as_ref()?;
    let way = way(peer).unwrap_or_default();
    let why = if peer.ebgp_multi_hop {
        "ebgpMultiHop is set"
    } else if way.on_link || matches!(peer.address, PeerAddress::Interface(_)) {
        "the peer is on the link"
    } else {
        "the peer is behind a router, or there is no route to it"
    };
    let hops = match bfd_hops(peer, &way) {
        bfd::Hops::Single => "single hop",
        bfd::Hops::Multi => "multihop",
    };
    Some(format!("BFD profile {}, {hops}: {why}", profile.name))
}

/// The path by which this host reaches the peer now; none without a route.
pub(super) fn way(peer: &Peer) -> Option<Way> {
    match &peer.address {
        PeerAddress::Address(address) => {
            let path = bfd::net::path(*address, peer.source_address, peer.vrf.as_deref()).ok()?;
            Some(Way {
                local: peer.source_address.or(path.local),
                first_ipv4: first_ipv4(&path.interface),
                on_link: path.on_link,
            })
        }
        PeerAddress::Interface(name) => {
            Some(Way { local: None, first_ipv4: first_ipv4(name), on_link: true })
        }
    }
}

/// The peer's address in a form that a label can have.
pub(super) fn as_label(address: &PeerAddress) -> String {
    match address {
        PeerAddress::Address(IpAddr::V6(address)) => {
            let groups = address.segments().map(|group| format!("{group:04x}"));
            groups.join("-")
        }
        PeerAddress::Address(IpAddr::V4(_)) | PeerAddress::Interface(_) => address.to_string(),
    }
}

pub(super) fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

fn first_ipv4(interface: &str) -> Option<Ipv4Addr> {
    let addresses = nix::ifaddrs::getifaddrs().ok()?;
    let mut own = addresses.filter(|one| one.interface_name == interface);
    own.find_map(|one| Some(one.address?.as_sockaddr_in()?.ip()))
}
