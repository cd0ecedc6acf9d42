// SPDX-License-Identifier: Apache-2.0
//! Logs the troubles of a source: once when one begins, once when it is over.

use std::collections::{BTreeMap, BTreeSet};

use crds::config::{AddressRange, Config, PoolId, Rejection};

use super::Update;
use crate::snapshot::Kind;

/// Remembers which kinds have trouble, so that the log is not flooded.
#[derive(Debug, Default)]
pub struct Journal {
    kinds: BTreeMap<Kind, Trouble>,
    rejections: Vec<Rejection>,
    special: BTreeSet<(PoolId, AddressRange)>,
}

#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    Absent,
    Failing,
}

impl Journal {
    /// Looks at an update before it is applied.
    pub fn note(&mut self, update: &Update) {
        match update {
            Update::Absent(kind, error) => {
                if self.kinds.insert(*kind, Trouble::Absent) != Some(Trouble::Absent) {
                    tracing::info!(event = "kindAbsent", ?kind, %error,
                        "a kind cannot be had here; it is tried again more and more slowly");
                }
            }
            Update::Trouble(kind, error) => {
                if self.kinds.insert(*kind, Trouble::Failing) != Some(Trouble::Failing) {
                    tracing::warn!(event = "watchFailed", ?kind, %error,
                        "a watch failed and is tried again; what was known stays in use");
                }
            }
            Update::Finish(kind) => {
                if self.kinds.remove(kind).is_some() {
                    tracing::info!(event = "watchRecovered", ?kind, "a watch is complete again");
                }
            }
            Update::Restart(_) | Update::Apply(_) | Update::Delete(..) => {}
        }
    }

    /// Looks at the addresses of pools that are never given; logs the new ones.
    pub fn note_special(&mut self, config: &Config) {
        let mut found = BTreeSet::new();
        for pool in config.pools.values().chain(config.external_pools.values()) {
            for (block, range) in &pool.special {
                let entry = (pool.id(), *range);
                if !self.special.contains(&entry) {
                    tracing::warn!(event = "specialAddresses", pool = %entry.0, %range, block = block.name(),
                        "addresses of this pool are never given: no other station can reach them");
                }
                found.insert(entry);
            }
        }
        self.special = found;
    }

    /// Looks at the invalid objects of the configuration; logs the new ones.
    pub fn note_rejections(&mut self, rejections: &[Rejection]) {
        for rejection in rejections.iter().filter(|rejection| !self.rejections.contains(rejection))
        {
            tracing::error!(event = "invalidConfiguration", object = %rejection.name,
                kind = rejection.kind.kind(), error = rejection.message,
                keptLastValid = rejection.kept_last_valid, "failed to parse the configuration");
        }
        self.rejections = rejections.to_vec();
    }
}
