// SPDX-License-Identifier: Apache-2.0
//! What the BGP driver has to hear of, in one place to wait.

use std::io;
use std::time::Duration;

use bgp::net::Engine;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};

/// Changes of routes come in crowds: they are looked at once.
const SETTLE: Duration = Duration::from_millis(100);

/// Something to act on.
#[derive(Debug)]
pub enum Signal {
    /// A session changed.
    Sessions,
    /// A BFD session changed.
    Bfd(bfd::SessionKey, Box<bfd::Status>),
    /// The host's links, addresses or routes changed.
    Routes,
    /// The moment that was asked for has come.
    Tick,
}

pub(super) type BfdSender = mpsc::UnboundedSender<(bfd::SessionKey, bfd::Status)>;

/// The receiving ends.
pub struct Signals {
    sessions: watch::Receiver<u64>,
    bfd: mpsc::UnboundedReceiver<(bfd::SessionKey, bfd::Status)>,
    routes: Option<AsyncFd<bfd::net::Watch>>,
}

impl Signals {
    pub(super) fn new(engine: &Engine) -> (Self, BfdSender) {
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
        (Self { sessions: engine.changes(), bfd, routes }, sender)
    }

    /// Waits for the next signal; `deadline` is when to tick. BFD comes first: it is about milliseconds.
    pub async fn next(&mut self, deadline: Option<tokio::time::Instant>) -> Signal {
        tokio::select! {
            biased;
            Some((key, status)) = self.bfd.recv() => Signal::Bfd(key, Box::new(status)),
            Ok(()) = self.sessions.changed() => Signal::Sessions,
            () = changed(&mut self.routes) => Signal::Routes,
            () = until(deadline) => Signal::Tick,
        }
    }
}

async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Returns when routes changed and it has been quiet for a moment. What is lost by giving up early comes again.
async fn changed(routes: &mut Option<AsyncFd<bfd::net::Watch>>) {
    let Some(watch) = routes else { return std::future::pending().await };
    loop {
        if let Err(error) = wait(watch).await {
            tracing::warn!(%error, "changes of routes cannot be followed any more");
            *routes = None;
            return std::future::pending().await;
        }
        tokio::time::sleep(SETTLE).await;
        match watch.get_mut().changed() {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "netlink"),
        }
    }
}

/// Readable, and left so: whoever gives up waiting afterwards loses nothing.
async fn wait(watch: &mut AsyncFd<bfd::net::Watch>) -> io::Result<()> {
    let guard = watch.readable_mut().await?;
    drop(guard);
    Ok(())
}
