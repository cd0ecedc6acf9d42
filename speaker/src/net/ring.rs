// SPDX-License-Identifier: Apache-2.0
//! Joins the speaker to the ring: who takes part, what each says of itself, and whether this node may speak at all.
//!
//! ```text
//!   pods, --join ──> join ──> ┌─ thread "members" ─┐ ──> permit ──> l2
//!   facts, claims ──────────> │ ring and heartbeat │ ──> members, notices, standing ──> RingDriver
//!                             └────────────────────┘
//! ```

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use l2::Permit;
use members::net::{Events, Members as Ring, Options as RingOptions, Refused, StartError};
use members::quorum::Fencing;
use members::{Detection, Keyring, Settings, heartbeat};

use super::clock::now;
use crate::attendance::Attendance;
use crate::participation::Participation;
use crate::roster::Facts;
use crate::tenure::Modes;

/// How long a start waits for the ring at least.
const START: Duration = Duration::from_secs(2);
/// How long the message that this speaker leaves is gossiped at most: MetalLB's manifests leave two seconds for everything.
const GOSSIP: Duration = Duration::from_millis(500);

/// What the ring is started with.
#[derive(Debug)]
pub struct MembershipOptions {
    /// The own node's name.
    pub node: Arc<str>,
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
    /// `--drain-on-cordon`.
    pub drain_on_cordon: bool,
    /// `--sticky` and `--spread`.
    pub modes: Modes,
    /// Whether there is nobody to wait for at the start.
    pub alone: bool,
    /// What the members' thread keeps for the answering thread.
    pub permit: Permit,
}

/// What comes from the members' thread.
pub use members::Event as RingEvent;

/// Where [`RingEvent`]s come from.
pub struct RingSignals(Events);

/// The ring, as the speaker uses it.
pub struct RingDriver {
    ring: Option<Ring>,
    participation: Participation,
    /// Members that answer over TCP, and of which no datagram comes.
    unheard: BTreeSet<Arc<str>>,
}

impl RingDriver {
    /// Without a ring: every known node counts as running a speaker.
    #[must_use]
    pub fn disabled(node: Arc<str>) -> Self {
        Self { participation: Participation::disabled(node), ring: None, unheard: BTreeSet::new() }
    }

    /// Opens the sockets and begins.
    ///
    /// # Errors
    /// When the port cannot be had, with what the kernel says.
    pub fn start(options: MembershipOptions) -> Result<(Self, RingSignals), StartError> {
        let MembershipOptions {
            node,
            bind,
            advertise,
            key,
            settings,
            fencing,
            fence_two,
            drain_on_cordon,
            modes,
            alone,
            permit,
        } = options;
        // It answers for nothing until it has read the cluster's objects.
        let Modes { sticky, spread } = modes;
        let facts = Facts { generation: time(), silent: true, sticky, spread, ..Facts::default() };
        let session = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), &node);
        let detection = Detection {
            heartbeat: heartbeat::Options::default(),
            fencing,
            fence_two,
            session,
            start_wait: START,
            alone,
            speaks: |metadata| Facts::decode(metadata).is_some(),
        };
        let options = RingOptions {
            name: (*node).to_owned(),
            bind,
            advertise,
            settings,
            key,
            label: String::new(),
            meta: facts.encode(),
            detection,
            permit: permit.share(),
        };
        let (ring, events) = Ring::spawn(options)?;
        let participation = Participation::new(node, facts, alone, drain_on_cordon);
        let mut driver = Self { ring: Some(ring), participation, unheard: BTreeSet::new() };
        driver.handle_members();
        driver.carry_out();
        Ok((driver, RingSignals(events)))
    }

    /// Who takes part, and whether this node may speak.
    #[must_use]
    pub fn attendance(&self) -> &Attendance {
        self.participation.attendance()
    }

    /// What follows from the ring.
    #[must_use]
    pub fn participation(&self) -> &Participation {
        &self.participation
    }

    /// Members that answer over TCP, and of which no datagram comes.
    #[must_use]
    pub fn unheard(&self) -> &BTreeSet<Arc<str>> {
        &self.unheard
    }

    /// Seals and opens by these keys from now.
    pub fn set_keys(&self, keys: Keyring) {
        if let Some(ring) = &self.ring {
            ring.set_keys(keys);
        }
    }

    /// What the ring's port refused.
    #[must_use]
    pub fn refused(&self) -> Refused {
        self.ring.as_ref().map(|ring| ring.snapshot().refused.clone()).unwrap_or_default()
    }

    /// Lets the ring do what follows from this.
    pub fn with<R>(&mut self, act: impl FnOnce(&mut Participation) -> R) -> R {
        let result = act(&mut self.participation);
        self.carry_out();
        result
    }

    /// Takes in what the ring has to say; returns the addresses that another speaker answers for from now.
    pub fn handle(&mut self, event: RingEvent) -> Vec<IpAddr> {
        let mut claims = Vec::new();
        match event {
            RingEvent::MembersChanged => self.handle_members(),
            RingEvent::Standing(standing) => {
                self.participation.handle_standing(now(), time(), standing);
                self.handle_members();
            }
            RingEvent::Notice { from, octets } => {
                if let Some(ring) = &self.ring {
                    let snapshot = ring.snapshot();
                    let members = snapshot.members.iter();
                    claims = self.participation.handle_notice(now(), from, &octets, members);
                }
            }
            RingEvent::Unheard(names) => self.unheard = names,
            RingEvent::Marked { name, mark } => {
                self.participation.handle_mark(now(), &name, mark);
            }
            _ => {}
        }
        self.carry_out();
        claims
    }

    /// Leaves the ring. All are told directly and at once; what is gossiped besides goes on for a moment.
    pub async fn leave(&mut self) {
        if let Some(ring) = self.ring.take() {
            let left = tokio::task::spawn_blocking(move || {
                ring.leave(GOSSIP);
                drop(ring);
            });
            // It fails only with the runtime.
            drop(left.await);
        }
    }

    fn handle_members(&mut self) {
        if let Some(ring) = &self.ring {
            self.participation.handle_members(now(), ring.snapshot().members.iter());
        }
    }

    fn carry_out(&mut self) {
        while let Some(command) = self.participation.poll() {
            let Some(ring) = &self.ring else { continue };
            if let Err(error) = ring.command(command) {
                tracing::error!(%error, "the others cannot be told of this node's links");
            }
        }
    }
}

impl RingSignals {
    /// The next one; never, without a ring.
    pub async fn next(signals: &mut Option<Self>) -> RingEvent {
        while let Some(Self(events)) = signals {
            match events.recv().await {
                // The members as they are say the same.
                Some(event) if event.is_of_memberlist() => {}
                Some(event) => return event,
                // The thread has ended, as it does when this speaker has left.
                None => break,
            }
        }
        std::future::pending().await
    }
}

/// Microseconds since 1970.
#[allow(
    clippy::disallowed_methods,
    reason = "this is the shell: the one place that reads the clock"
)]
pub(super) fn time() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
