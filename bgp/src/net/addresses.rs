// SPDX-License-Identifier: Apache-2.0
//! The addresses of the interface that a connection goes over, for next hops; and word when addresses change.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};
use tokio::io::unix::AsyncFd;

use super::next_hops::{InterfaceAddress, choose};
use crate::{NextHops, Remote};

/// struct nlmsghdr.
const NETLINK_HEADER: usize = 16;
/// struct rtmsg.
const ROUTE_HEADER: usize = 12;

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR of linux/rtnetlink.h.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// The next hops of a connection between these.
pub(super) fn next_hops(local: SocketAddr, remote: SocketAddr) -> NextHops {
    choose(&interface_addresses(), local, remote, || route_interface(remote.ip()))
}

fn interface_addresses() -> Vec<InterfaceAddress> {
    let Ok(all) = getifaddrs() else { return Vec::new() };
    // Of the thread's network namespace, which need not be the process's.
    let flags = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap_or_default();
    let flags = parse_flags(&flags);
    let mut indices: BTreeMap<String, u32> = BTreeMap::new();
    let mut found = Vec::new();
    for one in all {
        let Some(network) = network(&one) else { continue };
        // IPv4 addresses may have labels.
        let name = one.interface_name.split(':').next().unwrap_or_default();
        let interface = match indices.get(name) {
            Some(index) => *index,
            None => {
                let Ok(index) = super::connect::index(name) else { continue };
                indices.insert(name.to_owned(), index);
                index
            }
        };
        found.push(InterfaceAddress {
            interface,
            loopback: one.flags.contains(InterfaceFlags::IFF_LOOPBACK),
            network,
            flags: flags.get(&(interface, network.addr())).copied().unwrap_or(0),
        });
    }
    found
}

/// Lines of address, index, prefix length, scope, flags (all hexadecimal) and name.
fn parse_flags(text: &str) -> BTreeMap<(u32, IpAddr), u8> {
    let line = |line: &str| {
        let mut fields = line.split_whitespace();
        let address = u128::from_str_radix(fields.next()?, 16).ok()?;
        let index = u32::from_str_radix(fields.next()?, 16).ok()?;
        let flags = u8::from_str_radix(fields.nth(2)?, 16).ok()?;
        Some(((index, IpAddr::V6(address.into())), flags))
    };
    text.lines().filter_map(line).collect()
}

/// The interface by which the kernel would send to this address.
fn route_interface(remote: IpAddr) -> Option<u32> {
    let socket = nix::sys::socket::socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )
    .ok()?;
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&socket);
    let flags = MsgFlags::empty();
    nix::sys::socket::send(descriptor, &route_request(remote), flags).ok()?;
    // The kernel has answered by the time that the request is taken.
    let mut buffer = [0; 4096];
    let length = nix::sys::socket::recv(descriptor, &mut buffer, flags).ok()?;
    parse_route(buffer.get(..length)?)
}

/// RTM_GETROUTE: nlmsghdr, rtmsg and the destination (linux/netlink.h, linux/rtnetlink.h).
fn route_request(remote: IpAddr) -> Vec<u8> {
    let (family, destination) = match remote {
        IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
    };
    let octet = |number: usize| u8::try_from(number).unwrap_or(0);
    let short = |number: usize| u16::try_from(number).unwrap_or(0).to_ne_bytes();
    let attribute = 4 + destination.len();
    let length = NETLINK_HEADER + ROUTE_HEADER + attribute;
    let mut request = u32::try_from(length).unwrap_or(0).to_ne_bytes().to_vec();
    request.extend(libc::RTM_GETROUTE.to_ne_bytes());
    request.extend(1u16.to_ne_bytes()); // NLM_F_REQUEST
    request.extend([0; 8]);
    request.push(u8::try_from(family).unwrap_or(0));
    request.push(octet(destination.len() * 8));
    request.extend([0; ROUTE_HEADER - 2]);
    request.extend(short(attribute));
    request.extend(libc::RTA_DST.to_ne_bytes());
    request.extend(destination);
    request
}

