// SPDX-License-Identifier: Apache-2.0
//! Who has which address. An index: it knows the sharing rules, but decides nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use cluster::ObjectKey;
use cluster::model::ServicePort;
use crds::config::{AddressRange, Family, Pool, PoolId, PoolKind, from_number, to_number};

use crate::interval_set::IntervalSet;
use crate::sharing::{Claim, Sharing, SharingError, joined};

/// The addresses that one Service has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The pool that they are from.
    pub pool: PoolId,
    /// One, or one of each family with IPv4 first.
    pub addresses: Vec<IpAddr>,
}

#[derive(Clone, Debug)]
struct Entry {
    assigned: Assigned,
    claim: Claim,
}

/// How one address is used.
#[derive(Clone, Debug)]
struct AddressUse {
    pool: PoolId,
    sharing: Arc<Sharing>,
    /// Sorted, as the next: mostly one, for which a tree would take room for eleven.
    users: Vec<ObjectKey>,
    /// Who has which port. Empty while there is only one user: its claim says it.
    ports: Vec<(ServicePort, ObjectKey)>,
}

impl AddressUse {
    /// `first` are the ports of the only user until now.
    fn admit(&mut self, service: &ObjectKey, claim: &Claim, first: Option<&[ServicePort]>) {
        if let ([only], Some(ports)) = (self.users.as_slice(), first) {
            let only = only.clone();
            self.note(&only, ports);
        }
        if let Err(index) = self.users.binary_search(service) {
            self.users.insert(index, service.clone());
        }
        if self.users.len() > 1 {
            self.note(service, &claim.ports);
        }
    }

    fn note(&mut self, service: &ObjectKey, ports: &[ServicePort]) {
        for port in ports {
            let found = self.ports.binary_search_by(|(taken, _)| taken.cmp(port));
            match found.map(|index| self.ports.get_mut(index)) {
                Ok(Some((_, user))) => *user = service.clone(),
                Ok(None) => {}
                Err(index) => self.ports.insert(index, (port.clone(), service.clone())),
            }
        }
    }
}

/// How much of a pool is in use: distinct addresses by family, and Services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// IPv4.
    pub v4: u64,
    /// IPv6.
    pub v6: u64,
    /// Services with an address of the pool.
    pub services: u64,
}

/// All assignments.
#[derive(Clone, Debug, Default)]
pub struct Allocations {
    services: BTreeMap<ObjectKey, Entry>,
    addresses: HashMap<IpAddr, AddressUse>,
    used_v4: IntervalSet,
    used_v6: IntervalSet,
    /// Addresses in use by Services that would share them.
    shareable: HashMap<Arc<Sharing>, BTreeSet<IpAddr>>,
    usage: BTreeMap<PoolId, Usage>,
}

impl Allocations {
    /// What a Service has.
    #[must_use]
    pub fn of(&self, service: &ObjectKey) -> Option<&Assigned> {
        self.services.get(service).map(|entry| &entry.assigned)
    }

    /// With what claim a Service holds what it has.
    #[must_use]
    pub fn claim_of(&self, service: &ObjectKey) -> Option<&Claim> {
        self.services.get(service).map(|entry| &entry.claim)
    }

    /// Every Service that has addresses.
    pub fn iter(&self) -> impl Iterator<Item = (&ObjectKey, &Assigned)> {
        self.services.iter().map(|(key, entry)| (key, &entry.assigned))
    }

    /// The Services that use an address.
    pub fn users(&self, address: IpAddr) -> impl Iterator<Item = &ObjectKey> {
        self.addresses.get(&address).into_iter().flat_map(|usage| &usage.users)
    }

