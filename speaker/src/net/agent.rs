// SPDX-License-Identifier: Apache-2.0
//! The memberlist's thread as the deciding task sees it.
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
use members::net::{Events, LocalMember, Options as RingOptions, RingState, StartError};
use members::{Command, Detection, Event, Keyring, Settings, heartbeat};
use tokio::sync::mpsc;

use super::clock_reading::clock_reading;
use crate::core::Core;
use crate::options::Options;
use ownership::Modes;
use ownership::NodeMetadata;

/// The least time that a start waits for the ring.
const START_WAIT: Duration = Duration::from_secs(2);
/// The longest time that the message of this speaker's departure is gossiped: MetalLB's manifests leave two seconds for everything.
const DEPARTURE_TIME: Duration = Duration::from_millis(500);

/// The options that the ring is started with.
#[derive(Debug)]
pub struct MembershipOptions {
    /// The address to listen on, at which the others reach this node.
    pub bind: SocketAddr,
    /// The address at which the others reach this node, if that is known and differs from `bind`.
    pub advertise: Option<SocketAddr>,
    /// The ring's keys.
    pub key: Option<Keyring>,
    /// The ring's times and limits.
    pub settings: Settings,
    /// `--fence-two`.
    pub fence_two: bool,
    /// `--sticky` and `--spread`.
    pub modes: Modes,
    /// True if there is nobody to wait for at the start.
    pub alone: bool,
    /// The permit that the members' thread renews for the answering thread.
    pub permit: Permit,
}

/// The source of [`Event`]s.
pub struct AgentSignals {
    events: Events,
    departed: mpsc::UnboundedReceiver<()>,
}

/// The memberlist's thread, if there is one.
pub struct AgentDriver {
    ring: Option<LocalMember>,
    departed: mpsc::UnboundedSender<()>,
}

impl AgentDriver {
    /// A driver without a memberlist, which carries out nothing.
    #[must_use]
    pub fn disabled() -> Self {
        Self { ring: None, departed: mpsc::unbounded_channel().0 }
    }

    /// Opens the sockets and begins. The core returned is that of this member.
    ///
    /// # Errors
    /// The port cannot be had, with the kernel's error.
    pub fn start(
        membership: MembershipOptions,
        options: Options,
    ) -> Result<(Self, AgentSignals, Core), StartError> {
        let MembershipOptions { bind, advertise, key, settings, fence_two, modes, alone, permit } =
            membership;
        let node = Arc::clone(&options.node);
        let started = clock_reading();
        // The speaker answers for nothing until it has read the cluster's objects.
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
            fencing: options.fencing,
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
        let (ring, events) = LocalMember::spawn(ring_options)?;
        let mut core = Core::new(options, metadata, alone, started);
        core.handle_agent(clock_reading(), Event::MembersChanged, &ring.snapshot().members);
        let (departed, left) = mpsc::unbounded_channel();
        let signals = AgentSignals { events, departed: left };
        Ok((Self { ring: Some(ring), departed }, signals, core))
    }

    /// The members as they are known at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Arc<RingState> {
        self.ring.as_ref().map(LocalMember::snapshot).unwrap_or_default()
    }

    /// Seals and opens with these keys from now.
    pub(super) fn set_keys(&self, keys: Keyring) {
        if let Some(ring) = &self.ring {
            ring.set_keys(keys);
        }
    }

    /// Carries out one command; without a memberlist does nothing.
    pub(super) fn carry_out(&mut self, command: Command) {
        if command == Command::Leave {
            return self.leave();
        }
        let Some(ring) = &self.ring else { return };
        if let Err(error) = ring.command(command) {
            tracing::error!(%error, "the others cannot be told of this node's links");
        }
    }

    /// Leaves the ring. All members are told directly and at once; the gossip goes on for a moment.
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
    /// The next event; never, without a memberlist.
    pub async fn next(signals: &mut Option<Self>) -> Event {
        while let Some(Self { events, departed }) = signals {
            tokio::select! {
                biased;
                // The list of members shows the effect of the memberlist's own events, and the driver waits for the departure.
                Some(event) = events.recv() => if !event.is_of_memberlist() { return event },
                Some(()) = departed.recv() => return Event::Departed,
                // The thread has ended, and its driver with it.
                else => break,
            }
        }
        std::future::pending().await
    }
}
