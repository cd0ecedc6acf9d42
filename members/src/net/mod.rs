// SPDX-License-Identifier: Apache-2.0
//! The shell around an [`Agent`](crate::Agent): one thread with a runtime of its own, so that nothing else delays answers to pings. The
//! thread lives in the network namespace of the thread that started it.
//!
//! ```text
//!   LocalMember (any thread)         Runner (thread "members", one)
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

/// The stack of the thread in octets; the thread does not recurse.
const STACK: usize = 512 * 1024;

/// The options with which a member begins.
#[derive(Clone, Debug)]
pub struct Options {
    /// The member's name, which no other member of the ring has; MetalLB takes the node's.
    pub name: String,
    /// The address on which the member listens, over UDP and TCP; port 0 takes any. MetalLB's port is 7946.
    pub bind: SocketAddr,
    /// The address that the others are told instead of `bind`. If `bind` is unspecified and this is none, a private address of the host is
    /// told.
    pub advertise: Option<SocketAddr>,
    /// The times and numbers of the memberlist.
    pub settings: Settings,
    /// The keys of the ring. Without a key nothing is encrypted, and any station that reaches the port can be a member.
    pub key: Option<Keyring>,
    /// The label of the ring; MetalLB has none.
    pub label: String,
    /// The metadata of this member; 512 octets at most.
    pub meta: Vec<u8>,
    /// The options for finding dead members, and for silencing this one.
    pub detection: Detection,
    /// The time until which this member may answer, kept up to date, in nanoseconds of `CLOCK_BOOTTIME`; the greatest number means for ever.
    pub permit: Arc<AtomicU64>,
}

/// The reason why a member could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernel refused something.
    #[error("cannot take part in the ring: {call} failed: {error}")]
    System {
        /// The call that failed.
        call: &'static str,
        /// The kernel's error.
        #[source]
        error: io::Error,
    },
    /// The member listens on every address, and none of them can be told to the others.
    #[error(
        "cannot take part in the ring: {0} is no address at which the others reach this host, and it has no private address of that family (RFC 1918, 6598, 4193): give the address to listen on"
    )]
    NoAddress(IpAddr),
    /// The name or the metadata is impossible.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The label is impossible.
    #[error(transparent)]
    Label(#[from] LabelTooLong),
}

/// The state of the ring as it is known at the moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingState {
    /// All members by name, this one and the dead ones that are still remembered included.
    pub members: Vec<Member>,
    /// Zero if this member does well; the higher, the more answers it has missed.
    pub health_score: u32,
    /// The number of packets and messages that could not be read, those with a wrong key or label among them.
    pub discarded: u64,
    /// The messages that the port refused.
    pub refused: Refused,
}

/// An order of a caller to the thread.
#[derive(Debug)]
enum Order {
    Command(Command),
    Keys(Keyring),
    /// Leave, and report when the others have been told.
    Leave(SyncSender<()>),
    Stop,
}

/// This member of a ring. Dropping the value ends the thread without leaving, as a crash would.
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
/// let (members, mut events) = net::LocalMember::spawn(options)?;
/// members.join(vec!["192.0.2.2:7946".parse()?]);
/// while let Some(event) = events.blocking_recv() {
///     println!("{event:?}, {} members", members.snapshot().members.len());
/// }
/// members.leave(std::time::Duration::from_secs(1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LocalMember {
    orders: mpsc::UnboundedSender<Order>,
    snapshots: watch::Receiver<Arc<RingState>>,
    address: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl LocalMember {
    /// Opens the sockets and starts the thread, in a ring of one. If nobody takes the memberlist's events, they are lost, beginning with the
    /// newest; the [`RingState`] shows their effect. The channel of events ends with the thread.
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
        // The runtime begins in the thread too, and ends there if a later step fails: it could not always be dropped in the caller's runtime.
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

    /// The address at which the others reach this member.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// As [`Command::Join`]. An [`Event::Contacted`](crate::Event::Contacted) tells the result for each address.
    pub fn join(&self, addresses: Vec<SocketAddr>) {
        self.order(Order::Command(Command::Join(addresses)));
    }

    /// Gives the agent a command.
    ///
    /// # Errors
    /// The metadata is too long.
    pub fn command(&self, command: Command) -> Result<(), ConfigError> {
        if matches!(&command, Command::SetMeta(meta) if meta.len() > META) {
            return Err(ConfigError::Meta);
        }
        self.order(Order::Command(command));
        Ok(())
    }

    /// Seals and opens with these keys from now, heartbeats too. Does nothing where there was no key.
    pub fn set_keys(&self, keys: Keyring) {
        self.order(Order::Keys(keys));
    }

    /// The state of the ring as it is known at the moment.
    #[must_use]
    pub fn snapshot(&self) -> Arc<RingState> {
        Arc::clone(&self.snapshots.borrow())
    }

    /// Tells the others that this member leaves, and waits until they have heard it, `timeout` at most. Returns true if they have. The call
    /// blocks.
    pub fn leave(&self, timeout: Duration) -> bool {
        let (done, wait) = sync_channel(1);
        self.order(Order::Leave(done));
        wait.recv_timeout(timeout).is_ok()
    }

    fn order(&self, order: Order) {
        // The other end is gone only when the thread has panicked, which is told when the thread is joined.
        drop(self.orders.send(order));
    }
}

impl Drop for LocalMember {
    fn drop(&mut self) {
        self.order(Order::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the ring had panicked");
        }
    }
}
