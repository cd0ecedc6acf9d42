// SPDX-License-Identifier: Apache-2.0
//! The requests about status objects of Services, and their answers.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

use cluster::ObjectKey;
use futures::StreamExt;
use http::Method;
use kube::Client;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};

use super::{RETRY_INTERVAL, Sweep, Wish};
use cluster::net::pod::{OwnPod, Owner};
use cluster::net::request::send;

/// The number of Services up to which each is looked up by itself; for more, all objects are listed.
const SMALL_BATCH: usize = 8;

/// The number of Services that are written at the same time.
const CONCURRENT_WRITES: usize = 8;

/// The two kinds of status objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::net) enum StatusKind {
    /// ServiceL2Status; the names are interfaces.
    Layer2,
    /// ServiceBGPStatus; the names are BGPPeers.
    Bgp,
}

impl StatusKind {
    fn kind(self) -> &'static str {
        match self {
            Self::Layer2 => "ServiceL2Status",
            Self::Bgp => "ServiceBGPStatus",
        }
    }

    fn plural(self) -> &'static str {
        match self {
            Self::Layer2 => "servicel2statuses",
            Self::Bgp => "servicebgpstatuses",
        }
    }

    fn generate_name(self) -> &'static str {
        match self {
            Self::Layer2 => "l2-",
            Self::Bgp => "bgp-",
        }
    }

    /// True if only one node has an object for a Service.
    pub(super) fn is_exclusive(self) -> bool {
        self == Self::Layer2
    }

    /// The field of the status with the names, and its value; null where the field is to be absent.
    fn field(self, names: &BTreeSet<Box<str>>) -> (&'static str, Value) {
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

/// The writer of one kind of status objects.
pub(in crate::net) struct Writer {
    pub(in crate::net) kind: StatusKind,
    pub(in crate::net) client: Client,
    pub(in crate::net) namespace: String,
    pub(in crate::net) node: String,
    /// True once the log says that the objects are off.
    pub(in crate::net) has_reported_off: AtomicBool,
    /// The search for this speaker's own pod, which owns the objects.
    pub(in crate::net) owner: Owner,
    /// This speaker's own pod, once it is known.
    pub(in crate::net) pod: Option<OwnPod>,
}

/// The object of this node for a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    name: Box<str>,
    /// The names in its status; none where it has no status yet.
    names: Option<BTreeSet<Box<str>>>,
}

/// The kind or the permission is absent.
pub(super) struct Off;

impl Writer {
    /// The objects of this node. Objects of its earlier pods are removed; otherwise they would go with their pod, after a while.
    pub(super) async fn left_behind(&self) -> Result<HashMap<ObjectKey, Written>, Off> {
        let selector = format!("metallb.io%2Fnode%3D{}", self.node);
        loop {
            let (mut found, mut old) = (HashMap::new(), Vec::new());
            let mut take = |object: StatusObject| {
                let written = Written {
                    name: object.metadata.name.clone(),
                    names: object.status.as_ref().map(Status::names),
                };
                let owned = object.is_owned_by(self.pod.as_ref());
                let service = object.service().filter(|_| owned);
                match service {
                    Some(service) if !found.contains_key(&service) => {
                        found.insert(service, written);
                    }
                    _ => old.push(written.name),
                }
            };
            match self.list(&selector, &mut take).await {
                Ok(()) => {
                    for name in old {
                        if let Err(error) = self.delete(&name).await {
                            tracing::warn!(object = &*name, %error,
                                "an old status object of a Service could not be removed");
                        }
                    }
                    return Ok(found);
                }
                Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {
                    if !self.has_reported_off.swap(true, Ordering::Relaxed) {
                        tracing::info!(event = "serviceStatusOff", kind = self.kind.kind(), error = %status.message,
                            "status objects of Services are off: the kind or the permission is absent here; it is tried again");
                    }
                    return Err(Off);
                }
                Err(_) => tokio::time::sleep(RETRY_INTERVAL).await,
            }
        }
    }

