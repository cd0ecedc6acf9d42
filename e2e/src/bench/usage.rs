// SPDX-License-Identifier: Apache-2.0
//! What a process takes, by /proc.

use std::time::Duration;

use anyhow::Context;

/// The kernel's unit of process times on every machine that Linux runs on today.
const TICK: Duration = Duration::from_millis(10);

/// Resident memory in MB (10^6 bytes).
pub(super) fn resident(pid: u32) -> anyhow::Result<f64> {
    megabytes(pid, "VmRSS:")
}

/// Resident memory that is the process's own: not pages of files, which the kernel can drop and all processes share.
pub(crate) fn own(pid: u32) -> anyhow::Result<f64> {
    megabytes(pid, "RssAnon:")
}

fn megabytes(pid: u32, name: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find(|line| line.starts_with(name)).context("no such figure")?;
    let kilobytes: u32 =
        line.split_whitespace().nth(1).context("no figure")?.parse().context("no figure")?;
    Ok(f64::from(kilobytes) * 1024.0 / 1e6)
}

/// User and system time so far.
pub(super) fn cpu(pid: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> =
        stat.rsplit_once(')').context("no name")?.1.split_whitespace().collect();
    let field = |index: usize| -> anyhow::Result<u32> {
        fields.get(index).context("too short")?.parse().context("no figure")
    };
    // utime and stime are the 14th and 15th; the name was the second.
    Ok(TICK * (field(11)? + field(12)?))
}

/// The value in the middle, and the one at 99 %.
pub(super) fn middle_and_tail(mut samples: Vec<Duration>) -> (Duration, Duration) {
    samples.sort();
    let at = |percent: usize| {
        samples.get(samples.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
    };
    (at(50), at(99))
}
