// SPDX-License-Identifier: Apache-2.0
//! One call of `reconcile`: the dirty Services are decided in the order of their rights, and the books follow each
//! decision.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;

use cluster::model::{Hostname, Service, ServiceCondition};
use cluster::{ObjectKey, Snapshot};
use crds::config::{Config, PoolKind};
use crds::labels::Labels;

use super::{Allocator, Output, Write};
use crate::allocations::Assigned;
use crate::decide::{POOL_ANNOTATION, decide, hold, keep};
use crate::decision::{Decision, Loss, Outcome};
use crate::notice::Notice;
use crate::request::Request;
use crate::sharing::Claim;
use crate::world::World;

/// One call of `reconcile`.
pub(super) struct Round<'a> {
    pub(super) books: &'a mut Allocator,
    snapshot: &'a Snapshot,
    outputs: Vec<Output>,
    /// Services that lost an address to one with the better right.
    pub(super) evicted: BTreeSet<ObjectKey>,
    /// True if an address was released, or may be shared now and could not be before.
    pub(super) freed: bool,
    no_labels: Labels,
}

impl<'a> Round<'a> {
    pub(super) fn new(books: &'a mut Allocator, snapshot: &'a Snapshot) -> Self {
        let no_labels = Labels::default();
        Self {
            books,
            snapshot,
            outputs: Vec::new(),
            evicted: BTreeSet::new(),
            freed: false,
            no_labels,
        }
    }

    /// Of the writes of one Service that was decided more than once only the last.
    pub(super) fn into_outputs(self) -> Vec<Output> {
        let mut outputs = self.outputs;
        let mut written: BTreeMap<&ObjectKey, usize> = BTreeMap::new();
        let mut superseded = BTreeSet::new();
        for (index, output) in outputs.iter().enumerate() {
            if let Output::Write(write) = output {
                superseded.extend(written.insert(&write.service, index));
            }
        }
        if !superseded.is_empty() {
            let mut index = 0..;
            outputs.retain(|_| index.next().is_none_or(|index| !superseded.contains(&index)));
        }
        outputs
    }

    pub(super) fn run(&mut self, queue: BTreeSet<ObjectKey>) {
        let mut services: Vec<(ObjectKey, Request<'a>, Vec<IpAddr>)> = Vec::new();
        for key in queue {
            match self.snapshot.service(&key) {
                None => self.forget(&key),
                // Of Antrea's world nothing is known where its pools cannot be had.
                Some(service) if service.external_pool().is_some() && !self.serves_external() => {
                    self.leave(&key, service);
                }
                Some(service) if !service.is_served(self.books.class.as_deref()) => {
                    self.clear_left(&key, service);
                }
                Some(service) => {
                    let current = self.current(&key, service);
                    services.push((key, Request::of(service), current));
                }
            }
        }
        // Services that have addresses come before those that want some: no address that is held is given away.
        services.sort_by_cached_key(|(key, request, current)| {
            (usize::MAX - current.len(), self.right(key, request.service))
        });
        let mut seeking = Vec::new();
        for (key, request, current) in services {
            if !self.try_keep(&key, &request, &current) {
                seeking.push((key, request, current));
            }
        }
        for (key, request, current) in seeking {
            let decision = {
                let world = self.world(&key);
                decide(&key, &request, &current, world, &self.books.allocations)
            };
            if let Some(change) = decision.cleared {
                self.outputs.push(Output::Cleared {
                    service: key.clone(),
                    addresses: current,
                    change,
                });
            }
            self.commit(&key, &request, decision);
        }
    }

    fn config(&self) -> &'a Config {
        self.snapshot.config()
    }

    fn serves_external(&self) -> bool {
        self.books.external && self.snapshot.has_external_pools()
    }

    /// Nothing is written or told of a Service that another serves. What it shows of our pools nobody else gets.
    fn leave(&mut self, key: &ObjectKey, service: &Service) {
        let shown: Vec<IpAddr> = service.ingress_addresses().collect();
        let pool = shown.first().and_then(|address| self.config().pool_of(*address));
        let alone = {
            let allocations = &self.books.allocations;
            shown.iter().flat_map(|address| allocations.users(*address)).all(|user| user == key)
        };
        match pool {
            Some(pool) if alone => {
                let addresses = shown.iter().copied().filter(|address| pool.contains(*address));
                let assigned = Assigned { pool: pool.id(), addresses: addresses.collect() };
                self.book(key, &Claim::of(service), assigned);
            }
            _ => self.freed |= self.books.allocations.release(key).is_some(),
        }
        self.books.pending.remove(key);
        self.books.refused.remove(key);
        self.books.growing.remove(key);
        self.books.unseen.remove(key);
    }

