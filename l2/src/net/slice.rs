// SPDX-License-Identifier: Apache-2.0
//! Asks the scheduler for a short time slice (sched_setattr(2)): a thread that runs for microseconds at a time is then let in
//! earlier on a busy machine. Needs no privilege; Linux before 6.12 takes no notice. Not a real-time priority.
#![allow(unsafe_code)]

use std::io;

/// 0.1 ms, the least that the kernel takes.
const SLICE: u64 = 100_000;

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
pub(super) fn shorten() -> io::Result<()> {
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
