// SPDX-License-Identifier: Apache-2.0
//! The parts of a Service that both protocols need before they decide (contract 2.10): its addresses, their pool, its endpoints.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use cluster::model::{POOL_ANNOTATION, Service};
use cluster::{ObjectKey, Snapshot};
use crds::address::core_address;
use crds::config::{Config, Family, Policy, PoolKind};
use crds::labels::{Labels, Selector};

use crate::options::Options;
use crate::reason::Withhold;

/// The Service's addresses; the first one is elected for.
pub(crate) fn addresses(service: &Service) -> Result<Vec<IpAddr>, Withhold> {
    if service.ingress.is_empty() {
        return Err(Withhold::NoAddress);
    }
    service
        .ingress
        .iter()
        .map(|entry| {
            let text = if entry.ip.is_empty() { &entry.hostname } else { &entry.ip };
            let address = core_address(&entry.ip).map(|address| address.value);
            address.ok_or_else(|| Withhold::InvalidAddress(text.as_str().into()))
        })
        .collect()
}

/// The former addresses of a Service, if they differ from the present ones (contract 2.10); their order does not count.
pub(crate) fn replaced(before: Vec<IpAddr>, now: &[IpAddr]) -> Vec<IpAddr> {
    let same = before.len() == now.len() && before.iter().all(|address| now.contains(address));
    if same { Vec::new() } else { before }
}

/// The properties of a pool by which advertisements select it.
pub(crate) struct PoolOf<'a> {
    pub(crate) kind: PoolKind,
    pub(crate) name: Arc<str>,
    pub(crate) labels: &'a Labels,
    /// The nodes that an `ExternalIPPool` selects; none where the selector cannot be read.
    node_selector: Option<&'a Selector>,
}

impl PoolOf<'_> {
    /// True if an `ExternalIPPool` lets a node with these labels announce.
    pub(crate) fn selects_node(&self, labels: &Labels) -> bool {
        self.node_selector.is_some_and(|selector| selector.matches(labels))
    }
}

/// Checks that the addresses of a Service of Antrea's world are from our controller, which says so in its condition: a live Antrea announces
/// its own ones itself (contract C.12). Addresses in a folder are always ours.
pub(crate) fn given_here(service: &Service, options: &Options) -> Result<(), Withhold> {
    let ours = options.assume_endpoints || service.allocated.is_some();
    (ours || service.external_pool().is_none()).then_some(()).ok_or(Withhold::NotGivenHere)
}

/// The pool that contains all of the Service's addresses.
pub(crate) fn pool<'a>(
    service: &Service,
    addresses: &[IpAddr],
    config: &'a Config,
) -> Result<PoolOf<'a>, Withhold> {
    let first = addresses.first().copied().ok_or(Withhold::NoAddress)?;
    if let Some(name) = service.external_pool() {
        return external_pool(name, first, addresses, config);
    }
    let kind = PoolKind::IpAddressPool;
    match config.pool_of(first) {
        Some(pool) => match addresses.iter().find(|address| !pool.contains(**address)) {
            Some(other) => Err(Withhold::NotAllowed(*other)),
            None => Ok(PoolOf {
                kind,
                name: Arc::clone(&pool.name),
                labels: &pool.labels,
                node_selector: None,
            }),
        },
        // Addresses of a pool that became invalid are still announced (docs/design/rules.md, rule 6).
        None => service
            .annotations
            .get(POOL_ANNOTATION)
            .and_then(|name| config.invalid_pools.get_key_value(name))
            .map(|(name, pool)| PoolOf {
                kind,
                name: Arc::clone(name),
                labels: &pool.labels,
                node_selector: None,
            })
            .ok_or(Withhold::NotAllowed(first)),
    }
}

