// SPDX-License-Identifier: Apache-2.0
//! Writes the manifests of all kinds into a folder: `crds/generated` unless another is named.

use std::path::PathBuf;
use std::process::ExitCode;

use crds::metallb::manifest::{manifests, to_yaml};

fn main() -> ExitCode {
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("generated"), PathBuf::from);
    for (file, manifest) in manifests() {
        let path = folder.join(file);
        let written = to_yaml(&manifest)
            .map_err(|error| error.to_string())
            .and_then(|text| std::fs::write(&path, text).map_err(|error| error.to_string()));
        if let Err(error) = written {
            eprintln!("{}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