/// RTA_OIF of the answer; `None` for an error, or where there is no way.
fn parse_route(answer: &[u8]) -> Option<u32> {
    let kind = answer.get(4..6)?.first_chunk().copied().map(u16::from_ne_bytes)?;
    if kind != libc::RTM_NEWROUTE {
        return None;
    }
    let mut rest = answer.get(NETLINK_HEADER + ROUTE_HEADER..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
        let value = rest.get(4..length)?;
        if kind == libc::RTA_OIF {
            return value.first_chunk().copied().map(u32::from_ne_bytes);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

fn network(one: &nix::ifaddrs::InterfaceAddress) -> Option<IpNet> {
    let (address, mask) = (one.address.as_ref()?, one.netmask.as_ref()?);
    if let (Some(address), Some(mask)) = (address.as_sockaddr_in(), mask.as_sockaddr_in()) {
        return IpNet::with_netmask(address.ip().into(), mask.ip().into()).ok();
    }
    let (address, mask) = (address.as_sockaddr_in6()?, mask.as_sockaddr_in6()?);
    IpNet::with_netmask(address.ip().into(), mask.ip().into()).ok()
}

/// The link-layer and a link-local address of an interface.
pub(super) fn link(interface: &str) -> (Option<[u8; 6]>, Option<Ipv6Addr>) {
    let Ok(all) = getifaddrs() else { return (None, None) };
    let (mut link_layer, mut link_local) = (None, None);
    for one in all.filter(|one| one.interface_name == interface) {
        let Some(address) = &one.address else { continue };
        if let Some(address) = address.as_link_addr() {
            link_layer = link_layer.or(address.addr());
        }
        if let Some(address) = address.as_sockaddr_in6()
            && address.ip().is_unicast_link_local()
        {
            link_local = link_local.or(Some(address.ip()));
        }
    }
    (link_layer, link_local)
}

/// The interfaces over which something can be sent now, by their indices.
pub(super) fn running_links() -> BTreeSet<u32> {
    let Ok(all) = getifaddrs() else { return BTreeSet::new() };
    let running = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    all.filter(|one| one.flags.contains(running))
        .filter_map(|one| super::connect::index(&one.interface_name).ok())
        .collect()
}

/// The interface over which packets to this peer go now; `None` where there is no way, or its link is down.
pub(super) fn way(remote: &Remote, running: &BTreeSet<u32>) -> Option<u32> {
    let interface = match remote {
        Remote::Interface(name) | Remote::Address { interface: Some(name), .. } => {
            super::connect::index(name).ok()?
        }
        Remote::Address { address, interface: None } => route_interface(*address)?,
    };
    running.contains(&interface).then_some(interface)
}

/// Hears of every change of links and addresses; what changed is not read, as everything is looked at anew.
#[derive(Debug)]
pub(super) struct Changes(AsyncFd<std::os::fd::OwnedFd>);

impl Changes {
    pub(super) fn open() -> io::Result<Self> {
        let socket = nix::sys::socket::socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        let address = NetlinkAddr::new(0, GROUPS);
        nix::sys::socket::bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &address)?;
        Ok(Self(super::socket_options::watch(socket)?))
    }

    /// Waits until something changed, and forgets everything that did so far.
    pub(super) async fn wait(&self) -> io::Result<()> {
        let mut buffer = [0; 8192];
        let mut any = false;
        loop {
            let mut guard = self.0.readable().await?;
            let read = guard.try_io(|socket| Ok(nix::unistd::read(socket.get_ref(), &mut buffer)?));
            match read {
                Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                // More was lost than one buffer holds: still a change.
                Ok(Ok(_)) => any = true,
                Ok(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => any = true,
                Ok(Err(error)) => return Err(error),
                Err(_would_block) if any => return Ok(()),
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_addresses_are_read() {
        // captured: Linux 6.1, /proc/net/if_inet6
        let text = "fe800000000000000042acfffe110002 1f 40 20 c0     eth0\n\
                    00000000000000000000000000000001 01 80 10 80       lo\nnonsense\n";
        let flags = parse_flags(text);
        assert_eq!(flags.get(&(31, "fe80::42:acff:fe11:2".parse().unwrap())), Some(&0xc0));
        assert_eq!(flags.len(), 2);
    }

    #[test]
    fn the_way_to_loopback_is_the_loopback_interface() {
        let lo = super::super::connect::index("lo").unwrap();
        assert_eq!(route_interface([127, 0, 0, 1].into()), Some(lo));
    }

    #[test]
    fn answers_that_are_no_routes_name_no_interface() {
        assert_eq!(parse_route(&[]), None);
        let mut answer = vec![0; NETLINK_HEADER + ROUTE_HEADER];
        assert_eq!(parse_route(&answer), None, "NLMSG_NOOP");
        answer[4..6].copy_from_slice(&libc::RTM_NEWROUTE.to_ne_bytes());
        assert_eq!(parse_route(&answer), None, "without attributes");
        answer.extend([0; 8]);
        assert_eq!(parse_route(&answer), None, "an attribute without length");
    }
}
