// SPDX-License-Identifier: Apache-2.0
//! The memberlist's thread as the deciding task has it.
//!
//! ```text
//!   RingCommand ──> AgentDriver ──> ┌─ thread "members" ─┐ ──> permit ──> l2
//!                                   │ ring and heartbeat │ ──> AgentSignals ──> AgentSignal ──> Core
//!                                   └────────────────────┘
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use l2::Permit;
use members::heartbeat;
use members::net::{
    CompanionCommand, Heartbeat, HeartbeatEvent, HeartbeatOptions, Members as Ring,
    Options as RingOptions, Snapshot as RingSnapshot, StartError,
};
use members::quorum::Fencing;
use members::watch::WatchOptions;
use members::{Keyring, Settings};
use tokio::sync::{mpsc, watch};

use super::clock::moment;
use crate::core::{AgentEvent, Core};
use crate::options::Options;
use ownership::Facts;
use ownership::Modes;
use ownership::RingCommand;

/// How long a start waits for the ring at least.
const START_WAIT: Duration = Duration::from_secs(2);
/// How long the message that this speaker leaves is gossiped at most: MetalLB's manifests leave two seconds for everything.
const GOSSIP: Duration = Duration::from_millis(500);

/// What the ring is started with.
#[derive(Debug)]
pub struct MembershipOptions {
    /// Where to listen, and where the others reach this node.
    pub bind: SocketAddr,
    /// Where the others reach this node, if that is known and `bind` does not say it.
    pub advertise: Option<SocketAddr>,
    /// The ring's keys.
    pub key: Option<Keyring>,
    /// The ring's times.
    pub settings: Settings,
    /// `--fencing`.
    pub fencing: Fencing,
    /// `--fence-two`.
    pub fence_two: bool,
    /// `--sticky` and `--spread`.
    pub modes: Modes,
    /// Whether there is nobody to wait for at the start.
    pub alone: bool,
    /// What the members' thread keeps for the answering thread.
    pub permit: Permit,
}

/// Where [`AgentSignal`]s come from.
pub struct AgentSignals {
    snapshots: watch::Receiver<Arc<RingSnapshot>>,
    told: mpsc::UnboundedReceiver<HeartbeatEvent>,
    departed: mpsc::UnboundedReceiver<()>,
}

/// The memberlist's thread, if there is one.
pub struct AgentDriver {
    ring: Option<Ring>,
    departed: mpsc::UnboundedSender<()>,
}

impl AgentDriver {
    /// Without a memberlist: nothing is carried out.
    #[must_use]
    pub fn disabled() -> Self {
        Self { ring: None, departed: mpsc::unbounded_channel().0 }
    }

