// SPDX-License-Identifier: Apache-2.0
//! Helm, by a pinned Go module, on the rack's API server.

use std::process::{Command, Stdio};

use anyhow::ensure;

use super::Lab;
use super::control_plane::{Identity, kubeconfig};

const BUILD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/helm/build.sh");
/// Our chart.
pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/ferrolb");

/// The Helm of a lane.
#[derive(Debug)]
pub struct Helm {
    program: String,
    kubeconfig: String,
}

impl Helm {
    /// Builds it, where that was not done yet.
    ///
    /// # Errors
    /// When it cannot be built.
    pub fn new(lab: &Lab) -> anyhow::Result<Self> {
        let output = Command::new(BUILD).stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "helm cannot be built");
        let folder = String::from_utf8(output.stdout)?;
        let kubeconfig = kubeconfig(lab.folder(), Identity::Admin).display().to_string();
        Ok(Self { program: format!("{}/helm", folder.trim()), kubeconfig })
    }

    /// Runs it as the administrator.
    ///
    /// # Errors
    /// When it fails.
    pub fn run(&self, lab: &Lab, arguments: &[&str]) -> anyhow::Result<()> {
        let home = lab.folder().join("helm").display().to_string();
        let output = lab
            .plane
            .command(&self.program)
            .args(arguments)
            .args(["--kubeconfig", &self.kubeconfig])
            .env("HELM_CACHE_HOME", &home)
            .env("HELM_CONFIG_HOME", &home)
            .env("HELM_DATA_HOME", &home)
            .output()?;
        ensure!(
            output.status.success(),
            "helm {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }
}
