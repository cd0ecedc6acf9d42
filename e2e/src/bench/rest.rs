// SPDX-License-Identifier: Apache-2.0
//! What taking part in a ring costs while nothing happens: measured with ten members, and simulated with up to 500
//! (`members/benches/rest.rs`).

use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use super::cluster::LOG_LEVEL;
use super::report::Report;
use super::usage::{cpu, own};
use crate::lab::node::Proxy;
use crate::lab::wait::{eventually_true, now};
use crate::lab::{Lab, SOON, watched};

const MEMBERS: usize = 10;
const MEASURED: Duration = Duration::from_secs(30);

/// A speaker without Services, first alone, then with nine others.
pub(super) fn measure(lab: &mut Lab, report: &mut Report) -> anyhow::Result<()> {
    let (_, alone) = of(lab, 1)?;
    lab.reset()?;
    let (share, ten) = of(lab, MEMBERS)?;
    report.add(
        format!("speaker CPU at rest, {MEMBERS} members (over {} s)", MEASURED.as_secs()),
        "0.5 % of a core",
        format!("{:.2} %", share * 100.0),
    );
    report.add(
        format!("own memory of a speaker, {MEMBERS} members more than alone"),
        "< 1 MB",
        format!("{:.2} MB", ten - alone),
    );
    Ok(())
}

/// Share of a core, and own memory in MB.
fn of(lab: &mut Lab, members: usize) -> anyhow::Result<(f64, f64)> {
    lab.start_nodes(members, Proxy::Absent)?;
    lab.start_speakers(&[LOG_LEVEL])?;
    for node in &lab.nodes {
        eventually_true("the speaker is confirmed", SOON, || Ok(watched::is_confirmed(node)))?;
    }
    let speaker = lab.nodes.first().and_then(|node| node.speaker.as_ref()).context("no speaker")?;
    let pid = speaker.pid();
    // What a start costs is not meant.
    std::thread::sleep(Duration::from_secs(5));
    let (before, start) = (cpu(pid)?, now());
    std::thread::sleep(MEASURED);
    let spent = cpu(pid)? - before;
    Ok((spent.as_secs_f64() / start.elapsed().as_secs_f64(), own(pid)?))
}

/// What the simulation printed: members, per cent of a core, datagrams and octets a second.
pub(super) fn simulated(file: &Path, report: &mut Report) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{} is missing: run the benchmark first", file.display()))?;
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [members, share, datagrams, octets] = fields[..] else { continue };
        report.add(
            format!("a member at rest, simulated, {members} members: CPU of ring and heartbeat without the kernel's"),
            if members == "500" { "< 2 % of a core" } else { "" },
            format!("{share} %, {datagrams} datagrams/s, {octets} octets/s"),
        );
    }
    Ok(())
}
