// SPDX-License-Identifier: Apache-2.0
//! A program of an image, as a container runtime would start it: in the image's own file system, read-only, with the volumes,
//! the capabilities and the service account's token that the manifest gives it.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::json;

use super::control_plane::Families;
use super::kube::{Kube, SYSTEM};
use super::netns::Namespace;
use super::process::{Process, Rights, Start};

const RUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/container.sh");
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// What a manifest says of a container.
#[derive(Debug)]
pub struct Container<'a> {
    /// The name of its log.
    pub name: String,
    /// Where it runs.
    pub namespace: &'a Namespace,
    /// The image's file system.
    pub image: PathBuf,
    /// The service account, in MetalLB's namespace.
    pub account: &'a str,
    /// The program within the image.
    pub program: &'a str,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment.
    pub environment: Vec<(&'a str, String)>,
    /// Folders and where they are mounted.
    pub volumes: Vec<(PathBuf, &'a str)>,
    /// The user.
    pub user: u32,
    /// The capabilities that it keeps.
    pub capabilities: &'a [&'a str],
}

impl Container<'_> {
    /// Starts it, with a new token of its service account.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(self, folder: &Path, kube: &Kube, families: Families) -> anyhow::Result<Process> {
        let account = folder.join(format!("account-{}", self.name));
        std::fs::create_dir_all(&account)?;
        let path = format!("/api/v1/namespaces/{SYSTEM}/serviceaccounts/{}/token", self.account);
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {},
        });
        let answer = kube.post(&path, &request)?;
        let token = answer.pointer("/status/token").and_then(|token| token.as_str());
        std::fs::write(account.join("token"), token.context("no token")?)?;
        std::fs::write(account.join("namespace"), SYSTEM)?;
        std::fs::copy(folder.join("ca.crt"), account.join("ca.crt"))?;
        let capabilities = match self.capabilities {
            [] => "none".to_owned(),
            all => all.join(","),
        };
        let mut arguments = vec![
            "--mount".to_owned(),
            RUN.to_owned(),
            self.image.display().to_string(),
            self.user.to_string(),
            capabilities,
        ];
        let volumes = self.volumes.iter().map(|(source, target)| (source.clone(), *target));
        for (source, target) in volumes.chain([(account, ACCOUNT)]) {
            arguments.push(format!("{}:{target}", source.display()));
        }
        arguments.push("--".to_owned());
        arguments.push(self.program.to_owned());
        arguments.extend(self.arguments);
        let mut environment = self.environment;
        environment.push(("KUBERNETES_SERVICE_HOST", families.address().to_owned()));
        environment.push(("KUBERNETES_SERVICE_PORT", "6443".to_owned()));
        Process::start(
            folder,
            Start {
                name: self.name,
                namespace: self.namespace,
                program: Path::new("unshare"),
                arguments,
                environment,
                rights: Rights::All,
            },
        )
    }
}
