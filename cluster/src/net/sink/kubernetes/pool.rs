// SPDX-License-Identifier: Apache-2.0
//! Writes the counters of IPAddressPools: level-triggered, only what differs, at most once a second each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::rewrite::rewrite_status;

/// `IPAddressPool.status`; counters up to `i64::MAX`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolCounters {
    /// `assignedIPv4`.
    pub assigned_v4: u64,
    /// `assignedIPv6`.
    pub assigned_v6: u64,
    /// `availableIPv4`.
    pub available_v4: u64,
    /// `availableIPv6`.
    pub available_v6: u64,
}

/// The counters of every pool, by name.
type All = BTreeMap<Arc<str>, PoolCounters>;

/// The handle of the writing task.
#[derive(Debug)]
pub struct PoolSink(watch::Sender<All>);

impl PoolSink {
    /// Starts the task on the current runtime for the pools of `namespace`.
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
    let (mut refused, mut failing) = (false, false);
    while desired.changed().await.is_ok() {
        loop {
            let all = desired.borrow_and_update().clone();
            written.retain(|name, _| all.contains_key(name));
            let mut failed = false;
            for (name, counters) in &all {
                if written.get(name) == Some(counters) {
                    continue;
                }
                let path = format!(
                    "/apis/metallb.io/v1beta1/namespaces/{namespace}/ipaddresspools/{name}"
                );
                match rewrite_status(&client, &path, |pool| set(pool, counters)).await {
                    Ok(_) => {
                        written.insert(Arc::clone(name), *counters);
                    }
                    Err(kube::Error::Api(status)) if matches!(status.code, 403..=405) => {
                        if !std::mem::replace(&mut refused, true) {
                            tracing::info!(event = "poolStatusOff", error = %status.message,
                                "the counters in IPAddressPool.status are off: not permitted here");
                        }
                        written.insert(Arc::clone(name), *counters);
                    }
                    Err(error) => {
                        // Said once while it lasts; it is tried again every second.
                        if !std::mem::replace(&mut failing, true) {
                            tracing::warn!(pool = &**name, %error,
                                "failed to write IPAddressPool.status; it is tried again");
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
    let status = json!({
        "assignedIPv4": counters.assigned_v4,
        "assignedIPv6": counters.assigned_v6,
        "availableIPv4": counters.available_v4,
        "availableIPv6": counters.available_v6,
    });
    let Some(pool) = pool.as_object_mut() else { return false };
    if pool.get("status") == Some(&status) {
        return false;
    }
    pool.insert("status".to_owned(), status);
    true
}
