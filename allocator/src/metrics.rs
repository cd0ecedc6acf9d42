// SPDX-License-Identifier: Apache-2.0
//! The controller's metrics (contract 7.1), names and labels exact.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cluster::ObjectKey;
use crds::config::Config;
use prometheus::{IntGaugeVec, Opts, Registry};

use crate::allocations::Allocations;
use crate::pool_status::PoolStatus;
use crate::reason::Reason;

/// Gauges by pool.
pub struct AllocatorMetrics {
    addresses: IntGaugeVec,
    in_use: IntGaugeVec,
    addresses_v4: IntGaugeVec,
    addresses_v6: IntGaugeVec,
    in_use_v4: IntGaugeVec,
    in_use_v6: IntGaugeVec,
    services: IntGaugeVec,
    pending: IntGaugeVec,
    pools: BTreeSet<Arc<str>>,
}

fn by_pool(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGaugeVec> {
    let options = Opts::new(name, help).namespace("metallb").subsystem("allocator");
    let gauge = IntGaugeVec::new(options, &["pool"])?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
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
            addresses: by_pool(
                registry,
                "addresses_total",
                "Number of usable IP addresses, per pool.",
            )?,
            in_use: by_pool(
                registry,
                "addresses_in_use_total",
                "Number of IP addresses in use, per pool.",
            )?,
            addresses_v4: by_pool(
                registry,
                "ipv4_addresses_total",
                "Number of usable IPv4 addresses, per pool.",
            )?,
            addresses_v6: by_pool(
                registry,
                "ipv6_addresses_total",
                "Number of usable IPv6 addresses, per pool.",
            )?,
            in_use_v4: by_pool(
                registry,
                "ipv4_addresses_in_use_total",
                "Number of IPv4 addresses in use, per pool.",
            )?,
            in_use_v6: by_pool(
                registry,
                "ipv6_addresses_in_use_total",
                "Number of IPv6 addresses in use, per pool.",
            )?,
            services: by_pool(
                registry,
                "services_allocated_total",
                "Number of Services that have an address, per pool.",
            )?,
            pending,
            pools: BTreeSet::new(),
        })
    }

    /// Sets them to what is so now; the series of pools that are gone are removed.
    pub fn update(
        &mut self,
        config: &Config,
        allocations: &Allocations,
        pending: &BTreeMap<ObjectKey, Reason>,
    ) {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let pools: BTreeSet<Arc<str>> = config.pools.keys().cloned().collect();
        for gone in self.pools.difference(&pools) {
            for gauge in self.gauges() {
                // Only a series that was never there can't be removed.
                let _ = gauge.remove_label_values(&[gone]);
            }
        }
        for (name, pool) in &config.pools {
            let usage = allocations.usage(&pool.id());
            let status = PoolStatus::new(pool, usage);
            let set = |gauge: &IntGaugeVec, value: u64| {
                gauge.with_label_values(&[name]).set(signed(value));
            };
            set(&self.addresses, status.capacity());
            set(&self.in_use, status.assigned_v4 + status.assigned_v6);
            set(&self.addresses_v4, status.capacity_v4());
            set(&self.addresses_v6, status.capacity_v6());
            set(&self.in_use_v4, status.assigned_v4);
            set(&self.in_use_v6, status.assigned_v6);
            set(&self.services, usage.services);
        }
        self.pools = pools;
        let mut counts: BTreeMap<&str, i64> = Reason::NAMES.map(|name| (name, 0)).into();
        for reason in pending.values() {
            *counts.entry(reason.name()).or_default() += 1;
        }
        for (reason, count) in counts {
            self.pending.with_label_values(&[reason]).set(count);
        }
    }

    fn gauges(&self) -> [&IntGaugeVec; 7] {
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
