// SPDX-License-Identifier: Apache-2.0
//! Gives memory back to the system. A start, and each scrape with many Services, takes more than what stays; glibc keeps what was
//! freed behind anything that lives on.

/// The time between two times that freed memory is given back. Each costs a walk over the free pieces.
#[cfg(target_env = "gnu")]
const PAUSE: std::time::Duration = std::time::Duration::from_secs(10);
/// Octets from which on a piece of memory is one of the system's own, which goes back at once (mallopt(3), `M_MMAP_THRESHOLD`). This is glibc's
/// default, but what is set is not raised by the first large piece that is freed.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 128 << 10;

/// Large pieces are to go back to the system when they are freed. To be called before other threads are there.
#[cfg(target_env = "gnu")]
pub(crate) fn return_large_pieces() {
    // SAFETY: the call takes numbers alone; no other thread is there.
    #[allow(unsafe_code, reason = "glibc's settings have no safe wrapper")]
    let taken = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
    debug_assert_eq!(taken, 1, "glibc knows the setting");
}

/// Gives back what is free, again and again.
#[cfg(target_env = "gnu")]
pub(crate) async fn release() {
    loop {
        tokio::time::sleep(PAUSE).await;
        release_now();
    }
}

#[cfg(target_env = "gnu")]
fn release_now() {
    // SAFETY: the call takes a number alone, and may be made at any time from any thread.
    #[allow(unsafe_code, reason = "glibc gives memory back only when it is told to")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Only glibc has to be told.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn return_large_pieces() {}

/// Only glibc has to be told.
#[cfg(not(target_env = "gnu"))]
pub(crate) async fn release() {}

#[cfg(all(test, target_env = "gnu", target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a helper outside the test functions")]
mod tests {
    use super::*;

    /// Octets of memory that are no file's.
    fn own() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
    }

    #[test]
    fn what_lies_free_between_what_stays_is_given_back() {
        return_large_pieces();
        let pieces: Vec<Box<[u8]>> = (0..40_000).map(|_| vec![1; 1_000].into()).collect();
        let before = own();
        // Every 40th stays, the last one too: the end of the heap cannot be given back.
        let stay: Vec<_> = pieces.into_iter().enumerate().filter(|(at, _)| at % 40 == 39).collect();
        release_now();
        let after = own();
        assert!(after + (20 << 20) < before, "{before} octets before, {after} after");
        assert!(stay.iter().all(|(_, piece)| piece.iter().all(|octet| *octet == 1)));
    }
}
