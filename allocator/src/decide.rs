// SPDX-License-Identifier: Apache-2.0
//! The decision for one Service (contract 2.4 to 2.6), as a pure function of what the cluster says.
//!
//! [`keep`] says whether a Service may go on with the addresses that it has; [`decide`] does that and,
//! where it must, looks for others. Neither changes anything.

use std::net::IpAddr;
use std::sync::Arc;

use cluster::ObjectKey;
pub use cluster::model::POOL_ANNOTATION;
use cluster::model::{FamilyPolicy, Service};
use crds::address::core_address;
use crds::config::{Family, Pool, PoolId, PoolKind};

use crate::allocations::{Allocations, Assigned};
use crate::decision::{Decision, Loss, Outcome, assigned_too};
use crate::external;
use crate::notice::{Notice, NoticeKind};
use crate::reason::{Change, Names, Reason};
use crate::request::{Families, Request, check_families};
use crate::world::World;

/// Decides whether the Service may keep `current`: returns them as they are, or the reason why not.
///
/// # Errors
/// With the event to tell, if one is told (contract 2.4 steps 4 to 7).
pub fn keep(
    key: &ObjectKey,
    request: &Request<'_>,
    current: &[IpAddr],
    world: World<'_>,
    allocations: &Allocations,
) -> Result<Assigned, Loss> {
    if let Some(external) = &request.external {
        return external::keep(key, request, external, current, world, allocations);
    }
    let service = request.service;
    if current.is_empty() {
        let nonsense = |text: &str| !text.is_empty() && core_address(text).is_none();
        return Err(if service.ingress.iter().any(|entry| nonsense(&entry.ip)) {
            Loss::Told(unknown_families(service))
        } else {
            Loss::Nothing
        });
    }
    let Some(families) = request.families else {
        return Err(Loss::Changed(Change::Families));
    };
    let Some(current_families) = Families::of(current) else {
        return Err(Loss::Told(unknown_families(service)));
    };
    let fewer_is_fine = families == Families::Dual && request.prefers_dual;
    if current_families != families && !fewer_is_fine {
        return Err(Loss::Changed(Change::Families));
    }
    let assigned = check(key, request, current, world, allocations).map_err(|reason| {
        Loss::Told(Notice::new(NoticeKind::Cleared,
            format!(
                "current IP for {:?} not allowed by config, will attempt for new IP assignment: {reason}",
                key.as_str()
            ),
        ))
    })?;
    if request.pool.is_some_and(|pool| pool != &*assigned.pool.name) {
        return Err(Loss::Changed(Change::Pool));
    }
    match &request.addresses {
        // Nonsense takes nothing away: the addresses stay until the request can be understood.
        Err(_) => Ok(assigned),
        Ok(requested) if requested.is_empty() || *requested == assigned.addresses => Ok(assigned),
        Ok(_) => Err(Loss::Changed(Change::Addresses)),
    }
}

fn unknown_families(service: &Service) -> Notice {
    let have: Vec<&str> = service.ingress.iter().map(|entry| &*entry.ip).collect();
    Notice::new(
        NoticeKind::NoIngressFamily,
        format!(
            "Failed to retrieve lbIPs family of {have:?}: not one address, or one of each family"
        ),
    )
}

/// Decides what the Service has from now on. `current` are the addresses that it has: those of its
/// status, or those about to be written there.
#[must_use]
pub fn decide(
    key: &ObjectKey,
    request: &Request<'_>,
    current: &[IpAddr],
    world: World<'_>,
    allocations: &Allocations,
) -> Decision {
    if let Some(external) = &request.external {
        return external::decide(key, request, external, current, world, allocations);
    }
    if world.config.has_no_pools() {
        return Decision::pending(key, Reason::NoPools);
    }
    if let Some(assigned) = hold(key, request, current, world, allocations) {
        return Decision::kept(Outcome::Held(assigned), Vec::new());
    }
    let service = request.service;
    if service.cluster_ips.is_empty() {
        let cleared = (!current.is_empty()).then_some(Change::NoClusterIps);
        return Decision { cleared, ..Decision::pending(key, Reason::NoClusterIps) };
    }
    let cluster_ips = format!("[{}]", service.cluster_ips.join(" "));
    if service.family_policy == FamilyPolicy::RequireDualStack && service.cluster_ips.len() < 2 {
        return Decision::pending(key, Reason::NotDualStack(cluster_ips));
    }
    let Some(families) = request.families else {
        return Decision::pending(key, Reason::NoFamily(cluster_ips));
    };
    match keep(key, request, current, world, allocations) {
        Ok(mut assigned) => {
            let mut notices = Vec::new();
            if let Err(error) = &request.addresses {
                let reason = Reason::from(error.clone());
                notices.push(Notice::new(NoticeKind::RequestRefused, reason.to_string()));
            } else if assigned.addresses.len() == 1
                && families == Families::Dual
                && request.prefers_dual
            {
                notices.push(add_family(key, request, &mut assigned, world, allocations));
            }
            Decision::kept(Outcome::Assigned(assigned), notices)
        }
        Err(loss) => {
            let found = allocate(key, request, families, world, allocations);
            Decision::anew(key, loss, found, |_| deprecated_annotations(service))
        }
    }
}

