// SPDX-License-Identifier: Apache-2.0
//! Waits for changes of a folder, by inotify.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use inotify::{EventStream, Inotify, WatchMask};

/// How long a folder must be quiet before it is read, so that an editor's several steps count as one.
const QUIET: Duration = Duration::from_millis(50);

/// A watch of a folder and all folders below it.
pub struct FolderWatch {
    root: PathBuf,
    events: EventStream<[u8; 4096]>,
}

impl FolderWatch {
    /// Watches `root`; call it within a runtime.
    ///
    /// # Errors
    /// When the kernel has no watch left, or the folder cannot be read.
    pub fn new(root: &Path) -> io::Result<Self> {
        let events = Inotify::init()?.into_event_stream([0; 4096])?;
        let watch = Self { root: root.to_owned(), events };
        watch.add(root)?;
        Ok(watch)
    }

    fn add(&self, folder: &Path) -> io::Result<()> {
        let mask = WatchMask::CLOSE_WRITE
            | WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVED_FROM
            | WatchMask::MOVED_TO
            | WatchMask::MOVE_SELF;
        self.events.watches().add(folder, mask)?;
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                self.add(&path)?;
            }
        }
        Ok(())
    }

    /// Waits until something has changed and it is quiet again. Folders that came are watched from now on; a
    /// folder that is gone is waited for.
    ///
    /// # Errors
    /// When the kernel's queue cannot be read.
    pub async fn changed(&mut self) -> io::Result<()> {
        self.event().await?;
        while let Ok(event) = tokio::time::timeout(QUIET, self.event()).await {
            event?;
        }
        // Watching twice is once; what vanished meanwhile is reported by the next change.
        let _ = self.add(&self.root);
        while !self.root.is_dir() {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let _ = self.add(&self.root);
        }
        Ok(())
    }

    async fn event(&mut self) -> io::Result<()> {
        match self.events.next().await {
            Some(event) => event.map(|_| ()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
