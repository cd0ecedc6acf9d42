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
use std::time::{Duration, Instant, SystemTime};

use cluster::Snapshot;
use l2::{LinkReport, Permit};
use members::heartbeat;
use members::net::{
    CompanionCommand, Heartbeat, HeartbeatEvent, HeartbeatOptions, Members as Ring,
    Options as RingOptions, Snapshot as RingSnapshot, StartError,
};
use members::quorum::Fencing;
use members::watch::{Standing, WatchOptions};
use members::{Key, Settings, State};
use tokio::sync::{mpsc, watch};

use crate::attendance::Attendance;
use crate::claims::Told;
use crate::roster::{Facts, PoolLinks, PoolOrder};

/// How long a start waits for the ring.
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
    /// The ring's key.
    pub key: Option<Key>,
    /// The ring's times.
    pub settings: Settings,
    /// `--fencing`.
    pub fencing: Fencing,
    /// `--fence-two`.
    pub fence_two: bool,
    /// Whether there is nobody to wait for at the start.
    pub alone: bool,
    /// What the members' thread keeps for the answering thread.
    pub permit: Permit,
}

/// What the ring has to say.
#[derive(Debug)]
pub enum RingSignal {
    /// The members are others, or say something else of themselves.
    Members,
    /// Whether this node may speak is another.
    Standing(Standing),
    /// Another speaker answers for these addresses now.
    Claims(Vec<IpAddr>),
}

/// Where [`RingSignal`]s come from.
pub struct RingSignals {
    snapshots: watch::Receiver<Arc<RingSnapshot>>,
    told: mpsc::UnboundedReceiver<HeartbeatEvent>,
}

/// The ring, as the speaker uses it.
pub struct RingDriver {
    node: Arc<str>,
    ring: Option<Ring>,
    attendance: Attendance,
    gone: BTreeSet<Arc<str>>,
}

impl RingDriver {
    /// Without a ring: every known node counts as running a speaker.
    #[must_use]
    pub fn disabled(node: Arc<str>) -> Self {
        Self {
            attendance: Attendance::disabled(Arc::clone(&node)),
            node,
            ring: None,
            gone: BTreeSet::new(),
        }
    }

