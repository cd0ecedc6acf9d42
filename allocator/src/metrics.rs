// SPDX-License-Identifier: Apache-2.0
//! The controller's metrics (contract 7.1), names and labels exact.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cluster::ObjectKey;
use crds::config::{Config, Pool};
use daemon::metric::{Metric, Series};
use prometheus::Registry;

use crate::allocations::{Allocations, Usage};
use crate::pool_status::PoolStatus;
use crate::reason::Reason;

const PENDING: Metric<1> = Metric::gauge(
    "ferrolb_allocator_services_pending",
    "Number of Services that have no address, by the reason.",
    ["reason"],
);

/// The value of a series for a pool.
type Value = fn(&PoolStatus, &Usage) -> u64;

/// Gauges with a series for each pool, behind the prefix of the pool's kind: pools of both kinds may have one name.
const OF_POOLS: [(Metric<1>, Value); 7] = [
    (
        Metric::gauge("addresses_total", "Number of usable IP addresses, per pool.", ["pool"]),
        |status, _| status.capacity(),
    ),
    (
        Metric::gauge(
            "addresses_in_use_total",
            "Number of IP addresses in use, per pool.",
            ["pool"],
        ),
        |status, _| status.assigned_v4 + status.assigned_v6,
    ),
    (
        Metric::gauge(
            "ipv4_addresses_total",
            "Number of usable IPv4 addresses, per pool.",
            ["pool"],
        ),
        |status, _| status.capacity_v4(),
    ),
    (
        Metric::gauge(
            "ipv6_addresses_total",
            "Number of usable IPv6 addresses, per pool.",
            ["pool"],
        ),
        |status, _| status.capacity_v6(),
    ),
    (
        Metric::gauge(
            "ipv4_addresses_in_use_total",
            "Number of IPv4 addresses in use, per pool.",
            ["pool"],
        ),
        |status, _| status.assigned_v4,
    ),
    (
        Metric::gauge(
            "ipv6_addresses_in_use_total",
            "Number of IPv6 addresses in use, per pool.",
            ["pool"],
        ),
        |status, _| status.assigned_v6,
    ),
    (
        Metric::gauge(
            "services_allocated_total",
            "Number of Services that have an address, per pool.",
            ["pool"],
        ),
        |_, usage| usage.services,
    ),
];

/// The series of the pools of one kind.
struct PoolGauges {
    gauges: Vec<(Series<1>, Value)>,
    pools: BTreeSet<Arc<str>>,
}

impl PoolGauges {
    fn register(registry: &Registry, prefix: &'static str) -> prometheus::Result<Self> {
        let registered = OF_POOLS
            .iter()
            .map(|(metric, value)| Ok((metric.under(prefix).register(registry)?, *value)));
        let gauges = registered.collect::<prometheus::Result<_>>()?;
        Ok(Self { gauges, pools: BTreeSet::new() })
    }

    /// Sets them to what is so now; the series of pools that are gone are removed.
    fn update(&mut self, pools: &BTreeMap<Arc<str>, Pool>, allocations: &Allocations) {
        let names: BTreeSet<Arc<str>> = pools.keys().cloned().collect();
        for gone in self.pools.difference(&names) {
            for (gauge, _) in &self.gauges {
                gauge.remove([gone]);
            }
        }
        for (name, pool) in pools {
            let usage = allocations.usage(&pool.id());
            let status = PoolStatus::new(pool, usage);
            for (gauge, value) in &self.gauges {
                gauge.set([name], value(&status, &usage));
            }
        }
        self.pools = names;
    }
}

/// Gauges by pool, and Services that wait by reason.
pub struct AllocatorMetrics {
    pools: PoolGauges,
    external_pools: PoolGauges,
    pending: Series<1>,
}

impl AllocatorMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When a name is taken in `registry`.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            pools: PoolGauges::register(registry, "metallb_allocator_")?,
            external_pools: PoolGauges::register(registry, "ferrolb_external_ip_pool_")?,
            pending: PENDING.register(registry)?,
        })
    }

    /// Sets them to what is so now.
    pub fn update(
        &mut self,
        config: &Config,
        allocations: &Allocations,
        pending: &BTreeMap<ObjectKey, Reason>,
    ) {
        self.pools.update(&config.pools, allocations);
        self.external_pools.update(&config.external_pools, allocations);
        let mut counts: BTreeMap<&str, u64> = Reason::NAMES.map(|name| (name, 0)).into();
        for reason in pending.values() {
            *counts.entry(reason.name()).or_default() += 1;
        }
        for (reason, count) in counts {
            self.pending.set([reason], count);
        }
    }
}
