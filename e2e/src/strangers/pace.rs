// SPDX-License-Identifier: Apache-2.0
//! Sending at an even pace.

use std::io;
use std::time::Duration;

use anyhow::Context;

use super::orders::DID;
use crate::lab::wait::now;

/// So many are sent until the clock is looked at again.
const BURST: u64 = 64;

/// Calls `send` so often in a second for so long, each time with a number, as far as the machine is fast enough; prints
/// how often it succeeded.
///
/// # Errors
/// When it never succeeded.
pub(super) fn pace(
    rate: u32,
    time: Duration,
    mut send: impl FnMut(u64) -> io::Result<()>,
) -> anyhow::Result<()> {
    let begin = now();
    let (mut number, mut sent, mut failure) = (0_u64, 0_u64, None);
    loop {
        let passed = begin.elapsed();
        if passed >= time {
            break;
        }
        let due = u64::try_from(u128::from(rate) * passed.as_micros() / 1_000_000)?;
        for _ in 0..due.saturating_sub(number).min(BURST) {
            match send(number) {
                Ok(()) => sent += 1,
                Err(error) => failure = Some(error),
            }
            number += 1;
        }
        if number >= due {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    if let Some(error) = failure.filter(|_| sent == 0) {
        return Err(error).context("nothing can be sent");
    }
    println!("{DID}: {}", sent.checked_div(time.as_secs()).context("no time")?);
    Ok(())
}

/// Numbers that look random: the same in every run (SplitMix64).
#[derive(Debug)]
pub(super) struct Noise(pub(super) u64);

impl Noise {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Fills up to this length.
    pub(super) fn fill(&mut self, octets: &mut Vec<u8>, length: usize) {
        while octets.len() < length {
            octets.extend(self.next().to_be_bytes());
        }
        octets.truncate(length);
    }

    /// One of these.
    pub(super) fn choose<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let length = u64::try_from(from.len()).ok().filter(|length| *length > 0)?;
        let index = usize::try_from(self.next() % length).ok()?;
        from.get(index).copied()
    }
}
