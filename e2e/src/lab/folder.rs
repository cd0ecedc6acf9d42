// SPDX-License-Identifier: Apache-2.0
//! `ferrolb run` on a folder of manifests, in a host's namespace.

use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::Lab;
use super::netns::Namespace;
use super::process::{Process, Rights, Start};

/// Starts it as node1, on the folders `manifests` and `state` below `base`, with more arguments.
///
/// # Errors
/// When it cannot be started.
pub fn start(lab: &Lab, host: &Namespace, base: &Path, extra: &[&str]) -> anyhow::Result<Process> {
    let mut arguments = vec![
        "run".to_owned(),
        base.join("manifests").display().to_string(),
        "--node=node1".to_owned(),
        format!("--folder-state={}", base.join("state").display()),
    ];
    arguments.extend(extra.iter().map(|argument| (*argument).to_owned()));
    let start = Start {
        name: "ferrolb".into(),
        namespace: host,
        program: &lab.programs.ferrolb,
        arguments,
        environment: Vec::new(),
        rights: Rights::All,
    };
    Process::start(lab.folder(), start)
}

/// Writes a manifest as an editor does: beside the folder, then in its place. JSON is YAML.
///
/// # Errors
/// When it cannot be written.
pub fn write(folder: &Path, name: &str, object: &Value) -> anyhow::Result<()> {
    let beside = folder.with_file_name(format!("{name}.new"));
    std::fs::write(&beside, serde_json::to_string_pretty(object)?)?;
    std::fs::rename(&beside, folder.join(format!("{name}.yaml"))).context("in its place")
}
