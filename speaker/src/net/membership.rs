// SPDX-License-Identifier: Apache-2.0
//! What the speaker's task does with the ring: who takes part, when this node may speak, and moves that lose nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::Dirty;
use members::watch::Standing;
use tokio::sync::mpsc;

use super::layer2::MOVING;
use super::ring::{RingDriver, RingEvent, RingSignal, RingSignals};
use super::run::until;
use super::shell::Shell;

/// After this time without being ready a node's speaker no longer counts, if it is silent as well.
const NOT_READY: Duration = Duration::from_secs(60);
/// How long the addresses of those that died are tried again, and how often.
const LOST: (Duration, Duration) = (Duration::from_secs(300), Duration::from_secs(2));
/// How long MetalLB's speakers get to take over from one that has left, which they do not say.
const METALLB: Duration = Duration::from_millis(300);

/// The ring, and what follows from it.
pub(super) struct Membership {
    pub(super) ring: RingDriver,
    /// The members, or what they say of themselves, are others since it was last decided.
    changed: bool,
    changed_at: Option<Instant>,
    /// This node may speak again, and has not looked at everything since.
    pub(super) resuming: bool,
    pub(super) links_changed: bool,
    not_ready: BTreeMap<Arc<str>, Instant>,
    /// Where speakers are by what the API says.
    found: Vec<SocketAddr>,
    next_join: Option<Instant>,
    blocked: bool,
}

impl Membership {
    pub(super) fn new(ring: RingDriver) -> Self {
        Self {
            ring,
            changed: false,
            changed_at: None,
            resuming: false,
            links_changed: true,
            not_ready: BTreeMap::new(),
            found: Vec::new(),
            next_join: None,
            blocked: false,
        }
    }

    /// Whether addresses may be moving because the members have just changed.
    pub(super) fn just_changed(&self) -> bool {
        self.changed_at.is_some_and(|at| at.elapsed() < MOVING)
    }
}

impl Shell {
    pub(super) fn handle_ring(&mut self, event: RingEvent) {
        let Some(signal) = self.membership.ring.handle(event) else { return };
        match signal {
            RingSignal::Members => {
                self.membership.changed = true;
                self.membership.changed_at = Some(now());
                if self.membership.ring.lost().next().is_some() {
                    self.membership.next_join.get_or_insert(now());
                }
            }
            RingSignal::Standing(standing) => self.take_standing(standing),
            RingSignal::Claims(addresses) => {
                if let Ok(mut driver) = self.driver.lock() {
                    driver.claimed(&addresses);
                }
            }
        }
    }

    fn take_standing(&mut self, standing: Standing) {
        self.membership.changed = true;
        self.membership.changed_at = Some(now());
        self.membership.resuming = standing.speaks();
        match standing {
            Standing::Confirmed => {
                tracing::info!(
                    event = "standing",
                    standing = "confirmed",
                    "this node may announce by L2"
                );
                if self.membership.ring.others() == 0 && !self.membership.found.is_empty() {
                    self.membership.blocked = true;
                    tracing::error!(event = "memberlistBlocked", speakers = ?self.membership.found,
                        "no other speaker answers, although the API lists some: is the memberlist's port (7946 over UDP and TCP) blocked? This node announces as if it were alone");
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

    /// Where the API says that other speakers are.
    pub(super) fn handle_found(&mut self, addresses: Vec<SocketAddr>) {
        if addresses.is_empty() {
            self.membership.ring.alone();
        }
        self.membership.ring.join(addresses.iter().copied());
        self.membership.found = addresses;
    }

    /// Before a decision: what the members say, and what they are told.
    pub(super) fn consider_members(&mut self, dirty: &mut Dirty) {
        if dirty.all || std::mem::take(&mut self.membership.links_changed) {
            let links = self.driver.lock().map(|driver| driver.links());
            if let Ok(links) = links
                && self.membership.ring.tell_links(&self.snapshot, &links)
            {
                dirty.all = true;
            }
        }
        dirty.all |= std::mem::take(&mut self.membership.changed);
        if dirty.all {
            self.consider_gone();
        }
        if self.membership.blocked && self.membership.ring.others() > 0 {
            self.membership.blocked = false;
            tracing::info!(event = "memberlistOpen", "other speakers answer");
        }
    }

    /// Nodes that the API does not know any more, or not as ready for a minute.
    fn consider_gone(&mut self) {
        let nodes = self.snapshot.nodes();
        let current = now();
        self.membership.not_ready.retain(|name, _| nodes.get(name).is_some_and(|node| !node.ready));
        for (name, _) in nodes.iter().filter(|(_, node)| !node.ready) {
            self.membership.not_ready.entry(Arc::clone(name)).or_insert(current);
        }
        let not_ready = &self.membership.not_ready;
        let gone: BTreeSet<Arc<str>> = self
            .membership
            .ring
            .seen()
            .filter(|name| {
                let long = not_ready.get(*name).is_some_and(|since| current >= *since + NOT_READY);
                !nodes.contains_key(*name) || long
            })
            .cloned()
            .collect();
        self.membership.ring.tell_gone(gone);
    }

    /// After a decision: this node speaks again.
    pub(super) fn resume(&mut self) {
        if std::mem::take(&mut self.membership.resuming)
            && let Ok(mut driver) = self.driver.lock()
        {
            self.membership.ring.resume();
            driver.claim_all();
        }
    }

    /// What the engine has announced can be claimed.
    pub(super) fn claim(&mut self, number: u64) {
        if let Ok(mut driver) = self.driver.lock() {
            self.membership.ring.claim(driver.done(number));
        }
    }

    pub(super) fn membership_deadline(&self) -> Option<Instant> {
        let driver = self.driver.lock().ok().and_then(|driver| driver.deadline());
        let not_ready = self.membership.not_ready.values().min().map(|since| *since + NOT_READY);
        let not_ready = not_ready.filter(|at| *at > now());
        [driver, not_ready, self.membership.next_join].into_iter().flatten().min()
    }

    pub(super) fn expire(&mut self) {
        let current = now();
        if let Ok(mut driver) = self.driver.lock() {
            driver.expire();
        }
        if self.membership.next_join.is_some_and(|at| at <= current) {
            self.membership.ring.forget_lost(LOST.0);
            let lost: Vec<SocketAddr> = self.membership.ring.lost().collect();
            self.membership.next_join = (!lost.is_empty()).then(|| current + LOST.1);
            self.membership.ring.join(lost);
        }
        self.consider_gone();
    }

    /// Before the end: what is announced here passes to others, who say so; then the ring hears that this speaker leaves.
    pub(super) async fn hand_over(
        &mut self,
        signals: &mut Option<RingSignals>,
        noticed: &mut mpsc::UnboundedReceiver<l2::Event>,
    ) {
        if signals.is_none() {
            return;
        }
        if self.membership.ring.members().is_mixed() {
            self.membership.ring.leave().await;
            tokio::time::sleep(METALLB).await;
            return;
        }
        self.membership.ring.tell_leaving();
        self.membership.changed = true;
        self.decide();
        loop {
            let deadline = match self.driver.lock() {
                Ok(driver) if !driver.is_settled() => driver.deadline(),
                _ => break,
            };
            tokio::select! {
                event = RingSignals::next(signals) => self.handle_ring(event),
                Some(event) = noticed.recv() => self.handle_notice(event),
                () = until(deadline) => self.expire(),
            }
        }
        self.membership.ring.leave().await;
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "this is the shell: the one place that reads the clock"
)]
fn now() -> Instant {
    Instant::now()
}
