// SPDX-License-Identifier: Apache-2.0
//! What the task that decides does with the ring: who takes part, when this node may speak, and moves that lose nothing. The same for
//! the program `speaker` and for `ferrolb run`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cluster::{Dirty, Snapshot};
use members::watch::Standing;

use super::layer2::Layer2Driver;
use super::ring::{RingDriver, RingEvent, RingSignal};
use crate::metrics::MembershipMetrics;
use crate::passage::MOVING;

/// How long MetalLB's speakers get to take over from one that has left, which they do not say.
const METALLB: Duration = Duration::from_millis(300);

/// The ring, and what follows from it.
pub struct Membership {
    /// The ring itself.
    pub ring: RingDriver,
    /// The members, or what they say of themselves, are others since it was last decided.
    changed: bool,
    changed_at: Option<Instant>,
    links_changed: bool,
    /// Where speakers are by what the API says.
    found: Vec<SocketAddr>,
    blocked: bool,
    /// Of the snapshot, when it was last considered.
    readiness: u64,
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
            links_changed: true,
            found: Vec::new(),
            blocked: false,
            readiness: 0,
        };
        membership.measure();
        membership
    }

    fn measure(&self) {
        if let Some(metrics) = &self.metrics {
            let attendance = self.ring.attendance();
            let standing = attendance.standing();
            metrics.set(attendance.others() + 1, (!standing.speaks()).then(|| standing.name()));
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
        self.ring.attendance().passes()
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
            }
            RingSignal::Standing(standing) => self.take_standing(standing),
            RingSignal::Claims(addresses) => driver.claimed(&addresses),
        }
    }

    fn take_standing(&mut self, standing: Standing) {
        self.changed = true;
        self.changed_at = Some(now());
        match standing {
            Standing::Confirmed => {
                tracing::info!(
                    event = "standing",
                    standing = "confirmed",
                    "this node may announce by L2"
                );
                if self.ring.attendance().others() == 0 && !self.found.is_empty() {
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
        if dirty.all || self.readiness != snapshot.readiness() {
            self.readiness = snapshot.readiness();
            self.consider_gone(snapshot);
        }
        if self.blocked && self.ring.attendance().others() > 0 {
            self.blocked = false;
            tracing::info!(event = "memberlistOpen", "other speakers answer");
        }
    }

    /// Nodes that the API does not know any more, or not as ready for a minute.
    fn consider_gone(&mut self, snapshot: &Snapshot) {
        let gone = self.ring.attendance_mut().gone(now(), snapshot.nodes());
        self.ring.tell_gone(gone);
    }

    /// After a decision: this node speaks again.
    pub fn resume(&mut self, driver: &mut Layer2Driver) {
        if self.ring.attendance_mut().take_resuming() {
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
        let attendance = self.ring.attendance().deadline(now());
        driver.deadline().into_iter().chain(attendance).min()
    }

    /// Does what has become due.
    pub fn expire(&mut self, snapshot: &Snapshot, driver: &mut Layer2Driver) {
        driver.expire();
        let lost = self.ring.attendance_mut().rejoin(now());
        self.ring.join(lost);
        self.consider_gone(snapshot);
    }

    /// This speaker is about to end. Whether what it announces passes to others now, who say when they have it; else all is done.
    pub async fn begin_to_leave(&mut self) -> bool {
        if self.ring.attendance().members().is_mixed() {
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
