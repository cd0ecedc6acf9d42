// SPDX-License-Identifier: Apache-2.0
//! The flags of `ferrolb check`.

use std::path::PathBuf;

use clap::Args as ClapArgs;

/// Flags of `ferrolb check`.
#[derive(Clone, Debug, ClapArgs)]
pub struct CheckArgs {
    /// The files to check, or folders with .yaml, .yml and .json files.
    #[arg(required_unless_present = "cluster")]
    pub paths: Vec<PathBuf>,
    /// Check the kubeconfig's cluster instead of files.
    #[arg(long, conflicts_with = "paths")]
    pub cluster: bool,
    /// Namespace from which the controller and the speaker read their configuration.
    #[arg(long, env = "METALLB_NAMESPACE", default_value = "metallb-system")]
    pub namespace: String,
    /// Effect of hints without a mistake on the exit code: fail makes it 1, ok makes it 0.
    #[arg(long, value_enum, default_value_t = Hints::Fail)]
    pub hints: Hints,
    /// Form of the findings: text, json, or github for annotations in a workflow.
    #[arg(short, long, value_enum, default_value_t = Style::Text)]
    pub output: Style,
}

/// The form of the findings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Style {
    /// For people: one line for each finding.
    #[default]
    Text,
    /// For programs: one object with the lists `mistakes`, `hints` and `notes`.
    Json,
    /// For a workflow of GitHub: the review shows each finding beside its line.
    Github,
}

/// The effect of hints on the exit code of `ferrolb check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Hints {
    /// Hints make the exit code 1.
    Fail,
    /// Hints are printed, and the exit code is 0.
    Ok,
}
