// SPDX-License-Identifier: Apache-2.0
//! Watches of a Kubernetes API, one task per kind, all into one bounded channel.
//!
//! ```text
//! kube watcher (list, watch, back-off) ── per kind ──> Update ──┐
//! EndpointSlices begin when the Services are listed ────────────┴─> mpsc (512) ──> the program's one loop
//! ```
//! Objects are reduced while they are parsed; nothing is cached here. An outage of the API is reported and
//! waited out: what was known stays as it was.

use std::borrow::Cow;
use std::fmt::Debug;

use crds::config::ConfigKind;
use crds::ferrolb::SpeakerReport;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::{ApiResource, DynamicObject, ListParams, VersionMatch};
use kube::core::ObjectMeta;
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use tokio::sync::{mpsc, watch as gate};

use super::follower::{Ended, Follower};
use super::{Update, secret};
use crate::ObjectKey;
use crate::model::{
    EndpointSliceObject, NamespaceObject, NodeObject, ResourceVersion, ServiceObject,
};
use crate::snapshot::{Kind, Object};

/// Implements `kube::Resource` for a reduced wire type.
macro_rules! resource {
    ($type:ty, $scope:ty, $group:literal, $kind:literal, $plural:literal) => {
        impl Resource for $type {
            type DynamicType = ();
            type Scope = $scope;

            fn kind(_: &()) -> Cow<'_, str> {
                $kind.into()
            }
            fn group(_: &()) -> Cow<'_, str> {
                $group.into()
            }
            fn version(_: &()) -> Cow<'_, str> {
                "v1".into()
            }
            fn plural(_: &()) -> Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

resource!(ServiceObject, NamespaceResourceScope, "", "Service", "services");
resource!(
    EndpointSliceObject,
    NamespaceResourceScope,
    "discovery.k8s.io",
    "EndpointSlice",
    "endpointslices"
);
resource!(NodeObject, ClusterResourceScope, "", "Node", "nodes");
resource!(NamespaceObject, ClusterResourceScope, "", "Namespace", "namespaces");

/// The kinds to watch.
#[derive(Clone, Debug)]
pub struct Watches {
    /// The namespace of the configuration objects.
    pub namespace: String,
    /// The kinds; the watch of slices begins when the Services have been listed.
    pub kinds: Vec<Kind>,
    /// The kinds that only Antrea's world needs: their watches begin when its pools have been listed.
    pub with_external_pools: Vec<Kind>,
}

/// Starts the watches on the current runtime; they end when the receiver is dropped.
#[must_use]
pub fn watch_all(client: &Client, watches: Watches) -> mpsc::Receiver<Update> {
    let (updates, receiver) = mpsc::channel(512);
    let (services_listed, listed) = gate::channel(false);
    let (external_listed, _) = gate::channel(false);
    let (pools_listed, _) = gate::channel(false);
    let later = watches.with_external_pools.iter().map(|kind| (*kind, true));
    for (kind, waits) in watches.kinds.iter().map(|kind| (*kind, false)).chain(later) {
        let follower = Follower { kind, updates: updates.clone() };
        let client = client.clone();
        let namespace = watches.namespace.clone();
        let mut may_begin = external_listed.subscribe();
        let begin = async move { !waits || may_begin.wait_for(|listed| *listed).await.is_ok() };
        match kind {
            Kind::Service => {
                tokio::spawn(services(client, follower, services_listed.clone()));
            }
            Kind::EndpointSlice => {
                tokio::spawn(slices(client, follower, listed.clone()));
            }
            Kind::Node => {
                tokio::spawn(async move {
                    if !begin.await {
                        return;
                    }
                    let api: Api<NodeObject> = Api::all(client);
                    let convert = |node: NodeObject| Some(Object::Node(Box::new(node)));
                    follower.follow(api, watcher::Config::default(), convert, || {}).await;
                });
            }
            Kind::Namespace => {
                tokio::spawn(async move {
                    let api: Api<NamespaceObject> = Api::all(client);
                    let convert =
                        |namespace: NamespaceObject| Some(Object::Namespace(Box::new(namespace)));
                    follower.follow(api, watcher::Config::default(), convert, || {}).await;
                });
            }
            Kind::Secret => {
                tokio::spawn(secret::follow(client, namespace, follower));
            }
            Kind::Config(kind) => {
                let listed = match kind {
                    ConfigKind::ExternalIpPool => Some(external_listed.clone()),
                    ConfigKind::IpAddressPool => Some(pools_listed.clone()),
                    _ => None,
                };
                let mut may_begin = pools_listed.subscribe();
                tokio::spawn(async move {
                    // An API server that has just started may refuse everything. So the watch of AddressPools waits
                    // until IPAddressPools, which the same role permits, have been listed: else a refusal would take
                    // the addresses of AddressPools away.
                    let waits = kind == ConfigKind::AddressPool;
                    if waits && may_begin.wait_for(|listed| *listed).await.is_err() {
                        return;
                    }
                    configuration(client, namespace, kind, follower, listed).await;
                });
            }
            Kind::ServiceL2Status => {
                tokio::spawn(async move {
                    if begin.await {
                        announcers(client, namespace, follower).await;
                    }
                });
            }
            Kind::SpeakerReport => {
                tokio::spawn(reports(client, namespace, follower));
            }
        }
    }
    receiver
}

