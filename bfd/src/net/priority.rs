// SPDX-License-Identifier: Apache-2.0
//! Lets the BFD thread run before others: real-time priority where that is permitted (sched_setscheduler(2), CAP_SYS_NICE),
//! otherwise a short time slice (sched_setattr(2)), by which a thread that runs for microseconds at a time is let in earlier; that
//! needs no privilege, and Linux before 6.12 takes no notice.
#![allow(unsafe_code)]

use std::io;

/// 0.1 ms, the least that the kernel takes.
const SLICE: u64 = 100_000;
/// The least of the real-time priorities: before all ordinary threads is enough.
const PRIORITY: libc::c_int = 1;

/// `struct sched_attr` of the first version, which every kernel takes.
#[repr(C)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// For the calling thread.
pub(super) fn raise() {
    if let Err(error) = real_time() {
        tracing::debug!(%error, "BFD runs without real-time priority");
        if let Err(error) = short_slice() {
            tracing::debug!(%error, "the scheduler keeps its usual time slice");
        }
    }
}

fn real_time() -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: PRIORITY };
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    // By number, since musl's function always fails.
    // SAFETY: the structure is only read; 0 is the calling thread.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const parameter) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn short_slice() -> io::Result<()> {
    let attributes = Attributes {
        size: 48,
        policy: libc::SCHED_OTHER.cast_unsigned(),
        flags: 0,
        nice: 0,
        priority: 0,
        runtime: SLICE,
        deadline: 0,
        period: 0,
    };
    // SAFETY: the structure is of the size that it states, and only read; 0 is the calling thread.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_has_the_size_that_it_states() {
        assert_eq!(size_of::<Attributes>(), 48);
    }
}
