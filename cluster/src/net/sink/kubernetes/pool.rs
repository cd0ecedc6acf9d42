// SPDX-License-Identifier: Apache-2.0
//! Writes the counters of pools: level-triggered, only what differs, at most once a second each.

use std::collections::BTreeMap;
use std::time::Duration;

use crds::config::{PoolId, PoolKind};
use kube::Client;
use serde_json::{Value, json};

use super::rewrite::{Rewrite, rewrite_status};
use crate::net::fence::Fence;
use crate::net::writer::{Failure, Kind, Sink, message};
use crate::writer::{Limits, Trouble};

/// The least time between two writes of one pool's counters.
const REST: Duration = Duration::from_secs(1);

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

/// The kinds of pools.
const KINDS: [PoolKind; 2] = [PoolKind::IpAddressPool, PoolKind::ExternalIpPool];

/// The handle of the writing tasks: one for each of [`KINDS`], since one kind may be refused without the other.
#[derive(Debug)]
pub struct PoolSink([Sink<PoolId, PoolCounters>; 2]);

impl PoolSink {
    /// Starts the tasks on the current runtime; `namespace` is where `IPAddressPool`s are. Nothing is written that
    /// `fence` does not allow at the last moment.
    #[must_use]
    pub fn start(client: &Client, namespace: &str, fence: &Fence) -> Self {
        let limits = Limits { rest: REST, ..Limits::default() };
        Self(KINDS.map(|kind| {
            let (client, fence) = (client.clone(), fence.clone());
            Sink::start(Pools { client, fence, kind, namespace: namespace.to_owned() }, limits)
        }))
    }

    /// Says nothing until something is published again: another process has the word.
    pub fn pause(&self) {
        self.0.iter().for_each(|sink| sink.change(|core, _| core.release()));
    }

    /// Sets what all counters are to be.
    pub fn publish(&self, counters: &BTreeMap<PoolId, PoolCounters>) {
        for (sink, kind) in self.0.iter().zip(KINDS) {
            let of_kind = counters.iter().filter(|(id, _)| id.kind == kind);
            let of_kind = of_kind.map(|(id, counters)| (id.clone(), *counters)).collect();
            sink.change(|core, now| core.set_all(of_kind, now));
        }
    }
}

/// How the pools of one kind are written.
struct Pools {
    client: Client,
    fence: Fence,
    kind: PoolKind,
    namespace: String,
}

impl Kind for Pools {
    type Key = PoolId;
    type Value = PoolCounters;

    /// The counters of a pool that is gone are gone with the pool.
    async fn write(&self, id: &PoolId, counters: Option<&PoolCounters>) -> Result<(), Failure> {
        let Some(counters) = counters else { return Ok(()) };
        let (namespace, name) = (&self.namespace, &id.name);
        let path = match id.kind {
            PoolKind::IpAddressPool => {
                format!("/apis/metallb.io/v1beta1/namespaces/{namespace}/ipaddresspools/{name}")
            }
            PoolKind::ExternalIpPool => {
                format!("/apis/crd.antrea.io/v1beta1/externalippools/{name}")
            }
        };
        match rewrite_status(&self.client, &path, &self.fence, |pool| set(pool, counters)).await? {
            Rewrite::Fenced => Err(Failure::Fenced),
            Rewrite::Written(_) | Rewrite::Unchanged(_) | Rewrite::Gone => Ok(()),
        }
    }

    fn tell(&self, pool: Option<&PoolId>, trouble: Trouble, error: &kube::Error) {
        let kind = self.kind.name();
        match trouble {
            Trouble::Refused => tracing::info!(
                event = "poolStatusOff",
                error = message(error),
                "the counters in {kind}.status are off: not permitted here"
            ),
            Trouble::Failed => tracing::warn!(pool = pool.map(|pool| &*pool.name), %error,
                "failed to write {kind}.status; it is tried again"),
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

#[cfg(test)]
mod tests;
