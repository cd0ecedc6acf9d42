// SPDX-License-Identifier: Apache-2.0
//! The Echo function over IPv4 (RFC 5881 section 4). An Echo packet carries our own address twice and goes to the peer's
//! link-layer address; the peer's forwarding plane sends it back. The kernel takes such a packet for a forged one when it returns,
//! so both ways go by a packet socket (packet(7)). FRR 8.4 does the same over IPv4.
//!
//! The peers' Echo packets are sent back by our kernel if it forwards on that interface; if it does not, this socket does it.
//! Where a firewall drops what the kernel would forward, the peer's Echo function fails, which is what it is to show.
//!
//! Over IPv6 FRR 8.4 sends Echo packets to the peer's address, and its own process sends them back with a Hop Limit of 254. A
//! link-local address leaves no other way, so we do the same there: see `run`.
#![allow(unsafe_code)]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::{Domain, SockAddr, SockFilter, Socket, Type};

/// UDP to port 3785, not a fragment: classic BPF on a packet that begins with the IPv4 header.
const FILTER: [(u16, u8, u8, u32); 8] = [
    (0x30, 0, 0, 9),      // A = protocol
    (0x15, 0, 5, 17),     // not UDP: drop
    (0x28, 0, 0, 6),      // A = flags and fragment offset
    (0x45, 3, 0, 0x3fff), // a fragment: drop
    (0xb1, 0, 0, 0),      // X = length of the header
    (0x48, 0, 0, 2),      // A = destination port
    (0x15, 1, 0, 3785),   // ours: keep
    (0x06, 0, 0, 0),      // drop
];
const KEEP: (u16, u8, u8, u32) = (0x06, 0, 0, 0xffff);

/// The socket.
#[derive(Debug)]
pub(super) struct EchoSocket(Socket);

/// Where a frame came from or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Station {
    /// The interface.
    pub(super) index: u32,
    /// The other's link-layer address.
    pub(super) address: [u8; 6],
}

impl EchoSocket {
    /// Opens it on all interfaces.
    pub(super) fn open() -> io::Result<Self> {
        // Without a protocol the socket receives nothing, so nothing comes in before the filter.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking().cloexec(), None)?;
        let filter: Vec<SockFilter> = FILTER
            .into_iter()
            .chain([KEEP])
            .map(|(code, jump_true, jump_false, k)| SockFilter::new(code, jump_true, jump_false, k))
            .collect();
        socket.attach_filter(&filter)?;
        socket.bind(&link_address(Station { index: 0, address: [0; 6] })?)?;
        Ok(Self(socket))
    }

    /// Takes one packet that was sent to this host's link-layer address; `None` for others.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<(usize, Station)>> {
        use std::os::fd::AsRawFd;
        // SAFETY: the buffer is writable for its length, the storage as long as its length says; the kernel writes both.
        let (length, from) = unsafe {
            SockAddr::try_init(|storage, size| {
                let length = libc::recvfrom(
                    self.0.as_raw_fd(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    libc::MSG_DONTWAIT,
                    storage.cast(),
                    size,
                );
                usize::try_from(length).map_err(|_| io::Error::last_os_error())
            })?
        };
        if usize::try_from(from.len()).unwrap_or(0) < size_of::<libc::sockaddr_ll>() - 2 {
            return Ok(None);
        }
        // SAFETY: the storage is larger than a sockaddr_ll and zeroed where the kernel wrote nothing.
        let from = unsafe { from.as_ptr().cast::<libc::sockaddr_ll>().read_unaligned() };
        let (address, _) = from.sll_addr.split_first_chunk::<6>().unwrap_or((&[0; 6], &[]));
        let to_us = from.sll_pkttype == libc::PACKET_HOST && from.sll_halen == 6;
        let station =
            Station { index: u32::try_from(from.sll_ifindex).unwrap_or(0), address: *address };
        Ok(to_us.then_some((length.min(buffer.len()), station)))
    }

    /// Sends one packet; does not wait.
    pub(super) fn send(&self, to: Station, octets: &[u8]) -> io::Result<()> {
        self.0.send_to(octets, &link_address(to)?).map(drop)
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether the kernel sends back by itself what a peer on this interface sends through us.
pub(super) fn kernel_forwards(interface: &str) -> bool {
    let file = format!("/proc/sys/net/ipv4/conf/{interface}/forwarding");
    std::fs::read_to_string(file).is_ok_and(|text| text.trim() == "1")
}

fn link_address(station: Station) -> io::Result<SockAddr> {
    let family = libc::c_ushort::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    let ethertype = u16::try_from(libc::ETH_P_IP).map_err(io::Error::other)?;
    let index = i32::try_from(station.index).map_err(io::Error::other)?;
    let size =
        libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    // SAFETY: a sockaddr_ll fits into the storage, which is zeroed; its family and length are set.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let link: *mut libc::sockaddr_ll = storage.cast();
            (*link).sll_family = family;
            (*link).sll_protocol = ethertype.to_be();
            (*link).sll_ifindex = index;
            (*link).sll_halen = 6;
            for (place, octet) in (*link).sll_addr.iter_mut().zip(station.address) {
                *place = octet;
            }
            *length = size;
            Ok(())
        })?
    };
    Ok(address)
}
