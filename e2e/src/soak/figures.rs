// SPDX-License-Identifier: Apache-2.0
//! What the soak measured, as a table, beside what it must be.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use super::plan::goal;
use super::trials::Trials;
use crate::lab::fault::{Fault, Outcome};

/// Where the table stands in the document.
const BEGIN: &str = "<!-- figures -->\n";
const END: &str = "<!-- end of figures -->\n";

const HEAD: &str = "| nodes | fault | trials | middle | worst | goal | unanswered, at most | last frame of the old owner after it |\n\
                    |---|---|---|---|---|---|---|---|\n";

/// The figures so far.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// Lines of the table.
    rows: Vec<String>,
    /// Paragraphs behind it.
    notes: Vec<String>,
    trials: Trials,
    missed: bool,
}

impl Figures {
    /// What became of one kind of fault. The mark stands beside the number of nodes.
    pub(super) fn add(&mut self, nodes: usize, mark: &str, fault: Fault, outcomes: &[Outcome]) {
        self.trials.add(nodes, mark, fault, outcomes);
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
        self.notes.push(format!(
            "{nodes} nodes, {:.0} minutes of 20 % loss on the ring's port with a busy process on the speakers' core: the address did not move; \
             {unanswered} of {asked} questions were not answered.",
            time.as_secs_f64() / 60.0,
        ));
        println!("{}", self.notes.last().map_or("", String::as_str));
    }

    /// Whether all goals were met.
    pub(super) fn all_met(&self) -> bool {
        !self.missed
    }

    /// Puts the figures into the document, each in place of the one of the same kind that stands there; the others
    /// stay. What each trial took is kept beside it and drawn.
    ///
    /// # Errors
    /// When the document is not there or has no place for them, or a file beside it cannot be written.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let (head, rest) = text.split_once(BEGIN).context("no place for the figures")?;
        let (section, tail) = rest.split_once(END).context("no end of the figures")?;
        let plot = self.trials.write(path)?;
        let section = self.merged(section, plot.as_deref());
        std::fs::write(path, format!("{head}{BEGIN}{section}{END}{tail}"))?;
        Ok(())
    }

    fn merged(&self, section: &str, plot: Option<&str>) -> String {
        let is_row = |line: &&str| line.starts_with("| ") && !line.starts_with("| nodes |");
        let before: Vec<&str> = section.lines().filter(is_row).collect();
        let rows = merge(&before, &self.rows, |row| {
            // The number of nodes with its mark, and the fault.
            row.split('|').take(3).collect::<Vec<_>>().join("|")
        });
        let outside: String = section
            .lines()
            .filter(|line| !line.starts_with('|'))
            .map(|line| format!("{line}\n"))
            .collect();
        let before: Vec<&str> =
            outside.split("\n\n").map(str::trim).filter(|note| !note.is_empty()).collect();
        let (before_plot, before): (Vec<&str>, Vec<&str>) =
            before.into_iter().partition(|note| note.starts_with("!["));
        let plot = plot.or_else(|| before_plot.first().copied());
        let notes = merge(&before, &self.notes, |note| {
            note.split_once(',').map_or(note, |(nodes, _)| nodes).to_owned()
        });
        let mut merged = plot.map_or_else(String::new, |plot| format!("\n{plot}\n"));
        let _ = write!(merged, "\n{HEAD}");
        for row in rows {
            let _ = writeln!(merged, "{row}");
        }
        for note in notes {
            let _ = write!(merged, "\n{note}\n");
        }
        merged.push('\n');
        merged
    }
}

/// What is new takes the place of what has the same key, or stands at the end.
fn merge(before: &[&str], new: &[String], key: impl Fn(&str) -> String) -> Vec<String> {
    let mut merged: Vec<String> = before.iter().map(|entry| (*entry).to_owned()).collect();
    for entry in new {
        let place = merged.iter_mut().find(|known| key(known) == key(entry));
        match place {
            Some(known) => known.clone_from(entry),
            None => merged.push(entry.clone()),
        }
    }
    merged
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_again_takes_its_place_and_the_rest_stays() {
        let row = |nodes: &str, fault: &str, worst: u32| {
            format!("| {nodes} | {fault} | 50 | 1 ms | {worst} ms | | 0 | none |")
        };
        let old = format!(
            "\n{HEAD}{}\n{}\n\n3 nodes, 30 minutes of loss: old.\nIt has a second line.\n\nA remark.\n\n",
            row("3", "link cut", 1),
            row("3, ExternalIPPool", "link cut", 2),
        );
        let none = Figures::default();
        assert_eq!(none.merged(&old, None), old);
        let figures = Figures {
            rows: vec![row("10", "link cut", 3), row("3", "link cut", 4)],
            notes: vec!["3 nodes, 10 minutes of loss: new.".to_owned()],
            ..Figures::default()
        };
        let expected = format!(
            "\n{HEAD}{}\n{}\n{}\n\n3 nodes, 10 minutes of loss: new.\n\nA remark.\n\n",
            row("3", "link cut", 4),
            row("3, ExternalIPPool", "link cut", 2),
            row("10", "link cut", 3),
        );
        assert_eq!(figures.merged(&old, None), expected);
        assert_eq!(figures.merged(&expected, None), expected);
        let shown = figures.merged(&old, Some("![a plot](figures/a.svg)"));
        assert_eq!(shown, format!("\n![a plot](figures/a.svg)\n{expected}"));
        let again = figures.merged(&shown, Some("![b plot](figures/b.svg)"));
        assert_eq!(again, format!("\n![b plot](figures/b.svg)\n{expected}"));
        assert_eq!(figures.merged(&shown, None), shown);
    }
}
