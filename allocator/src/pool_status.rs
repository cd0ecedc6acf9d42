// SPDX-License-Identifier: Apache-2.0
//! The counters of a pool: its status (contract 1.1) and its metrics (contract 7.1).

use crds::config::{Family, MAX_CAPACITY, Pool};

use crate::allocations::Usage;

/// `IPAddressPool.status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStatus {
    /// Distinct IPv4 addresses in use.
    pub assigned_v4: u64,
    /// Distinct IPv6 addresses in use.
    pub assigned_v6: u64,
    /// IPv4 addresses left.
    pub available_v4: u64,
    /// IPv6 addresses left; `i64::MAX` less the used ones where a pool is too large to count.
    pub available_v6: u64,
}

impl PoolStatus {
    /// The counters of `pool` when so much of it is in use.
    #[must_use]
    pub fn new(pool: &Pool, usage: Usage) -> Self {
        let capacity_v4 = pool.capacity(Family::V4);
        let capacity_v6 = pool.capacity(Family::V6);
        Self {
            assigned_v4: usage.v4,
            assigned_v6: usage.v6,
            available_v4: capacity_v4.saturating_sub(usage.v4),
            available_v6: capacity_v6.saturating_sub(usage.v6),
        }
    }

    /// All usable addresses of the pool, `i64::MAX` at most.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.capacity_v4().saturating_add(self.capacity_v6()).min(MAX_CAPACITY)
    }

    /// All usable IPv4 addresses.
    #[must_use]
    pub fn capacity_v4(&self) -> u64 {
        self.assigned_v4.saturating_add(self.available_v4)
    }

    /// All usable IPv6 addresses.
    #[must_use]
    pub fn capacity_v6(&self) -> u64 {
        self.assigned_v6.saturating_add(self.available_v6)
    }
}