    /// Opens the sockets and begins. The core is that of this member.
    ///
    /// # Errors
    /// When the port cannot be had, with what the kernel says.
    pub fn start(
        membership: MembershipOptions,
        options: Options,
    ) -> Result<(Self, AgentSignals, Core), StartError> {
        let MembershipOptions {
            bind,
            advertise,
            key,
            settings,
            fencing,
            fence_two,
            modes,
            alone,
            permit,
        } = membership;
        let node = Arc::clone(&options.node);
        let (sender, told) = mpsc::unbounded_channel();
        let started = moment();
        // It answers for nothing until it has read the cluster's objects.
        let Modes { sticky, spread } = modes;
        let facts =
            Facts { generation: started.wall, silent: true, sticky, spread, ..Facts::default() };
        let session = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), &node);
        let heartbeat = Heartbeat::new(
            HeartbeatOptions {
                watch: WatchOptions {
                    name: Arc::clone(&node),
                    heartbeat: heartbeat::Options::default(),
                    fencing,
                    fence_two,
                    session,
                    start_wait: START_WAIT,
                },
                alone,
                key: key.clone(),
                accept_plain: !settings.gossip_verify_incoming,
                send_plain: !settings.gossip_verify_outgoing,
                label: String::new(),
                speaks: |metadata| Facts::decode(metadata).is_some(),
                permit: permit.share(),
                told: sender,
            },
            started.monotonic,
        );
        let ring_options = RingOptions {
            name: (*node).to_owned(),
            bind,
            advertise,
            settings,
            key,
            label: String::new(),
            meta: facts.encode(),
        };
        let (ring, _) = Ring::spawn(ring_options, Some(Box::new(heartbeat)))?;
        let snapshots = ring.watch();
        let mut core = Core::new(options, facts, alone, started);
        core.handle_agent(moment(), AgentEvent::Members, &ring.snapshot().members);
        let (departed, left) = mpsc::unbounded_channel();
        let signals = AgentSignals { snapshots, told, departed: left };
        Ok((Self { ring: Some(ring), departed }, signals, core))
    }

    /// What is known of the members at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Arc<RingSnapshot> {
        self.ring.as_ref().map(Ring::snapshot).unwrap_or_default()
    }

    /// Seals and opens by these keys from now.
    pub(super) fn set_keys(&self, keys: Keyring) {
        if let Some(ring) = &self.ring {
            ring.set_keys(keys);
        }
    }

    /// Carries out one command; without a memberlist nothing.
    pub(super) fn carry_out(&mut self, command: RingCommand) {
        let Some(ring) = &self.ring else { return };
        match command {
            RingCommand::Join(addresses) => {
                let others = addresses.into_iter().filter(|other| *other != ring.address());
                ring.join(others.collect());
            }
            RingCommand::SetMeta(meta) => {
                if let Err(error) = ring.set_meta(meta) {
                    tracing::error!(%error, "the others cannot be told of this node's links");
                }
            }
            RingCommand::Notify { to, octets } => {
                ring.companion(CompanionCommand::Notify { to, octets });
            }
            RingCommand::Mark(mark) => ring.companion(CompanionCommand::Mark(mark)),
            RingCommand::Gone(gone) => ring.companion(CompanionCommand::Gone(gone)),
            RingCommand::Forget(names) => ring.companion(CompanionCommand::Forget(names)),
            RingCommand::Expect(nodes) => ring.companion(CompanionCommand::Expected(nodes)),
            RingCommand::Alone => ring.companion(CompanionCommand::Alone),
            RingCommand::Resume => ring.companion(CompanionCommand::Resume),
            RingCommand::Leave => self.leave(),
        }
    }

    /// Leaves the ring. All are told directly and at once; what is gossiped besides goes on for a moment.
    fn leave(&mut self) {
        let Some(ring) = self.ring.take() else { return };
        let departed = self.departed.clone();
        tokio::task::spawn_blocking(move || {
            ring.leave(GOSSIP);
            drop(ring);
            // The receiver lives as long as the program.
            let _ = departed.send(());
        });
    }
}

/// What comes from the memberlist's thread.
#[derive(Debug)]
pub enum AgentSignal {
    /// The members are others.
    Snapshot,
    /// The heartbeat tells something.
    Heartbeat(HeartbeatEvent),
    /// The others have heard that this member leaves, or had their time to.
    Departed,
}

impl From<AgentSignal> for AgentEvent {
    fn from(signal: AgentSignal) -> Self {
        match signal {
            AgentSignal::Snapshot => Self::Members,
            AgentSignal::Departed => Self::Departed,
            AgentSignal::Heartbeat(HeartbeatEvent::Standing(standing)) => Self::Standing(standing),
            AgentSignal::Heartbeat(HeartbeatEvent::Marked { name, mark }) => {
                Self::Marked { name, mark }
            }
            AgentSignal::Heartbeat(HeartbeatEvent::Unheard(names)) => Self::Unheard(names),
            AgentSignal::Heartbeat(HeartbeatEvent::Notice { from, octets }) => {
                Self::Notice { from, octets }
            }
        }
    }
}

impl AgentSignals {
    /// The next one; never, without a memberlist.
    pub async fn next(signals: &mut Option<Self>) -> AgentSignal {
        let Some(signals) = signals else { return std::future::pending().await };
        let signal = tokio::select! {
            biased;
            Some(told) = signals.told.recv() => Some(AgentSignal::Heartbeat(told)),
            Ok(()) = signals.snapshots.changed() => Some(AgentSignal::Snapshot),
            Some(()) = signals.departed.recv() => Some(AgentSignal::Departed),
            else => None,
        };
        match signal {
            Some(signal) => signal,
            // The thread has ended, and its driver with it.
            None => std::future::pending().await,
        }
    }
}
