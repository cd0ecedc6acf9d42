// SPDX-License-Identifier: Apache-2.0
//! The shell around the ring: one thread with a runtime of its own, so that nothing else delays answers to pings. It lives in the
//! network namespace of the thread that started it. A second protocol may share its UDP port, see [`Companion`].
//!
//! ```text
//!   Members (any thread)             Runner (thread "members", one)
//!     join, set_meta, leave ──> commands ──> Ring <──> UDP socket, one ──> Companion, if there is one
//!     events, members       <─────────────────┘  <──> streams: a task each, 512 at most that others opened
//! ```

mod clock;
mod companion;
mod heartbeat;
mod own_address;
mod places;
mod refusals;
mod run;
mod sent;
mod socket;
mod streams;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

pub use companion::{COMPANION, Companion, CompanionCommand, CompanionOutput};
pub use heartbeat::{Heartbeat, HeartbeatEvent, HeartbeatOptions};
pub use refusals::{Cause, Refused};

use crate::{Config, ConfigError, Envelope, Event, Keyring, LabelTooLong, META, Member, Settings};

/// Events that wait for whoever listens; if there are more, he has to look at the members anyway.
const EVENTS: usize = 1024;
/// The stack of the thread; it recurses nowhere.
const STACK: usize = 512 * 1024;

/// What a member needs to begin.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name, which nobody else in the ring has; MetalLB takes the node's.
    pub name: String,
    /// Where it listens, over UDP and TCP; port 0 takes any. MetalLB's port is 7946.
    pub bind: SocketAddr,
    /// What the others are told instead of `bind`. If that is unspecified and this is none, it is a private address of the host.
    pub advertise: Option<SocketAddr>,
    /// Times and numbers.
    pub settings: Settings,
    /// The keys of the ring; without one nothing is encrypted, and whoever reaches the port is a member if he says so.
    pub key: Option<Keyring>,
    /// The label of the ring; MetalLB has none.
    pub label: String,
    /// What is told of us; 512 octets at most.
    pub meta: Vec<u8>,
}

/// Why a member could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernel refused something.
    #[error("cannot take part in the ring: {call} failed: {error}")]
    System {
        /// What was tried.
        call: &'static str,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
    /// It listens on every address, and none of them can be told to the others.
    #[error(
        "cannot take part in the ring: {0} is no address at which the others reach this host, and it has no private address of that family (RFC 1918, 6598, 4193): give the address to listen on"
    )]
    NoAddress(IpAddr),
    /// The name or the meta data is impossible.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The label is impossible.
    #[error(transparent)]
    Label(#[from] LabelTooLong),
}

/// What is known at the moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// All members, the dead ones that are still remembered and ourselves included, by name.
    pub members: Vec<Member>,
    /// Zero if we do well; higher the more answers we missed.
    pub health_score: u32,
    /// Packets and messages that could not be read, those with a wrong key or label among them.
    pub discarded: u64,
    /// What the port refused.
    pub refused: Refused,
}

/// What the callers ask of the thread.
#[derive(Debug)]
enum Command {
    Join(Vec<SocketAddr>),
    SetMeta(Vec<u8>),
    Keys(Keyring),
    Companion(CompanionCommand),
    Leave(SyncSender<()>),
    Stop,
}

