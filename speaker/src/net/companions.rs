// SPDX-License-Identifier: Apache-2.0
//! The other programs that Pods of MetalLB's FRR mode call in the speaker's image: this program under other names. Init containers copy files
//! out of the image, and FRR's containers run the copies. The FRR there gets no peers from us.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};

/// The name by which the program was called, if it is one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Companion {
    /// `cp-tool SOURCE DESTINATION`: copies a file, with its mode.
    CpTool,
    /// `frr-metrics`: answers `/livez` and `/metrics`.
    FrrMetrics,
    /// `frr-reloader` or `frr-reloader.sh`: would hand FRR its configuration; here the program only waits for its end.
    FrrReloader,
}

impl Companion {
    /// The companion that the program's first argument names.
    #[must_use]
    pub fn of(program: Option<&OsString>) -> Option<Self> {
        match Path::new(program?).file_name()?.to_str()? {
            "cp-tool" => Some(Self::CpTool),
            "frr-metrics" => Some(Self::FrrMetrics),
            "frr-reloader" | "frr-reloader.sh" => Some(Self::FrrReloader),
            _ => None,
        }
    }

    /// Runs the companion with the arguments behind its name.
    #[must_use]
    pub fn run(self, arguments: &[OsString]) -> ExitCode {
        let result = match self {
            Self::CpTool => copy(arguments),
            Self::FrrMetrics => daemon::program::block_on(super::frr_metrics::run(arguments)),
            Self::FrrReloader => {
                daemon::program::block_on(async { Ok(daemon::signals::terminated().await?) })
            }
        };
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        }
    }
}

/// Copies a file to a file or into a folder.
fn copy(arguments: &[OsString]) -> anyhow::Result<()> {
    let [source, destination] = arguments else {
        bail!("cp-tool: SOURCE and DESTINATION are needed");
    };
    let (source, mut destination) = (Path::new(source), Path::new(destination).to_owned());
    if destination.is_dir() {
        destination.push(source.file_name().context("the source is no file")?);
    }
    ensure!(source != destination, "cp-tool: source and destination are one");
    // A program that runs cannot be written to, but can be replaced.
    if destination.exists() {
        std::fs::remove_file(&destination)
            .with_context(|| format!("cannot replace {}", destination.display()))?;
    }
    std::fs::copy(source, &destination).with_context(|| {
        format!("cannot copy {} to {}", source.display(), destination.display())
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_name_decides() {
        let of = |name: &str| Companion::of(Some(&name.into()));
        assert_eq!(of("/cp-tool"), Some(Companion::CpTool));
        assert_eq!(of("/etc/frr_metrics/frr-metrics"), Some(Companion::FrrMetrics));
        assert_eq!(of("/etc/frr_reloader/frr-reloader.sh"), Some(Companion::FrrReloader));
        assert_eq!(of("/speaker"), None);
        assert_eq!(Companion::of(None), None);
    }

    #[test]
    fn a_file_is_copied_with_its_mode_again_and_again_and_into_folders() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::write(&source, "text").unwrap();
        std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o755)).unwrap();
        let target = folder.path().join("target");
        let inside = folder.path().join("inside");
        std::fs::create_dir(&inside).unwrap();
        for destination in [&target, &target, &inside] {
            copy(&[source.clone().into(), destination.into()]).unwrap();
        }
        for copied in [target, inside.join("source")] {
            assert_eq!(std::fs::read_to_string(&copied).unwrap(), "text");
            assert_eq!(copied.metadata().unwrap().permissions().mode() & 0o777, 0o755);
        }
        assert!(copy(&[folder.path().join("none").into(), inside.into()]).is_err());
        assert!(copy(&[]).is_err());
    }
}
