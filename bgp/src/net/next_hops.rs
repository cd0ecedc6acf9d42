// SPDX-License-Identifier: Apache-2.0
//! Which addresses of this host can be next hops towards a peer: those of the interface that packets to it leave by. Pure.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::NextHops;

/// IFA_F_TEMPORARY, IFA_F_DADFAILED, IFA_F_DEPRECATED and IFA_F_TENTATIVE of linux/if_addr.h.
const TEMPORARY: u8 = 0x01;
const DUPLICATE: u8 = 0x08;
const DEPRECATED: u8 = 0x20;
const TENTATIVE: u8 = 0x40;

/// An address of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InterfaceAddress {
    pub(super) interface: u32,
    pub(super) loopback: bool,
    pub(super) network: IpNet,
    /// The kernel's flags of an IPv6 address; 0 where they are not known.
    pub(super) flags: u8,
}

impl InterfaceAddress {
    fn holds(&self, address: IpAddr) -> bool {
        self.network.contains(&address)
    }

    /// Others can send to it.
    fn is_usable(&self) -> bool {
        self.flags & (TENTATIVE | DUPLICATE) == 0 && !self.network.addr().is_loopback()
    }

    /// It will be gone some day.
    const fn is_passing(&self) -> bool {
        self.flags & (TEMPORARY | DEPRECATED) != 0
    }
}

/// What the interface has that a connection between these goes over. `route` looks up the interface of the way to the peer. The
/// link-local address is given only if the peer is on the link.
pub(super) fn choose(
    all: &[InterfaceAddress],
    local: SocketAddr,
    remote: SocketAddr,
    route: impl FnOnce() -> Option<u32>,
) -> NextHops {
    let Some(interface) = interface(all, local, remote, route) else {
        return NextHops::default();
    };
    let on: Vec<&InterfaceAddress> =
        all.iter().filter(|one| one.interface == interface && !one.loopback).collect();
    let on_link = on.iter().any(|one| one.holds(remote.ip()));
    // The peer's own network first: from there it is sure to be reached.
    let best = |wanted: fn(IpAddr) -> bool| {
        on.iter()
            .filter(|one| one.is_usable() && wanted(one.network.addr()))
            .min_by_key(|one| (one.is_passing(), !one.holds(remote.ip())))
            .map(|one| one.network.addr())
    };
    let ipv6 = |address| if let Some(IpAddr::V6(address)) = address { Some(address) } else { None };
    let ipv4 = best(|address| address.is_ipv4());
    NextHops {
        ipv4: if let Some(IpAddr::V4(address)) = ipv4 { Some(address) } else { None },
        ipv6: ipv6(best(|address| address.is_ipv6() && !is_link_local(address))),
        link_local: ipv6(best(is_link_local)).filter(|_| on_link),
    }
}

fn interface(
    all: &[InterfaceAddress],
    local: SocketAddr,
    remote: SocketAddr,
    route: impl FnOnce() -> Option<u32>,
) -> Option<u32> {
    // Link-local addresses may be the same on several interfaces: only the scope tells.
    if let Some(scope) = scope(local).or_else(|| scope(remote)) {
        return Some(scope);
    }
    let mut with = all.iter().filter(|one| one.network.addr() == local.ip()).peekable();
    with.peek()?;
    let own: Vec<u32> = with.filter(|one| !one.loopback).map(|one| one.interface).collect();
    if let [only] = own.as_slice() {
        return Some(*only);
    }
    // On the loopback interface or on several: the one towards the peer.
    let may =
        |one: &&InterfaceAddress| !one.loopback && (own.is_empty() || own.contains(&one.interface));
    all.iter()
        .filter(may)
        .filter(|one| one.holds(remote.ip()))
        .max_by_key(|one| one.network.prefix_len())
        .map(|one| one.interface)
        .or_else(route)
        .or_else(|| own.first().copied())
}

fn scope(address: SocketAddr) -> Option<u32> {
    match address {
        SocketAddr::V6(address) if address.scope_id() != 0 => Some(address.scope_id()),
        SocketAddr::V6(_) | SocketAddr::V4(_) => None,
    }
}

const fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LO: u32 = 1;

    fn address(interface: u32, network: &str, flags: u8) -> InterfaceAddress {
        let network = network.parse().unwrap();
        InterfaceAddress { interface, loopback: interface == LO, network, flags }
    }

    fn host() -> Vec<InterfaceAddress> {
        vec![
            address(LO, "127.0.0.1/8", 0),
            address(LO, "10.255.0.1/32", 0),
            address(LO, "::1/128", 0x80),
            address(2, "192.0.2.1/24", 0),
            address(2, "2001:db8:2::1/64", 0),
            address(2, "fe80::1/64", 0),
            address(3, "198.51.100.1/24", 0),
            address(3, "2001:db8:3::1/64", 0),
            address(3, "fe80::1/64", 0),
        ]
    }

    fn chosen(all: &[InterfaceAddress], local: &str, remote: &str, route: u32) -> [String; 3] {
        let route = || (route != 0).then_some(route);
        let all = choose(all, local.parse().unwrap(), remote.parse().unwrap(), route);
        let text = |address: Option<IpAddr>| address.map_or("-".to_owned(), |one| one.to_string());
        [
            text(all.ipv4.map(IpAddr::V4)),
            text(all.ipv6.map(IpAddr::V6)),
            text(all.link_local.map(IpAddr::V6)),
        ]
    }

    #[test]
    fn a_session_from_the_loopback_interface_takes_those_towards_the_peer() {
        let local = "10.255.0.1:1";
        let on_link = chosen(&host(), local, "198.51.100.9:179", 0);
        assert_eq!(on_link, ["198.51.100.1", "2001:db8:3::1", "fe80::1"]);
        let routed = chosen(&host(), local, "203.0.113.1:179", 2);
        assert_eq!(routed, ["192.0.2.1", "2001:db8:2::1", "-"], "the peer is not on the link");
        assert_eq!(chosen(&host(), local, "203.0.113.1:179", 0), ["-"; 3]);
        assert_eq!(chosen(&host(), local, "203.0.113.1:179", LO), ["-"; 3], "never ::1");
        assert_eq!(chosen(&host(), "192.0.2.77:1", "192.0.2.9:179", 2), ["-"; 3], "not ours");
    }

    #[test]
    fn equal_link_local_addresses_are_told_apart_by_their_scope() {
        let three = chosen(&host(), "[fe80::1%3]:1", "[fe80::9%3]:179", 0);
        assert_eq!(three, ["198.51.100.1", "2001:db8:3::1", "fe80::1"]);
        let two = chosen(&host(), "[fe80::1%2]:1", "[fe80::9%2]:179", 0);
        assert_eq!(two, ["192.0.2.1", "2001:db8:2::1", "fe80::1"]);
    }

    #[test]
    fn an_address_on_several_interfaces_is_that_towards_the_peer() {
        let mut all = host();
        all.extend([address(2, "10.1.1.1/32", 0), address(3, "10.1.1.1/32", 0)]);
        let [_, ipv6, _] = chosen(&all, "10.1.1.1:1", "198.51.100.9:179", 0);
        assert_eq!(ipv6, "2001:db8:3::1");
        let [_, ipv6, _] = chosen(&all, "10.1.1.1:1", "203.0.113.9:179", 3);
        assert_eq!(ipv6, "2001:db8:3::1");
    }

    #[test]
    fn lasting_addresses_of_the_network_of_the_peer_come_first() {
        let all = |flags: [u8; 3]| {
            vec![
                address(2, "192.0.2.1/24", 0),
                address(2, "2001:db8:a::1/64", flags[0]),
                address(2, "2001:db8:b::1/64", flags[1]),
                address(2, "2001:db8:b::2/64", flags[2]),
            ]
        };
        for (flags, remote, expected) in [
            ([0, 0, 0], "192.0.2.9:179", "2001:db8:a::1"),
            ([TENTATIVE, TEMPORARY, 0], "192.0.2.9:179", "2001:db8:b::2"),
            ([DEPRECATED, DUPLICATE, 0], "192.0.2.9:179", "2001:db8:b::2"),
            ([DEPRECATED, TENTATIVE, TENTATIVE], "192.0.2.9:179", "2001:db8:a::1"),
            ([TENTATIVE; 3], "192.0.2.9:179", "-"),
        ] {
            let [_, ipv6, _] = chosen(&all(flags), "192.0.2.1:1", remote, 0);
            assert_eq!(ipv6, expected, "{flags:?}");
        }
        let [_, ipv6, _] = chosen(&all([0; 3]), "[2001:db8:a::1]:1", "[2001:db8:b::9]:179", 0);
        assert_eq!(ipv6, "2001:db8:b::1");
    }
}
