// SPDX-License-Identifier: Apache-2.0
//! Writes ServiceL2Status and ServiceBGPStatus objects (contract 1.8, 1.9, 4.9, 5.8), quietly: one write per real change.
//!
//! By L2 the owner of a Service's address has one object for the Service and removes those of other nodes; any other node removes only its
//! own. By BGP every node has its own object.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cluster::ObjectKey;
use cluster::net::generated::{Generated, Object, Resource};
use cluster::net::pod::{OwnPod, Owner};
use cluster::net::writer::{Failure, Found, Kind, Sink, lock, message};
use cluster::writer::{Limits, Trouble};
use kube::Client;
use l2::Scope;
use serde::Deserialize;
use serde_json::{Value, json};

mod sweep;

use sweep::Sweeper;

/// The names in this node's object for a Service: interfaces or peers.
type Names = BTreeSet<Box<str>>;

/// The number of Services that are written at the same time.
const CONCURRENT_WRITES: usize = 8;
/// The least time between two writes for one Service: a single change is written at once.
const REST: Duration = Duration::from_millis(200);

/// The two kinds of status objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatusKind {
    /// ServiceL2Status; the names are interfaces. Only one node has an object for a Service.
    Layer2,
    /// ServiceBGPStatus; the names are BGPPeers.
    Bgp,
}

impl StatusKind {
    /// The kind, and how the names of its objects begin.
    fn resource(self) -> (Resource, &'static str) {
        let group = "metallb.io/v1beta1";
        match self {
            Self::Layer2 => ((group, "ServiceL2Status", "servicel2statuses"), "l2-"),
            Self::Bgp => ((group, "ServiceBGPStatus", "servicebgpstatuses"), "bgp-"),
        }
    }

    /// The field of the status with the names, and its value; null where the field is to be absent.
    fn field(self, names: &Names) -> (&'static str, Value) {
        match self {
            Self::Layer2 if names.is_empty() => ("interfaces", Value::Null),
            Self::Layer2 => {
                let list: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
                ("interfaces", json!(list))
            }
            Self::Bgp => ("peers", json!(names)),
        }
    }
}

/// The interfaces in the status's form: none where all are used.
pub(super) fn interfaces(scope: &Scope) -> Names {
    match scope {
        Scope::AllInterfaces => BTreeSet::new(),
        Scope::Interfaces(names) => names.clone(),
    }
}

/// The handle of the writing task.
pub(super) struct StatusSink {
    objects: Sink<ObjectKey, Names>,
    sweeper: Option<Sweeper>,
}

impl StatusSink {
    /// Starts the task on the current runtime. `owner` owns the objects.
    pub(super) fn start(
        kind: StatusKind,
        client: Client,
        namespace: String,
        node: String,
        owner: Owner,
    ) -> Self {
        let (resource, start) = kind.resource();
        let objects = Generated::new(client, resource, namespace, start.to_owned(), owner.clone());
        let objects = Arc::new(objects);
        let sweeper = (kind == StatusKind::Layer2)
            .then(|| Sweeper::start(Arc::clone(&objects), node.clone()));
        let statuses = Statuses { kind, objects, node, owner, sweeper: sweeper.clone() };
        let limits = Limits { concurrent: CONCURRENT_WRITES, rest: REST, ..Limits::default() };
        Self { objects: Sink::start(statuses, limits), sweeper }
    }

    /// Sets the names in this node's object for a Service; none if there is to be no object.
    pub(super) fn publish(&self, service: ObjectKey, names: Option<Names>) {
        if let (None, Some(sweeper)) = (&names, &self.sweeper) {
            sweeper.given_up(&service);
        }
        self.objects.set(service, names);
    }

    /// Tells that after a start all announced Services have been published: objects that an earlier process of this node left behind for
    /// other Services are removed.
    pub(super) fn settled(&self) {
        self.objects.change(|core, now| core.settle(now));
    }
}

