// SPDX-License-Identifier: Apache-2.0
//! The memberlist's thread as the deciding task has it.
//!
//! ```text
//!   Command ──> AgentDriver ──> ┌─ thread "members" ─┐ ──> permit ──> l2
//!                               │       Agent        │ ──> AgentSignals ──> Event ──> Core
//!                               └────────────────────┘
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use l2::Permit;
use members::net::{Events, Members as Ring, Options as RingOptions, Snapshot, StartError};
use members::quorum::Fencing;
use members::{Command, Detection, Event, Keyring, Settings, heartbeat};
use tokio::sync::mpsc;

use super::clock_reading::clock_reading;
use crate::core::Core;
use crate::options::Options;
use ownership::Modes;
use ownership::NodeMetadata;

/// How long a start waits for the ring at least.
const START_WAIT: Duration = Duration::from_secs(2);
/// How long the message that this speaker leaves is gossiped at most: MetalLB's manifests leave two seconds for everything.
const DEPARTURE_TIME: Duration = Duration::from_millis(500);

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

/// Where [`Event`]s come from.
pub struct AgentSignals {
    events: Events,
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
        let started = clock_reading();
        // It answers for nothing until it has read the cluster's objects.
        let Modes { sticky, spread } = modes;
        let metadata = NodeMetadata {
            generation: started.wall,
            silent: true,
            sticky,
            spread,
            ..NodeMetadata::default()
        };
        let session = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), &node);
        let detection = Detection {
            heartbeat: heartbeat::Options::default(),
            fencing,
            fence_two,
            session,
            start_wait: START_WAIT,
            alone,
            speaks: |metadata| NodeMetadata::decode(metadata).is_some(),
        };
        let ring_options = RingOptions {
            name: (*node).to_owned(),
            bind,
            advertise,
            settings,
            key,
            label: String::new(),
            meta: metadata.encode(),
            detection,
            permit: permit.share(),
        };
        let (ring, events) = Ring::spawn(ring_options)?;
        let mut core = Core::new(options, metadata, alone, started);
        core.handle_agent(clock_reading(), Event::MembersChanged, &ring.snapshot().members);
        let (departed, left) = mpsc::unbounded_channel();
        let signals = AgentSignals { events, departed: left };
        Ok((Self { ring: Some(ring), departed }, signals, core))
    }

    /// What is known of the members at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.ring.as_ref().map(Ring::snapshot).unwrap_or_default()
    }

    /// Seals and opens by these keys from now.
    pub(super) fn set_keys(&self, keys: Keyring) {
        if let Some(ring) = &self.ring {
            ring.set_keys(keys);
        }
    }

    /// Carries out one command; without a memberlist nothing.
    pub(super) fn carry_out(&mut self, command: Command) {
        if command == Command::Leave {
            return self.leave();
        }
        let Some(ring) = &self.ring else { return };
        if let Err(error) = ring.command(command) {
            tracing::error!(%error, "the others cannot be told of this node's links");
        }
    }

    /// Leaves the ring. All are told directly and at once; what is gossiped besides goes on for a moment.
    fn leave(&mut self) {
        let Some(ring) = self.ring.take() else { return };
        let departed = self.departed.clone();
        tokio::task::spawn_blocking(move || {
            ring.leave(DEPARTURE_TIME);
            drop(ring);
            // The receiver lives as long as the program.
            let _ = departed.send(());
        });
    }
}

impl AgentSignals {
    /// The next one; never, without a memberlist.
    pub async fn next(signals: &mut Option<Self>) -> Event {
        while let Some(Self { events, departed }) = signals {
            tokio::select! {
                biased;
                // The members as they are say the same as the memberlist's own events, and the driver waits for the departure.
                Some(event) = events.recv() => if !event.is_of_memberlist() { return event },
                Some(()) = departed.recv() => return Event::Departed,
                // The thread has ended, and its driver with it.
                else => break,
            }
        }
        std::future::pending().await
    }
}
