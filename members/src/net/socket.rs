// SPDX-License-Identifier: Apache-2.0
//! The UDP socket and the TCP listener on one port; and the error queue of the UDP socket (ip(7), `IP_RECVERR`), which tells for each ICMP
//! error the datagram that caused it.
#![allow(unsafe_code)]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd};

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The size of the receive buffer in octets, if the system grants it: a burst of gossip must not push out pings.
const RECEIVE_BUFFER: usize = 2 << 20;
/// The number of streams that wait to be accepted, if the system grants so many (`net.core.somaxconn`). Beyond it the kernel answers with SYN
/// cookies, and established connections wait at their sender.
const BACKLOG: i32 = 4096;
/// The number of attempts to find a port that is free for both protocols.
const ATTEMPTS: usize = 10;
/// The room for the control message in words, for its alignment: the error and the address of the host that reported it.
const CONTROL: usize = 32;
/// The number of datagrams that one call takes, at most: at rest they come one by one, and a call that finds fewer has emptied the queue.
const BATCH: usize = 4;
/// A length in octets that no datagram exceeds.
const DATAGRAM: usize = 0x1_0000;

/// The least number of the UDP socket's descriptor, if the process may have such numbers (the soft limit mostly is 1024 or more). When a
/// process is killed, Linux releases its files beginning with the highest descriptor (since 4.3), and each packet socket among them delays
/// the rest by a grace period of RCU, some 10 ms: the port has to be closed before that, as others notice a death by the closed port.
const DESCRIPTOR: libc::c_int = 1000;

/// An ICMP error, or an error of this host itself, about a datagram that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreachable {
    /// The destination of the datagram.
    pub(super) to: SocketAddr,
    /// True if the destination itself says that nothing listens on the port.
    pub(super) port_closed: bool,
    /// The host that reported the error, if one did.
    pub(super) by: Option<IpAddr>,
    /// The number of octets of the datagram that were quoted.
    pub(super) quoted: usize,
}

/// Opens both sockets, non-blocking, on the same port, even if the kernel chooses the port.
pub(super) fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut attempts = if address.port() == 0 { ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        let tcp = listen(address)?;
        match datagrams(tcp.local_addr()?) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempts > 0 => {}
            result => return result.map(|udp| (udp, tcp)),
        }
    }
}

fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let kind = kind.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = open(address, Type::STREAM, Protocol::TCP)?;
    // A restart must not wait for old connections.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn datagrams(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = open(address, Type::DGRAM, Protocol::UDP)?;
    // The kernel gives as much as it allows.
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    let (level, option) = if address.is_ipv6() {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
    } else {
        (libc::IPPROTO_IP, libc::IP_RECVERR)
    };
    let on: libc::c_int = 1;
    let size = libc::socklen_t::try_from(size_of::<libc::c_int>()).map_err(io::Error::other)?;
    // SAFETY: the option takes a c_int, which is passed with its size.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), size)
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    socket.bind(&address.into())?;
    Ok(closed_first(socket).into())
}

/// The same socket under a descriptor that is released before all others when the process dies; unchanged where there is no such descriptor.
fn closed_first(socket: Socket) -> Socket {
    // SAFETY: the call takes numbers alone; the descriptor is open.
    let descriptor = unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_DUPFD_CLOEXEC, DESCRIPTOR) };
    if descriptor < 0 {
        return socket;
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    unsafe { Socket::from_raw_fd(descriptor) }
}

/// Registers the socket with the runtime, for datagrams and errors.
pub(super) fn register(socket: UdpSocket) -> io::Result<AsyncFd<UdpSocket>> {
    // SAFETY: the socket owns its descriptor, keeps it open until it is dropped, and always names the same one.
    let registered =
        unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE | Interest::ERROR) };
    registered.map_err(io::Error::from)
}

/// Room for the datagrams of one call.
pub(super) struct Batch {
    /// The buffers, one behind the other.
    octets: Vec<u8>,
    received: [Option<(SocketAddr, usize)>; BATCH],
}

impl Batch {
    pub(super) fn new() -> Self {
        Self { octets: vec![0; BATCH * DATAGRAM], received: [None; BATCH] }
    }