    /// Opens the sockets and begins.
    ///
    /// # Errors
    /// When the port cannot be had, with what the kernel says.
    pub fn start(options: MembershipOptions) -> Result<(Self, RingSignals), StartError> {
        let MembershipOptions { node, bind, key, settings, fencing, fence_two, alone, permit } =
            options;
        let (sender, told) = mpsc::unbounded_channel();
        let facts = Facts { generation: generation(0), ..Facts::default() };
        let session = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), &node);
        let heartbeat = Heartbeat::new(
            HeartbeatOptions {
                watch: WatchOptions {
                    name: Arc::clone(&node),
                    heartbeat: heartbeat::Options::default(),
                    fencing,
                    fence_two,
                    session,
                    start_wait: START,
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
            now(),
        );
        let options = RingOptions {
            name: (*node).to_owned(),
            bind,
            advertise: None,
            settings,
            key,
            label: String::new(),
            meta: facts.encode(),
        };
        let (ring, _) = Ring::spawn(options, Some(Box::new(heartbeat)))?;
        let snapshots = ring.watch();
        if alone {
            ring.companion(CompanionCommand::Resume);
        }
        let attendance = Attendance::new(Arc::clone(&node), facts, alone);
        let mut driver = Self { node, ring: Some(ring), attendance, gone: BTreeSet::new() };
        driver.count();
        Ok((driver, RingSignals { snapshots, told }))
    }

    /// Who takes part, and whether this node may speak.
    #[must_use]
    pub fn attendance(&self) -> &Attendance {
        &self.attendance
    }

    /// As [`Self::attendance`], to change it.
    pub fn attendance_mut(&mut self) -> &mut Attendance {
        &mut self.attendance
    }

    /// Takes in what the ring has to say; what concerns others is returned.
    pub fn handle(&mut self, event: RingEvent) -> Option<RingSignal> {
        match event {
            RingEvent::Snapshot => self.count().then_some(RingSignal::Members),
            RingEvent::Heartbeat(HeartbeatEvent::Standing(standing)) => {
                self.attendance.take_standing(standing);
                self.count();
                Some(RingSignal::Standing(standing))
            }
            RingEvent::Heartbeat(HeartbeatEvent::Notice { from, octets }) => {
                match Told::decode(&octets)? {
                    Told::Facts(facts) => {
                        self.attendance.take_facts(from, facts);
                        self.count().then_some(RingSignal::Members)
                    }
                    Told::Claims(addresses) => Some(RingSignal::Claims(addresses)),
                }
            }
            RingEvent::Heartbeat(HeartbeatEvent::Marked { .. }) => None,
        }
    }

    /// The speaker has looked at everything as it is now that it may speak.
    pub fn resume(&self) {
        self.command(CompanionCommand::Resume);
    }

    /// There is no other speaker to wait for.
    pub fn alone(&self) {
        self.command(CompanionCommand::Alone);
    }

    /// Joins whoever listens there and is no member.
    pub fn join(&self, addresses: impl IntoIterator<Item = SocketAddr>) {
        let Some(ring) = &self.ring else { return };
        let snapshot = ring.snapshot();
        let known = |address: &SocketAddr| {
            *address == ring.address()
                || snapshot.members.iter().any(|member| {
                    member.address == *address
                        && matches!(member.state, State::Alive | State::Suspect)
                })
        };
        let strangers: Vec<SocketAddr> =
            addresses.into_iter().filter(|address| !known(address)).collect();
        if !strangers.is_empty() {
            ring.join(strangers);
        }
    }

    /// Tells the others for which pools this node has a link; whether that is something new.
    pub fn tell_links(&mut self, snapshot: &Snapshot, links: &[LinkReport]) -> bool {
        if self.ring.is_none() {
            return false;
        }
        let config = snapshot.config();
        let pools = PoolOrder::of(config);
        let node = snapshot.nodes().get(&self.node);
        let links = PoolLinks::of(&pools, config, links, |advertisement| {
            node.is_some_and(|node| advertisement.selects_node(&node.labels))
        });
        if links == self.attendance.facts().links {
            return false;
        }
        self.tell(Facts { links, ..self.attendance.facts().clone() });
        true
    }

    /// Tells the others that this speaker is about to end.
    pub fn tell_leaving(&mut self) {
        self.tell(Facts { leaving: true, ..self.attendance.facts().clone() });
    }

    /// Tells the others which addresses are answered for here from now.
    pub fn claim(&self, addresses: Vec<IpAddr>) {
        for octets in Told::Claims(addresses).encode() {
            self.command(CompanionCommand::Notify { to: None, octets });
        }
    }

    /// Tells the heartbeat of whom the API says that they are no nodes any more, or not ready for long.
    pub fn tell_gone(&mut self, gone: BTreeSet<Arc<str>>) {
        if self.gone != gone {
            self.gone.clone_from(&gone);
            self.command(CompanionCommand::Gone(gone));
        }
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

    fn tell(&mut self, facts: Facts) {
        let facts = Facts { generation: generation(self.attendance.facts().generation), ..facts };
        self.attendance.set_facts(facts.clone());
        if let Some(ring) = &self.ring {
            for octets in Told::Facts(facts.clone()).encode() {
                ring.companion(CompanionCommand::Notify { to: None, octets });
            }
            if let Err(error) = ring.set_meta(facts.encode()) {
                tracing::error!(%error, "the others cannot be told of this node's links");
            }
        }
        self.count();
    }

    fn command(&self, command: CompanionCommand) {
        if let Some(ring) = &self.ring {
            ring.companion(command);
        }
    }

    /// Counts the members anew; whether they are others.
    fn count(&mut self) -> bool {
        let Some(ring) = &self.ring else { return false };
        self.attendance.count(now(), ring.snapshot().members.iter())
    }
}

/// What comes from the members' thread.
#[derive(Debug)]
pub enum RingEvent {
    /// The members are others.
    Snapshot,
    /// The heartbeat tells something.
    Heartbeat(HeartbeatEvent),
}

impl RingSignals {
    /// The next one; never, without a ring.
    pub async fn next(signals: &mut Option<Self>) -> RingEvent {
        let Some(signals) = signals else { return std::future::pending().await };
        let event = tokio::select! {
            biased;
            Some(told) = signals.told.recv() => Some(RingEvent::Heartbeat(told)),
            Ok(()) = signals.snapshots.changed() => Some(RingEvent::Snapshot),
            else => None,
        };
        match event {
            Some(event) => event,
            // The thread has ended, as it does when this speaker has left.
            None => std::future::pending().await,
        }
    }
}

/// Microseconds since 1970, and more than before.
#[allow(
    clippy::disallowed_methods,
    reason = "this is the shell: the one place that reads the clock"
)]
fn generation(before: u64) -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX).max(before.saturating_add(1))
}

#[allow(
    clippy::disallowed_methods,
    reason = "this is the shell: the one place that reads the clock"
)]
fn now() -> Instant {
    Instant::now()
}
