// SPDX-License-Identifier: Apache-2.0
//! A packet socket (packet(7)) for one link and one protocol: opened with everything filtered out, received from in batches,
//! with the kernel's time of arrival. Not the reading of what is in a frame.
#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use socket2::{Domain, SockAddr, SockFilter, Socket, Type};

use super::StartError;
use crate::Protocol;
use crate::filter::{Range, program};

/// Frames received by one call.
pub(super) const BATCH: usize = 16;
/// Octets kept of a frame: all of an Ethernet frame of usual size.
const FRAME: usize = 1536;
/// Room for the control message with the time of arrival; in words, for its alignment.
const CONTROL: usize = 8;

/// A socket that receives what its filter lets through.
#[derive(Debug)]
pub(super) struct PacketSocket {
    socket: Socket,
}

/// The buffers of a batch, used for all sockets in turn.
#[derive(Debug)]
pub(super) struct Batch {
    frames: Vec<[u8; FRAME]>,
    control: Vec<[u64; CONTROL]>,
    received: Vec<Received>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Received {
    length: usize,
    age: Duration,
}

impl PacketSocket {
    /// Whether this process may open packet sockets at all.
    pub(super) fn permitted() -> Result<(), StartError> {
        match raw_socket() {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(StartError::NotPermitted(error))
            }
            Err(error) => Err(StartError::System { call: "socket(AF_PACKET)", error }),
        }
    }

    /// Opens a socket on the link; it receives nothing until a filter is attached.
    pub(super) fn open(link: u32, protocol: Protocol) -> io::Result<Self> {
        // Without a protocol the socket receives nothing, so no frame comes in before the filter.
        let socket = raw_socket()?;
        let on: libc::c_int = 1;
        // SAFETY: the option takes a c_int, which is passed with its size.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_TIMESTAMPNS,
                (&raw const on).cast(),
                libc::socklen_t::try_from(size_of::<libc::c_int>()).map_err(io::Error::other)?,
            )
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
        let opened = Self { socket };
        opened.attach(protocol, &[])?;
        opened.socket.bind(&address(link, protocol)?)?;
        Ok(opened)
    }

    /// Replaces the filter, at one stroke. `OutOfMemory` when the kernel has no room for so long a program.
    pub(super) fn attach(&self, protocol: Protocol, ranges: &[Range]) -> io::Result<()> {
        let program: Vec<SockFilter> = program(protocol, ranges)
            .into_iter()
            .map(|i| SockFilter::new(i.code, i.jump_true, i.jump_false, i.k))
            .collect();
        self.socket.attach_filter(&program)
    }

    /// Sends one frame; it does not wait when the link is congested.
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send(frame).map(drop)
    }

    /// Receives what is there, at most a batch.
    pub(super) fn receive(&self, batch: &mut Batch) -> io::Result<usize> {
        batch.received.clear();
        // SAFETY: all-zero is valid for these structures of integers and pointers.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
        // SAFETY: as above.
        let mut vectors: [libc::iovec; BATCH] = unsafe { zeroed() };
        let buffers = batch.frames.iter_mut().zip(batch.control.iter_mut());
        for ((header, vector), (frame, control)) in
            headers.iter_mut().zip(vectors.iter_mut()).zip(buffers)
        {
            vector.iov_base = frame.as_mut_ptr().cast();
            vector.iov_len = FRAME;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = (CONTROL * size_of::<u64>()) as _;
        }
        // SAFETY: every header points to a vector and a control buffer of the stated sizes, all of which live through the
        // call; there are BATCH of them, all filled in.
        let count = unsafe {
            libc::recvmmsg(
                self.socket.as_raw_fd(),
                headers.as_mut_ptr(),
                libc::c_uint::try_from(BATCH).unwrap_or(0),
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        let now = real_time();
        for header in headers.iter().take(count) {
            let arrived = arrival(&header.msg_hdr);
            batch.received.push(Received {
                length: usize::try_from(header.msg_len).unwrap_or(0).min(FRAME),
                // A clock that was set back makes a frame look young, which only means that it is answered.
                age: arrived.map_or(Duration::ZERO, |arrived| now.saturating_sub(arrived)),
            });
        }
        Ok(count)
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Batch {
    pub(super) fn new() -> Self {
        Self {
            frames: vec![[0; FRAME]; BATCH],
            control: vec![[0; CONTROL]; BATCH],
            received: Vec::with_capacity(BATCH),
        }
    }

    /// The frames of the last batch with the time that each has waited.
    pub(super) fn frames(&self) -> impl Iterator<Item = (&[u8], Duration)> {
        let frames = self.received.iter().zip(&self.frames);
        frames.map(|(received, frame)| {
            (frame.get(..received.length).unwrap_or_default(), received.age)
        })
    }
}

fn raw_socket() -> io::Result<Socket> {
    Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None)
}

fn address(link: u32, protocol: Protocol) -> io::Result<SockAddr> {
    let ethertype = match protocol {
        Protocol::Arp => libc::ETH_P_ARP,
        Protocol::Ndp => libc::ETH_P_IPV6,
    };
    let index = i32::try_from(link).map_err(io::Error::other)?;
    let ethertype = u16::try_from(ethertype).map_err(io::Error::other)?;
    let family = libc::c_ushort::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    let size =
        libc::socklen_t::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
    // SAFETY: a sockaddr_ll fits into the storage, which is zeroed; its family and length are set.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let link_address: *mut libc::sockaddr_ll = storage.cast();
            (*link_address).sll_family = family;
            (*link_address).sll_protocol = ethertype.to_be();
            (*link_address).sll_ifindex = index;
            *length = size;
            Ok(())
        })?
    };
    Ok(address)
}

/// The real time at which the kernel received a message.
fn arrival(header: &libc::msghdr) -> Option<Duration> {
    // SAFETY: the header was filled in by recvmmsg and its control buffer is still there.
    let control = unsafe { libc::CMSG_FIRSTHDR(header).as_ref() }?;
    if control.cmsg_level != libc::SOL_SOCKET || control.cmsg_type != libc::SCM_TIMESTAMPNS {
        return None;
    }
    // SAFETY: a message of this type holds a timespec, at an alignment that is not promised.
    let time = unsafe { libc::CMSG_DATA(control).cast::<libc::timespec>().read_unaligned() };
    duration(time)
}

fn real_time() -> Duration {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the kernel fills the timespec in; if it fails, zero stays, which is a valid one.
    let time = unsafe {
        libc::clock_gettime(libc::CLOCK_REALTIME, time.as_mut_ptr());
        time.assume_init()
    };
    duration(time).unwrap_or_default()
}

fn duration(time: libc::timespec) -> Option<Duration> {
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}
