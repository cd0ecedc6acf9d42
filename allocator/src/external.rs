// SPDX-License-Identifier: Apache-2.0
//! The decision for a Service of Antrea's world (contract C.5, C.10, with the deviations of C.14), as a pure function. The books, the
//! order in which Services are decided and what becomes of a decision are those of every Service.

use std::net::IpAddr;
use std::sync::Arc;

use cluster::ObjectKey;
use cluster::model::Service;
use crds::address::parse_address;
use crds::config::{Family, Policy, Pool, PoolId, PoolKind};

use crate::allocations::{Allocations, Assigned};
use crate::decision::{Decision, Loss, Outcome, assigned_too};
use crate::reason::{Change, Notice, Reason};
use crate::request::{Families, RequestError};
use crate::sharing::Claim;
use crate::world::World;

/// Whether the Service may go on with `current` (contract C.5 step 3): it is of the pool that the annotation names, and of the
/// address that is asked for, if one is. Sharing is not looked at: what is shared once stays shared.
pub(crate) fn keep(
    key: &ObjectKey,
    service: &Service,
    current: &[IpAddr],
    world: World<'_>,
    allocations: &Allocations,
) -> Result<Assigned, Loss> {
    if current.is_empty() {
        return Err(Loss::Nothing);
    }
    let name = service.external_pool().unwrap_or_default();
    let pool = world.config.external_pools.get(name);
    let pool = pool.ok_or(Loss::Changed(Change::NotInExternalPool))?;
    if !current.iter().all(|address| pool.contains(*address)) {
        let is_other = allocations.of(key).is_some_and(|had| had.pool != pool.id());
        let change = if is_other { Change::Pool } else { Change::NotInExternalPool };
        return Err(Loss::Changed(change));
    }
    if Families::of(current).is_none() {
        return Err(Loss::Changed(Change::Families));
    }
    if !service.load_balancer_ip.is_empty() && !is_requested(service, current) {
        return Err(Loss::Changed(Change::Addresses));
    }
    // Whom the other world gave it decides by the better right, as between any two.
    if let Some(error) = current
        .iter()
        .find_map(|address| allocations.check_world(key, &Claim::of(service), *address).err())
    {
        let message = format!("current IP for {:?} is lost: {error}", key.as_str());
        return Err(Loss::Told(Notice::normal("ClearAssignment", message)));
    }
    let mut addresses = current.to_vec();
    addresses.sort();
    Ok(Assigned { pool: pool.id(), addresses })
}

/// As text, as Antrea compares it; and as an address, since an IPv6 address has many texts.
fn is_requested(service: &Service, current: &[IpAddr]) -> bool {
    let [current] = current else { return false };
    parse_address(&service.load_balancer_ip) == Some(*current)
}

/// Decides what the Service has from now on.
pub(crate) fn decide(
    key: &ObjectKey,
    service: &Service,
    current: &[IpAddr],
    world: World<'_>,
    allocations: &Allocations,
) -> Decision {
    let name = service.external_pool().unwrap_or_default();
    let Some(pool) = world.config.external_pools.get(name) else {
        return without_pool(key, name, service, current, world, allocations);
    };
    let seeker = Seeker { key, service, claim: Claim::of(service), pool, world, allocations };
    match keep(key, service, current, world, allocations) {
        Ok(mut assigned) => {
            let second = seeker.second(&assigned);
            let mut notices: Vec<Notice> =
                second.map(|address| assigned_too(&mut assigned, address)).into_iter().collect();
            notices.extend(seeker.clash(&assigned.addresses));
            Decision::kept(Outcome::Assigned(assigned), notices)
        }
        Err(loss) => {
            let found = seeker.allocate();
            let found = found.map(|addresses| Assigned { pool: pool.id(), addresses });
            Decision::anew(key, loss, found, |assigned| seeker.clash(&assigned.addresses))
        }
    }
}

/// The pool is gone, and so are its addresses; or it is there and invalid, and its addresses stay
/// (docs/design/rules.md, rule 6).
fn without_pool(
    key: &ObjectKey,
    name: &str,
    service: &Service,
    current: &[IpAddr],
    world: World<'_>,
    allocations: &Allocations,
) -> Decision {
    let Some((name, invalid)) = world.config.invalid_external_pools.get_key_value(name) else {
        return Decision::pending(key, Reason::UnknownExternalPool(name.to_owned()));
    };
    let pool = PoolId { kind: PoolKind::ExternalIpPool, name: Arc::clone(name) };
    let booked = allocations.of(key).is_none_or(|assigned| assigned.pool == pool);
    let claim = Claim::of(service);
    // Sharing is not looked at, as in `keep`: what the pool gave to several Services stays with all of them.
    let may_stay = |address: &IpAddr| {
        world.config.external_pools.holding(*address).is_none()
            && allocations.check_world(key, &claim, *address).is_ok()
    };
    if booked && !current.is_empty() && current.iter().all(may_stay) {
        let assigned = Assigned { pool, addresses: current.to_vec() };
        return Decision::kept(Outcome::Held(assigned), Vec::new());
    }
    let reason = Arc::clone(&invalid.reason);
    Decision::pending(key, Reason::InvalidPool { pool: Arc::clone(name), reason })
}

