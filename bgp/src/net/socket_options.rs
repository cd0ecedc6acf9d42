// SPDX-License-Identifier: Apache-2.0
//! What a session asks of its sockets: TCP MD5 (RFC 2385), GTSM (RFC 5082), TTL, traffic class, VRF. The only place with
//! `setsockopt`.

#![allow(unsafe_code, reason = "TCP_MD5SIG, IP_MINTTL and IPV6_MINHOPCOUNT have no safe wrapper")]

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use socket2::{SockAddr, SockRef};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::{Config, Password};

/// Class selector 6, network control, in the upper six bits (RFC 2474).
const NETWORK_CONTROL: u32 = 0xc0;
const TTL_SECURITY: u8 = 255;
/// TCP gives up so long after the Hold Time, which so has the first word.
const AFTER_HOLD_TIME: Duration = Duration::from_secs(5);

/// `struct tcp_md5sig` of linux/tcp.h.
#[repr(C)]
struct TcpMd5Signature {
    address: libc::sockaddr_storage,
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    interface: libc::c_int,
    key: [u8; Password::LONGEST],
}

/// What is set once, before TCP connects or after it was accepted.
pub(super) fn prepare(socket: &impl AsFd, config: &Config, ipv6: bool) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    if ipv6 {
        socket.set_tclass_v6(NETWORK_CONTROL)?;
    } else {
        socket.set_tos_v4(NETWORK_CONTROL)?;
    }
    let hold = config.hold_time.duration();
    socket.set_tcp_user_timeout(hold.map(|hold| hold + AFTER_HOLD_TIME))?;
    apply_ttl(&*socket, config, ipv6)
}

/// TTL and the least TTL that is taken; also on a running connection.
pub(super) fn apply_ttl(socket: &impl AsFd, config: &Config, ipv6: bool) -> io::Result<()> {
    let ttl = if config.ttl_security.is_some() { Some(TTL_SECURITY) } else { config.multihop_ttl };
    set_ttl(socket, ttl, least_ttl(config), ipv6)
}

/// The least TTL of a packet from the peer (RFC 5082 §3); 0: any.
pub(super) fn least_ttl(config: &Config) -> u8 {
    config.ttl_security.map_or(0, |hops| TTL_SECURITY - hops.saturating_sub(1))
}

/// A listener answers before it knows whom, so that it sends with the TTL that some peer with GTSM needs. It takes what any of
/// its peers may send.
pub(super) fn listener_ttl(
    socket: &impl AsFd,
    security: bool,
    least: u8,
    ipv6: bool,
) -> io::Result<()> {
    set_ttl(socket, security.then_some(TTL_SECURITY), least, ipv6)
}

fn set_ttl(socket: &impl AsFd, ttl: Option<u8>, least: u8, ipv6: bool) -> io::Result<()> {
    // -1 is the kernel's default again.
    let ttl = ttl.map_or(-1, libc::c_int::from);
    let least = libc::c_int::from(least);
    if ipv6 {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, &ttl)?;
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, &least)
    } else {
        set(socket, libc::IPPROTO_IP, libc::IP_TTL, &ttl)?;
        set(socket, libc::IPPROTO_IP, libc::IP_MINTTL, &least)
    }
}

/// The key for packets from and to this address; `None` takes it away.
pub(super) fn set_md5(
    socket: &impl AsFd,
    address: IpAddr,
    password: Option<&Password>,
) -> io::Result<()> {
    let octets = password.map_or(&[][..], Password::reveal);
    let mut key = [0; Password::LONGEST];
    for (to, from) in key.iter_mut().zip(octets) {
        *to = *from;
    }
    let storage = SockAddr::from(std::net::SocketAddr::new(address, 0)).as_storage();
    let signature = TcpMd5Signature {
        // SAFETY: socket2's storage is a transparent wrapper of the kernel's structure, all of it initialised.
        address: unsafe {
            std::mem::transmute::<socket2::SockAddrStorage, libc::sockaddr_storage>(storage)
        },
        flags: 0,
        prefix_length: 0,
        key_length: u16::try_from(octets.len()).unwrap_or(0),
        interface: 0,
        key,
    };
    let result = set(socket, libc::IPPROTO_TCP, libc::TCP_MD5SIG, &signature);
    match result {
        // To take away what is not there is no error.
        Err(error) if password.is_none() && error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

/// Which ICMPv6 types a raw socket receives: those two.
pub(super) fn filter_icmpv6(socket: &impl AsFd, types: [u8; 3]) -> io::Result<()> {
    let mut blocked = [u32::MAX; 8];
    for kind in types {
        if let Some(word) = blocked.get_mut(usize::from(kind >> 5)) {
            *word &= !(1 << (kind & 31));
        }
    }
    /// Of linux/icmpv6.h.
    const ICMPV6_FILTER: libc::c_int = 1;
    set(socket, libc::IPPROTO_ICMPV6, ICMPV6_FILTER, &blocked)
}

/// Has the runtime say when the socket can be read.
pub(super) fn watch(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd always returns the same open descriptor, and nobody but the AsyncFd can reach this one.
    Ok(unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?)
}

fn set<T>(socket: &impl AsFd, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the kernel reads `length` octets of a value that lives until the call returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
