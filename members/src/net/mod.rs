// SPDX-License-Identifier: Apache-2.0
//! The shell around an [`Agent`](crate::Agent): one thread with a runtime of its own, so that nothing else delays answers to pings. It
//! lives in the network namespace of the thread that started it.
//!
//! ```text
//!   Members (any thread)             Runner (thread "members", one)
//!     commands          ──> Agent <──> UDP socket, one, for the memberlist and heartbeats
//!     events, snapshots <──────┘  <──> streams: a task each, 512 at most that others opened
//! ```

mod events;
mod moment;
mod own_address;
mod places;
mod refusals;
mod run;
mod seal;
mod sent;
mod socket;
mod streams;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

pub use events::Events;
pub use refusals::{Cause, Refused};
pub use seal::Seal;

use crate::{
    AgentConfig, Command, Config, ConfigError, Detection, Envelope, Keyring, LabelTooLong, META,
    Member, Settings,
};

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
    /// How the dead are found, and what makes this member fall silent.
    pub detection: Detection,
    /// Where it is kept up to date until when this member may speak, in nanoseconds of `CLOCK_BOOTTIME`; the greatest number is for ever.
    pub permit: Arc<AtomicU64>,
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
enum Order {
    Command(Command),
    Keys(Keyring),
    /// Leave, and say when the others have been told.
    Leave(SyncSender<()>),
    Stop,
}

/// Ourselves as a member of a ring. Dropping it ends the thread without leaving, as a crash would.
///
/// ```no_run
/// use members::{Detection, Key, Settings, net};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let options = net::Options {
///     name: "node-1".to_owned(),
///     bind: "192.0.2.1:7946".parse()?,
///     advertise: None,
///     settings: Settings::lan(),
///     key: Some(Key::from_secret(&std::fs::read("/etc/ml_secret_key/secretkey")?).into()),
///     label: String::new(),
///     meta: Vec::new(),
///     detection: Detection::off(),
///     permit: Default::default(),
/// };
/// let (members, mut events) = net::Members::spawn(options)?;
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
    orders: mpsc::UnboundedSender<Order>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Members {
    /// Opens the sockets and starts the thread, in a ring of one. Of the memberlist's events those that nobody takes are lost, beginning with
    /// the newest; what counts is in the [`Snapshot`]. When the thread ends, the channel of events does.
    pub fn spawn(options: Options) -> Result<(Self, Events), StartError> {
        let failed = |call| move |error| StartError::System { call, error };
        let Options { name, bind, advertise, settings, key, label, meta, detection, permit } =
            options;
        let (verify_incoming, verify_outgoing) =
            (settings.gossip_verify_incoming, settings.gossip_verify_outgoing);
        let envelope = Envelope::new(&label, key.clone(), verify_incoming, verify_outgoing)?;
        let seal = Seal { key, label, verify_incoming, verify_outgoing };
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
        let seed = moment::random().ok_or_else(|| io::Error::from(io::ErrorKind::Other));
        let ring = Config {
            name: name.into(),
            address,
            settings,
            meta,
            overhead: envelope.overhead(),
            seed: u64::from_ne_bytes(seed.map_err(failed("reading random octets"))?),
        };
        let config = AgentConfig { ring, detection };
        let (orders, queue) = mpsc::unbounded_channel();
        let (events, listener) = events::channel();
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
                    let ends = run::Ends { orders: queue, events, snapshots: publish, permit };
                    let runner = run::Runner::new(config, (envelope, seal), (udp, tcp), ends);
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
        Ok((Self { orders, snapshots, address, thread: Some(thread) }, listener))
    }

    /// Where the others reach us.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// As [`Command::Join`]. An [`Event::Contacted`](crate::Event::Contacted) tells of each how it went.
    pub fn join(&self, addresses: Vec<SocketAddr>) {
        self.order(Order::Command(Command::Join(addresses)));
    }

    /// Asks for something.
    ///
    /// # Errors
    /// When meta data is too long.
    pub fn command(&self, command: Command) -> Result<(), ConfigError> {
        if matches!(&command, Command::SetMeta(meta) if meta.len() > META) {
            return Err(ConfigError::Meta);
        }
        self.order(Order::Command(command));
        Ok(())
    }

    /// Seals and opens by these keys from now, heartbeats too. It does nothing where there was no key.
    pub fn set_keys(&self, keys: Keyring) {
        self.order(Order::Keys(keys));
    }

    /// What is known at the moment.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
    }

    /// Tells the others that we leave, and waits until they have heard it, or as long as given. Whether they have. It blocks.
    pub fn leave(&self, timeout: Duration) -> bool {
        let (done, wait) = sync_channel(1);
        self.order(Order::Leave(done));
        wait.recv_timeout(timeout).is_ok()
    }

    fn order(&self, order: Order) {
        // The other end is gone only when the thread has panicked, which is told when it is joined.
        drop(self.orders.send(order));
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.order(Order::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the ring had panicked");
        }
    }
}
