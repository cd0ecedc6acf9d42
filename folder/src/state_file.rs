// SPDX-License-Identifier: Apache-2.0
//! The state file of a folder: read at the start, written anew as a whole at each change.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::FolderState;

/// The file's name within the state folder.
const FILE: &str = "status.json";

/// While it lives, no other program keeps its state in the same folder. The kernel lets go of it when the process ends, however
/// it ends.
#[derive(Debug)]
pub struct StateLock(#[expect(dead_code, reason = "the open file holds the lock")] File);

/// Where a folder's state is kept.
#[derive(Clone, Debug)]
pub struct StateFile {
    folder: PathBuf,
}

/// Why the state cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It lies inside the folder that is watched, which would then see its own writes.
    #[error("{state} lies inside {folder}; the state must be kept elsewhere")]
    Inside {
        /// The state folder.
        state: String,
        /// The manifests' folder.
        folder: String,
    },
    /// Another program writes it.
    #[error(
        "{0} is in use by another program: each `ferrolb run` needs a state folder of its own (--folder-state)"
    )]
    InUse(String),
    /// It cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// Which file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// It is not what was written. It is not overwritten either: it says who has which address.
    #[error("{path} is damaged ({error}); move it away to begin anew")]
    Damaged {
        /// Which file.
        path: String,
        /// What is wrong.
        error: serde_json::Error,
    },
}

impl StateFile {
    /// Keeps the state in `state`, which is created. `folder` are the manifests.
    ///
    /// # Errors
    /// When it lies inside `folder` or cannot be created.
    pub fn new(state: &Path, folder: &Path) -> Result<Self, StateError> {
        let io = |error| StateError::Io { path: state.display().to_string(), error };
        std::fs::create_dir_all(state).map_err(io)?;
        let inside = state.canonicalize().map_err(io)?;
        if folder.canonicalize().is_ok_and(|folder| inside.starts_with(folder)) {
            return Err(StateError::Inside {
                state: state.display().to_string(),
                folder: folder.display().to_string(),
            });
        }
        Ok(Self { folder: state.to_owned() })
    }

    /// The default place for the state of `folder`: below `/var/lib/ferrolb` for root, else in the user's
    /// state folder.
    #[must_use]
    pub fn default_for(folder: &Path) -> PathBuf {
        let absolute = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let name = absolute.display().to_string().trim_matches('/').replace('/', "-");
        let base = if Path::new("/var/lib").metadata().is_ok_and(|_| is_root()) {
            PathBuf::from("/var/lib")
        } else {
            let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
            std::env::var_os("XDG_STATE_HOME")
                .map_or_else(|| home.join(".local/state"), PathBuf::from)
        };
        base.join("ferrolb").join(name)
    }

    /// Takes the state folder for this process alone.
    ///
    /// # Errors
    /// When another process has it, or it cannot be opened.
    pub fn hold(&self) -> Result<StateLock, StateError> {
        let shown = || self.folder.display().to_string();
        let folder =
            File::open(&self.folder).map_err(|error| StateError::Io { path: shown(), error })?;
        match folder.try_lock() {
            Ok(()) => Ok(StateLock(folder)),
            Err(TryLockError::WouldBlock) => Err(StateError::InUse(shown())),
            Err(TryLockError::Error(error)) => Err(StateError::Io { path: shown(), error }),
        }
    }

    /// The folder that it lies in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// Reads it; one that is not there yet is empty.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub fn read(&self) -> Result<FolderState, StateError> {
        let path = self.path();
        let shown = || path.display().to_string();
        match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|error| StateError::Damaged { path: shown(), error }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(FolderState::default()),
            Err(error) => Err(StateError::Io { path: shown(), error }),
        }
    }

    /// Writes it: whole or not at all, also when the power fails.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, state: &FolderState) -> Result<(), StateError> {
        let path = self.path();
        let io = |error| StateError::Io { path: path.display().to_string(), error };
        let mut bytes = serde_json::to_vec_pretty(state)
            .map_err(|error| StateError::Damaged { path: path.display().to_string(), error })?;
        bytes.push(b'\n');
        let new = self.folder.join(format!(".{FILE}.new"));
        let mut file = File::create(&new).map_err(io)?;
        file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(io)?;
        std::fs::rename(&new, &path).map_err(io)?;
        File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(io)
    }
}

fn is_root() -> bool {
    // The owner of the own process, without a system call that would need unsafe.
    std::fs::metadata("/proc/self")
        .is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0)
}
