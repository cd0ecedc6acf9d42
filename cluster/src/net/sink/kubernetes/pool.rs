// SPDX-License-Identifier: Apache-2.0
//! Writes the counters of pools: level-triggered, only what differs, at most once a second each.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crds::config::{PoolId, PoolKind};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::rewrite::rewrite_status;

/// The status of a pool; counters up to `i64::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolCounters {
    /// Of an `IPAddressPool`.
    Metallb {
        /// `assignedIPv4`.
        assigned_v4: u64,
        /// `assignedIPv6`.
        assigned_v6: u64,
        /// `availableIPv4`.
        available_v4: u64,
        /// `availableIPv6`.
        available_v6: u64,
    },
    /// Of an `ExternalIPPool`: `usage`, over both families.
    Antrea {
        /// `total`.
        total: u64,
        /// `used`.
        used: u64,
    },
}

/// The counters of every pool.
type All = BTreeMap<PoolId, PoolCounters>;

/// The handle of the writing task.
#[derive(Debug)]
pub struct PoolSink(watch::Sender<All>);

impl PoolSink {
    /// Starts the task on the current runtime; `namespace` is where `IPAddressPool`s are.
    #[must_use]
    pub fn start(client: Client, namespace: String) -> Self {
        let (sender, desired) = watch::channel(All::new());
        tokio::spawn(run(client, namespace, desired));
        Self(sender)
    }

    /// Sets what all counters are to be.
    pub fn publish(&self, counters: All) {
        self.0.send_if_modified(|current| {
            let changed = *current != counters;
            *current = counters;
            changed
        });
    }
}

async fn run(client: Client, namespace: String, mut desired: watch::Receiver<All>) {
    let mut written = All::new();
    let (mut refused, mut failing) = (BTreeSet::new(), false);
    while desired.changed().await.is_ok() {
        loop {
            let all = desired.borrow_and_update().clone();
            written.retain(|name, _| all.contains_key(name));
            let mut failed = false;
            for (id, counters) in &all {
                if written.get(id) == Some(counters) {
                    continue;
                }
                let name = &id.name;
                let path = match id.kind {
                    PoolKind::IpAddressPool => format!(
                        "/apis/metallb.io/v1beta1/namespaces/{namespace}/ipaddresspools/{name}"
                    ),
                    PoolKind::ExternalIpPool => {
                        format!("/apis/crd.antrea.io/v1beta1/externalippools/{name}")
                    }
                };
                match rewrite_status(&client, &path, |pool| set(pool, counters)).await {
                    Ok(_) => {
                        written.insert(id.clone(), *counters);
                    }
                    Err(kube::Error::Api(status)) if matches!(status.code, 403..=405) => {
                        if refused.insert(id.kind) {
                            tracing::info!(event = "poolStatusOff", error = %status.message,
                                "the counters in {}.status are off: not permitted here", id.kind.name());
                        }
                        written.insert(id.clone(), *counters);
                    }
                    Err(error) => {
                        // Said once while it lasts; it is tried again every second.
                        if !std::mem::replace(&mut failing, true) {
                            tracing::warn!(pool = &**name, %error,
                                "failed to write {}.status; it is tried again", id.kind.name());
                        }
                        failed = true;
                    }
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            if !failed {
                failing = false;
                break;
            }
        }
    }
}

fn set(pool: &mut Value, counters: &PoolCounters) -> bool {
    let status = match counters {
        PoolCounters::Metallb { assigned_v4, assigned_v6, available_v4, available_v6 } => json!({
            "assignedIPv4": assigned_v4,
            "assignedIPv6": assigned_v6,
            "availableIPv4": available_v4,
            "availableIPv6": available_v6,
        }),
        PoolCounters::Antrea { total, used } => {
            json!({ "usage": { "total": total, "used": used } })
        }
    };
    let Some(pool) = pool.as_object_mut() else { return false };
    if pool.get("status") == Some(&status) {
        return false;
    }
    pool.insert("status".to_owned(), status);
    true
}