/// Ourselves as a member of a ring. Dropping it ends the thread without leaving, as a crash would.
///
/// ```no_run
/// use members::{Key, Settings, net};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let options = net::Options {
///     name: "node-1".to_owned(),
///     bind: "192.0.2.1:7946".parse()?,
///     advertise: None,
///     settings: Settings::lan(),
///     key: Some(Key::from_secret(&std::fs::read("/etc/ml_secret_key/secretkey")?).into()),
///     label: String::new(),
///     meta: Vec::new(),
/// };
/// let (members, mut events) = net::Members::spawn(options, None)?;
/// members.join(vec!["192.0.2.2:7946".parse()?]);
/// while let Some(event) = events.blocking_recv() {
///     println!("{event:?}, {} members", members.snapshot().members.len());
/// }
/// members.leave(std::time::Duration::from_secs(1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Members {
    commands: mpsc::UnboundedSender<Command>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Members {
    /// Opens the sockets and starts the thread, in a ring of one. Events that nobody takes are lost, beginning with the newest;
    /// what counts is in the [`Snapshot`]. When the thread ends, the channel of events does.
    pub fn spawn(
        options: Options,
        companion: Option<Box<dyn Companion>>,
    ) -> Result<(Self, mpsc::Receiver<Event>), StartError> {
        let failed = |call| move |error| StartError::System { call, error };
        let Options { name, bind, advertise, settings, key, label, meta } = options;
        let envelope = Envelope::new(
            &label,
            key,
            settings.gossip_verify_incoming,
            settings.gossip_verify_outgoing,
        )?;
        let (udp, tcp) = socket::bind(bind).map_err(failed("binding the UDP and TCP port"))?;
        let bound = tcp.local_addr().map_err(failed("getsockname"))?;
        let address = match advertise {
            Some(address) => address,
            None if bound.ip().is_unspecified() => {
                let own = own_address::private(bound.ip()).map_err(failed("getifaddrs"))?;
                SocketAddr::new(own.ok_or(StartError::NoAddress(bound.ip()))?, bound.port())
            }
            None => bound,
        };
        let seed = clock::random().ok_or_else(|| io::Error::from(io::ErrorKind::Other));
        let config = Config {
            name: name.into(),
            address,
            settings,
            meta,
            overhead: envelope.overhead(),
            seed: u64::from_ne_bytes(seed.map_err(failed("reading random octets"))?),
        };
        let (commands, queue) = mpsc::unbounded_channel();
        let (events, listener) = mpsc::channel(EVENTS);
        let (publish, snapshots) = watch::channel(Arc::default());
        // Also the runtime begins in the thread, and ends there if it fails: in the caller's it might not be dropped.
        let (begun, begin) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("members".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_io()
                    .enable_time()
                    .build()
                    .map_err(failed("starting the runtime"));
                let runner = runtime.and_then(|runtime| {
                    let entered = runtime.enter();
                    let sockets = (udp, tcp);
                    let runner = run::Runner::new(
                        config, envelope, sockets, queue, events, publish, companion,
                    );
                    drop(entered);
                    runner.map(|runner| (runtime, runner))
                });
                let (runner, result) = match runner {
                    Ok(runner) => (Some(runner), Ok(())),
                    Err(error) => (None, Err(error)),
                };
                drop(begun.send(result));
                if let Some((runtime, runner)) = runner {
                    runtime.block_on(runner.run());
                }
            })
            .map_err(failed("starting the thread"))?;
        let died = || Err(failed("starting the thread")(io::ErrorKind::Other.into()));
        begin.recv().unwrap_or_else(|_| died())?;
        Ok((Self { commands, snapshots, address, thread: Some(thread) }, listener))
    }

    /// Where the others reach us.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Exchanges states with whoever listens there; an [`Event::Contacted`] tells of each how it went. Comes back after leaving.
    pub fn join(&self, addresses: Vec<SocketAddr>) {
        self.command(Command::Join(addresses));
    }

    /// Tells the others new meta data; what changes within a second is told together.
    pub fn set_meta(&self, meta: Vec<u8>) -> Result<(), ConfigError> {
        if meta.len() > META {
            return Err(ConfigError::Meta);
        }
        self.command(Command::SetMeta(meta));
        Ok(())
    }

    /// Seals and opens by these keys from now, the companion too. It does nothing where there was no key.
    pub fn set_keys(&self, keys: Keyring) {
        self.command(Command::Keys(keys));
    }

    /// Asks something of the companion.
    pub fn companion(&self, command: CompanionCommand) {
        self.command(Command::Companion(command));
    }

    /// What is known at the moment.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
    }

    /// Becomes new whenever a member changed. Closed when the thread has ended.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshots.clone()
    }

    /// Tells the others that we leave, and waits until they have heard it, or as long as given. Whether they have. It blocks.
    pub fn leave(&self, timeout: Duration) -> bool {
        let (done, wait) = sync_channel(1);
        self.command(Command::Leave(done));
        wait.recv_timeout(timeout).is_ok()
    }

    fn command(&self, command: Command) {
        // The other end is gone only when the thread has panicked, which is told when it is joined.
        drop(self.commands.send(command));
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.command(Command::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the ring had panicked");
        }
    }
}
