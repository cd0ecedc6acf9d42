// SPDX-License-Identifier: Apache-2.0
//! The allocator: decides again what is dirty, keeps the books, and says what is to be written and told.
//!
//! A synchronous value without clients or clocks. Its driver hands in the snapshot and the dirty Services, carries
//! out the [`Output`]s, and reports with [`Allocator::observed`] when a write has been seen.

mod output;
mod round;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::RandomState;
use std::net::IpAddr;

use cluster::{Dirty, ObjectKey, Snapshot};
use crds::config::PoolKind;

use crate::allocations::{Allocations, Assigned};
use crate::notice::Notice;
use crate::reason::Reason;
pub use output::{Output, Write};
use round::Round;

/// The books of all Services of one class.
pub struct Allocator {
    class: Option<Box<str>>,
    allocations: Allocations,
    pending: BTreeMap<ObjectKey, Reason>,
    /// Services that keep what they have while something else that they ask for is refused.
    refused: BTreeMap<ObjectKey, Notice>,
    /// Services that have one address and would take one of the other family as well.
    growing: BTreeSet<ObjectKey>,
    /// Addresses decided but not yet seen in the status.
    unseen: HashMap<ObjectKey, Vec<IpAddr>>,
    /// Services whose status carried addresses when the first list came.
    first_list: BTreeSet<ObjectKey>,
    started: bool,
    /// True if Services get a condition.
    conditions: bool,
    /// True if Services of Antrea's world are served.
    external: bool,
    told: HashMap<ObjectKey, u64>,
    hasher: RandomState,
}

impl Allocator {
    /// One for Services whose `loadBalancerClass` is `class`; `None` serves those without a class.
    #[must_use]
    pub fn new(class: Option<&str>) -> Self {
        Self {
            class: class.map(Into::into),
            allocations: Allocations::default(),
            pending: BTreeMap::new(),
            refused: BTreeMap::new(),
            growing: BTreeSet::new(),
            unseen: HashMap::new(),
            first_list: BTreeSet::new(),
            started: false,
            conditions: false,
            external: true,
            told: HashMap::new(),
            hasher: RandomState::new(),
        }
    }

    /// The same, which also says in a condition of each Service what it has or why not.
    #[must_use]
    pub fn with_conditions(class: Option<&str>) -> Self {
        Self { conditions: true, ..Self::new(class) }
    }

    /// Serves the Services of Antrea's world from now on, or leaves them as they are, since an Antrea lives that
    /// serves them. The addresses that they had here are forgotten then, so that their status counts when they are served again.
    pub fn set_external(&mut self, served: bool) {
        self.external = served;
        if served {
            return;
        }
        let of_antrea = |assigned: &Assigned| assigned.pool.kind == PoolKind::ExternalIpPool;
        let held: Vec<ObjectKey> = self
            .allocations
            .iter()
            .filter(|(_, assigned)| of_antrea(assigned))
            .map(|(key, _)| key.clone())
            .collect();
        for key in held {
            self.allocations.release(&key);
            self.unseen.remove(&key);
        }
    }

    /// The books: the addresses of each Service.
    #[must_use]
    pub fn allocations(&self) -> &Allocations {
        &self.allocations
    }

    /// Services without an address, and why.
    #[must_use]
    pub fn pending(&self) -> &BTreeMap<ObjectKey, Reason> {
        &self.pending
    }

    /// Services that keep what they have while something else that they ask for is refused, and what they were told.
    #[must_use]
    pub fn refused(&self) -> &BTreeMap<ObjectKey, Notice> {
        &self.refused
    }

    /// The write of a Service's status has been carried out, or its Service is gone: from now on the
    /// snapshot's status counts again.
    pub fn observed(&mut self, service: &ObjectKey) {
        self.unseen.remove(service);
    }

    /// Decides again what is dirty. The first call must find all Services listed.
    pub fn reconcile(&mut self, snapshot: &Snapshot, dirty: &Dirty) -> Vec<Output> {
        let mut round = Round::new(self, snapshot);
        let mut queue: BTreeSet<ObjectKey> = if dirty.all || !round.books.started {
            let gone = round.books.allocations.iter().map(|(key, _)| key);
            gone.chain(snapshot.services().keys()).chain(&dirty.services).cloned().collect()
        } else {
            dirty.services.clone()
        };
        if !std::mem::replace(&mut round.books.started, true) {
            round.books.first_list = snapshot
                .services()
                .iter()
                .filter(|(_, service)| service.ingress_addresses().next().is_some())
                .map(|(key, _)| key.clone())
                .collect();
        }
        // A release lets Services that want more try again; those release nothing, so this ends.
        while !queue.is_empty() {
            round.run(queue);
            queue = std::mem::take(&mut round.evicted);
            if std::mem::take(&mut round.freed) {
                queue.extend(round.books.pending.keys().cloned());
                queue.extend(round.books.growing.iter().cloned());
            }
        }
        round.into_outputs()
    }
}