fn deprecated_annotations(service: &Service) -> impl Iterator<Item = Notice> + '_ {
    service.annotations.iter().filter(|(key, _)| key.starts_with("metallb.universe.tf")).map(
        |(key, _)| {
            let message = format!("Service uses deprecated annotation {key}");
            Notice::new(NoticeKind::DeprecatedAnnotation, message)
        },
    )
}

/// Decides whether `current` stays with the Service because its pool is present but invalid. Addresses of such a
/// pool are not taken back (docs/design/rules.md, rule 6), unless the Service may no longer share them with the
/// others that have them.
pub(crate) fn hold(
    key: &ObjectKey,
    request: &Request<'_>,
    current: &[IpAddr],
    world: World<'_>,
    allocations: &Allocations,
) -> Option<Assigned> {
    if let Some(external) = &request.external {
        return external::hold(key, request, external, current, world, allocations);
    }
    let config = world.config;
    let (name, _) =
        config.invalid_pools.get_key_value(request.service.annotations.get(POOL_ANNOTATION)?)?;
    let may_stay = |address: &IpAddr| {
        config.pool_of(*address).is_none()
            && allocations.check(key, &request.claim, *address).is_ok()
    };
    (!current.is_empty() && current.iter().all(may_stay)).then(|| {
        let pool = PoolId { kind: PoolKind::IpAddressPool, name: Arc::clone(name) };
        Assigned { pool, addresses: current.to_vec() }
    })
}

/// Contract 2.4 step 8, with two cluster addresses as a condition so that it cannot flap.
fn add_family(
    key: &ObjectKey,
    request: &Request<'_>,
    assigned: &mut Assigned,
    world: World<'_>,
    allocations: &Allocations,
) -> Notice {
    let added = assigned.addresses.first().and_then(|have| {
        let pool = world.config.pools.get(&assigned.pool.name)?;
        let family = Family::of(*have).other();
        let avoided = |address| world.is_of_node(address);
        allocations.first_usable(key, &request.claim, pool, family, avoided)
    });
    match added {
        Some(address) => assigned_too(assigned, address),
        None => Notice::new(
            NoticeKind::FamilyNotAdded,
            format!(
                "cannot assign additional IP in PreferDualStack: no available IPs in pool {:?}",
                &*assigned.pool.name
            ),
        ),
    }
}

/// Contract 2.6: whether exactly these addresses may be assigned.
fn check(
    key: &ObjectKey,
    request: &Request<'_>,
    addresses: &[IpAddr],
    world: World<'_>,
    allocations: &Allocations,
) -> Result<Assigned, Reason> {
    let not_in_config = || Reason::NotInConfig(addresses.to_vec());
    let pool = addresses
        .first()
        .and_then(|address| world.config.pool_of(*address))
        .filter(|pool| addresses.iter().all(|address| pool.is_usable(*address)))
        .ok_or_else(not_in_config)?;
    compatible(key, request.service, pool, world)?;
    for address in addresses {
        allocations.check(key, &request.claim, *address)?;
    }
    let mut addresses = addresses.to_vec();
    addresses.sort();
    Ok(Assigned { pool: pool.id(), addresses })
}

fn compatible(
    key: &ObjectKey,
    service: &Service,
    pool: &Pool,
    world: World<'_>,
) -> Result<(), Reason> {
    let allowed = pool.service_allocation().is_none_or(|allocation| {
        allocation.allows(key.namespace(), world.namespace_labels, &service.labels)
    });
    allowed.then_some(()).ok_or_else(|| Reason::PoolNotCompatible(Arc::clone(&pool.name)))
}

/// Contract 2.5: new addresses.
fn allocate(
    key: &ObjectKey,
    request: &Request<'_>,
    families: Families,
    world: World<'_>,
    allocations: &Allocations,
) -> Result<Assigned, Reason> {
    let requested = request.addresses.as_ref().map_err(Clone::clone)?;
    if !requested.is_empty() {
        check_families(requested, families)?;
        let assigned = check(key, request, requested, world, allocations)?;
        contested(&assigned, world, allocations)?;
        return match request.pool {
            Some(pool) if pool != &*assigned.pool.name => {
                Err(Reason::OtherPool { addresses: requested.clone(), pool: pool.to_owned() })
            }
            _ => Ok(assigned),
        };
    }
    let seeker = Seeker { key, request, families, world, allocations };
    let Some(name) = request.pool else { return automatic(&seeker) };
    let Some(pool) = world.config.pools.get(name) else {
        return Err(match world.config.invalid_pools.get_key_value(name) {
            Some((name, pool)) => {
                Reason::InvalidPool { pool: Arc::clone(name), reason: Arc::clone(&pool.reason) }
            }
            None => Reason::UnknownPool(name.to_owned()),
        });
    };
    compatible(key, request.service, pool, world)?;
    seeker.first_of(&[pool]).ok_or_else(|| {
        if !pool.contested.is_empty() {
            return Reason::Contested { pools: pool.id().to_string() };
        }
        Reason::PoolExhausted { pool: Arc::clone(&pool.name), families: families.name() }
    })
}

