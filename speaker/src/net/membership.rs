// SPDX-License-Identifier: Apache-2.0
//! What the task that decides does with the ring: who takes part, when this node may speak, and moves that lose nothing. The same for
//! the program `speaker` and for `ferrolb run`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::net::rounds;
use cluster::{Dirty, Snapshot};
use members::Standing;
use members::net::Cause;

use super::clock::now;
use super::layer2::Layer2Driver;
use super::ring::{RingDriver, RingEvent, time};
use crate::blockage::{Blockage, Blocked};
use crate::metrics::MembershipMetrics;
use crate::postponed::Postponed;
use crate::register::Listed;
use crate::speaker::Output;

/// How long MetalLB's speakers get to take over from one that has left, which they do not say.
const METALLB: Duration = Duration::from_millis(300);

/// The ring, and what follows from it.
pub struct Membership {
    /// The ring itself.
    pub ring: RingDriver,
    /// The standing that was told last.
    standing: Standing,
    /// Where speakers are by what the API says.
    found: Vec<SocketAddr>,
    /// The nodes of those that are listed, by the addresses of their pods.
    listed: BTreeMap<IpAddr, Arc<str>>,
    blockage: Blockage,
    /// What L2 is still to decide.
    postponed: Postponed,
    metrics: Option<MembershipMetrics>,
}

impl Membership {
    /// Of a ring that has just been started, or of none. The gauges show how it is.
    #[must_use]
    pub fn new(ring: RingDriver, metrics: Option<MembershipMetrics>) -> Self {
        let standing = ring.attendance().standing();
        let (found, listed, blockage, postponed) = Default::default();
        let membership = Self { metrics, ring, standing, found, listed, blockage, postponed };
        membership.measure();
        membership
    }

    fn measure(&self) {
        if let Some(metrics) = &self.metrics {
            let attendance = self.ring.attendance();
            let standing = attendance.standing();
            metrics.set(attendance.others() + 1, (!standing.speaks()).then(|| standing.name()));
            metrics.set_blocked(self.blockage.is_blocked());
            let counts = self.ring.refused().counts;
            let count = |cause: Cause| counts.get(&cause).copied().unwrap_or(0);
            metrics.set_refused(Cause::ALL.iter().map(|cause| (cause.name(), count(*cause))));
        }
    }

    /// Whether addresses may be moving because the members have just changed.
    #[must_use]
    pub fn just_changed(&self) -> bool {
        self.ring.participation().just_changed(now())
    }

    /// Whether what goes to another speaker is to be answered for until that one claims it: not after a time in which this node
    /// was not to speak.
    fn passes(&self) -> bool {
        self.ring.attendance().passes()
    }

    /// A link of this node changed.
    pub fn note_links(&mut self) {
        self.ring.with(|participation| participation.note_links());
    }

    /// The ring has something to say.
    pub fn handle(&mut self, event: RingEvent, driver: &mut Layer2Driver) {
        let claims = self.ring.handle(event);
        if !claims.is_empty() {
            driver.claimed(&claims);
        }
        let standing = self.ring.attendance().standing();
        if standing != self.standing {
            self.standing = standing;
            self.tell_standing(standing);
        }
        if let Some(blocked) = self.blockage.set_unheard(self.ring.unheard()) {
            self.tell_blocked(&blocked);
        }
        self.look(false);
        self.measure();
    }

    /// Whether the port seems to be blocked; `awaited`: whether those that are listed have had their time to answer.
    fn look(&mut self, awaited: bool) {
        let attendance = self.ring.attendance();
        let (speaks, others) = (attendance.standing().speaks(), attendance.others());
        let listed = !self.found.is_empty();
        let theirs: BTreeSet<IpAddr> =
            self.found.iter().map(|address| address.ip().to_canonical()).collect();
        // Anybody can send nonsense in the name of one that is in the ring with this node.
        let is_met = |address: &IpAddr| {
            self.listed.get(address).is_some_and(|node| attendance.members().contains(node))
        };
        let refused = self.ring.refused().other_key.into_iter();
        let other_key =
            refused.filter(|address| theirs.contains(address) && !is_met(address)).collect();
        if let Some(blocked) = self.blockage.set_other_key(other_key) {
            self.tell_blocked(&blocked);
        }
        if let Some(blocked) = self.blockage.look(now(), speaks, others, listed, awaited) {
            self.tell_blocked(&blocked);
            self.measure();
        }
    }

