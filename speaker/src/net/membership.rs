// SPDX-License-Identifier: Apache-2.0
//! What the task that decides does with the ring: who takes part, when this node may speak, and moves that lose nothing. The same for
//! the program `speaker` and for `ferrolb run`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::{Dirty, Snapshot};
use members::watch::Standing;

use super::layer2::Layer2Driver;
use super::ring::{RingDriver, RingEvent, RingSignal};
use crate::metrics::MembershipMetrics;

/// After this time without being ready a node's speaker no longer counts, if it is silent as well.
const NOT_READY: Duration = Duration::from_secs(60);
/// How long after a change of the members two may announce one address.
const MOVING: Duration = Duration::from_secs(2);
/// How long the addresses of those that died are tried again, and how often.
const LOST: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(2));
/// How long MetalLB's speakers get to take over from one that has left, which they do not say.
const METALLB: Duration = Duration::from_millis(300);

/// The ring, and what follows from it.
pub struct Membership {
    /// The ring itself.
    pub ring: RingDriver,
    /// The members, or what they say of themselves, are others since it was last decided.
    changed: bool,
    changed_at: Option<Instant>,
    /// This node may speak again, and has not looked at everything since.
    resuming: bool,
    links_changed: bool,
    not_ready: BTreeMap<Arc<str>, Instant>,
    /// Where speakers are by what the API says.
    found: Vec<SocketAddr>,
    next_join: Option<Instant>,
    blocked: bool,
    metrics: Option<MembershipMetrics>,
}

impl Membership {
    /// Of a ring that has just been started, or of none. The gauges show how it is.
    #[must_use]
    pub fn new(ring: RingDriver, metrics: Option<MembershipMetrics>) -> Self {
        let membership = Self {
            metrics,
            ring,
            changed: false,
            changed_at: None,
            resuming: false,
            links_changed: true,
            not_ready: BTreeMap::new(),
            found: Vec::new(),
            next_join: None,
            blocked: false,
        };
        membership.measure();
        membership
    }

    fn measure(&self) {
        if let Some(metrics) = &self.metrics {
            let standing = self.ring.standing();
            metrics.set(self.ring.others() + 1, (!standing.speaks()).then(|| standing.name()));
        }
    }

    /// Whether addresses may be moving because the members have just changed.
    #[must_use]
    pub fn just_changed(&self) -> bool {
        self.changed_at.is_some_and(|at| at.elapsed() < MOVING)
    }

    /// Whether what goes to another speaker is to be answered for until that one claims it: not after a time in which this node
    /// was not to speak.
    #[must_use]
    pub fn passes(&self) -> bool {
        !self.resuming && self.ring.standing().speaks()
    }

    /// A link of this node changed.
    pub fn note_links(&mut self) {
        self.links_changed = true;
    }

    /// The ring has something to say.
    pub fn handle(&mut self, event: RingEvent, driver: &mut Layer2Driver) {
        let Some(signal) = self.ring.handle(event) else { return };
        self.measure();
        match signal {
            RingSignal::Members => {
                self.changed = true;
                self.changed_at = Some(now());
                if self.ring.lost().next().is_some() {
                    self.next_join.get_or_insert(now());
                }
            }
            RingSignal::Standing(standing) => self.take_standing(standing),
            RingSignal::Claims(addresses) => driver.claimed(&addresses),
        }
    }

    fn take_standing(&mut self, standing: Standing) {
        self.changed = true;
        self.changed_at = Some(now());
        self.resuming = standing.speaks();
        match standing {
            Standing::Confirmed => {
                tracing::info!(
                    event = "standing",
                    standing = "confirmed",
                    "this node may announce by L2"
                );
                if self.ring.others() == 0 && !self.found.is_empty() {
                    self.blocked = true;
                    tracing::error!(event = "memberlistBlocked", speakers = ?self.found,
                        "no other speaker answers, although there should be some: is the memberlist's port (7946 over UDP and TCP) blocked? This node announces as if it were alone");
                }
            }
            Standing::Starting => {}
            Standing::Doubtful => {
                tracing::warn!(
                    event = "standing",
                    standing = "doubtful",
                    "this node is silent until the other speakers confirm that they see it alive"
                );
            }
            Standing::Minority { present, known } => {
                tracing::error!(
                    event = "standing",
                    standing = "minority",
                    present,
                    known,
                    "this node is silent: it sees fewer than half of the speakers"
                );
            }
        }
    }