/// A Service that looks for an address of its pool.
struct Seeker<'a> {
    key: &'a ObjectKey,
    service: &'a Service,
    claim: Claim,
    pool: &'a Pool,
    world: World<'a>,
    allocations: &'a Allocations,
}

impl Seeker<'_> {
    fn allocate(&self) -> Result<Vec<IpAddr>, Reason> {
        match &*self.service.load_balancer_ip {
            "" => self.pick(),
            text => self.requested(text).map(|address| vec![address]),
        }
    }

    /// Contract C.5 step 6: the address that is asked for, alone or shared.
    fn requested(&self, text: &str) -> Result<IpAddr, Reason> {
        let address = parse_address(text).ok_or_else(|| RequestError::Field(text.to_owned()))?;
        let pool = || Arc::clone(&self.pool.name);
        if !self.pool.contains(address) {
            return Err(Reason::NotInExternalPool { address, pool: pool() });
        }
        self.allocations.check(self.key, &self.claim, address)?;
        if self.pool.contested_until(address).is_some() && !self.is_shared_here(address) {
            return Err(Reason::Contested { pools: self.pool.id().to_string() });
        }
        Ok(address)
    }

    /// Whether the address is this world's already: sharing it gives nothing anew.
    fn is_shared_here(&self, address: IpAddr) -> bool {
        self.allocations.users(address).next().is_some()
    }

    /// The lowest free address, of each family that the Service has and the pool holds.
    fn pick(&self) -> Result<Vec<IpAddr>, Reason> {
        let families = Families::of_service(self.service);
        let wanted: &[Family] = match families {
            Some(Families::Single(Family::V4)) => &[Family::V4],
            Some(Families::Single(Family::V6)) => &[Family::V6],
            Some(Families::Dual) | None => &[Family::V4, Family::V6],
        };
        let held: Vec<Family> =
            wanted.iter().copied().filter(|family| self.pool.has_family(*family)).collect();
        let name = families.map_or("any", Families::name);
        let pool = || Arc::clone(&self.pool.name);
        if held.is_empty() {
            return Err(Reason::NoFamilyInPool { pool: pool(), families: name });
        }
        let found: Option<Vec<IpAddr>> = held.iter().map(|family| self.free(*family)).collect();
        found.ok_or_else(|| {
            if self.pool.contested.is_empty() {
                Reason::ExternalPoolExhausted { pool: pool(), families: name }
            } else {
                Reason::Contested { pools: self.pool.id().to_string() }
            }
        })
    }

    /// The address of the other family, for a Service with two cluster addresses that has only one (contract C.14).
    fn second(&self, assigned: &Assigned) -> Option<IpAddr> {
        let [have] = assigned.addresses.as_slice() else { return None };
        let dual = Families::of_service(self.service) == Some(Families::Dual);
        if !dual || !self.service.load_balancer_ip.is_empty() {
            return None;
        }
        self.free(Family::of(*have).other())
    }

    /// Only by request does a Service get the gateway, a node's own address, or one that another has.
    fn free(&self, family: Family) -> Option<IpAddr> {
        let gateway = match &self.pool.policy {
            Policy::Antrea(policy) => policy.gateway,
            Policy::Metallb(_) => None,
        };
        self.allocations.first_free_of(self.pool, family, |address| {
            Some(address) == gateway || self.world.is_of_node(address)
        })
    }

    /// Services that share an address and want the same port: they have it, as with Antrea, and only one gets the traffic.
    fn clash(&self, addresses: &[IpAddr]) -> Option<Notice> {
        addresses.iter().find_map(|address| {
            let (other, port) = self.allocations.clash(self.key, &self.claim, *address)?;
            let message = format!(
                "port {}/{} on {address} is also taken by {:?}, which shares the address: only one of them gets its traffic",
                port.protocol, port.port, other.as_str()
            );
            Some(Notice::warning("SharedPortConflict", message))
        })
    }
}