    fn tell_blocked(&self, blocked: &Blocked) {
        match blocked {
            Blocked::OtherKey(speakers) if speakers.is_empty() => {
                tracing::info!(
                    event = "memberlistKeyAgrees",
                    "what the listed speakers send can be opened"
                );
            }
            Blocked::OtherKey(speakers) => {
                tracing::error!(
                    event = "memberlistKeyDiffers",
                    ?speakers,
                    "what these speakers send is not sealed by a key of this node: they have another memberlist key, and are not in one ring with it"
                );
            }
            Blocked::Everybody if self.blockage.has_other_key() => {
                tracing::error!(event = "memberlistBlocked", speakers = ?self.found,
                    "no other speaker answers that has this node's memberlist key, although there should be some. This node announces as if it were alone");
            }
            Blocked::Everybody => {
                tracing::error!(event = "memberlistBlocked", speakers = ?self.found,
                    "no other speaker answers, although there should be some: is the memberlist's port (7946 over UDP and TCP) blocked? This node announces as if it were alone");
            }
            Blocked::Some(nodes) if nodes.is_empty() => {
                tracing::info!(
                    event = "memberlistOpen",
                    "all speakers that answer over TCP answer over UDP as well"
                );
            }
            Blocked::Some(nodes) => {
                tracing::error!(
                    event = "memberlistBlocked",
                    ?nodes,
                    "these nodes' speakers answer over TCP only: is the memberlist's port blocked over UDP (7946)? Whether they live is judged by the memberlist alone, which takes seconds"
                );
            }
            Blocked::Nobody => {
                tracing::info!(event = "memberlistOpen", "other speakers answer");
            }
        }
    }

    fn tell_standing(&mut self, standing: Standing) {
        match standing {
            Standing::Confirmed => {
                tracing::info!(
                    event = "standing",
                    standing = "confirmed",
                    "this node may announce by L2"
                );
                self.look(true);
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

    /// Where other speakers should be.
    pub fn find(&mut self, listed: &Listed) {
        self.ring.with(|participation| participation.find(now(), listed));
        self.found = listed.pods.iter().filter_map(|pod| pod.address).collect();
        let nodes = listed.pods.iter().filter_map(|pod| {
            Some((pod.address?.ip().to_canonical(), Arc::clone(pod.node.as_ref()?)))
        });
        self.listed = nodes.collect();
        self.look(false);
    }

    /// Whether a list of the speakers' pods would decide who counts.
    #[must_use]
    pub fn wants_list(&self) -> bool {
        self.ring.participation().wants_list(now())
    }

    /// Before a decision: what the members say, and what they are told.
    fn consider(&mut self, snapshot: &Snapshot, driver: &Layer2Driver, dirty: &mut Dirty) {
        self.ring.with(|participation| {
            participation.consider(now(), time(), snapshot, &driver.links(), dirty);
        });
        self.look(false);
    }

    /// Decides for L2, as [`Layer2Driver::reconcile`]; then this node speaks again, if it may. None while the ring has not been met:
    /// L2 waits, and gets later what is dirty now. Nothing else waits for the ring: what is dirty is for BGP to decide in any case.
    /// The log has the start of the round: its end is for the caller to say, by [`rounds::note_end`].
    pub fn decide(
        &mut self,
        snapshot: &Snapshot,
        driver: &mut Layer2Driver,
        dirty: &mut Dirty,
    ) -> Option<Vec<Output>> {
        if !self.postponed.admit(self.ring.attendance().is_starting(), dirty) {
            rounds::note_start(dirty);
            return None;
        }
        self.consider(snapshot, driver, dirty);
        rounds::note_start(dirty);
        let (members, passes) = (self.ring.attendance().members(), self.passes());
        let tenure = self.ring.participation().tenure();
        let (outputs, orders) =
            driver.reconcile(snapshot, dirty.clone(), members, tenure.as_ref(), passes);
        self.ring.with(|participation| participation.carried_out(&orders));
        self.resume(driver);
        Some(outputs)
    }

    /// After a decision: this node speaks again.
    fn resume(&mut self, driver: &mut Layer2Driver) {
        if self.ring.with(|participation| participation.decided()) {
            driver.claim_all();
        }
    }

    /// What the engine has announced can be claimed.
    pub fn claim(&mut self, number: u64, driver: &mut Layer2Driver) {
        let claims = driver.done(number);
        self.ring.with(|participation| participation.claim(claims));
    }

    /// When [`Self::expire`] is due.
    #[must_use]
    pub fn deadline(&self, driver: &Layer2Driver) -> Option<Instant> {
        let own = self.ring.participation().deadline(now());
        driver.deadline().into_iter().chain(own).min()
    }

    /// Does what has become due.
    pub fn expire(&mut self, snapshot: &Snapshot, driver: &mut Layer2Driver) {
        let unclaimed = driver.expire();
        self.ring.with(|participation| {
            participation.unclaimed(now(), &unclaimed);
            participation.expire(now(), time(), snapshot);
        });
    }

    /// This speaker is about to end. Whether what it announces passes to others now, who say when they have it; else all is done.
    pub async fn begin_to_leave(&mut self) -> bool {
        if self.ring.with(|participation| participation.begin_to_leave(time())) {
            return true;
        }
        self.ring.leave().await;
        tokio::time::sleep(METALLB).await;
        false
    }

    /// What was announced is with others: the ring hears that this speaker is gone.
    pub async fn leave(&mut self) {
        self.ring.leave().await;
    }
}