/// How this node's objects of one kind are written.
struct Statuses {
    kind: StatusKind,
    objects: Arc<Generated<ObjectKey>>,
    node: String,
    owner: Owner,
    sweeper: Option<Sweeper>,
}

impl Kind for Statuses {
    type Key = ObjectKey;
    type Value = Names;

    /// The objects of this node. Objects of its earlier pods are removed; otherwise they would go with their pod,
    /// after a while.
    async fn list(&self) -> Result<Found<Self>, kube::Error> {
        let pod = self.owner.pod().await;
        let (mut found, mut old) = (Found::<Self>::new(), Vec::new());
        let take = |object: Object<Status>| {
            let mut names_of = lock(&self.objects.names);
            let service = service_of(&object).filter(|_| is_owned_by(&object, pod.as_ref()));
            let (names, name) = (object.status.map(Status::names), object.metadata.name);
            match service {
                Some(service) if !names_of.contains_key(&service) => {
                    names_of.insert(service.clone(), name.unwrap_or_default());
                    found.push((service, names));
                }
                _ => old.extend(name),
            }
        };
        self.objects.list(&format!("metallb.io%2Fnode%3D{}", self.node), take).await?;
        for name in old {
            if let Err(error) = self.objects.delete_named(&name).await {
                tracing::warn!(object = name, %error,
                    "an old status object of a Service could not be removed");
            }
        }
        Ok(found)
    }

    async fn write(&self, service: &ObjectKey, names: Option<&Names>) -> Result<(), Failure> {
        let Some(names) = names else { return Ok(self.objects.delete(service).await?) };
        let is_new = !lock(&self.objects.names).contains_key(service);
        if let Some(sweeper) = self.sweeper.as_ref().filter(|_| is_new) {
            sweeper.taken_over(service);
        }
        let labels = json!({
            "metallb.io/node": self.node,
            "metallb.io/service-name": service.name(),
            "metallb.io/service-namespace": service.namespace(),
        });
        // A merge patch removes fields that are null.
        let (field, value) = self.kind.field(names);
        let status = json!({
            "node": self.node,
            "serviceName": service.name(),
            "serviceNamespace": service.namespace(),
            field: value,
        });
        Ok(self.objects.write(service, labels, status).await?)
    }

    fn tell(&self, service: Option<&ObjectKey>, trouble: Trouble, error: &kube::Error) {
        match trouble {
            Trouble::Refused => tracing::info!(
                event = "serviceStatusOff",
                kind = self.kind.resource().0.1,
                error = message(error),
                "status objects of Services are off: the kind or the permission is absent here; it is tried again"
            ),
            Trouble::Failed => {
                tracing::warn!(service = service.map(tracing::field::display), %error,
                "failed to write the status object of a Service; it is tried again")
            }
        }
    }
}

#[derive(Clone, Deserialize)]
struct Status {
    #[serde(default)]
    interfaces: Vec<Interface>,
    #[serde(default)]
    peers: Names,
}

#[derive(Clone, Deserialize)]
struct Interface {
    name: Box<str>,
}

impl Status {
    fn names(self) -> Names {
        let interfaces = self.interfaces.into_iter().map(|interface| interface.name);
        interfaces.chain(self.peers).collect()
    }
}

/// The Service of an object, by the labels.
fn service_of(object: &Object<Status>) -> Option<ObjectKey> {
    let labels = object.metadata.labels.as_ref()?;
    let namespace = labels.get("metallb.io/service-namespace")?;
    Some(ObjectKey::new(namespace, labels.get("metallb.io/service-name")?))
}

/// True if the object belongs to this pod; without a pod all do.
fn is_owned_by(object: &Object<Status>, pod: Option<&OwnPod>) -> bool {
    let Some(OwnPod { uid, .. }) = pod else { return true };
    object.metadata.owner_references.iter().flatten().next().is_some_and(|owner| owner.uid == *uid)
}
