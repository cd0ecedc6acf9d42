// SPDX-License-Identifier: Apache-2.0
//! Reads a folder of manifests whenever it changes, by inotify, beside the program's loop.
//!
//! ```text
//! inotify ──> quiet for 50 ms ──> a blocking thread reads all ──> channel of one ──> the loop
//!   ^                                    │ what could not be read may be readable soon
//!   └────────────────────────────────────┘ (after 2 s, 4 s, ... 60 s)
//! ```
//!
//! The task is never dropped halfway, as a branch of a `select!` would be, so that no event is lost: whatever changes while the
//! folder is read, or while the loop is busy, is read after that.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use inotify::{EventStream, Inotify, WatchMask};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

use crate::manifest::{Found, Manifests};

/// How long a folder must be quiet before it is read, so that an editor's several steps count as one.
const QUIET: Duration = Duration::from_millis(50);
/// A folder that is never quiet is read this often nevertheless.
const BUSY: Duration = Duration::from_secs(1);
/// A folder that is gone is looked for this often.
const ABSENT: Duration = Duration::from_secs(1);
/// What cannot be read or watched is tried again after this time, which doubles up to the second.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(60));

/// The readings of a folder, one for each change. The folder is followed for as long as this lives.
pub struct FolderSource {
    readings: mpsc::Receiver<Manifests>,
}

impl FolderSource {
    /// Reads `root` and follows it; call it within a runtime.
    #[must_use]
    pub fn follow(root: &Path) -> Self {
        // One waits while another is taken in; what comes after that is read when it is its turn.
        let (sender, readings) = mpsc::channel(1);
        tokio::spawn(run(root.to_owned(), sender));
        Self { readings }
    }

    /// Waits for the next reading. Nothing is lost when this is dropped before it is ready.
    ///
    /// # Errors
    /// When reading has ended, as after a panic.
    pub async fn next(&mut self) -> io::Result<Manifests> {
        self.readings.recv().await.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

async fn run(root: PathBuf, sender: mpsc::Sender<Manifests>) {
    let mut watch = None;
    let mut retry = RETRY.0;
    let mut told = false;
    loop {
        // The watch is there before the folder is read: what changes after that is an event.
        let complete =
            match watch.as_mut().map_or_else(|| FolderWatch::new(&root), FolderWatch::add) {
                Ok(new) => {
                    watch = new.or(watch);
                    true
                }
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(event = "folderUnwatched", folder = %root.display(), %error,
                        "not all of the folder can be watched: it is read from time to time");
                    }
                    false
                }
            };
        told &= !complete;
        let path = root.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let mut manifests = Manifests::default();
            manifests.read_paths(&[path]);
            manifests
        });
        let Ok(manifests) = reading.await else { return };
        let again = manifests.may_pass || !complete;
        if sender.send(manifests).await.is_err() {
            return;
        }
        if !again {
            retry = RETRY.0;
        }
        let changed = async {
            match &mut watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = changed => {}
            () = sleep(retry), if again => retry = (retry * 2).min(RETRY.1),
            () = sender.closed() => return,
        }
    }
}

/// A watch of a folder and all folders below it. It loses nothing when a wait is dropped.
struct FolderWatch {
    root: PathBuf,
    events: EventStream<[u8; 4096]>,
    /// Since when there are events that no reading has seen.
    dirty: Option<Instant>,
    /// When the last of them came.
    last: Instant,
}

impl FolderWatch {
    fn new(root: &Path) -> io::Result<Option<Self>> {
        let events = Inotify::init()?.into_event_stream([0; 4096])?;
        let mut watch = Self { root: root.to_owned(), events, dirty: None, last: Instant::now() };
        watch.add()?;
        Ok(Some(watch))
    }

    /// Watches the folders that are there now; watching twice is once.
    fn add(&mut self) -> io::Result<Option<Self>> {
        let mask = WatchMask::CLOSE_WRITE
            | WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVED_FROM
            | WatchMask::MOVED_TO
            | WatchMask::MOVE_SELF;
        let mut result = Ok(None);
        for folder in Found::at(std::slice::from_ref(&self.root)).folders {
            match self.events.watches().add(&folder, mask) {
                // One that vanished meanwhile is reported by the next change.
                Err(error) if error.kind() != io::ErrorKind::NotFound => result = Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        result
    }

    /// Waits until something has changed and it is quiet again; a folder that is gone is waited for.
    async fn changed(&mut self) {
        loop {
            let since = match self.dirty {
                Some(since) => since,
                None => self.event().await,
            };
            let quiet_at = (self.last + QUIET).min(since + BUSY);
            if timeout_at(quiet_at, self.event()).await.is_err() {
                break;
            }
        }
        while !self.root.is_dir() {
            sleep(ABSENT).await;
        }
        self.dirty = None;
    }

    /// Waits for an event, or for the moment to look again where the kernel's queue cannot be read; since when the folder is dirty.
    async fn event(&mut self) -> Instant {
        if !matches!(self.events.next().await, Some(Ok(_))) {
            sleep(ABSENT).await;
        }
        self.last = Instant::now();
        *self.dirty.get_or_insert(self.last)
    }
}
