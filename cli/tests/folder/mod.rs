// SPDX-License-Identifier: Apache-2.0
//! A folder of manifests that goes away with its test.

#![allow(dead_code, reason = "each test uses its part")]

use std::path::PathBuf;

use cli::args::FolderOptions;
use tempfile::TempDir;

pub(crate) const POOL: &str = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p, namespace: metallb-system}\nspec: {addresses: [10.0.0.0/30]}\n";
pub(crate) const ADVERTISEMENT: &str = "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: ad, namespace: metallb-system}\nspec: {}\n";

pub(crate) fn service(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{type: LoadBalancer, ports: [{{port: 80}}]{spec}}}\n"
    )
}

pub(crate) fn node(name: &str) -> String {
    format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\n")
}

/// Files, and a state beside them.
pub(crate) struct Folder {
    root: TempDir,
}

impl Folder {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let folder = Self { root: tempfile::tempdir().unwrap() };
        std::fs::create_dir(folder.path()).unwrap();
        std::fs::create_dir(folder.state()).unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.root.path().join("manifests")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    pub(crate) fn view(&self) -> FolderOptions {
        FolderOptions {
            node: Some("here".to_owned()),
            folder_state: Some(self.state()),
            ..FolderOptions::default()
        }
    }

    /// A text with the folder's own path taken out.
    pub(crate) fn plain(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.path().display()), "")
    }
}

/// Lines without trailing blanks, for comparing tables.
pub(crate) fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim_end).collect()
}