    /// Where other speakers should be, and whether there are any.
    pub fn find(&mut self, addresses: Vec<SocketAddr>, any: bool) {
        if !any {
            self.ring.alone();
        }
        self.ring.join(addresses.iter().copied());
        self.found = addresses;
    }

    /// Before a decision: what the members say, and what they are told.
    pub fn consider(&mut self, snapshot: &Snapshot, driver: &Layer2Driver, dirty: &mut Dirty) {
        if dirty.all || std::mem::take(&mut self.links_changed) {
            dirty.all |= self.ring.tell_links(snapshot, &driver.links());
        }
        dirty.all |= std::mem::take(&mut self.changed);
        if dirty.all {
            self.consider_gone(snapshot);
        }
        if self.blocked && self.ring.others() > 0 {
            self.blocked = false;
            tracing::info!(event = "memberlistOpen", "other speakers answer");
        }
    }

    /// Nodes that the API does not know any more, or not as ready for a minute.
    fn consider_gone(&mut self, snapshot: &Snapshot) {
        let nodes = snapshot.nodes();
        let current = now();
        self.not_ready.retain(|name, _| nodes.get(name).is_some_and(|node| !node.ready));
        for (name, _) in nodes.iter().filter(|(_, node)| !node.ready) {
            self.not_ready.entry(Arc::clone(name)).or_insert(current);
        }
        let not_ready = &self.not_ready;
        let gone: BTreeSet<Arc<str>> = self
            .ring
            .seen()
            .filter(|name| {
                let long = not_ready.get(*name).is_some_and(|since| current >= *since + NOT_READY);
                !nodes.contains_key(*name) || long
            })
            .cloned()
            .collect();
        self.ring.tell_gone(gone);
    }

    /// After a decision: this node speaks again.
    pub fn resume(&mut self, driver: &mut Layer2Driver) {
        if std::mem::take(&mut self.resuming) {
            self.ring.resume();
            driver.claim_all();
        }
    }

    /// What the engine has announced can be claimed.
    pub fn claim(&mut self, number: u64, driver: &mut Layer2Driver) {
        self.ring.claim(driver.done(number));
    }

    /// When [`Self::expire`] is due.
    #[must_use]
    pub fn deadline(&self, driver: &Layer2Driver) -> Option<Instant> {
        let not_ready = self.not_ready.values().min().map(|since| *since + NOT_READY);
        let not_ready = not_ready.filter(|at| *at > now());
        [driver.deadline(), not_ready, self.next_join].into_iter().flatten().min()
    }

    /// Does what has become due.
    pub fn expire(&mut self, snapshot: &Snapshot, driver: &mut Layer2Driver) {
        let current = now();
        driver.expire();
        if self.next_join.is_some_and(|at| at <= current) {
            self.ring.forget_lost(LOST.0);
            let lost: Vec<SocketAddr> = self.ring.lost().collect();
            self.next_join = (!lost.is_empty()).then(|| current + LOST.1);
            self.ring.join(lost);
        }
        self.consider_gone(snapshot);
    }

    /// This speaker is about to end. Whether what it announces passes to others now, who say when they have it; else all is done.
    pub async fn begin_to_leave(&mut self) -> bool {
        if self.ring.members().is_mixed() {
            self.ring.leave().await;
            tokio::time::sleep(METALLB).await;
            return false;
        }
        self.ring.tell_leaving();
        self.changed = true;
        true
    }

    /// What was announced is with others: the ring hears that this speaker is gone.
    pub async fn leave(&mut self) {
        self.ring.leave().await;
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "this is the shell: the one place that reads the clock"
)]
fn now() -> Instant {
    Instant::now()
}
