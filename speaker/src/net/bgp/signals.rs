// SPDX-License-Identifier: Apache-2.0
//! The inputs of the BGP driver, all waited for in one place.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bgp::net::Engine;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// The time in which changes of routes are collected: they come in crowds, and are looked at once.
const SETTLE_TIME: Duration = Duration::from_millis(100);

/// An event to act on.
#[derive(Debug)]
pub enum Signal {
    /// A session changed.
    Sessions,
    /// A BFD session changed.
    Bfd(bfd::SessionKey, Box<bfd::Status>),
    /// The host's links, addresses or routes changed.
    Routes,
    /// The deadline that was given has come.
    Tick,
}

pub(super) type BfdSender = mpsc::UnboundedSender<(bfd::SessionKey, bfd::Status)>;

/// The receiving ends.
pub struct Signals {
    sessions: watch::Receiver<u64>,
    bfd: mpsc::UnboundedReceiver<(bfd::SessionKey, bfd::Status)>,
    routes: Option<AsyncFd<bfd::net::Watch>>,
    /// True if changes of routes are wanted.
    follow: Arc<AtomicBool>,
    /// The time at which changed routes are told.
    settled: Option<Instant>,
}

impl Signals {
    pub(super) fn new(engine: &Engine) -> (Self, BfdSender, Arc<AtomicBool>) {
        let (sender, bfd) = mpsc::unbounded_channel();
        #[expect(
            deprecated,
            reason = "its successor is unsafe; a Watch owns one descriptor, which never changes"
        )]
        let routes = match bfd::net::Watch::open().and_then(AsyncFd::new) {
            Ok(routes) => Some(routes),
            Err(error) => {
                tracing::warn!(%error, "changes of routes cannot be followed: BFD keeps the hops it began with");
                None
            }
        };
        let follow = Arc::<AtomicBool>::default();
        let signals = Self {
            sessions: engine.changes(),
            bfd,
            routes,
            follow: Arc::clone(&follow),
            settled: None,
        };
        (signals, sender, follow)
    }

    /// Waits for the next signal; `deadline` is the time of the next tick. BFD comes first, as milliseconds count there. A cancelled wait
    /// loses nothing.
    pub async fn next(&mut self, deadline: Option<Instant>) -> Signal {
        loop {
            let follow = self.follow.load(Ordering::Relaxed);
            tokio::select! {
                biased;
                Some((key, status)) = self.bfd.recv() => return Signal::Bfd(key, Box::new(status)),
                Ok(()) = self.sessions.changed() => return Signal::Sessions,
                () = clock::until(deadline.map(Into::into)) => return Signal::Tick,
                () = clock::until(self.settled.map(Into::into)) => {
                    self.settled = None;
                    return Signal::Routes;
                }
                result = changed(self.routes.as_mut(), follow) => match result {
                    Ok(true) => {
                        self.settled.get_or_insert_with(|| Instant::now() + SETTLE_TIME);
                    }
                    Ok(false) => {}
                    Err(error) => {
                        tracing::warn!(%error, "changes of routes cannot be followed any more");
                        self.routes = None;
                    }
                },
            }
        }
    }
}

/// Waits for news about routes. Returns true if there was a change.
async fn changed(routes: Option<&mut AsyncFd<bfd::net::Watch>>, follow: bool) -> io::Result<bool> {
    let (Some(routes), true) = (routes, follow) else { return std::future::pending().await };
    let mut guard = routes.readable_mut().await?;
    let changed = guard.get_inner_mut().changed();
    // Everything that had come was taken.
    guard.clear_ready();
    changed
}
