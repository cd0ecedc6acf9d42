// SPDX-License-Identifier: Apache-2.0
//! Measures what docs/design/goals.md promises, and writes it down. It decides nothing: figures of a busy machine are
//! figures, not failures.
//!
//! Topology: one lane with three nodes (no kube-proxy), a client.

mod arp;
mod bgp;
mod cluster;
mod many;
mod metallb;
mod plan;
mod report;
mod requests;
mod rest;
pub(crate) mod usage;
mod webhook;
mod wire;

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::lab::control_plane::{self, Families};
use crate::lab::{Lab, cleanup};

use report::Report;

pub use arp::client as arp_client;

/// Runs all measurements and writes the report.
///
/// # Errors
/// When the rack cannot be made or a program fails.
pub fn run(
    binaries: &Path,
    out: &PathBuf,
    only: Option<&str>,
    criterion: Option<&Path>,
    simulated: Option<&Path>,
) -> anyhow::Result<()> {
    anyhow::ensure!(nix::unistd::Uid::effective().is_root(), "network namespaces need root");
    cleanup::remove_leftovers();
    let mut report = Report::default();
    let result = measure(binaries, &mut report, only, criterion, simulated);
    cleanup::remove_own();
    result?;
    std::fs::write(out, report.text()?).with_context(|| format!("cannot write {}", out.display()))
}

fn measure(
    binaries: &Path,
    report: &mut Report,
    only: Option<&str>,
    criterion: Option<&Path>,
    simulated: Option<&Path>,
) -> anyhow::Result<()> {
    let wanted = |part: &str| only.is_none_or(|only| only == part);
    if wanted("plan") {
        sizes(binaries, report)?;
        plan::measure(binaries, report)?;
    }
    let binary = control_plane::binary()?;
    let mut lab = Lab::new(0, binaries, &binary, Families::Dual)?;
    if wanted("l2") {
        cluster::measure(&mut lab, report)?;
        lab.reset()?;
        arp::measure(&mut lab, report)?;
        lab.reset()?;
    }
    if wanted("many") {
        many::measure(&mut lab, report)?;
        lab.reset()?;
        many::waiting(&mut lab, report)?;
    }
    if wanted("webhook") {
        webhook::measure(&mut lab, report)?;
        lab.reset()?;
    }
    if wanted("rest") {
        rest::measure(&mut lab, report)?;
        lab.reset()?;
        if let Some(file) = simulated {
            rest::simulated(file, report)?;
        }
    }
    if only == Some("metallb") {
        metallb::measure(&mut lab, report)?;
    }
    if wanted("bgp") {
        bgp::measure(&mut lab, binaries, report)?;
        if let Some(folder) = criterion {
            wire::measure(folder, report)?;
        }
    }
    Ok(())
}

fn sizes(binaries: &Path, report: &mut Report) -> anyhow::Result<()> {
    for name in ["controller", "speaker", "ferrolb"] {
        let size = std::fs::metadata(binaries.join(name))?.len();
        let megabytes = f64::from(u32::try_from(size)?) / 1e6;
        report.add(format!("size of `{name}`, stripped"), "< 12 MB", format!("{megabytes:.1} MB"));
    }
    Ok(())
}
