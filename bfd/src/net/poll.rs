// SPDX-License-Identifier: Apache-2.0
//! Waiting: epoll(7) over the sockets, a timerfd(2) for deadlines (to the nanosecond, and without the slack that a plain wait has)
//! and an eventfd(2) by which another thread wakes the waiting one. Not the loop; that is `run`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Wakes a thread that waits.
#[derive(Debug)]
pub(super) struct Wake(OwnedFd);

/// Becomes readable after a time.
#[derive(Debug)]
pub(super) struct Timer(OwnedFd);

/// A set of descriptors, each with a token.
#[derive(Debug)]
pub(super) struct Epoll(OwnedFd);

/// How many descriptors are told at once; the others are told the next time.
const MOST: usize = 64;

fn descriptor(result: libc::c_int) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

/// Takes the eight octets of an eventfd or timerfd back, so that it is not readable any more.
fn take(descriptor: &OwnedFd) {
    let mut count = [0_u8; 8];
    // SAFETY: the buffer is of the eight octets that are given. It fails only when there is nothing to take.
    unsafe { libc::read(descriptor.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
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
        take(&self.0);
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Timer {
    pub(super) fn new() -> io::Result<Self> {
        let flags = libc::TFD_CLOEXEC | libc::TFD_NONBLOCK;
        // SAFETY: no pointers are passed.
        descriptor(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) }).map(Self)
    }

    /// Becomes readable after this time and not before; `None` never.
    pub(super) fn set(&self, after: Option<Duration>) -> io::Result<()> {
        // Zero would switch it off.
        let after = after.map_or(Duration::ZERO, |after| after.max(Duration::from_nanos(1)));
        let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let value = libc::timespec {
            tv_sec: after.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: after.subsec_nanos().into(),
        };
        let setting = libc::itimerspec { it_interval: zero, it_value: value };
        // SAFETY: the setting is only read, and the old one is not asked for.
        let result = unsafe {
            libc::timerfd_settime(self.0.as_raw_fd(), 0, &raw const setting, std::ptr::null_mut())
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    pub(super) fn clear(&self) {
        take(&self.0);
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
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

    /// Puts the tokens of those that can be read into `ready`; waits for the first if it may.
    pub(super) fn wait(&self, may_wait: bool, ready: &mut Vec<u64>) -> io::Result<()> {
        ready.clear();
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; MOST];
        // SAFETY: the array has room for MOST events and lives through the call.
        let count = unsafe {
            libc::epoll_wait(
                self.0.as_raw_fd(),
                events.as_mut_ptr(),
                libc::c_int::try_from(MOST).unwrap_or(1),
                if may_wait { -1 } else { 0 },
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