    /// Takes the datagrams that are there, at most a batch, without waiting. Returns true if there may be more.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<bool> {
        self.received = [None; BATCH];
        // SAFETY: all-zero is valid for these structures of integers and pointers.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut vectors: [libc::iovec; BATCH] = unsafe { zeroed() };
        let mut from = [(); BATCH].map(|()| SockAddrStorage::zeroed());
        let buffers = self.octets.chunks_exact_mut(DATAGRAM).zip(from.iter_mut());
        for ((header, vector), (octets, from)) in
            headers.iter_mut().zip(vectors.iter_mut()).zip(buffers)
        {
            vector.iov_base = octets.as_mut_ptr().cast();
            vector.iov_len = octets.len();
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_namelen = from.size_of();
            header.msg_hdr.msg_name = std::ptr::from_mut(from).cast();
        }
        let length = libc::c_uint::try_from(BATCH).map_err(io::Error::other)?;
        // SAFETY: every header points to a vector and an address of the stated sizes, all of which live through the call; there are
        // BATCH of them, all filled in.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                length,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        let received = self.received.iter_mut().zip(headers).zip(from).take(count);
        for ((received, header), from) in received {
            let length = usize::try_from(header.msg_len).unwrap_or(0).min(DATAGRAM);
            // SAFETY: the kernel has written the address and its length.
            let from = unsafe { SockAddr::new(from, header.msg_hdr.msg_namelen) };
            *received = from.as_socket().map(|from| (from, length));
        }
        Ok(count == BATCH)
    }

    /// The datagrams of the last call, with their senders.
    pub(super) fn datagrams(&mut self) -> impl Iterator<Item = (SocketAddr, &mut [u8])> {
        let octets = self.octets.chunks_exact_mut(DATAGRAM);
        self.received.iter().zip(octets).filter_map(|(received, octets)| {
            let (from, length) = (*received)?;
            Some((from, octets.get_mut(..length)?))
        })
    }
}

/// Takes one error from the queue, without waiting; `None` in the result for an error without use. The quoted octets of the datagram are
/// written to `quote`. A stranger may have made the error up.
pub(super) fn error(socket: &UdpSocket, quote: &mut [u8]) -> io::Result<Option<Unreachable>> {
    let mut control = [0_u64; CONTROL];
    let mut vector = libc::iovec { iov_base: quote.as_mut_ptr().cast(), iov_len: quote.len() };
    // SAFETY: all-zero is valid for this structure of integers and pointers.
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of::<[u64; CONTROL]>() as _;
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: the storage is as long as the length says; the header points to a vector and a control buffer of the stated sizes,
    // all of which live through the call; the kernel writes the address and its length.
    let (quoted, to) = unsafe {
        SockAddr::try_init(|storage, size| {
            header.msg_name = storage.cast();
            header.msg_namelen = *size;
            let length = libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags);
            *size = header.msg_namelen;
            usize::try_from(length).map_err(|_| io::Error::last_os_error())
        })?
    };
    let Some(to) = to.as_socket() else { return Ok(None) };
    // SAFETY: the header was filled in by recvmsg and its control buffer is still there.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    // SAFETY: the pointer is null or to a message within the control buffer.
    while let Some(head) = unsafe { message.as_ref() } {
        if matches!(
            (head.cmsg_level, head.cmsg_type),
            (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
        ) {
            // SAFETY: a message of this type holds a sock_extended_err and behind it the address of who reported the error, of
            // the socket's family or unspecified; the kernel writes a whole sockaddr_in or sockaddr_in6.
            let (refused, by) = unsafe { report(message) };
            let itself = by.is_some_and(|by| by.to_canonical() == to.ip().to_canonical());
            let (port_closed, quoted) = (refused && itself, quoted.min(quote.len()));
            return Ok(Some(Unreachable { to, port_closed, by, quoted }));
        }
        // SAFETY: the header and the message are those that the kernel filled in.
        message = unsafe { libc::CMSG_NXTHDR(&raw const header, message) };
    }
    Ok(None)
}