    /// Whether `service` may use `address` together with all others that do.
    ///
    /// # Errors
    /// When the sharing rules of contract 2.7 forbid it.
    pub fn check(
        &self,
        service: &ObjectKey,
        claim: &Claim,
        address: IpAddr,
    ) -> Result<(), SharingError> {
        let Some(usage) = self.addresses.get(&address) else { return Ok(()) };
        let others = || usage.users.iter().filter(|user| *user != service);
        if others().next().is_none() {
            return Ok(());
        }
        self.check_world(service, claim, address)?;
        if claim.sharing.world() == PoolKind::ExternalIpPool {
            // The holders' word counts as it is now; ports don't (contract C.5).
            let shares = |user| self.claim_of(user).is_some_and(|claim| claim.sharing.is_allowed());
            let all = claim.sharing.is_allowed() && others().all(shares);
            let unshared = || SharingError::Unshared { address, others: joined(others()) };
            return all.then_some(()).ok_or_else(unshared);
        }
        if !usage.sharing.is_allowed() || usage.sharing != claim.sharing {
            return Err(SharingError::sharing(service, others()));
        }
        let taken =
            |port: &&ServicePort| self.user_of(usage, port).is_some_and(|user| user != service);
        match claim.ports.iter().find(taken) {
            Some(port) => Err(SharingError::Port { port: port.clone(), address }),
            None => Ok(()),
        }
    }

    fn user_of<'a>(&'a self, usage: &'a AddressUse, port: &ServicePort) -> Option<&'a ObjectKey> {
        match usage.users.as_slice() {
            [only] => {
                self.claim_of(only).is_some_and(|claim| claim.ports.contains(port)).then_some(only)
            }
            _ => {
                let index = usage.ports.binary_search_by(|(taken, _)| taken.cmp(port)).ok()?;
                usage.ports.get(index).map(|(_, user)| user)
            }
        }
    }

    /// Whether no Service of the other world has `address`.
    ///
    /// # Errors
    /// When one has it.
    pub fn check_world(
        &self,
        service: &ObjectKey,
        claim: &Claim,
        address: IpAddr,
    ) -> Result<(), SharingError> {
        let Some(usage) = self.addresses.get(&address) else { return Ok(()) };
        let others = usage.users.iter().filter(|user| *user != service);
        let mut foreign = others
            .filter(|user| {
                self.claim_of(user)
                    .is_some_and(|held| held.sharing.world() != claim.sharing.world())
            })
            .peekable();
        match foreign.peek() {
            None => Ok(()),
            Some(_) => Err(SharingError::OtherWorld { address, others: joined(foreign) }),
        }
    }

    /// The lowest address of `family` in `pool` that nobody has and that is not `avoided`, ranges in their order.
    #[must_use]
    pub fn first_free_of(
        &self,
        pool: &Pool,
        family: Family,
        avoided: impl Fn(IpAddr) -> bool,
    ) -> Option<IpAddr> {
        let mut ranges = pool.ranges.iter().filter(|range| range.family() == family);
        ranges.find_map(|range| self.first_free(pool, range, &avoided))
    }

    /// The lowest address of `family` in `pool` that `service` may use, ranges in their order: free and not `avoided`,
    /// its own already, or shared with Services that it is compatible with.
    #[must_use]
    pub fn first_usable(
        &self,
        service: &ObjectKey,
        claim: &Claim,
        pool: &Pool,
        family: Family,
        avoided: impl Fn(IpAddr) -> bool,
    ) -> Option<IpAddr> {
        pool.ranges.iter().filter(|range| range.family() == family).find_map(|range| {
            let free = self.first_free(pool, range, &avoided);
            let own = self.services.get(service).into_iter().flat_map(|entry| {
                entry.assigned.addresses.iter().copied().filter(|address| {
                    range.contains(*address)
                        && !pool.is_buggy(*address)
                        && pool.contested_until(*address).is_none()
                        && self.check(service, claim, *address).is_ok()
                })
            });
            let shared = self.shareable.get(&claim.sharing).and_then(|addresses| {
                addresses.range(range.first()..=range.last()).copied().find(|address| {
                    !pool.is_buggy(*address)
                        && pool.contested_until(*address).is_none()
                        && self.check(service, claim, *address).is_ok()
                })
            });
            own.chain(free).chain(shared).min()
        })
    }

