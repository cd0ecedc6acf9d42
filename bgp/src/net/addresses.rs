// SPDX-License-Identifier: Apache-2.0
//! The addresses of the interface that a connection goes over, for next hops; and word when addresses change.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, NetlinkAddr, SockFlag, SockProtocol, SockType};
use tokio::io::unix::AsyncFd;

use crate::NextHops;

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR of linux/rtnetlink.h.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// What the interface with the address `local` has. The link-local address is given only if the peer is on the link.
pub(super) fn next_hops(local: IpAddr, remote: SocketAddr) -> NextHops {
    let Ok(all) = getifaddrs() else { return NextHops::default() };
    let all: Vec<(String, IpNet)> =
        all.filter_map(|one| Some((one.interface_name.clone(), network(&one)?))).collect();
    let Some((interface, _)) = all.iter().find(|(_, network)| network.addr() == local) else {
        return NextHops::default();
    };
    let on_interface =
        || all.iter().filter(|(name, _)| name == interface).map(|(_, network)| network);
    let on_link = on_interface().any(|network| network.contains(&remote.ip()));
    let addresses = || on_interface().map(IpNet::addr);
    let mut next_hops = NextHops::default();
    for address in addresses() {
        match address {
            IpAddr::V4(address) => {
                next_hops.ipv4.get_or_insert(address);
            }
            IpAddr::V6(address) if address.is_unicast_link_local() => {
                if on_link {
                    next_hops.link_local.get_or_insert(address);
                }
            }
            IpAddr::V6(address) => {
                next_hops.ipv6.get_or_insert(address);
            }
        }
    }
    next_hops
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
