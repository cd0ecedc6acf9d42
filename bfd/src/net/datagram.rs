// SPDX-License-Identifier: Apache-2.0
//! UDP payloads with what a plain receive does not tell: TTL or Hop Limit, and the address that the packet was sent to.
#![allow(unsafe_code)]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Room for both control messages; in words, for their alignment.
const CONTROL: usize = 16;
/// DSCP CS6, as routing protocols use it.
const TRAFFIC_CLASS: u32 = 0xc0;

/// A datagram without its payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram {
    /// How much of the buffer is payload.
    pub(super) length: usize,
    /// From where; with the interface if it is link-local.
    pub(super) source: SocketAddr,
    /// To which address of ours.
    pub(super) destination: IpAddr,
    /// TTL or Hop Limit.
    pub(super) ttl: u8,
}

/// A UDP socket of one family that sends with the greatest TTL (RFC 5881 section 5), bound to the interface if there is one.
pub(super) fn socket(ipv6: bool, interface: Option<&str>) -> io::Result<Socket> {
    let domain = if ipv6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    if ipv6 {
        socket.set_only_v6(true)?;
        socket.set_unicast_hops_v6(255)?;
        socket.set_tclass_v6(TRAFFIC_CLASS)?;
    } else {
        socket.set_ttl_v4(255)?;
        socket.set_tos_v4(TRAFFIC_CLASS)?;
    }
    if let Some(interface) = interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    Ok(socket)
}

/// The address that stands for all.
pub(super) const fn unspecified(ipv6: bool) -> IpAddr {
    if ipv6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) }
}

/// Has [`receive`] told what it needs.
pub(super) fn tell_all(socket: &Socket, ipv6: bool) -> io::Result<()> {
    let options = if ipv6 {
        [
            (libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT),
            (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
        ]
    } else {
        [(libc::IPPROTO_IP, libc::IP_RECVTTL), (libc::IPPROTO_IP, libc::IP_PKTINFO)]
    };
    let on: libc::c_int = 1;
    let size = libc::socklen_t::try_from(size_of::<libc::c_int>()).map_err(io::Error::other)?;
    for (level, option) in options {
        // SAFETY: the option takes a c_int, which is passed with its size.
        let result = unsafe {
            libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), size)
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Takes one datagram, without waiting; `None` for one that did not come with all that is to be told.
pub(super) fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<Option<Datagram>> {
    let mut control = [0_u64; CONTROL];
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all-zero is valid for this structure of integers and pointers.
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of::<[u64; CONTROL]>() as _;
    // SAFETY: the storage is as long as the length says; the header points to a vector and a control buffer of the stated sizes,
    // all of which live through the call; the kernel writes the address and its length.
    let (length, source) = unsafe {
        SockAddr::try_init(|storage, size| {
            header.msg_name = storage.cast();
            header.msg_namelen = *size;
            let length = libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT);
            *size = header.msg_namelen;
            usize::try_from(length).map_err(|_| io::Error::last_os_error())
        })?
    };
    let Some(source) = source.as_socket() else { return Ok(None) };
    let (mut ttl, mut destination) = (None, None);
    // SAFETY: the header was filled in by recvmsg and its control buffer is still there.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    // SAFETY: the pointer is null or to a message within the control buffer.
    while let Some(head) = unsafe { message.as_ref() } {
        // SAFETY: as above; the data of a message follows its head.
        let data = unsafe { libc::CMSG_DATA(message) };
        match (head.cmsg_level, head.cmsg_type) {
            (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                // SAFETY: a message of this type holds a c_int, at an alignment that is not promised.
                let value = unsafe { data.cast::<libc::c_int>().read_unaligned() };
                ttl = u8::try_from(value).ok();
            }
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // SAFETY: a message of this type holds an in_pktinfo.
                let info = unsafe { data.cast::<libc::in_pktinfo>().read_unaligned() };
                let octets = info.ipi_addr.s_addr.to_ne_bytes();
                destination = Some(IpAddr::V4(Ipv4Addr::from(octets)));
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                // SAFETY: a message of this type holds an in6_pktinfo.
                let info = unsafe { data.cast::<libc::in6_pktinfo>().read_unaligned() };
                destination = Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)));
            }
            _ => {}
        }
        // SAFETY: the header and the message are those that the kernel filled in.
        message = unsafe { libc::CMSG_NXTHDR(&raw const header, message) };
    }
    Ok(match (ttl, destination) {
        (Some(ttl), Some(destination)) => {
            Some(Datagram { length: length.min(buffer.len()), source, destination, ttl })
        }
        _ => None,
    })
}