    fn first_free(
        &self,
        pool: &Pool,
        range: &AddressRange,
        avoided: &dyn Fn(IpAddr) -> bool,
    ) -> Option<IpAddr> {
        let family = range.family();
        let used = match family {
            Family::V4 => &self.used_v4,
            Family::V6 => &self.used_v6,
        };
        let last = to_number(range.last());
        let mut from = to_number(range.first());
        loop {
            let number = used.first_gap(from, last)?;
            let address = from_number(family, number);
            let after = match pool.contested_until(address) {
                Some(end) => to_number(end),
                None if pool.is_buggy(address) || avoided(address) => number,
                None => return Some(address),
            };
            from = after.checked_add(1)?;
        }
    }

    /// Gives addresses to a Service, in place of what it had. The caller has checked them.
    pub fn assign(&mut self, service: &ObjectKey, claim: Claim, assigned: Assigned) {
        self.release(service);
        for address in &assigned.addresses {
            if !self.addresses.contains_key(address) {
                self.count(&assigned.pool, *address, 1);
            }
            let first = self.users(*address).next().and_then(|user| self.claim_of(user));
            let first = first.map(|claim| Arc::clone(&claim.ports));
            let usage = self.addresses.entry(*address).or_insert_with(|| AddressUse {
                pool: assigned.pool.clone(),
                sharing: Arc::clone(&claim.sharing),
                users: Vec::with_capacity(1),
                ports: Vec::new(),
            });
            usage.admit(service, &claim, first.as_deref());
            if claim.sharing.is_allowed() {
                self.shareable.entry(Arc::clone(&usage.sharing)).or_default().insert(*address);
            }
            self.used_mut(*address).insert(to_number(*address));
        }
        self.usage.entry(assigned.pool.clone()).or_default().services += 1;
        self.services.insert(service.clone(), Entry { assigned, claim });
    }

    /// Takes everything from a Service; returns what it had.
    pub fn release(&mut self, service: &ObjectKey) -> Option<Assigned> {
        let entry = self.services.remove(service)?;
        if let Some(usage) = self.usage.get_mut(&entry.assigned.pool) {
            usage.services = usage.services.saturating_sub(1);
        }
        for address in &entry.assigned.addresses {
            let Some(usage) = self.addresses.get_mut(address) else { continue };
            usage.users.retain(|user| user != service);
            usage.ports.retain(|(_, user)| user != service);
            if usage.users.len() < 2 {
                usage.ports = Vec::new();
            }
            if usage.users.is_empty() {
                if let Some(addresses) = self.shareable.get_mut(&usage.sharing) {
                    addresses.remove(address);
                    if addresses.is_empty() {
                        self.shareable.remove(&usage.sharing);
                    }
                }
                let pool = usage.pool.clone();
                self.addresses.remove(address);
                self.count(&pool, *address, -1);
                self.used_mut(*address).remove(to_number(*address));
            }
        }
        Some(entry.assigned)
    }

    /// How much of a pool is in use; a shared address counts once.
    #[must_use]
    pub fn usage(&self, pool: &PoolId) -> Usage {
        self.usage.get(pool).copied().unwrap_or_default()
    }

    fn count(&mut self, pool: &PoolId, address: IpAddr, change: i64) {
        let usage = self.usage.entry(pool.clone()).or_default();
        let counter = if address.is_ipv4() { &mut usage.v4 } else { &mut usage.v6 };
        *counter = counter.saturating_add_signed(change);
    }

    fn used_mut(&mut self, address: IpAddr) -> &mut IntervalSet {
        match Family::of(address) {
            Family::V4 => &mut self.used_v4,
            Family::V6 => &mut self.used_v6,
        }
    }
}
