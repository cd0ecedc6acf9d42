// SPDX-License-Identifier: Apache-2.0
//! The file of the [`OwnedRecord`] (`--state-path`): read at a start without the API, and written anew as a whole when the record changes, once
//! in a second at most.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;

use crate::owned_record::{OwnedRecord, RecordError};

/// The name of the file in its folder.
const FILE: &str = "owned.json";
/// The longest file that is read, in octets.
const LENGTH_LIMIT: u64 = 32 << 20;
/// The least time between two writes.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// The writer of the file.
pub(super) struct LastOwned {
    folder: PathBuf,
    sender: watch::Sender<OwnedRecord>,
}

/// The reason why there is no record.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The file cannot be read.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// The cause.
        error: io::Error,
    },
    /// The file is no record of this node.
    #[error("{path} cannot be used: {error}")]
    Record {
        /// The file.
        path: String,
        /// The cause.
        error: RecordError,
    },
}

impl LastOwned {
    /// Keeps the record in this folder, which has to exist.
    pub(super) fn start(folder: &Path) -> Self {
        let (sender, mut receiver) = watch::channel(OwnedRecord::default());
        let writer = folder.to_owned();
        tokio::spawn(async move {
            let mut failed = false;
            while receiver.changed().await.is_ok() {
                let record = receiver.borrow_and_update().clone();
                let folder = writer.clone();
                let written = tokio::task::spawn_blocking(move || write(&folder, &record)).await;
                match written {
                    Ok(Err(error)) if !std::mem::replace(&mut failed, true) => {
                        tracing::error!(event = "stateFailed", %error,
                            "the addresses of this node could not be written to --state-path; it is tried again with the next change");
                    }
                    Ok(Err(_)) => {}
                    Ok(Ok(())) => failed = false,
                    // The program is about to end.
                    Err(_) => return,
                }
                tokio::time::sleep(WRITE_INTERVAL).await;
            }
        });
        Self { folder: folder.to_owned(), sender }
    }

    /// The record that this node's speaker wrote last; none if there is no file.
    ///
    /// # Errors
    /// The file cannot be read, or is no record of this node.
    pub(super) fn read(&self, node: &str) -> Result<Option<OwnedRecord>, ReadError> {
        let path = self.folder.join(FILE);
        let shown = path.display().to_string();
        let io = |error| ReadError::Io { path: shown.clone(), error };
        let length = match std::fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        if length > LENGTH_LIMIT {
            return Err(io(io::Error::other(format!("{length} octets are too many"))));
        }
        let text = std::fs::read(&path).map_err(io)?;
        let record = OwnedRecord::parse(&text, node);
        record.map(Some).map_err(|error| ReadError::Record { path: shown.clone(), error })
    }

    /// This is the record from now.
    pub(super) fn publish(&self, record: OwnedRecord) {
        self.sender.send_if_modified(|known| {
            let changed = *known != record;
            if changed {
                *known = record;
            }
            changed
        });
    }
}

/// Writes the file anew; a crash at any time leaves the old or the new one.
fn write(folder: &Path, record: &OwnedRecord) -> io::Result<()> {
    let text = record.text().map_err(io::Error::other)?;
    let (path, new) = (folder.join(FILE), folder.join(format!("{FILE}.new")));
    let mut file = std::fs::File::create(&new)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, &path)?;
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::owned_record::OwnedAddress;

    #[tokio::test]
    async fn what_is_published_is_read_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let last = LastOwned::start(folder.path());
        assert!(last.read("a").unwrap().is_none(), "there is no file yet");
        let address = OwnedAddress {
            address: [192, 0, 2, 1].into(),
            interfaces: None,
            pool: None,
            services: vec!["d/s".into()],
        };
        let record = OwnedRecord::new("a", vec![address], Vec::new());
        last.publish(record.clone());
        let written = async {
            while last.read("a").unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), written).await.unwrap();
        assert_eq!(last.read("a").unwrap(), Some(record));
        assert!(matches!(last.read("b"), Err(ReadError::Record { .. })), "of another node");
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        let error = last.read("a").unwrap_err().to_string();
        assert!(error.contains("owned.json") && error.contains("damaged"), "{error}");
    }
}
