// SPDX-License-Identifier: Apache-2.0
//! Packet sockets of one link and one EtherType (packet(7)).

use anyhow::Context;
use nix::libc;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, SockAddr, Socket, Type};

/// The EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// The EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;

/// A socket that gets and sends whole frames, on a link of the namespace of the calling thread.
///
/// # Errors
/// When the link is not there, or the right to open such a socket.
pub fn socket(link: &str, ethertype: u16) -> anyhow::Result<Socket> {
    let index = if_nametoindex(link).with_context(|| format!("no link {link}"))?;
    let ethertype = ethertype.to_be();
    let protocol = socket2::Protocol::from(i32::from(ethertype));
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
    socket.bind(&link_address(index, ethertype)?)?;
    Ok(socket)
}

#[allow(unsafe_code, reason = "a packet socket's address has no safe constructor")]
fn link_address(index: u32, ethertype: u16) -> anyhow::Result<SockAddr> {
    let index = i32::try_from(index)?;
    // SAFETY: sockaddr_storage is larger than sockaddr_ll and aligned for it; the fields that are not set stay
    // zero, as SockAddrStorage is made of zeros, and zero is valid for each; the length is that of sockaddr_ll.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let link = storage.cast::<libc::sockaddr_ll>();
            (*link).sll_family = u16::try_from(libc::AF_PACKET).unwrap_or_default();
            (*link).sll_protocol = ethertype;
            (*link).sll_ifindex = index;
            *length = u32::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or_default();
            Ok(())
        })
    }?;
    Ok(address)
}
