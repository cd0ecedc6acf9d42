// SPDX-License-Identifier: Apache-2.0
//! Removes what other nodes left behind for Services that this node took over.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster::ObjectKey;
use cluster::net::generated::{Generated, Object};
use cluster::net::writer::{Failure, Kind, Sink, lock};
use cluster::writer::{Limits, Trouble};

use super::{Status, service_of};

/// The number of Services up to which each is looked up by itself; for more, all objects are listed.
const SMALL_BATCH: usize = 8;
/// The time after a take-over until objects that other nodes left behind are looked for, and the least time between
/// two looks.
const DELAY: Duration = Duration::from_secs(2);

/// The handle of the sweeping task.
#[derive(Clone)]
pub(super) struct Sweeper {
    /// Services that were taken over, for which the objects of other nodes have to go.
    services: Arc<Mutex<BTreeSet<ObjectKey>>>,
    sink: Sink<(), ()>,
}

impl Sweeper {
    /// Starts the task on the current runtime.
    pub(super) fn start(objects: Arc<Generated<ObjectKey>>, node: String) -> Self {
        let services = Arc::<Mutex<BTreeSet<ObjectKey>>>::default();
        let others = Others { objects, node, services: Arc::clone(&services) };
        let limits = Limits { settle: DELAY, rest: DELAY, remembers: false, ..Limits::default() };
        Self { services, sink: Sink::start(others, limits) }
    }

    /// The objects of other nodes for this Service have to go.
    pub(super) fn taken_over(&self, service: &ObjectKey) {
        lock(&self.services).insert(service.clone());
        self.sink.set((), Some(()));
    }

    /// A Service that was taken over and given up again is another node's now, and so is its object.
    pub(super) fn given_up(&self, service: &ObjectKey) {
        lock(&self.services).remove(service);
    }
}

/// The objects of other nodes.
struct Others {
    objects: Arc<Generated<ObjectKey>>,
    node: String,
    services: Arc<Mutex<BTreeSet<ObjectKey>>>,
}

impl Kind for Others {
    type Key = ();
    type Value = ();

    async fn write(&self, (): &(), _: Option<&()>) -> Result<(), Failure> {
        let services = std::mem::take(&mut *lock(&self.services));
        let removed = self.remove(&services).await;
        if removed.is_err() {
            lock(&self.services).extend(services);
        }
        Ok(removed?)
    }

    fn tell(&self, _: Option<&()>, _: Trouble, error: &kube::Error) {
        tracing::warn!(%error, "failed to look for status objects of other nodes; it is tried again");
    }
}

impl Others {
    async fn remove(&self, services: &BTreeSet<ObjectKey>) -> Result<(), kube::Error> {
        let (objects, node) = (&self.objects, &self.node);
        let mut others = Vec::new();
        let mut take = |object: Object<Status>| {
            if service_of(&object).is_some_and(|service| services.contains(&service)) {
                others.extend(object.metadata.name);
            }
        };
        if services.len() <= SMALL_BATCH {
            for service in services {
                let selector = format!(
                    "metallb.io%2Fservice-name%3D{},metallb.io%2Fservice-namespace%3D{},metallb.io%2Fnode%21%3D{node}",
                    service.name(),
                    service.namespace(),
                );
                objects.list(&selector, &mut take).await?;
            }
        } else {
            objects.list(&format!("metallb.io%2Fnode%21%3D{node}"), &mut take).await?;
        }
        for name in others {
            objects.delete_named(&name).await?;
        }
        Ok(())
    }
}
