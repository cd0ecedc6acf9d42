// SPDX-License-Identifier: Apache-2.0
//! The decision for a Service of Antrea's world (contract C.5, C.10, with the deviations of C.14), as a pure
//! function. The books, the order in which Services are decided and what becomes of a decision are those of every
//! Service.

use std::net::IpAddr;
use std::sync::Arc;

use cluster::ObjectKey;
use crds::config::{Family, Policy, Pool, PoolId, PoolKind};

use crate::allocations::{Allocations, Assigned};
use crate::decision::{Decision, Loss, Outcome, assigned_too};
use crate::notice::{Notice, NoticeKind};
use crate::reason::{Change, Reason};
use crate::request::{ExternalRequest, Families, Request};
use crate::world::World;

/// Decides whether the Service may go on with `current` (contract C.5 step 3): the addresses have to be of the pool
/// that the annotation names, and the one that is asked for, if one is. Sharing is not looked at: an address once
/// shared stays shared.
pub(crate) fn keep(
    key: &ObjectKey,
    request: &Request<'_>,
    external: &ExternalRequest<'_>,
    current: &[IpAddr],
    world: World<'_>,
    allocations: &Allocations,
) -> Result<Assigned, Loss> {
    if current.is_empty() {
        return Err(Loss::Nothing);
    }
    let pool = world.config.external_pools.get(external.pool);
    let pool = pool.ok_or(Loss::Changed(Change::NotInExternalPool))?;
    if !current.iter().all(|address| pool.contains(*address)) {
        let is_other = allocations.of(key).is_some_and(|had| had.pool != pool.id());
        let change = if is_other { Change::Pool } else { Change::NotInExternalPool };
        return Err(Loss::Changed(change));
    }
    if Families::of(current).is_none() {
        return Err(Loss::Changed(Change::Families));
    }
    let fits = match external.address {
        Ok(None) => true,
        Ok(Some(address)) => *current == [address],
        Err(_) => false,
    };
    if !fits {
        return Err(Loss::Changed(Change::Addresses));
    }
    // Between the Services of both worlds the better right decides, as between any two.
    if let Some(error) = current
        .iter()
        .find_map(|address| allocations.check_world(key, &request.claim, *address).err())
    {
        let message = format!("current IP for {:?} is lost: {error}", key.as_str());
        return Err(Loss::Told(Notice::new(NoticeKind::Cleared, message)));
    }
    let mut addresses = current.to_vec();
    addresses.sort();
    Ok(Assigned { pool: pool.id(), addresses })
}

/// Decides what the Service has from now on.
pub(crate) fn decide(
    key: &ObjectKey,
    request: &Request<'_>,
    external: &ExternalRequest<'_>,
    current: &[IpAddr],
    world: World<'_>,
    allocations: &Allocations,
) -> Decision {
    let Some(pool) = world.config.external_pools.get(external.pool) else {
        return without_pool(key, request, external, current, world, allocations);
    };
    let seeker = Seeker { key, request, external, pool, world, allocations };
    match keep(key, request, external, current, world, allocations) {
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
    request: &Request<'_>,
    external: &ExternalRequest<'_>,
    current: &[IpAddr],
    world: World<'_>,
    allocations: &Allocations,
) -> Decision {
    let Some((name, invalid)) = world.config.invalid_external_pools.get_key_value(external.pool)
    else {
        return Decision::pending(key, Reason::UnknownExternalPool(external.pool.to_owned()));
    };
    if let Some(assigned) = hold(key, request, external, current, world, allocations) {
        return Decision::kept(Outcome::Held(assigned), Vec::new());
    }
    let reason = Arc::clone(&invalid.reason);
    Decision::pending(key, Reason::InvalidPool { pool: Arc::clone(name), reason })
}

/// Decides whether `current` stays with the Service because its pool is present but invalid.
pub(crate) fn hold(
    key: &ObjectKey,
    request: &Request<'_>,
    external: &ExternalRequest<'_>,
    current: &[IpAddr],
    world: World<'_>,
    allocations: &Allocations,
) -> Option<Assigned> {
    let (name, _) = world.config.invalid_external_pools.get_key_value(external.pool)?;
    if world.config.external_pools.get(external.pool).is_some() {
        return None;
    }
    let pool = PoolId { kind: PoolKind::ExternalIpPool, name: Arc::clone(name) };
    let booked = allocations.of(key).is_none_or(|assigned| assigned.pool == pool);
    // Sharing is not looked at, as in `keep`: what the pool gave to several Services stays with all of them.
    let may_stay = |address: &IpAddr| {
        world.config.external_pools.holding(*address).is_none()
            && allocations.check_world(key, &request.claim, *address).is_ok()
    };
    let stays = booked && !current.is_empty() && current.iter().all(may_stay);
    stays.then(|| Assigned { pool, addresses: current.to_vec() })
}

/// A Service that looks for an address of its pool.
struct Seeker<'a> {
    key: &'a ObjectKey,
    request: &'a Request<'a>,
    external: &'a ExternalRequest<'a>,
    pool: &'a Pool,
    world: World<'a>,
    allocations: &'a Allocations,
}

impl Seeker<'_> {
    fn allocate(&self) -> Result<Vec<IpAddr>, Reason> {
        match &self.external.address {
            Ok(None) => self.pick(),
            Ok(Some(address)) => self.requested(*address).map(|address| vec![address]),
            Err(error) => Err(Reason::from(error.clone())),
        }
    }

    /// Contract C.5 step 6: the address that is asked for, alone or shared.
    fn requested(&self, address: IpAddr) -> Result<IpAddr, Reason> {
        let pool = || Arc::clone(&self.pool.name);
        if !self.pool.contains(address) {
            return Err(Reason::NotInExternalPool { address, pool: pool() });
        }
        self.allocations.check(self.key, &self.request.claim, address)?;
        if self.pool.contested_until(address).is_some() && !self.is_shared_here(address) {
            return Err(Reason::Contested { pools: self.pool.id().to_string() });
        }
        Ok(address)
    }

    /// True if the address is this world's already: sharing it gives nothing anew.
    fn is_shared_here(&self, address: IpAddr) -> bool {
        self.allocations.users(address).next().is_some()
    }

    /// The lowest free address, of each family that the Service has and the pool holds.
    fn pick(&self) -> Result<Vec<IpAddr>, Reason> {
        let families = self.request.families;
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
        let dual = self.request.families == Some(Families::Dual);
        if !dual || !matches!(self.external.address, Ok(None)) {
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

    /// Services that share an address and want the same port: they have it, as with Antrea, and only one gets the
    /// traffic.
    fn clash(&self, addresses: &[IpAddr]) -> Option<Notice> {
        addresses.iter().find_map(|address| {
            let (other, port) = self.allocations.clash(self.key, &self.request.claim, *address)?;
            let message = format!(
                "port {}/{} on {address} is also taken by {:?}, which shares the address: only one of them gets its traffic",
                port.protocol, port.port, other.as_str()
            );
            Some(Notice::new(NoticeKind::SharedPort, message))
        })
    }
}