    /// Carries out the wishes; returns the ones that failed.
    pub(super) async fn write_all(
        &self,
        wishes: BTreeMap<ObjectKey, Wish>,
        written: &mut HashMap<ObjectKey, Written>,
    ) -> BTreeMap<ObjectKey, Wish> {
        let writes = wishes.into_iter().map(|(service, wish)| {
            let known = written.get(&service).cloned();
            async move {
                let result = self.write(&service, wish.as_ref(), known).await;
                (service, wish, result)
            }
        });
        let results: Vec<_> =
            futures::stream::iter(writes).buffer_unordered(CONCURRENT_WRITES).collect().await;
        let mut failed = BTreeMap::new();
        for (service, wish, result) in results {
            match result {
                Ok(Some(object)) => drop(written.insert(service, object)),
                Ok(None) => drop(written.remove(&service)),
                Err((known, error)) => {
                    tracing::warn!(%service, %error, "failed to write the status object of a Service; it is tried again");
                    match known {
                        Some(object) => drop(written.insert(service.clone(), object)),
                        None => drop(written.remove(&service)),
                    }
                    failed.insert(service, wish);
                }
            }
        }
        failed
    }

    /// Makes this node's object for the Service equal to the wish; returns the object that exists afterwards.
    async fn write(
        &self,
        service: &ObjectKey,
        wish: Option<&BTreeSet<Box<str>>>,
        mut known: Option<Written>,
    ) -> Result<Option<Written>, (Option<Written>, kube::Error)> {
        let Some(names) = wish else {
            if let Some(object) = &known
                && let Err(error) = self.delete(&object.name).await
            {
                return Err((known, error));
            }
            return Ok(None);
        };
        loop {
            let object = match known.take() {
                Some(object) if object.names.as_ref() == Some(names) => {
                    return Ok(Some(object));
                }
                Some(object) => object,
                None => match self.create(service).await {
                    Ok(name) => Written { name, names: None },
                    Err(error) => return Err((None, error)),
                },
            };
            match self.patch(service, &object.name, names).await {
                Ok(()) => {
                    return Ok(Some(Written { names: Some(names.clone()), ..object }));
                }
                // The object has been removed meanwhile: the write begins again.
                Err(kube::Error::Api(status)) if status.code == 404 && object.names.is_some() => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    return Err((None, kube::Error::Api(status)));
                }
                Err(error) => return Err((Some(object), error)),
            }
        }
    }

    /// Removes the objects of other nodes for the Services that were taken over.
    pub(super) async fn sweep(&self, sweep: &mut Sweep) {
        let services = std::mem::take(&mut sweep.services);
        (sweep.first, sweep.last) = (None, None);
        if let Err(error) = self.try_sweep(&services).await {
            tracing::warn!(%error, "failed to look for status objects of other nodes; it is tried again");
            let now = clock::now();
            (sweep.first, sweep.last) = (Some(now), Some(now));
            sweep.services = services;
        }
    }

    async fn try_sweep(&self, services: &BTreeSet<ObjectKey>) -> Result<(), kube::Error> {
        let mut others = Vec::new();
        let mut take = |object: StatusObject| {
            if object.service().is_some_and(|service| services.contains(&service)) {
                others.push(object.metadata.name);
            }
        };
        if services.len() <= SMALL_BATCH {
            for service in services {
                let selector = format!(
                    "metallb.io%2Fservice-name%3D{},metallb.io%2Fservice-namespace%3D{},metallb.io%2Fnode%21%3D{}",
                    service.name(),
                    service.namespace(),
                    self.node,
                );
                self.list(&selector, &mut take).await?;
            }
        } else {
            self.list(&format!("metallb.io%2Fnode%21%3D{}", self.node), &mut take).await?;
        }
        for name in others {
            self.delete(&name).await?;
        }
        Ok(())
    }

    async fn patch(
        &self,
        service: &ObjectKey,
        name: &str,
        names: &BTreeSet<Box<str>>,
    ) -> Result<(), kube::Error> {
        // A merge patch removes fields that are null.
        let (field, value) = self.kind.field(names);
        let status = json!({
            "node": self.node,
            "serviceName": service.name(),
            "serviceNamespace": service.namespace(),
            field: value,
        });
        let patch = json!({ "status": status });
        let IgnoredAny = self.send(Method::PATCH, &format!("/{name}/status"), Some(&patch)).await?;
        Ok(())
    }

    async fn create(&self, service: &ObjectKey) -> Result<Box<str>, kube::Error> {
        let mut metadata = json!({
            "generateName": self.kind.generate_name(),
            "namespace": self.namespace,
            "labels": {
                "metallb.io/node": self.node,
                "metallb.io/service-name": service.name(),
                "metallb.io/service-namespace": service.namespace(),
            },
        });
        if let (Some(pod), Some(metadata)) = (&self.pod, metadata.as_object_mut()) {
            metadata.insert("ownerReferences".to_owned(), json!([pod.owner_reference()]));
        }
        let object = json!({
            "apiVersion": "metallb.io/v1beta1",
            "kind": self.kind.kind(),
            "metadata": metadata,
            "spec": {},
        });
        let created: StatusObject = self.send(Method::POST, "", Some(&object)).await?;
        Ok(created.metadata.name)
    }

    /// Hands over every object of the selection, a page at a time, so that never all of them are in memory.
    async fn list(
        &self,
        selector: &str,
        take: &mut impl FnMut(StatusObject),
    ) -> Result<(), kube::Error> {
        let mut token = String::new();
        loop {
            let path = format!("?labelSelector={selector}&limit={PAGE_SIZE}{token}");
            let page: Page = self.send(Method::GET, &path, None).await?;
            page.items.into_iter().for_each(&mut *take);
            match page.metadata.next {
                Some(next) if !next.is_empty() => token = format!("&continue={next}"),
                _ => return Ok(()),
            }
        }
    }

    async fn delete(&self, name: &str) -> Result<(), kube::Error> {
        match self.send(Method::DELETE, &format!("/{name}"), None).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(|IgnoredAny| ()),
        }
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, kube::Error> {
        let base = format!(
            "/apis/metallb.io/v1beta1/namespaces/{}/{}",
            self.namespace,
            self.kind.plural()
        );
        send(&self.client, method, format!("{base}{path}"), body).await
    }
}

