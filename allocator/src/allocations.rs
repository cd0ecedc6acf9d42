// SPDX-License-Identifier: Apache-2.0
//! Who has which address. An index: it knows the sharing rules, but decides nothing.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use cluster::ObjectKey;
use cluster::model::ServicePort;
use crds::config::{AddressRange, Family, Pool, PoolId, PoolKind, from_number, to_number};

use crate::address_use::AddressUse;
use crate::interval_set::IntervalSet;
use crate::shareable::Shareable;
use crate::sharing::{Claim, SharingError, joined};
use crate::steps::Steps;

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
    shareable: Shareable,
    usage: BTreeMap<PoolId, Usage>,
    steps: Steps,
}

impl Allocations {
    /// How many holders of addresses, ports and shared addresses were looked at one by one since the beginning: a measure of work that
    /// does not depend on the machine.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps.count()
    }

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
        self.addresses.get(&address).into_iter().flat_map(AddressUse::users)
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
        if !usage.has_others(service) {
            return Ok(());
        }
        let others = || usage.users().filter(|user| *user != service);
        self.check_world(service, claim, address)?;
        if claim.sharing.world() == PoolKind::ExternalIpPool {
            // The holders' word counts as it is now; ports don't (contract C.5).
            let all = claim.sharing.is_allowed()
                && usage.others_share(service, |user| self.claim_of(user));
            let unshared = || SharingError::Unshared { address, others: joined(others()) };
            return all.then_some(()).ok_or_else(unshared);
        }
        if !usage.sharing.is_allowed() || usage.sharing != claim.sharing {
            return Err(SharingError::sharing(service, others()));
        }
        let taken = |port: &&ServicePort| {
            self.steps.add(1);
            usage.other_with(port, service, |user| self.claim_of(user)).is_some()
        };
        match claim.ports.iter().find(taken) {
            Some(port) => Err(SharingError::Port { port: port.clone(), address }),
            None => Ok(()),
        }
    }

    /// The first of those who use `address` besides `service` that has one of the claim's ports, and that port.
    #[must_use]
    pub fn clash<'a>(
        &'a self,
        service: &ObjectKey,
        claim: &'a Claim,
        address: IpAddr,
    ) -> Option<(&'a ObjectKey, &'a ServicePort)> {
        let usage = self.addresses.get(&address)?;
        let of_port = |port: &'a ServicePort| {
            self.steps.add(1);
            Some((usage.other_with(port, service, |user| self.claim_of(user))?, port))
        };
        claim.ports.iter().filter_map(of_port).min_by_key(|(user, _)| *user)
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
        let world = claim.sharing.world();
        if !usage.has_foreign(service, world, |user| self.claim_of(user)) {
            return Ok(());
        }
        let foreign = usage.users().filter(|user| {
            self.steps.add(1);
            *user != service
                && self.claim_of(user).is_some_and(|held| held.sharing.world() != world)
        });
        Err(SharingError::OtherWorld { address, others: joined(foreign) })
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
            let shared = self.shareable.first(claim, range, &self.steps, |address| {
                pool.contested_until(address).or_else(|| {
                    let may =
                        !pool.is_buggy(address) && self.check(service, claim, address).is_ok();
                    (!may).then_some(address)
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
            match self.addresses.get_mut(address) {
                Some(usage) => {
                    let only = usage.only().and_then(|user| self.services.get(user));
                    usage.admit((service, &claim), only.map(|entry| &entry.claim));
                }
                None => {
                    let usage = AddressUse::new(assigned.pool.clone(), (service, &claim));
                    self.addresses.insert(*address, usage);
                }
            }
            if is_searched(&claim) {
                self.shareable.take(*address, &claim, &self.steps);
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
            let is_last = usage.dismiss((service, &entry.claim));
            if is_searched(&entry.claim) {
                self.shareable.leave(*address, &entry.claim, is_last);
            }
            if is_last {
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

/// Whether others look for what a Service with this claim has. In Antrea's world they share only by request.
fn is_searched(claim: &Claim) -> bool {
    claim.sharing.is_allowed() && claim.sharing.world() == PoolKind::IpAddressPool
}
