// SPDX-License-Identifier: Apache-2.0
//! Waiting of the threads that own sockets: epoll(7) over the descriptors, a timerfd(2) for deadlines (to the
//! nanosecond, and without the slack that a plain wait has) and an eventfd(2) by which another thread wakes the waiting
//! one. Not here: the loops, which are their crates' own.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// The longest time of a [`Timer`], 68 years: so many seconds fit the kernel's type on every machine.
const LONGEST: Duration = Duration::from_secs(i32::MAX.unsigned_abs() as u64);

/// Wakes a thread that waits.
#[derive(Debug)]
pub struct Wake(EventFd);

/// Becomes readable after a time.
#[derive(Debug)]
pub struct Timer(TimerFd);

/// A set of descriptors, each with a token. At most `MOST` of them are told at once, and the others the next time.
#[derive(Debug)]
pub struct Epoll<const MOST: usize>(nix::sys::epoll::Epoll);

impl Wake {
    /// A waking that nobody has asked for yet.
    ///
    /// # Errors
    /// When the kernel gives no descriptor.
    pub fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(EventFd::from_flags(flags)?))
    }

    /// Wakes the thread now, or the next time that it waits.
    pub fn wake(&self) {
        // It fails only when the counter is full, and then the other side is woken anyway.
        let _ = self.0.write(1);
    }

    /// Takes back all wakings until now.
    pub fn clear(&self) {
        // It fails only when there is nothing to take.
        let _ = self.0.read();
    }

    /// The descriptor that is readable when the thread is to wake.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Timer {
    /// A timer that is off, by the monotonic clock.
    ///
    /// # Errors
    /// When the kernel gives no descriptor.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        Ok(Self(TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?))
    }

    /// Becomes readable after this time and not before; `None` never.
    ///
    /// # Errors
    /// When the kernel refuses, which it does for no valid descriptor.
    pub fn set(&self, after: Option<Duration>) -> io::Result<()> {
        match after {
            // Zero would switch it off.
            Some(after) => {
                let after = after.clamp(Duration::from_nanos(1), LONGEST);
                let expiration = Expiration::OneShot(TimeSpec::from_duration(after));
                self.0.set(expiration, TimerSetTimeFlags::empty())?;
            }
            None => self.0.unset()?,
        }
        Ok(())
    }

    /// Makes it not readable any more until its time has passed again.
    pub fn clear(&self) {
        // It fails only when there is nothing to take: the descriptor does not block.
        let _ = self.0.wait();
    }

    /// The descriptor that is readable after the time.
    #[must_use]
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl<const MOST: usize> Epoll<MOST> {
    /// An empty set.
    ///
    /// # Errors
    /// When the kernel gives no descriptor.
    pub fn new() -> io::Result<Self> {
        Ok(Self(nix::sys::epoll::Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// Tells from now when this descriptor can be read. It leaves the set by being closed.
    ///
    /// # Errors
    /// When it is in the set already, or the kernel refuses it.
    pub fn add(&self, descriptor: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        Ok(self.0.add(descriptor, EpollEvent::new(EpollFlags::EPOLLIN, token))?)
    }

    /// Waits and puts the tokens of those that can be read into `ready`, none when the time is over or a signal came.
    /// `None` waits for ever, zero does not wait.
    ///
    /// # Errors
    /// When the kernel refuses, which it does for no valid descriptor.
    pub fn wait(&self, timeout: Option<Duration>, ready: &mut Vec<u64>) -> io::Result<()> {
        ready.clear();
        let mut events = [EpollEvent::empty(); MOST];
        match self.0.wait(&mut events, milliseconds(timeout)) {
            Ok(count) => {
                ready.extend(events.iter().take(count).map(EpollEvent::data));
                Ok(())
            }
            Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Rounded up, so that the wait does not end just before what it waits for.
fn milliseconds(timeout: Option<Duration>) -> EpollTimeout {
    let Some(time) = timeout else { return EpollTimeout::NONE };
    let whole = time.as_nanos().div_ceil(1_000_000);
    let whole = i32::try_from(whole).unwrap_or(i32::MAX);
    EpollTimeout::try_from(whole).unwrap_or(EpollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAKE: u64 = 7;
    const TIMER: u64 = 8;
    const NOW: Option<Duration> = Some(Duration::ZERO);

    fn ready<const MOST: usize>(epoll: &Epoll<MOST>, timeout: Option<Duration>) -> Vec<u64> {
        let mut ready = vec![99];
        epoll.wait(timeout, &mut ready).unwrap();
        ready.sort_unstable();
        ready
    }

    #[test]
    fn a_wait_ends_by_a_waking_which_lasts_until_it_is_cleared() {
        let (epoll, wake) = (Epoll::<4>::new().unwrap(), Wake::new().unwrap());
        epoll.add(wake.descriptor(), WAKE).unwrap();
        assert!(ready(&epoll, NOW).is_empty());
        // Clearing what is clear does not wait.
        wake.clear();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                wake.wake();
                wake.wake();
            });
            assert_eq!(ready(&epoll, None), [WAKE]);
        });
        assert_eq!(ready(&epoll, None), [WAKE]);
        wake.clear();
        assert!(ready(&epoll, NOW).is_empty());
        assert!(epoll.add(wake.descriptor(), WAKE).is_err(), "twice in the set");
    }

    #[test]
    fn a_timer_is_readable_after_its_time_and_not_before() {
        let (epoll, timer) = (Epoll::<4>::new().unwrap(), Timer::new().unwrap());
        epoll.add(timer.descriptor(), TIMER).unwrap();
        timer.clear();
        let (time, start) = (Duration::from_millis(20), clock::now());
        timer.set(Some(time)).unwrap();
        assert_eq!(ready(&epoll, None), [TIMER]);
        assert!(start.elapsed() >= time);
        timer.clear();
        assert!(ready(&epoll, NOW).is_empty());
        timer.set(NOW).unwrap();
        assert_eq!(ready(&epoll, None), [TIMER]);
        for off in [None, Some(Duration::MAX)] {
            timer.set(off).unwrap();
            assert!(ready(&epoll, NOW).is_empty(), "{off:?}");
        }
    }

    #[test]
    fn a_timeout_ends_a_wait_and_is_rounded_up() {
        let epoll = Epoll::<1>::new().unwrap();
        let start = clock::now();
        let time = Duration::from_micros(1_500);
        assert!(ready(&epoll, Some(time)).is_empty());
        assert!(start.elapsed() >= time);
        let of = |time| milliseconds(Some(time)).as_millis();
        assert_eq!(of(Duration::ZERO), Some(0));
        assert_eq!(of(Duration::from_nanos(1)), Some(1));
        assert_eq!(of(Duration::from_millis(5)), Some(5));
        assert_eq!(of(Duration::MAX), Some(i32::MAX.unsigned_abs()));
        assert!(milliseconds(None).is_none());
    }

    #[test]
    fn more_than_are_told_at_once_are_told_the_next_time() {
        let epoll = Epoll::<2>::new().unwrap();
        let wakes: Vec<Wake> = (0..3).map(|_| Wake::new().unwrap()).collect();
        for (token, wake) in (0..).zip(&wakes) {
            epoll.add(wake.descriptor(), token).unwrap();
            wake.wake();
        }
        let first = ready(&epoll, NOW);
        assert_eq!(first.len(), 2);
        for wake in first.iter().filter_map(|token| wakes.get(usize::try_from(*token).unwrap())) {
            wake.clear();
        }
        let second = ready(&epoll, NOW);
        assert_eq!(second.len(), 1);
        assert!(!first.contains(&second[0]));
    }
}
