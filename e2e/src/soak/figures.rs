// SPDX-License-Identifier: Apache-2.0
//! What the soak measured, as a table, beside what it must be.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use crate::lab::fault::{Fault, Outcome};

/// Where the table stands in the document.
const BEGIN: &str = "<!-- figures -->\n";
const END: &str = "<!-- end of figures -->\n";

/// The figures so far.
#[derive(Debug, Default)]
pub(super) struct Figures {
    rows: Vec<String>,
    missed: bool,
}

/// The first frame of the new owner: in the middle of all trials, and at worst; faults of the ring have no goal.
fn goal(fault: Fault) -> Option<(Duration, Duration)> {
    let (middle, worst) = match fault {
        Fault::LinkCut | Fault::Freeze => (450, 500),
        Fault::Kill => (200, 200),
        Fault::Stop => (30, 30),
        Fault::Part | Fault::Deafen | Fault::Mute => return None,
    };
    Some((Duration::from_millis(middle), Duration::from_millis(worst)))
}

impl Figures {
    /// What became of one kind of fault. The mark stands beside the number of nodes.
    pub(super) fn add(&mut self, nodes: usize, mark: &str, fault: Fault, outcomes: &[Outcome]) {
        let mut took: Vec<Duration> = outcomes.iter().map(|outcome| outcome.took).collect();
        took.sort();
        let middle = took.get(took.len() / 2).copied().unwrap_or_default();
        let worst = took.last().copied().unwrap_or_default();
        let goal = goal(fault);
        let unanswered: Vec<usize> = outcomes.iter().map(|outcome| outcome.unanswered).collect();
        let most = unanswered.iter().max().copied().unwrap_or_default();
        let nobodys = fault == Fault::Stop && most > 0;
        let late = goal.is_some_and(|(at_middle, at_worst)| middle > at_middle || worst > at_worst);
        self.missed |= late || nobodys;
        let last = outcomes.iter().filter_map(|outcome| outcome.overlap.last()).max();
        self.rows.push(format!(
            "| {nodes}{mark} | {} | {} | {} | {} | {} | {most} | {} |",
            fault.name(),
            outcomes.len(),
            milliseconds(middle),
            milliseconds(worst),
            goal.map_or_else(String::new, |(_, worst)| format!("< {} ms", worst.as_millis())),
            last.map_or_else(|| "none".to_owned(), |late| milliseconds(*late)),
        ));
        println!("{}", self.rows.last().map_or("", String::as_str));
    }

    /// What became of the long loss.
    pub(super) fn add_loss(&mut self, nodes: usize, time: Duration, questions: (usize, usize)) {
        let (asked, unanswered) = questions;
        self.rows.push(format!(
            "\n{nodes} nodes, {:.0} minutes of 20 % loss on the ring's port with a busy process on the speakers' core: the address did not move; \
             {unanswered} of {asked} questions were not answered.",
            time.as_secs_f64() / 60.0,
        ));
        println!("{}", self.rows.last().map_or("", String::as_str));
    }

    /// Whether all goals were met.
    pub(super) fn all_met(&self) -> bool {
        !self.missed
    }

    /// Puts the figures into the document, in place of those that stand there.
    ///
    /// # Errors
    /// When the document is not there or has no place for them.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let (head, rest) = text.split_once(BEGIN).context("no place for the figures")?;
        let (_, tail) = rest.split_once(END).context("no end of the figures")?;
        let mut new = String::new();
        writeln!(
            new,
            "{head}{BEGIN}\n| nodes | fault | trials | middle | worst | goal | unanswered, at most | last frame of the old owner after it |\n\
             |---|---|---|---|---|---|---|---|"
        )?;
        for row in &self.rows {
            writeln!(new, "{row}")?;
        }
        write!(new, "\n{END}{tail}")?;
        std::fs::write(path, new)?;
        Ok(())
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}
