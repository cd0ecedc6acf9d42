// SPDX-License-Identifier: Apache-2.0
//! The shell around the table: one thread that owns all sockets and does nothing but BFD, so that nothing delays it. It lives in
//! the network namespace of the thread that started it. Beside it stand the questions that decide which session to have: the
//! [`path`] to a peer, and a [`Watch`] that tells when to ask again.
//!
//! ```text
//!   Bfd (any thread)             Runner (thread "bfd", one)
//!     set_sessions ──> commands ──> Table ──> Transmitter     one per session, with a source port of its own
//!     statuses    ──────┘ wake      │    <─── Receivers       one per family, port and interface
//!     on_change  <──────────────────┘    <──> EchoSocket      one packet socket, while an IPv4 session has echo mode
//! ```

mod datagram;
mod echo_socket;
mod interface;
mod ipv4;
mod netlink;
mod path;
mod priority;
mod receivers;
mod run;
mod transmitter;
mod watch;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use poll::Wake;

pub use path::{Path, PathError, path};
pub use watch::Watch;

use crate::{Profile, SessionKey, Status};

/// At most so many sockets are told at once, and the others in the next turn.
type Epoll = poll::Epoll<64>;

/// The stack of the thread; it recurses nowhere.
const STACK: usize = 256 * 1024;
/// How long a question to the thread may take; it answers within microseconds, unless it has died.
const ANSWER: Duration = Duration::from_secs(2);

/// The running BFD of a host. Dropping it is as [`Bfd::stop`].
///
/// ```no_run
/// use bfd::{Hops, Profile, SessionKey, net};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (sender, changes) = std::sync::mpsc::channel();
/// let running = net::Bfd::spawn(move |key, status| {
///     // Nobody may listen any more.
///     drop(sender.send((key.clone(), status.state)));
/// })?;
/// let peer = "192.0.2.1".parse()?;
/// let hops = if net::path(peer, None, None)?.on_link { Hops::Single } else { Hops::Multi };
/// let key = SessionKey { peer, local: None, interface: None, hops };
/// running.set_sessions([(key, Profile::default())].into());
/// let (key, state) = changes.recv()?;
/// println!("{key} is {state}");
/// running.stop();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Bfd {
    commands: Sender<Command>,
    wake: Arc<Wake>,
    thread: Option<JoinHandle<()>>,
}

/// Why BFD could not begin. A port that another process holds is no such reason, but a [`Status::problem`].
#[derive(Debug, thiserror::Error)]
#[error("cannot start BFD: {call} failed: {error}")]
pub struct StartError {
    /// What was tried.
    pub call: &'static str,
    /// What the kernel said.
    #[source]
    pub error: io::Error,
}

/// What the callers ask of the thread.
#[derive(Debug)]
enum Command {
    Sessions(BTreeMap<SessionKey, Profile>),
    Statuses(SyncSender<BTreeMap<SessionKey, Status>>),
    Stop,
}

impl Bfd {
    /// Starts the thread, without sessions. `on_change` is called on it whenever the state or the problem of a session changed,
    /// and must return at once: hand it over, do not act on it there.
    pub fn spawn(
        on_change: impl Fn(&SessionKey, &Status) + Send + 'static,
    ) -> Result<Self, StartError> {
        let failed = |call| move |error| StartError { call, error };
        let wake = Arc::new(Wake::new().map_err(failed("eventfd"))?);
        let (commands, queue) = channel();
        let runner = run::Runner::new(queue, Arc::clone(&wake), Box::new(on_change))?;
        let thread = std::thread::Builder::new()
            .name("bfd".to_owned())
            .stack_size(STACK)
            .spawn(move || runner.run())
            .map_err(failed("starting the thread"))?;
        Ok(Self { commands, wake, thread: Some(thread) })
    }

    /// From now exactly these sessions exist. A session that stays does not notice; a changed profile is negotiated without
    /// leaving Up; the peer of one that goes is told AdminDown.
    pub fn set_sessions(&self, sessions: BTreeMap<SessionKey, Profile>) {
        self.command(Command::Sessions(sessions));
    }

    /// How each session is now. Waits for the thread, which takes microseconds. Not to be called from `on_change`.
    #[must_use]
    pub fn statuses(&self) -> BTreeMap<SessionKey, Status> {
        let (sender, answer) = sync_channel(1);
        self.command(Command::Statuses(sender));
        answer.recv_timeout(ANSWER).unwrap_or_default()
    }

    /// Tells all peers AdminDown, several times since a packet may be lost, and waits until the thread is gone. Not to be called
    /// from `on_change`.
    pub fn stop(mut self) {
        self.join();
    }

    fn command(&self, command: Command) {
        // The other end is gone only when the thread has panicked, which is told when it is joined.
        if self.commands.send(command).is_ok() {
            self.wake.wake();
        }
    }

    fn join(&mut self) {
        self.command(Command::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the BFD thread had panicked");
        }
    }
}

impl Drop for Bfd {
    fn drop(&mut self) {
        self.join();
    }
}
