// SPDX-License-Identifier: Apache-2.0
//! What each trial took, kept in a file beside the document, and drawn.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::plan::goal;
use crate::lab::fault::{Fault, Outcome};
use crate::plot::{Line, Panel, distribution};

const TITLE: &str = "Failover: how long until another node owns the address";

/// The milliseconds of all trials: by the number of nodes with its mark, and by the fault's name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Trials(BTreeMap<String, BTreeMap<String, Vec<f64>>>);

/// The files that belong to a document.
struct Files {
    /// The milliseconds.
    data: PathBuf,
    /// The plot.
    plot: PathBuf,
    /// The plot's path in the document.
    link: String,
}

impl Files {
    fn of(document: &Path) -> anyhow::Result<Self> {
        let name = document.file_stem().context("a document without a name")?;
        let folder = document.with_file_name("figures");
        let file = |extension: &str| folder.join(name).with_extension(extension);
        let link = format!("figures/{}.svg", name.to_string_lossy());
        Ok(Self { data: file("json"), plot: file("svg"), link })
    }
}

impl Trials {
    /// Takes the trials of one kind of fault, to a tenth of a millisecond. The mark stands beside the number of nodes.
    pub(super) fn add(&mut self, nodes: usize, mark: &str, fault: Fault, outcomes: &[Outcome]) {
        let took = outcomes.iter().map(|outcome| outcome.took.as_secs_f64() * 1e3);
        let took = took.map(|milliseconds| (milliseconds * 10.0).round() / 10.0).collect();
        self.0.entry(format!("{nodes}{mark}")).or_default().insert(fault.name().to_owned(), took);
    }

    /// Puts the trials into the document's file, each in place of those of the same kind that stand there, and draws
    /// all of them. The line of the document that shows the plot; none without a trial.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub(super) fn write(&self, document: &Path) -> anyhow::Result<Option<String>> {
        let files = Files::of(document)?;
        let mut all = match std::fs::read(&files.data) {
            Ok(text) => {
                serde_json::from_slice(&text).with_context(|| files.data.display().to_string())?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(error) => return Err(error).with_context(|| files.data.display().to_string()),
        };
        all.take(self);
        if all.0.is_empty() {
            return Ok(None);
        }
        std::fs::create_dir_all(document.with_file_name("figures"))?;
        std::fs::write(&files.data, format!("{}\n", serde_json::to_string_pretty(&all)?))?;
        std::fs::write(&files.plot, distribution(TITLE, &all.panels()))?;
        Ok(Some(format!("![{TITLE}: share of trials over milliseconds]({})", files.link)))
    }

    fn take(&mut self, new: &Self) {
        for (nodes, faults) in &new.0 {
            self.0.entry(nodes.clone()).or_default().extend(faults.clone());
        }
    }

    /// One panel for each number of nodes with its mark, the smallest first; one line for each fault that was tried.
    fn panels(&self) -> Vec<Panel> {
        let faults = Fault::NODE.into_iter().chain(Fault::RING);
        let mut panels: Vec<(&String, Panel)> = Vec::new();
        for (nodes, tried) in &self.0 {
            let mut panel = Panel { title: format!("nodes: {nodes}"), ..Panel::default() };
            for (colour, fault) in faults.clone().enumerate() {
                let Some(milliseconds) = tried.get(fault.name()).cloned() else { continue };
                panel.lines.push(Line { name: fault.name().to_owned(), colour, milliseconds });
                let worst = goal(fault).map(|(_, worst)| worst.as_secs_f64() * 1e3);
                panel.goals.extend(worst);
            }
            panel.goals.sort_by(f64::total_cmp);
            panel.goals.dedup();
            panels.push((nodes, panel));
        }
        let number = |nodes: &str| {
            let digits = nodes.split(',').next().and_then(|digits| digits.parse::<usize>().ok());
            digits.unwrap_or(usize::MAX)
        };
        panels.sort_by_key(|(nodes, _)| number(nodes));
        panels.into_iter().map(|(_, panel)| panel).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn outcomes(microseconds: &[u64]) -> Vec<Outcome> {
        let outcome = |took: &u64| Outcome {
            successor: "node2".to_owned(),
            took: Duration::from_micros(*took),
            unanswered: 0,
            overlap: Vec::new(),
        };
        microseconds.iter().map(outcome).collect()
    }

    #[test]
    fn each_size_has_a_panel_with_its_faults_and_their_goals() {
        let mut trials = Trials::default();
        trials.add(10, "", Fault::Kill, &outcomes(&[75_349, 80_000]));
        trials.add(3, "", Fault::Part, &outcomes(&[350_000]));
        trials.add(3, "", Fault::Freeze, &outcomes(&[300_000]));
        trials.add(3, "", Fault::LinkCut, &outcomes(&[310_000]));
        let panels = trials.panels();
        let told: Vec<_> = panels
            .iter()
            .map(|panel| {
                let names: Vec<&str> = panel.lines.iter().map(|line| line.name.as_str()).collect();
                (panel.title.as_str(), names, panel.goals.clone())
            })
            .collect();
        assert_eq!(
            told,
            [
                (
                    "nodes: 3",
                    vec!["link cut", "node frozen", "owner parted with the few"],
                    vec![500.0]
                ),
                ("nodes: 10", vec!["speaker killed"], vec![200.0]),
            ]
        );
        assert_eq!(panels[1].lines[0].milliseconds, [75.3, 80.0]);
    }

    #[test]
    fn what_was_tried_again_takes_its_place_and_the_rest_stays() {
        let folder = std::env::temp_dir().join(format!("soak-trials-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let document = folder.join("failover.md");
        assert_eq!(Trials::default().write(&document).unwrap(), None);
        let mut first = Trials::default();
        first.add(3, "", Fault::Kill, &outcomes(&[1_000]));
        first.add(3, "", Fault::Stop, &outcomes(&[2_000]));
        let link = first.write(&document).unwrap().unwrap();
        assert!(link.ends_with("(figures/failover.svg)"), "{link}");
        let mut second = Trials::default();
        second.add(3, "", Fault::Kill, &outcomes(&[3_000]));
        second.add(10, ", API server away", Fault::Kill, &outcomes(&[4_000]));
        second.write(&document).unwrap();
        let kept = std::fs::read(folder.join("figures/failover.json")).unwrap();
        let kept: serde_json::Value = serde_json::from_slice(&kept).unwrap();
        let plot = std::fs::read_to_string(folder.join("figures/failover.svg")).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let expected = serde_json::json!({
            "3": {"speaker killed": [3.0], "speaker stopped in order": [2.0]},
            "10, API server away": {"speaker killed": [4.0]},
        });
        assert_eq!(kept, expected);
        assert!(plot.contains("nodes: 10, API server away"));
    }
}