/// Lists the EndpointSlices of one Service, for those that came before the Service was known; the list is not
/// older than `version`.
///
/// # Errors
/// The API refuses or cannot be reached.
pub async fn slices_of(
    client: &Client,
    service: &ObjectKey,
    version: &ResourceVersion,
) -> Result<Vec<EndpointSliceObject>, kube::Error> {
    let api: Api<EndpointSliceObject> = Api::namespaced(client.clone(), service.namespace());
    let label = format!("kubernetes.io/service-name={}", service.name());
    let mut list = ListParams::default().labels(&label);
    if let ResourceVersion::Number(version) = version {
        // The dropped slices are not newer than `version`. A list of the newest state would wait up to 100 ms until the
        // server's cache has heard that it is the newest.
        list = list.at(&version.to_string()).matching(VersionMatch::NotOlderThan);
    }
    Ok(api.list(&list).await?.items)
}

async fn services(client: Client, follower: Follower, listed: gate::Sender<bool>) {
    let api: Api<ServiceObject> = Api::all(client);
    let only_load_balancers = watcher::Config::default().fields("spec.type=LoadBalancer");
    let convert = |service: ServiceObject| Some(Object::Service(Box::new(service)));
    let announce = || {
        listed.send_replace(true);
    };
    if follower.follow(api.clone(), only_load_balancers, convert, announce).await == Ended::Refused
    {
        tracing::info!(
            event = "fieldSelectorRefused",
            "this API server cannot select Services by spec.type; all Services are watched"
        );
        follower.follow(api, watcher::Config::default(), convert, announce).await;
    }
}

async fn slices(client: Client, follower: Follower, mut listed: gate::Receiver<bool>) {
    if listed.wait_for(|listed| *listed).await.is_err() {
        return;
    }
    let api: Api<EndpointSliceObject> = Api::all(client);
    let of_services = watcher::Config::default().labels("kubernetes.io/service-name");
    let convert = |slice: EndpointSliceObject| Some(Object::EndpointSlice(Box::new(slice)));
    follower.follow(api, of_services, convert, || {}).await;
}

async fn announcers(client: Client, namespace: String, follower: Follower) {
    let resource = ApiResource {
        group: "metallb.io".into(),
        version: "v1beta1".into(),
        api_version: "metallb.io/v1beta1".into(),
        kind: "ServiceL2Status".into(),
        plural: "servicel2statuses".into(),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(client, &namespace, &resource);
    let convert = |object: DynamicObject| {
        let object = serde_json::to_value(object).ok()?;
        Some(Object::Announcer(Box::new(serde_json::from_value(object).ok()?)))
    };
    follower.follow(api, watcher::Config::default(), convert, || {}).await;
}

async fn reports(client: Client, namespace: String, follower: Follower) {
    let api: Api<SpeakerReport> = Api::namespaced(client, &namespace);
    let convert = |object: SpeakerReport| {
        let object = serde_json::to_value(object).ok()?;
        Some(Object::Report(Box::new(serde_json::from_value(object).ok()?)))
    };
    follower.follow(api, watcher::Config::default(), convert, || {}).await;
}

async fn configuration(
    client: Client,
    namespace: String,
    kind: ConfigKind,
    follower: Follower,
    listed: Option<gate::Sender<bool>>,
) {
    let version = kind.version();
    let resource = ApiResource {
        group: kind.group().into(),
        version: version.into(),
        api_version: format!("{}/{version}", kind.group()),
        kind: kind.kind().into(),
        plural: kind.plural().into(),
    };
    let api: Api<DynamicObject> = if kind.is_namespaced() {
        Api::namespaced_with(client, &namespace, &resource)
    } else {
        Api::all_with(client, &resource)
    };
    let convert = |object: DynamicObject| {
        serde_json::to_value(object).ok().map(|value| Object::Config(kind, value))
    };
    let on_listed = || {
        if let Some(listed) = &listed {
            listed.send_replace(true);
        }
    };
    follower.follow(api, watcher::Config::default(), convert, on_listed).await;
}

#[cfg(test)]
mod tests;
