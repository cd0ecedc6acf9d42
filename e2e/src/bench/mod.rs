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
mod requests;
mod rest;
pub(crate) mod usage;
mod webhook;
mod wire;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::lab::control_plane::{self, Families};
use crate::lab::{Lab, cleanup};

pub use arp::client as arp_client;

/// A figure and what it should be.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    what: String,
    goal: String,
    measured: String,
}

/// The figures so far.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Row>);

impl Report {
    fn add(
        &mut self,
        what: impl Into<String>,
        goal: impl Into<String>,
        measured: impl Into<String>,
    ) {
        let row = Row { what: what.into(), goal: goal.into(), measured: measured.into() };
        println!("{:<70} {:<16} {}", row.what, row.goal, row.measured);
        self.0.push(row);
    }

    fn text(&self) -> anyhow::Result<String> {
        let mut text = String::from(
            "# Benchmarks\n\n\
             Written by `make bench`: one run, on a machine with two shared cores, programs built as they are shipped \
             (`cargo build --release`). Resident memory is VmRSS, and in brackets RssAnon, the part that is not pages of the \
             program's file or of libraries; CPU is user and system time of the process from /proc, in steps of \
             10 ms. Three nodes, each a network namespace, on a real kube-apiserver. The goals are those of \
             [design/goals.md](design/goals.md); a figure that misses its goal says so by standing beside it.\n\n\
             | what | goal | measured |\n|---|---|---|\n",
        );
        for row in &self.0 {
            writeln!(text, "| {} | {} | {} |", row.what, row.goal, row.measured)?;
        }
        text.push_str(
            "\nHow: *answered* counts from the API server's reply to the creation until the client hears the first ARP \
             announcement of the address. ARP answers are timed by a client on the same switch with a packet socket, one \
             question at a time, the kernel's and ferrolb's turn by turn; the kernel's are those for the node's own address. \
             Foreign requests ask for addresses outside every range of the filter; the worst case asks for an address inside \
             a coarsened range that nobody owns. BGP: BIRD 2.0.12 is asked every few milliseconds what it has; the node is cut off by \
             taking its cable from the switch; the table of 10,000 is decided before the session is let in, for gobgpd it is \
             loaded from an MRT file; the edits are endpoints and traffic policies of 1,000 Services, by a fixed pseudo-random \
             sequence. Encoding and decoding: criterion's medians on one core.\n",
        );
        Ok(text)
    }
}

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
