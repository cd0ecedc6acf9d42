// SPDX-License-Identifier: Apache-2.0
//! Waiting: epoll(7) over the sockets and an eventfd by which another thread wakes the waiting one. Not an event loop; that is
//! `run`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Wakes a thread that waits.
#[derive(Debug)]
pub(super) struct Wake(OwnedFd);

/// A set of descriptors, each with a token.
#[derive(Debug)]
pub(super) struct Epoll(OwnedFd);

/// How many descriptors are told at once; the others are told the next time.
const MOST: usize = 16;

fn descriptor(result: libc::c_int) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

impl Wake {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        descriptor(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }).map(Self)
    }

    pub(super) fn wake(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the buffer is of the eight octets that an eventfd takes. It fails only when the counter is full, and then
        // the other side is woken anyway.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Takes back all wakings until now.
    pub(super) fn clear(&self) {
        let mut count = [0_u8; 8];
        // SAFETY: the buffer is of the eight octets that an eventfd gives. It fails only when there is nothing to take.
        unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.0.as_fd()
    }
}

impl Epoll {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        descriptor(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(Self)
    }

    /// Tells from now when this descriptor can be read. It leaves the set by being closed.
    pub(super) fn add(&self, descriptor: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN.cast_unsigned(), u64: token };
        // SAFETY: both descriptors are open for the time of the call, and the event is only read.
        let result = unsafe {
            libc::epoll_ctl(
                self.0.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                descriptor.as_raw_fd(),
                &raw mut event,
            )
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits and puts the tokens of those that can be read into `ready`. `None` waits for ever.
    pub(super) fn wait(&self, timeout: Option<Duration>, ready: &mut Vec<u64>) -> io::Result<()> {
        ready.clear();
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; MOST];
        // Rounded up, so that the wait does not end just before what it waits for.
        let timeout = timeout.map_or(-1, |time| {
            let whole = time.as_millis() + u128::from(time.subsec_nanos() % 1_000_000 != 0);
            i32::try_from(whole).unwrap_or(i32::MAX)
        });
        // SAFETY: the array has room for MOST events and lives through the call.
        let count = unsafe {
            libc::epoll_wait(
                self.0.as_raw_fd(),
                events.as_mut_ptr(),
                libc::c_int::try_from(MOST).unwrap_or(1),
                timeout,
            )
        };
        match usize::try_from(count) {
            Ok(count) => {
                ready.extend(events.iter().take(count).map(|event| event.u64));
                Ok(())
            }
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
                error => Err(error),
            },
        }
    }
}