/// An address that a pool of the other kind holds as well is not given anew; sharing it with those that have it gives
/// nothing anew.
fn contested(
    assigned: &Assigned,
    world: World<'_>,
    allocations: &Allocations,
) -> Result<(), Reason> {
    let pool = world.config.pools.get(&assigned.pool.name);
    let is_new = |address: &IpAddr| {
        pool.is_some_and(|pool| pool.contested_until(*address).is_some())
            && allocations.users(*address).next().is_none()
    };
    if assigned.addresses.iter().any(is_new) {
        return Err(Reason::Contested { pools: assigned.pool.to_string() });
    }
    Ok(())
}

fn automatic(seeker: &Seeker<'_>) -> Result<Assigned, Reason> {
    let world = seeker.world;
    let automatic = || world.config.pools.values().filter(|pool| pool.auto_assigns());
    let mut pinned: Vec<(u64, &Pool)> = automatic()
        .filter_map(|pool| {
            let allocation = pool.service_allocation()?;
            compatible(seeker.key, seeker.request.service, pool, world).ok()?;
            Some((allocation.rank(), pool))
        })
        .collect();
    pinned.sort_by(|(rank_a, a), (rank_b, b)| (rank_a, &a.name).cmp(&(rank_b, &b.name)));
    let pinned: Vec<&Pool> = pinned.into_iter().map(|(_, pool)| pool).collect();
    let open: Vec<&Pool> = automatic().filter(|pool| pool.service_allocation().is_none()).collect();
    seeker
        .first_of(&pinned)
        .or_else(|| seeker.first_of(&open))
        .ok_or_else(|| why_none(seeker, &pinned, &open))
}

/// Why no pool gave anything: all that may be used are full, or none may be used.
fn why_none(seeker: &Seeker<'_>, pinned: &[&Pool], open: &[&Pool]) -> Reason {
    let world = seeker.world;
    let families = seeker.families.name();
    let wanted = |pool: &&&Pool| match seeker.families {
        Families::Single(family) => pool.has_family(family),
        Families::Dual if seeker.request.prefers_dual => true,
        Families::Dual => pool.has_family(Family::V4) && pool.has_family(Family::V6),
    };
    let full = || pinned.iter().chain(open).filter(wanted);
    if full().any(|pool| !pool.contested.is_empty()) {
        let pools: Vec<String> = full().map(|pool| pool.id().to_string()).take(5).collect();
        return Reason::Contested { pools: pools.join(", ") };
    }
    let full = Names::of(full().map(|pool| Arc::clone(&pool.name)));
    if !full.is_empty() {
        return Reason::Exhausted { pools: full, families };
    }
    Reason::NoneAllowed {
        families,
        manual: Names::of(
            world
                .config
                .pools
                .values()
                .filter(|pool| !pool.auto_assigns())
                .map(|p| Arc::clone(&p.name)),
        ),
        pinned: Names::of(
            world
                .config
                .pools
                .values()
                .filter(|pool| {
                    pool.auto_assigns()
                        && compatible(seeker.key, seeker.request.service, pool, world).is_err()
                })
                .map(|pool| Arc::clone(&pool.name)),
        ),
        other_family: Names::of(pinned.iter().chain(open).map(|pool| Arc::clone(&pool.name))),
    }
}

/// A Service that looks for addresses in pools.
struct Seeker<'a> {
    key: &'a ObjectKey,
    request: &'a Request<'a>,
    families: Families,
    world: World<'a>,
    allocations: &'a Allocations,
}

impl Seeker<'_> {
    /// Only by request does a Service get a node's own address.
    fn usable(&self, pool: &Pool, family: Family) -> Option<IpAddr> {
        self.allocations.first_usable(self.key, &self.request.claim, pool, family, |address| {
            self.world.is_of_node(address)
        })
    }

    fn single(&self, pools: &[&Pool], family: Family) -> Option<Assigned> {
        pools.iter().find_map(|pool| {
            let address = self.usable(pool, family)?;
            Some(Assigned { pool: pool.id(), addresses: vec![address] })
        })
    }

    /// From the first pool that can; for a dual-stack Service one that has both families, and only with
    /// `PreferDualStack` one that has a single family.
    fn first_of(&self, pools: &[&Pool]) -> Option<Assigned> {
        let family = match self.families {
            Families::Single(family) => return self.single(pools, family),
            Families::Dual => self.request.service.primary_family,
        };
        let both = pools.iter().find_map(|pool| {
            let v4 = self.usable(pool, Family::V4)?;
            let v6 = self.usable(pool, Family::V6)?;
            Some(Assigned { pool: pool.id(), addresses: vec![v4, v6] })
        });
        both.or_else(|| {
            self.request
                .prefers_dual
                .then(|| self.single(pools, family).or_else(|| self.single(pools, family.other())))
                .flatten()
        })
    }
}