/// The `ExternalIPPool` that the annotation names, if it contains the addresses.
fn external_pool<'a>(
    name: &str,
    first: IpAddr,
    addresses: &[IpAddr],
    config: &'a Config,
) -> Result<PoolOf<'a>, Withhold> {
    let kind = PoolKind::ExternalIpPool;
    if let Some(pool) = config.external_pools.get(name) {
        if let Some(other) = addresses.iter().find(|address| !pool.contains(**address)) {
            return Err(Withhold::NotAllowed(*other));
        }
        let node_selector = match &pool.policy {
            Policy::Antrea(policy) => policy.node_selector.as_ref(),
            Policy::Metallb(_) => None,
        };
        let name = Arc::clone(&pool.name);
        return Ok(PoolOf { kind, name, labels: &pool.labels, node_selector });
    }
    let (name, pool) =
        config.invalid_external_pools.get_key_value(name).ok_or(Withhold::NotAllowed(first))?;
    let node_selector = pool.node_selector.as_ref();
    Ok(PoolOf { kind, name: Arc::clone(name), labels: &pool.labels, node_selector })
}

/// The nodes with usable endpoints of a Service.
pub(crate) struct Endpoints<'a> {
    pub(crate) any: bool,
    /// The nodes, each with the number of its endpoints. None where every node counts as having one.
    nodes: Option<BTreeMap<&'a str, u32>>,
}

impl<'a> Endpoints<'a> {
    /// No endpoints.
    pub(crate) fn nowhere() -> Self {
        Self { any: false, nodes: Some(BTreeMap::new()) }
    }

    /// The endpoints that L2 counts.
    pub(crate) fn of(key: &ObjectKey, snapshot: &'a Snapshot, options: &Options) -> Self {
        if options.assume_endpoints && snapshot.slices(key).next().is_none() {
            return Self { any: true, nodes: None };
        }
        let mut nodes: BTreeMap<&str, u32> = BTreeMap::new();
        for slice in snapshot.slices(key) {
            for (node, endpoints) in slice.nodes.iter().zip(&slice.endpoints) {
                *nodes.entry(node).or_default() += endpoints;
            }
        }
        Self { any: snapshot.slices(key).any(|slice| slice.any), nodes: Some(nodes) }
    }

    /// The endpoints that Antrea counts (contract C.6): in slices of this family, ready or serving, where an unset condition counts as true.
    pub(crate) fn of_family(
        key: &ObjectKey,
        snapshot: &'a Snapshot,
        options: &Options,
        family: Family,
    ) -> Self {
        if options.assume_endpoints && snapshot.slices(key).next().is_none() {
            return Self { any: true, nodes: None };
        }
        let nodes: BTreeMap<&str, u32> = snapshot
            .slices(key)
            .filter(|slice| slice.family == Some(family))
            .flat_map(|slice| slice.nodes.iter().chain(&slice.nodes_unsaid))
            .map(|node| (&**node, 1))
            .collect();
        Self { any: !nodes.is_empty(), nodes: Some(nodes) }
    }

    /// The endpoints that BGP counts: they must have an address (contract 5.3).
    pub(crate) fn with_address(key: &ObjectKey, snapshot: &'a Snapshot, options: &Options) -> Self {
        if options.assume_endpoints && snapshot.slices(key).next().is_none() {
            return Self { any: true, nodes: None };
        }
        let slices = || snapshot.slices(key);
        let nodes =
            slices().flat_map(|slice| slice.nodes_with_address.iter().map(|node| (&**node, 1)));
        Self { any: slices().any(|slice| slice.any_with_address), nodes: Some(nodes.collect()) }
    }

    pub(crate) fn are_on(&self, node: &str) -> bool {
        self.nodes.as_ref().is_none_or(|nodes| nodes.contains_key(node))
    }

    /// The number of endpoints on a node, as L2 counts them.
    pub(crate) fn count_on(&self, node: &str) -> u32 {
        self.nodes.as_ref().map_or(1, |nodes| nodes.get(node).copied().unwrap_or_default())
    }
}
