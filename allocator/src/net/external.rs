// SPDX-License-Identifier: Apache-2.0
//! The part of the controller's loop that knows Antrea's world, beside the snapshot: whether ferrolb serves it, and
//! which events were written about it.

use std::collections::BTreeSet;
use std::sync::Arc;

use cluster::net::sink::kubernetes::{EventSink, ObjectEvent, Regarding};
use cluster::net::source::Update;
use cluster::{Kind, Snapshot};
use crds::config::{ConfigKind, PoolId, PoolKind};
use kube::Client;
use tokio::sync::watch;

use super::antrea::look_out;

const POOLS: Kind = Kind::Config(ConfigKind::ExternalIpPool);

/// The state of Antrea's world.
pub(super) struct ExternalWorld {
    namespace: String,
    /// True if an Antrea lives; none until the answer is known.
    antrea: watch::Receiver<Option<bool>>,
    /// True if there are pools, so that the look for Antrea is worth its cost.
    wanted: watch::Sender<bool>,
    lives: Option<bool>,
    /// True if the nodes were listed, or cannot be.
    nodes: bool,
    no_hostnames: bool,
    /// The pools with the messages of their written events.
    told: BTreeSet<(PoolId, Arc<str>)>,
}

impl ExternalWorld {
    pub(super) fn start(client: Client, namespace: String) -> Self {
        let (wanted, is_wanted) = watch::channel(false);
        Self {
            namespace,
            antrea: look_out(client, is_wanted),
            wanted,
            lives: None,
            nodes: false,
            no_hostnames: false,
            told: BTreeSet::new(),
        }
    }

    pub(super) fn begin_term(&mut self) {
        self.nodes = false;
    }

    /// Looks at an update before it is applied.
    pub(super) fn note(&mut self, update: &Update) {
        match update {
            Update::Finish(POOLS) => drop(self.wanted.send_replace(true)),
            Update::Finish(Kind::Node) | Update::Absent(Kind::Node, _) => self.nodes = true,
            Update::Absent(Kind::ServiceL2Status, _) if !self.no_hostnames => {
                self.no_hostnames = true;
                tracing::info!(
                    event = "hostnameOff",
                    "ServiceL2Statuses cannot be had here: the status of Services of ExternalIPPools has no hostname"
                );
            }
            _ => {}
        }
    }

    /// True if everything is known that a decision depends on.
    pub(super) fn is_settled(&self, snapshot: &Snapshot) -> bool {
        self.nodes && (!snapshot.has_external_pools() || self.lives.is_some())
    }

    /// True if ferrolb serves this world.
    pub(super) fn is_served(&self) -> bool {
        self.lives == Some(false)
    }

    /// Waits for a new answer to the question whether an Antrea lives.
    pub(super) async fn changed(&mut self) -> bool {
        loop {
            let known = *self.antrea.borrow_and_update();
            if let Some(lives) = known.filter(|_| known != self.lives) {
                return lives;
            }
            if self.antrea.changed().await.is_err() {
                // The task ends with the program.
                std::future::pending::<()>().await;
            }
        }
    }

    pub(super) fn take_antrea(&mut self, lives: bool) {
        self.lives = Some(lives);
        if lives {
            tracing::warn!(
                event = "antreaLives",
                "a live antrea-controller serves ExternalIPPools (webhook externalippoolvalidator.antrea.io): Services with the \
                 annotation service.antrea.io/external-ip-pool are left to it"
            );
        } else {
            tracing::info!(event = "externalPools", "ExternalIPPools are served from here");
        }
    }

    /// Writes an event on each pool that overlaps a pool of the other kind, once for each such state.
    pub(super) fn tell_overlaps(&mut self, snapshot: &Snapshot, events: &EventSink) {
        let config = snapshot.config();
        let pools = config.pools.values().chain(config.external_pools.values());
        let contested: BTreeSet<PoolId> =
            pools.filter(|pool| !pool.contested.is_empty()).map(|pool| pool.id()).collect();
        let now: BTreeSet<(PoolId, Arc<str>)> = snapshot
            .rejections()
            .iter()
            .filter_map(|rejection| {
                let kind = match rejection.kind {
                    ConfigKind::IpAddressPool => PoolKind::IpAddressPool,
                    ConfigKind::ExternalIpPool => PoolKind::ExternalIpPool,
                    _ => return None,
                };
                let id = PoolId { kind, name: Arc::clone(&rejection.name) };
                contested.contains(&id).then(|| (id, rejection.message.as_str().into()))
            })
            .collect();
        for (id, message) in now.difference(&self.told) {
            let uid = snapshot.pool_uid(id).unwrap_or_default().into();
            events.publish(ObjectEvent {
                regarding: Regarding::pool(id, &self.namespace, uid),
                warning: true,
                reason: "PoolOverlap",
                message: message.to_string(),
            });
        }
        self.told = now;
    }
}
