// SPDX-License-Identifier: Apache-2.0
//! The controller's metrics (contract 7.1), names and labels exact.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cluster::ObjectKey;
use crds::config::{Config, Pool};
use prometheus::{IntGaugeVec, Opts, Registry};

use crate::allocations::Allocations;
use crate::pool_status::PoolStatus;
use crate::reason::Reason;

/// What pools of one kind hold, a series per pool.
struct PoolGauges {
    addresses: IntGaugeVec,
    in_use: IntGaugeVec,
    addresses_v4: IntGaugeVec,
    addresses_v6: IntGaugeVec,
    in_use_v4: IntGaugeVec,
    in_use_v6: IntGaugeVec,
    services: IntGaugeVec,
    pools: BTreeSet<Arc<str>>,
}

impl PoolGauges {
    fn register(registry: &Registry, namespace: &str, subsystem: &str) -> prometheus::Result<Self> {
        let by_pool = |name: &str, help: &str| {
            let options = Opts::new(name, help).namespace(namespace).subsystem(subsystem);
            let gauge = IntGaugeVec::new(options, &["pool"])?;
            registry.register(Box::new(gauge.clone()))?;
            prometheus::Result::Ok(gauge)
        };
        Ok(Self {
            addresses: by_pool("addresses_total", "Number of usable IP addresses, per pool.")?,
            in_use: by_pool("addresses_in_use_total", "Number of IP addresses in use, per pool.")?,
            addresses_v4: by_pool(
                "ipv4_addresses_total",
                "Number of usable IPv4 addresses, per pool.",
            )?,
            addresses_v6: by_pool(
                "ipv6_addresses_total",
                "Number of usable IPv6 addresses, per pool.",
            )?,
            in_use_v4: by_pool(
                "ipv4_addresses_in_use_total",
                "Number of IPv4 addresses in use, per pool.",
            )?,
            in_use_v6: by_pool(
                "ipv6_addresses_in_use_total",
                "Number of IPv6 addresses in use, per pool.",
            )?,
            services: by_pool(
                "services_allocated_total",
                "Number of Services that have an address, per pool.",
            )?,
            pools: BTreeSet::new(),
        })
    }

    /// Sets them to what is so now; the series of pools that are gone are removed.
    fn update(&mut self, pools: &BTreeMap<Arc<str>, Pool>, allocations: &Allocations) {
        let names: BTreeSet<Arc<str>> = pools.keys().cloned().collect();
        for gone in self.pools.difference(&names) {
            for gauge in self.all() {
                // Only a series that was never there can't be removed.
                let _ = gauge.remove_label_values(&[gone]);
            }
        }
        for (name, pool) in pools {
            let usage = allocations.usage(&pool.id());
            let status = PoolStatus::new(pool, usage);
            let set = |gauge: &IntGaugeVec, value: u64| {
                gauge.with_label_values(&[name]).set(i64::try_from(value).unwrap_or(i64::MAX));
            };
            set(&self.addresses, status.capacity());
            set(&self.in_use, status.assigned_v4 + status.assigned_v6);
            set(&self.addresses_v4, status.capacity_v4());
            set(&self.addresses_v6, status.capacity_v6());
            set(&self.in_use_v4, status.assigned_v4);
            set(&self.in_use_v6, status.assigned_v6);
            set(&self.services, usage.services);
        }
        self.pools = names;
    }

    fn all(&self) -> [&IntGaugeVec; 7] {
        [
            &self.addresses,
            &self.in_use,
            &self.addresses_v4,
            &self.addresses_v6,
            &self.in_use_v4,
            &self.in_use_v6,
            &self.services,
        ]
    }
}

/// Gauges by pool, and Services that wait by reason.
pub struct AllocatorMetrics {
    pools: PoolGauges,
    /// Under a name of their own: pools of both kinds may have one name.
    external_pools: PoolGauges,
    pending: IntGaugeVec,
}

impl AllocatorMetrics {
    /// Registers them.
    ///
    /// # Errors
    /// When a name is taken in `registry`.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let pending = IntGaugeVec::new(
            Opts::new(
                "services_pending",
                "Number of Services that have no address, by the reason.",
            )
            .namespace("ferrolb")
            .subsystem("allocator"),
            &["reason"],
        )?;
        registry.register(Box::new(pending.clone()))?;
        Ok(Self {
            pools: PoolGauges::register(registry, "metallb", "allocator")?,
            external_pools: PoolGauges::register(registry, "ferrolb", "external_ip_pool")?,
            pending,
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
        let mut counts: BTreeMap<&str, i64> = Reason::NAMES.map(|name| (name, 0)).into();
        for reason in pending.values() {
            *counts.entry(reason.name()).or_default() += 1;
        }
        for (reason, count) in counts {
            self.pending.with_label_values(&[reason]).set(count);
        }
    }
}
