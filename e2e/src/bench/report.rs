// SPDX-License-Identifier: Apache-2.0
//! The figures of a run, as the document that holds them.

use std::fmt::Write as _;

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
    pub(super) fn add(
        &mut self,
        what: impl Into<String>,
        goal: impl Into<String>,
        measured: impl Into<String>,
    ) {
        let row = Row { what: what.into(), goal: goal.into(), measured: measured.into() };
        println!("{:<70} {:<16} {}", row.what, row.goal, row.measured);
        self.0.push(row);
    }

    pub(super) fn text(&self) -> anyhow::Result<String> {
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
