// SPDX-License-Identifier: Apache-2.0
//! Which files and folders are read: regular files alone, each folder once however many links lead to it, and no more than a
//! host can bear. Not their content.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The largest file that is read, in octets.
pub const MAX_FILE: u64 = 16 << 20;
/// The most octets that all files of one reading may have together.
const MAX_TOTAL: u64 = 64 << 20;
/// The most folders, and the most entries of all folders, that are looked at.
const MAX_FOLDERS: usize = 4096;
const MAX_ENTRIES: usize = 65_536;

/// Why a file or folder is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("cannot be read: it is {0}, no regular file")]
    Special(&'static str),
    #[error("cannot be read: it is larger than {} MiB", MAX_FILE >> 20)]
    TooLarge,
    #[error("cannot be read: the files before it have {} MiB together, which is the most that is read at once", MAX_TOTAL >> 20)]
    TooMuch,
    #[error("cannot be read: it is not UTF-8 text")]
    NotText,
    #[error(
        "is not looked at: there are more than {MAX_FOLDERS} folders or {MAX_ENTRIES} entries before it"
    )]
    TooMany,
}

impl FileError {
    /// Whether the same file may be readable in a while although nobody changes it.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Io(_))
    }
}

/// What was found at some paths.
#[derive(Debug, Default)]
pub struct Found {
    /// The folders, each once, by the first path that leads there.
    pub folders: Vec<PathBuf>,
    /// Files to read, in order, and what cannot be looked at.
    pub(super) files: Vec<(PathBuf, Result<(), FileError>)>,
    seen: BTreeSet<(u64, u64)>,
    entries: usize,
}

impl Found {
    /// Looks for the manifests at `paths`: files that are named, and in folders, and those below, all with a manifest's name.
    /// Hidden ones are left out.
    #[must_use]
    pub fn at(paths: &[PathBuf]) -> Self {
        let mut found = Self::default();
        for path in paths {
            found.visit(path, true);
        }
        found
    }

    fn visit(&mut self, path: &Path, named: bool) {
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => {
                if named || is_manifest(path) {
                    self.files.push((path.to_owned(), Err(error.into())));
                }
                return;
            }
        };
        if metadata.is_dir() {
            self.folder(path, &metadata);
        } else if named || is_manifest(path) {
            self.files.push((path.to_owned(), regular(path, &metadata)));
        }
    }

    fn folder(&mut self, path: &Path, metadata: &Metadata) {
        if !self.seen.insert((metadata.dev(), metadata.ino())) {
            return;
        }
        if self.folders.len() >= MAX_FOLDERS || self.entries >= MAX_ENTRIES {
            self.files.push((path.to_owned(), Err(FileError::TooMany)));
            return;
        }
        self.folders.push(path.to_owned());
        match entries(path) {
            Ok(entries) => {
                self.entries += entries.len();
                entries.iter().for_each(|entry| self.visit(entry, false));
            }
            Err(error) => self.files.push((path.to_owned(), Err(error.into()))),
        }
    }
}

/// A pipe that a shell made for this very command is read as well: `check <(helm template ...)`.
fn regular(path: &Path, metadata: &Metadata) -> Result<(), FileError> {
    let kind = metadata.file_type();
    let is_given = path.starts_with("/dev/fd") || path == Path::new("/dev/stdin");
    if kind.is_file() || is_given {
        return Ok(());
    }
    Err(FileError::Special(match () {
        () if kind.is_fifo() => "a named pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }))
}

/// Reads files one after another, within a limit for all of them.
pub(super) struct Reader {
    left: u64,
}

impl Default for Reader {
    fn default() -> Self {
        Self { left: MAX_TOTAL }
    }
}

impl Reader {
    pub(super) fn read(&mut self, path: &Path) -> Result<String, FileError> {
        let most = self.left.min(MAX_FILE);
        let mut octets = Vec::new();
        // What a file is may have changed since it was looked at, and its length says nothing of what can be read from it.
        let file = open(path)?;
        regular(path, &file.metadata()?)?;
        file.take(most + 1).read_to_end(&mut octets)?;
        let length = u64::try_from(octets.len()).unwrap_or(u64::MAX);
        if length > most {
            return Err(if length > MAX_FILE { FileError::TooLarge } else { FileError::TooMuch });
        }
        self.left -= length;
        String::from_utf8(octets).map_err(|_| FileError::NotText)
    }
}

/// Opens without waiting for somebody who writes, should the file have become a pipe.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    if !path.starts_with("/dev") {
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    }
    options.open(path)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    // By name, so that the order is the same everywhere.
    let mut entries = BTreeMap::new();
    for entry in std::fs::read_dir(folder)?.take(MAX_ENTRIES + 1) {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| !name.starts_with('.')) {
            entries.insert(entry.file_name(), entry.path());
        }
    }
    Ok(entries.into_values().collect())
}

/// Whether a file of a folder is one to read, by its name.
#[must_use]
pub fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("yaml" | "yml" | "json"))
}
