// SPDX-License-Identifier: Apache-2.0
//! What both protocols ask of a Service before they decide (contract 2.10): its addresses, their pool, its endpoints.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use cluster::model::{POOL_ANNOTATION, Service};
use cluster::{ObjectKey, Snapshot};
use crds::config::Config;
use crds::labels::Labels;

use crate::announce::Options;
use crate::reason::Withhold;

/// The Service's addresses; the first one is what the election is about.
pub(crate) fn addresses(service: &Service) -> Result<Vec<IpAddr>, Withhold> {
    if service.ingress.is_empty() {
        return Err(Withhold::NoAddress);
    }
    service
        .ingress
        .iter()
        .map(|entry| {
            let text = if entry.ip.is_empty() { &entry.hostname } else { &entry.ip };
            entry.ip.parse().map_err(|_| Withhold::InvalidAddress(text.clone()))
        })
        .collect()
}

/// What advertisements select a pool by.
pub(crate) struct PoolOf<'a> {
    pub(crate) name: Arc<str>,
    pub(crate) labels: &'a Labels,
}

/// The pool that holds all of the Service's addresses.
pub(crate) fn pool<'a>(
    service: &Service,
    addresses: &[IpAddr],
    config: &'a Config,
) -> Result<PoolOf<'a>, Withhold> {
    let first = addresses.first().copied().ok_or(Withhold::NoAddress)?;
    match config.pool_of(first) {
        Some(pool) => match addresses.iter().find(|address| !pool.contains(**address)) {
            Some(other) => Err(Withhold::NotAllowed(*other)),
            None => Ok(PoolOf { name: Arc::clone(&pool.name), labels: &pool.labels }),
        },
        // What a pool gave before it became invalid is still announced (rule 6 of the design).
        None => service
            .annotations
            .get(POOL_ANNOTATION)
            .and_then(|name| config.invalid_pools.get_key_value(name))
            .map(|(name, pool)| PoolOf { name: Arc::clone(name), labels: &pool.labels })
            .ok_or(Withhold::NotAllowed(first)),
    }
}

/// Where a Service has usable endpoints.
pub(crate) struct Endpoints<'a> {
    pub(crate) any: bool,
    /// None where every node counts as having one.
    nodes: Option<BTreeSet<&'a str>>,
}

impl<'a> Endpoints<'a> {
    /// Those that L2 counts.
    pub(crate) fn of(key: &ObjectKey, snapshot: &'a Snapshot, options: &Options) -> Self {
        if options.assume_endpoints && snapshot.slices(key).next().is_none() {
            return Self { any: true, nodes: None };
        }
        let nodes = snapshot.slices(key).flat_map(|slice| slice.nodes.iter().map(|node| &**node));
        Self { any: snapshot.slices(key).any(|slice| slice.any), nodes: Some(nodes.collect()) }
    }

    /// Those that BGP counts: they must have an address (contract 5.3).
    pub(crate) fn with_address(key: &ObjectKey, snapshot: &'a Snapshot, options: &Options) -> Self {
        if options.assume_endpoints && snapshot.slices(key).next().is_none() {
            return Self { any: true, nodes: None };
        }
        let slices = || snapshot.slices(key);
        let nodes = slices().flat_map(|slice| slice.nodes_with_address.iter().map(|node| &**node));
        Self { any: slices().any(|slice| slice.any_with_address), nodes: Some(nodes.collect()) }
    }

    pub(crate) fn are_on(&self, node: &str) -> bool {
        self.nodes.as_ref().is_none_or(|nodes| nodes.contains(node))
    }
}