/// The number of objects per page of a list.
const PAGE_SIZE: u32 = 100;

#[derive(Deserialize)]
struct Page {
    metadata: PageMetadata,
    items: Vec<StatusObject>,
}

#[derive(Deserialize)]
struct PageMetadata {
    #[serde(rename = "continue")]
    next: Option<Box<str>>,
}

/// The parts of a status object that are read.
#[derive(Deserialize)]
struct StatusObject {
    metadata: Metadata,
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Box<str>,
    #[serde(default)]
    labels: BTreeMap<Box<str>, Box<str>>,
    #[serde(default)]
    owner_references: Vec<OwnerReference>,
}

#[derive(Deserialize)]
struct OwnerReference {
    uid: Box<str>,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    interfaces: Vec<Interface>,
    #[serde(default)]
    peers: Vec<Box<str>>,
}

#[derive(Deserialize)]
struct Interface {
    name: Box<str>,
}

impl Status {
    fn names(&self) -> BTreeSet<Box<str>> {
        let interfaces = self.interfaces.iter().map(|interface| &interface.name);
        interfaces.chain(&self.peers).cloned().collect()
    }
}

impl StatusObject {
    /// The Service of the object, by its labels.
    fn service(&self) -> Option<ObjectKey> {
        let namespace = self.metadata.labels.get("metallb.io/service-namespace")?;
        Some(ObjectKey::new(namespace, self.metadata.labels.get("metallb.io/service-name")?))
    }

    /// True if the object belongs to this pod; without a pod all do.
    fn is_owned_by(&self, pod: Option<&OwnPod>) -> bool {
        let Some(OwnPod { uid, .. }) = pod else { return true };
        self.metadata.owner_references.first().is_some_and(|owner| *owner.uid == **uid)
    }
}