/// Returns true if the error says that nothing listens on the port, and the host that it is from, if it is from one.
///
/// # Safety
/// The message is one of the type `IP_RECVERR` or `IPV6_RECVERR`, as the kernel wrote it.
unsafe fn report(message: *const libc::cmsghdr) -> (bool, Option<IpAddr>) {
    // SAFETY: the data of a message follows its head.
    let data = unsafe { libc::CMSG_DATA(message) };
    // SAFETY: it begins with this structure, at an alignment that is not promised.
    let error = unsafe { data.cast::<libc::sock_extended_err>().read_unaligned() };
    let by_icmp = matches!(error.ee_origin, libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6);
    if !by_icmp {
        return (false, None);
    }
    let refused = i32::try_from(error.ee_errno) == Ok(libc::ECONNREFUSED);
    // SAFETY: the address follows the structure.
    let offender = unsafe { data.add(size_of::<libc::sock_extended_err>()) };
    // SAFETY: the family is the first member of any address.
    let family = unsafe { offender.cast::<libc::sa_family_t>().read_unaligned() };
    let by = match i32::from(family) {
        libc::AF_INET => {
            // SAFETY: the family says that it is one.
            let address = unsafe { offender.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes()).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that it is one.
            let address = unsafe { offender.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(address.sin6_addr.s6_addr).into())
        }
        _ => None,
    };
    (refused, by)
}

#[cfg(test)]
mod tests {
    use super::super::sent::QUOTE;
    use super::*;

    #[test]
    fn a_batch_takes_what_is_there_with_its_senders() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (udp, _tcp) = bind(address.parse().unwrap()).unwrap();
            let senders = [(); 2].map(|()| UdpSocket::bind(address).unwrap());
            let largest = vec![7; 60_000];
            let sent = [b"".to_vec(), largest, b"3".to_vec(), b"4".to_vec(), b"5".to_vec()];
            for (octets, sender) in sent.iter().zip(senders.iter().cycle()) {
                sender.send_to(octets, udp.local_addr().unwrap()).unwrap();
            }
            let mut batch = Batch::new();
            let mut taken = Vec::new();
            for more in [true, false] {
                assert_eq!(batch.receive(&udp).unwrap(), more);
                taken.extend(batch.datagrams().map(|(from, octets)| (from, octets.to_vec())));
            }
            let expected: Vec<_> = sent
                .into_iter()
                .zip(senders.iter().cycle())
                .map(|(octets, sender)| (sender.local_addr().unwrap(), octets))
                .collect();
            assert_eq!(taken, expected);
            assert_eq!(batch.receive(&udp).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            assert_eq!(batch.datagrams().count(), 0);
        }
    }

    #[test]
    fn the_port_is_closed_before_other_files_when_the_process_dies() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (udp, tcp) = bind(address.parse().unwrap()).unwrap();
            assert!(udp.as_raw_fd() >= DESCRIPTOR, "{}", udp.as_raw_fd());
            assert!(tcp.as_raw_fd() < DESCRIPTOR);
            // SAFETY: the call takes numbers alone; the descriptor is open.
            let flags = unsafe { libc::fcntl(udp.as_raw_fd(), libc::F_GETFD) };
            assert_eq!(flags, libc::FD_CLOEXEC, "no child keeps the port open");
        }
    }

    #[test]
    fn a_closed_port_is_told_with_its_address_and_both_protocols_have_one_port() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let (udp, tcp) = bind(address.parse().unwrap()).unwrap();
            assert_eq!(udp.local_addr().unwrap(), tcp.local_addr().unwrap());
            let closed = UdpSocket::bind(address).unwrap().local_addr().unwrap();
            let sent: Vec<u8> = (0..=255).cycle().take(1_300).collect();
            udp.send_to(&sent, closed).unwrap();
            let mut quote = [0; QUOTE];
            let found = loop {
                match error(&udp, &mut quote) {
                    Ok(Some(found)) => break found,
                    Ok(None) => {}
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
                std::thread::yield_now();
            };
            let by = Some(closed.ip());
            let expected = Unreachable { to: closed, port_closed: true, by, quoted: QUOTE };
            assert_eq!(found, expected);
            assert_eq!(quote, sent[..QUOTE], "the kernel quotes enough");
            assert!(error(&udp, &mut quote).is_err());
        }
    }
}