    fn world(&self, key: &ObjectKey) -> World<'_> {
        World {
            config: self.config(),
            namespace_labels: self.namespace_labels(key),
            nodes: self.snapshot.nodes(),
            host_addresses: self.snapshot.host_addresses(),
        }
    }

    fn namespace_labels(&self, key: &ObjectKey) -> &Labels {
        self.snapshot.namespace(key.namespace()).unwrap_or(&self.no_labels)
    }

    fn current(&mut self, key: &ObjectKey, service: &Service) -> Vec<IpAddr> {
        if service.external_pool().is_some() {
            // The status counts only for a Service that was never decided; others may write there meanwhile
            // (contract C.5).
            if let Some(assigned) = self.books.allocations.of(key) {
                if assigned.pool.kind == PoolKind::ExternalIpPool {
                    return assigned.addresses.clone();
                }
            } else if self.books.pending.contains_key(key) {
                return Vec::new();
            }
        }
        let status: Vec<IpAddr> = service.ingress_addresses().collect();
        match self.books.unseen.get(key) {
            Some(unseen) if *unseen == status => {
                self.books.unseen.remove(key);
                status
            }
            Some(unseen) => unseen.clone(),
            None if status.len() == service.ingress.iter().filter(|e| !e.ip.is_empty()).count() => {
                status
            }
            // An entry that is no address makes the whole list unusable.
            None => Vec::new(),
        }
    }

    /// The right of a Service to an address that two carry, the better one first: that of the Service whose status
    /// carried the address in the earliest list, else that of the older Service.
    fn right(&self, key: &ObjectKey, service: &Service) -> (bool, i64, ObjectKey) {
        let created = service.created.unwrap_or(i64::MIN);
        (!self.books.first_list.contains(key), created, key.clone())
    }

    /// Books what the Service may keep; false when it has to be decided in full.
    fn try_keep(&mut self, key: &ObjectKey, request: &Request<'_>, current: &[IpAddr]) -> bool {
        if current.is_empty() {
            return false;
        }
        let attempt = |round: &Self| {
            let world = round.world(key);
            keep(key, request, current, world, &round.books.allocations)
        };
        let mut kept = attempt(self);
        if matches!(kept, Err(Loss::Told(_))) && self.evict_weaker(key, request, current) {
            kept = attempt(self);
        }
        let Ok(assigned) = kept else { return self.try_hold(key, request, current) };
        // The decision in full repeats this and adds what is to be told.
        self.book(key, &request.claim, assigned);
        let world = self.world(key);
        if request.may_change_what_is_kept() {
            let decision = decide(key, request, current, world, &self.books.allocations);
            // A second family is looked for only when everyone has been asked what they keep.
            if decision.outcome.assigned() != self.books.allocations.of(key) {
                return false;
            }
            self.commit(key, request, decision);
        } else if let Some(assigned) = self.books.allocations.of(key).cloned() {
            let outcome = Outcome::Assigned(assigned);
            self.commit(key, request, Decision::kept(outcome, Vec::new()));
        }
        true
    }

    /// Books what stays with the Service although its pool is invalid, before anybody looks for more; false if
    /// nothing does.
    fn try_hold(&mut self, key: &ObjectKey, request: &Request<'_>, current: &[IpAddr]) -> bool {
        let held = hold(key, request, current, self.world(key), &self.books.allocations);
        let Some(assigned) = held else { return false };
        self.commit(key, request, Decision::kept(Outcome::Held(assigned), Vec::new()));
        true
    }

    /// Two Services carry an address that they may not share: the one with the better right keeps it.
    /// Only a claim that is not in the books can evict; one that changed while it was held has lost.
    fn evict_weaker(&mut self, key: &ObjectKey, request: &Request<'_>, current: &[IpAddr]) -> bool {
        if self.books.allocations.of(key).is_some() {
            return false;
        }
        let mine = self.right(key, request.service);
        let mut weaker = BTreeSet::new();
        for address in current {
            if self.books.allocations.check(key, &request.claim, *address).is_ok() {
                continue;
            }
            for user in self.books.allocations.users(*address) {
                let stronger =
                    self.snapshot.service(user).is_some_and(|other| self.right(user, other) < mine);
                if stronger {
                    return false;
                }
                weaker.insert(user.clone());
            }
        }
        for user in &weaker {
            self.books.allocations.release(user);
        }
        self.evicted.extend(weaker);
        true
    }

    /// A Service that was served by Antrea's annotation, has lost it, and is of no class that is served here.
    fn clear_left(&mut self, key: &ObjectKey, service: &Service) {
        let had = self.books.allocations.of(key);
        if had.is_some_and(|had| had.pool.kind == PoolKind::ExternalIpPool) {
            self.forget(key);
            self.outputs.push(Output::Write(Write {
                service: key.clone(),
                addresses: Vec::new(),
                pool: service.annotations.get(POOL_ANNOTATION).map(Into::into),
                hostname: Hostname::None,
                condition: None,
            }));
        }
    }

    fn forget(&mut self, key: &ObjectKey) {
        self.freed |= self.books.allocations.release(key).is_some();
        self.books.pending.remove(key);
        self.books.refused.remove(key);
        self.books.growing.remove(key);
        self.books.unseen.remove(key);
        self.books.told.remove(key);
        self.books.first_list.remove(key);
    }

    fn book(&mut self, key: &ObjectKey, claim: &Claim, assigned: Assigned) {
        if let Some(had) = self.books.allocations.of(key) {
            let same_claim = self.books.allocations.claim_of(key) == Some(claim);
            if *had == assigned && same_claim {
                return;
            }
            let loses = |address: &IpAddr| !assigned.addresses.contains(address);
            self.freed |= !same_claim || had.addresses.iter().any(loses);
        }
        self.books.allocations.assign(key, claim.clone(), assigned);
    }

    fn commit(&mut self, key: &ObjectKey, request: &Request<'_>, decision: Decision) {
        let service = request.service;
        let Decision { outcome, notices, cleared: _ } = decision;
        let has_one = outcome.assigned().is_some_and(|assigned| assigned.addresses.len() == 1);
        if request.wants_two() && has_one {
            self.books.growing.insert(key.clone());
        } else {
            self.books.growing.remove(key);
        }
        match &outcome {
            Outcome::Assigned(assigned) | Outcome::Held(assigned) => {
                self.book(key, &request.claim, assigned.clone());
                self.books.pending.remove(key);
            }
            Outcome::Pending(reason) => {
                self.freed |= self.books.allocations.release(key).is_some();
                self.books.pending.insert(key.clone(), reason.clone());
            }
        }
        let has_any = outcome.assigned().is_some();
        match notices.iter().find(|notice| has_any && notice.kind.lasts()) {
            Some(notice) => drop(self.books.refused.insert(key.clone(), notice.clone())),
            None => drop(self.books.refused.remove(key)),
        }
        self.tell(key, service, notices);
        // Held addresses are left as they are, unless somebody has taken them out of the status.
        let is_left =
            |held: &Assigned| service.ingress_addresses().eq(held.addresses.iter().copied());
        if !matches!(&outcome, Outcome::Held(held) if is_left(held)) {
            self.write(key, service, &outcome);
        }
    }

    fn tell(&mut self, key: &ObjectKey, service: &Service, notices: Vec<Notice>) {
        if notices.is_empty() {
            self.books.told.remove(key);
            return;
        }
        let hash = self.books.hasher.hash_one(&notices);
        if self.books.told.insert(key.clone(), hash) == Some(hash) {
            return;
        }
        self.outputs.extend(notices.into_iter().map(|notice| Output::Tell {
            service: key.clone(),
            uid: service.uid.clone(),
            notice,
        }));
    }

    fn write(&mut self, key: &ObjectKey, service: &Service, outcome: &Outcome) {
        let assigned = outcome.assigned();
        let condition = self.books.conditions.then(|| {
            let mut condition = outcome.condition();
            if let Some(Notice { kind, message }) = self.books.refused.get(key) {
                condition.message.push_str(&format!("; {}: {message}", kind.reason()));
            }
            condition
        });
        let addresses = assigned.map(|assigned| assigned.addresses.clone()).unwrap_or_default();
        let external = service.external_pool().is_some();
        let pool = assigned.filter(|_| !external);
        let pool = pool.map(|assigned| Arc::clone(&assigned.pool.name));
        let hostname = match self.snapshot.announcer(key) {
            _ if !external || addresses.is_empty() => Hostname::None,
            Some(node) => Hostname::Node(Arc::clone(node)),
            None => Hostname::Keep,
        };
        let same_addresses = service.ingress.len() == addresses.len()
            && service.ingress.iter().zip(&addresses).all(|(entry, address)| {
                hostname.is(&entry.hostname) && *entry.ip == *address.to_string()
            });
        let fingerprint = condition.as_ref().map(ServiceCondition::fingerprint);
        if same_addresses
            && service.annotations.get(POOL_ANNOTATION) == pool.as_deref()
            && (fingerprint.is_none() || fingerprint == service.allocated)
        {
            self.books.unseen.remove(key);
            return;
        }
        self.books.unseen.insert(key.clone(), addresses.clone());
        self.outputs.push(Output::Write(Write {
            service: key.clone(),
            addresses,
            pool,
            hostname,
            condition,
        }));
    }
}
