// SPDX-License-Identifier: Apache-2.0
//! Gives memory back to the system. A start, and each scrape with many Services, takes more than what stays; glibc keeps what was
//! freed behind anything that lives on. And a third of what a start maps of the program's own file is not needed again.

use std::ops::Range;

/// The time between two times that freed memory is given back. Each costs a walk over the free pieces.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(10);
/// After so many of them the program's pages are given back too: what is still needed is mapped again one fault at a time, which an answer
/// on the network should not meet often. An hour.
const PAGES_EVERY: u32 = 360;
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

/// Gives back what is free, again and again, and when the start is over the pages that it took of the program.
pub(crate) async fn release() {
    for pass in 0_u32.. {
        tokio::time::sleep(PAUSE).await;
        if pass.is_multiple_of(PAGES_EVERY) {
            unmap_program();
        }
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
fn release_now() {}

/// Unmaps the program's pages. They stay in the page cache until the kernel wants the room, and are mapped again where they are used. Without
/// /proc nothing happens.
fn unmap_program() {
    for pages in std::fs::read_to_string("/proc/self/smaps").map_or_else(|_| Vec::new(), program) {
        // SAFETY: nobody can write to these pages, and none differs from the file's: whoever reads one reads what was there before.
        #[allow(unsafe_code, reason = "the kernel has no other call for this")]
        unsafe {
            libc::madvise(
                std::ptr::with_exposed_provenance_mut(pages.start),
                pages.len(),
                libc::MADV_DONTNEED,
            );
        }
    }
}

/// The pieces of the address space that are pages of this program's file and nothing else: private, not writable, and none was ever changed,
/// as the linker's tables were (proc(5), `/proc/pid/smaps`).
fn program(smaps: String) -> Vec<Range<usize>> {
    struct Mapping<'a> {
        addresses: Range<usize>,
        file: [&'a str; 2],
        fixed: bool,
        unchanged: bool,
    }
    let mut mappings: Vec<Mapping<'_>> = Vec::new();
    for line in smaps.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().take(5).collect();
        match *words.as_slice() {
            [addresses, permissions, _, device, inode] if !addresses.ends_with(':') => {
                let Some((start, end)) = addresses.split_once('-') else { continue };
                let address = |text| usize::from_str_radix(text, 16).unwrap_or_default();
                mappings.push(Mapping {
                    addresses: address(start)..address(end),
                    file: [device, inode],
                    fixed: permissions.ends_with('p') && !permissions.contains('w'),
                    unchanged: false,
                });
            }
            ["Anonymous:", octets, ..] => {
                if let Some(last) = mappings.last_mut() {
                    last.unchanged = octets == "0";
                }
            }
            _ => {}
        }
    }
    let here = (unmap_program as fn() as *const ()).addr();
    let Some(file) = mappings.iter().find(|it| it.addresses.contains(&here)).map(|it| it.file)
    else {
        return Vec::new();
    };
    let all = mappings.into_iter().filter(|it| it.file == file && it.fixed && it.unchanged);
    all.map(|mapping| mapping.addresses).collect()
}

/// Only glibc has to be told.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn return_large_pieces() {}

#[cfg(all(test, target_env = "gnu", target_os = "linux"))]
#[allow(clippy::unwrap_used, reason = "a helper outside the test functions")]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Octets of memory that are no file's (`RssAnon`), or of files (`RssFile`).
    fn resident(which: &str) -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with(which)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
    }

    #[test]
    fn what_lies_free_between_what_stays_is_given_back() {
        return_large_pieces();
        let pieces: Vec<Box<[u8]>> = (0..40_000).map(|_| vec![1; 1_000].into()).collect();
        let before = resident("RssAnon:");
        // Every 40th stays, the last one too: the end of the heap cannot be given back.
        let stay: Vec<_> = pieces.into_iter().enumerate().filter(|(at, _)| at % 40 == 39).collect();
        release_now();
        let after = resident("RssAnon:");
        assert!(after + (20 << 20) < before, "{before} octets before, {after} after");
        assert!(stay.iter().all(|(_, piece)| piece.iter().all(|octet| *octet == 1)));
    }
    #[test]
    fn pages_of_the_program_are_given_back_and_what_is_written_stays() {
        static WRITTEN: AtomicU32 = AtomicU32::new(1);
        WRITTEN.store(2, Ordering::SeqCst);
        let pages = program(std::fs::read_to_string("/proc/self/smaps").unwrap());
        let size: usize = pages.iter().map(ExactSizeIterator::len).sum();
        // Whoever reads them there has them mapped.
        let memory = std::fs::File::open("/proc/self/mem").unwrap();
        for piece in &pages {
            let mut octet = [0];
            for address in piece.clone().step_by(4096) {
                memory.read_exact_at(&mut octet, address as u64).unwrap();
            }
        }
        let before = resident("RssFile:");
        unmap_program();
        let after = resident("RssFile:");
        assert!(after + size / 2 < before, "{size} octets; {before} before, {after} after");
        assert_eq!(WRITTEN.load(Ordering::SeqCst), 2);
    }
}
