// SPDX-License-Identifier: Apache-2.0
//! The world as data. [`Snapshot`] is applied to and read from; it watches nothing and decides nothing.
//!
//! ```text
//! source ── apply / delete / restart+finish ──> Snapshot ── take_dirty ──> who must decide again
//! ```
//!
//! Only Services of type LoadBalancer are kept, and of the EndpointSlices only theirs: the memory taken
//! does not grow with what else the cluster holds.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;

use crds::config::{Config, ConfigKind, Objects, PoolId, Rejection, Scope, validate};
use crds::labels::Labels;
use serde_json::Value;

use crate::announcers::Announcers;
use crate::key::ObjectKey;
pub use crate::kinds::{ConfigScope, Dirty, Kind, Object};
use crate::model::{
    EndpointSliceObject, Ingress, Node, NodeObject, ResourceVersion, Service, ServiceCondition,
    ServiceObject, ServicePort, ServiceType, Slice, given,
};
use crate::reports::Reports;
use crate::shared::Shared;

/// Everything that decisions are made from.
pub struct Snapshot {
    /// Boxed: half of a tree's room is empty.
    services: BTreeMap<ObjectKey, Box<Service>>,
    /// The slices of each Service by their own key, in order: mostly one or two, so no map.
    slices: BTreeMap<ObjectKey, Vec<(ObjectKey, Arc<Slice>)>>,
    /// Of few nodes there are few sets: what slices say is mostly the same.
    said: Shared<Arc<Slice>>,
    /// The Service of each slice that is kept: its label may come to name another.
    slice_owners: BTreeMap<ObjectKey, ObjectKey>,
    /// Hashes of the Services whose slices came while the Service was unknown, and were dropped.
    dropped_slices: HashSet<u64>,
    hasher: RandomState,
    ports: Shared<Arc<[ServicePort]>>,
    annotations: Shared<Labels>,
    /// Services whose slices were dropped and are needed now.
    wanted_slices: BTreeSet<ObjectKey>,
    /// The newest resourceVersion among the slices that came.
    slice_version: ResourceVersion,
    /// Keeps slices of unknown Services; set where the source cannot ask for them again.
    keep_all_slices: bool,
    nodes: BTreeMap<Arc<str>, Node>,
    /// Of hosts without Kubernetes: the addresses that they have for themselves.
    host_addresses: BTreeSet<IpAddr>,
    /// Counts the changes of nothing but a node's readiness.
    readiness: u64,
    namespaces: BTreeMap<Arc<str>, Labels>,
    objects: Objects,
    scope: ConfigScope,
    config: Arc<Config>,
    rejections: Vec<Rejection>,
    config_dirty: bool,
    dirty: Dirty,
    /// Objects not yet seen again since their kind's list was started anew.
    stale: BTreeMap<Kind, BTreeSet<Box<str>>>,
    synced: BTreeSet<Kind>,
    announcers: Announcers,
    reports: Reports,
    /// Whether `ExternalIPPool`s were listed at least once: where they cannot be had, nothing is known of Antrea's world.
    external_pools: bool,
}

impl Snapshot {
    /// An empty one. `keep_all_slices` is for sources that deliver each slice once and cannot be asked for
    /// it again.
    #[must_use]
    pub fn new(scope: ConfigScope, keep_all_slices: bool) -> Self {
        Self {
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            said: Shared::new(|slice| Arc::strong_count(slice) == 1),
            slice_owners: BTreeMap::new(),
            dropped_slices: HashSet::new(),
            hasher: RandomState::new(),
            ports: Shared::new(|ports| Arc::strong_count(ports) == 1),
            annotations: Shared::new(Labels::is_alone),
            wanted_slices: BTreeSet::new(),
            slice_version: ResourceVersion::default(),
            keep_all_slices,
            nodes: BTreeMap::new(),
            host_addresses: BTreeSet::new(),
            readiness: 0,
            namespaces: BTreeMap::new(),
            objects: Objects::default(),
            scope,
            config: Arc::new(Config::default()),
            rejections: Vec::new(),
            config_dirty: true,
            dirty: Dirty::default(),
            stale: BTreeMap::new(),
            synced: BTreeSet::new(),
            announcers: Announcers::default(),
            reports: Reports::default(),
            external_pools: false,
        }
    }

    /// The Services of type LoadBalancer.
    #[must_use]
    pub fn services(&self) -> &BTreeMap<ObjectKey, Box<Service>> {
        &self.services
    }

    /// Grows when a node becomes ready or not, which makes nothing dirty.
    #[must_use]
    pub fn readiness(&self) -> u64 {
        self.readiness
    }

    /// One Service of type LoadBalancer.
    #[must_use]
    pub fn service(&self, key: &ObjectKey) -> Option<&Service> {
        self.services.get(key).map(|service| &**service)
    }

    /// The slices of a Service.
    pub fn slices(&self, key: &ObjectKey) -> impl Iterator<Item = &Slice> {
        self.slices.get(key).into_iter().flatten().map(|(_, slice)| &**slice)
    }

    /// The nodes by name.
    #[must_use]
    pub fn nodes(&self) -> &BTreeMap<Arc<str>, Node> {
        &self.nodes
    }

    /// The addresses that hosts without Kubernetes have for themselves; none in a cluster, where the nodes say theirs.
    #[must_use]
    pub fn host_addresses(&self) -> &BTreeSet<IpAddr> {
        &self.host_addresses
    }

    /// Sets [`Snapshot::host_addresses`]. What has been given stays; what is pending is decided with the next change.
    pub fn set_host_addresses(&mut self, addresses: BTreeSet<IpAddr>) {
        self.host_addresses = addresses;
    }

    /// The labels of a namespace; none for one that is unknown.
    #[must_use]
    pub fn namespace(&self, name: &str) -> Option<&Labels> {
        self.namespaces.get(name)
    }

    /// The validated configuration as of the last [`Snapshot::take_dirty`].
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// What is wrong with configuration objects, as of the last [`Snapshot::take_dirty`].
    #[must_use]
    pub fn rejections(&self) -> &[Rejection] {
        &self.rejections
    }

    /// Whether Antrea's world can be served: its pools are known. Where they are not, a Service of that world is left as it is.
    #[must_use]
    pub fn has_external_pools(&self) -> bool {
        self.external_pools
    }

    /// The node that announces a Service by L2, by what the speakers report.
    #[must_use]
    pub fn announcer(&self, service: &ObjectKey) -> Option<&Arc<str>> {
        self.announcers.of(service)
    }

    /// The speakers' word on a Service, if its condition does not have it yet.
    #[must_use]
    pub fn unwritten_word(&self, service: &ObjectKey) -> Option<&ServiceCondition> {
        let word = self.reports.of(service)?;
        let written = self.services.get(service)?.announced;
        (written != Some(word.fingerprint())).then_some(word)
    }

    /// The uid of a pool's object; empty in a folder.
    #[must_use]
    pub fn pool_uid(&self, pool: &PoolId) -> Option<&str> {
        self.objects.pool_uid(pool)
    }

    /// Whether the kind's first list has been delivered as a whole.
    #[must_use]
    pub fn is_synced(&self, kind: Kind) -> bool {
        self.synced.contains(&kind)
    }

    /// Takes in an object. A Service that is older than the one known is ignored.
    pub fn apply(&mut self, object: Object) {
        match object {
            Object::Service(service) => self.apply_service(*service),
            Object::EndpointSlice(slice) => self.apply_slice(*slice),
            Object::Node(node) => self.apply_node(*node),
            Object::Namespace(namespace) => {
                let name: Arc<str> = namespace.metadata.name.unwrap_or_default().into();
                self.seen(Kind::Namespace, &name);
                let labels: Labels = namespace.metadata.labels.unwrap_or_default().into();
                if self.namespaces.get(&name) != Some(&labels) {
                    self.namespaces.insert(name, labels);
                    self.dirty.all = true;
                }
            }
            Object::Secret(name, secret) => {
                self.seen(Kind::Secret, &name);
                self.config_dirty |= self.objects.apply_secret(&name, secret);
            }
            Object::Config(kind, value) => {
                let name = value.pointer("/metadata/name").and_then(Value::as_str);
                let name: Box<str> = name.unwrap_or_default().into();
                self.seen(Kind::Config(kind), &name);
                self.config_dirty |= self.objects.apply(kind, value);
            }
            Object::Announcer(object) => {
                let name = object.metadata.name.as_deref().unwrap_or_default();
                self.seen(Kind::ServiceL2Status, name);
                let moved = self.announcers.apply(*object);
                self.note_announcer(moved);
            }
            Object::Report(object) => {
                let name = object.metadata.name.as_deref().unwrap_or_default();
                self.seen(Kind::SpeakerReport, name);
                let first = !self.synced.contains(&Kind::SpeakerReport);
                self.dirty.services.extend(self.reports.apply(*object, first));
            }
        }
    }

    /// Sets the status of a Service that no API server keeps: its ingress addresses and the pool annotation.
    pub fn set_status(
        &mut self,
        key: &ObjectKey,
        addresses: &[IpAddr],
        annotation: &str,
        pool: Option<&str>,
    ) {
        let Some(service) = self.services.get_mut(key) else { return };
        service.ingress = addresses
            .iter()
            .map(|address| Ingress { ip: address.to_string().into(), hostname: "".into() })
            .collect();
        service.allocated = (!addresses.is_empty()).then(given);
        let others = service.annotations.iter().filter(|(key, _)| *key != annotation);
        service.annotations = others.chain(pool.map(|pool| (annotation, pool))).collect();
        self.dirty.services.insert(key.clone());
    }

    /// Removes an object. `key` is `namespace/name` for Services and slices, else the name.
    pub fn delete(&mut self, kind: Kind, key: &str) {
        self.seen(kind, key);
        match kind {
            Kind::Service => {
                if let Some(key) = ObjectKey::parse(key) {
                    self.remove_service(&key);
                }
            }
            Kind::EndpointSlice => {
                if let Some(slice) = ObjectKey::parse(key) {
                    self.remove_slice(&slice);
                }
            }
            Kind::Node => {
                if self.nodes.remove(key).is_some() {
                    self.dirty.all = true;
                    self.config_dirty = true;
                }
            }
            Kind::Namespace => self.dirty.all |= self.namespaces.remove(key).is_some(),
            Kind::Secret => self.config_dirty |= self.objects.delete_secret(key),
            Kind::Config(kind) => self.config_dirty |= self.objects.delete(kind, key),
            Kind::ServiceL2Status => {
                let moved = self.announcers.delete(key);
                self.note_announcer(moved);
            }
            Kind::SpeakerReport => self.dirty.services.extend(self.reports.delete(key)),
        }
    }

    /// Only what Antrea's world shows depends on it.
    fn note_announcer(&mut self, moved: Option<ObjectKey>) {
        let external = |key: &ObjectKey| {
            self.services.get(key).is_some_and(|service| service.external_pool().is_some())
        };
        self.dirty.services.extend(moved.filter(external));
    }

    /// A list of `kind` begins anew: what is not applied again before [`Snapshot::finish`] is gone.
    pub fn restart(&mut self, kind: Kind) {
        let known: BTreeSet<Box<str>> = match kind {
            Kind::Service => self.services.keys().map(|key| key.as_str().into()).collect(),
            Kind::EndpointSlice => {
                self.slice_owners.keys().map(|slice| slice.as_str().into()).collect()
            }
            Kind::Node => self.nodes.keys().map(|name| (**name).into()).collect(),
            Kind::Namespace => self.namespaces.keys().map(|name| (**name).into()).collect(),
            Kind::Secret => self.objects.secret_names().map(Into::into).collect(),
            Kind::Config(kind) => {
                self.objects.names(kind).iter().map(|name| (**name).into()).collect()
            }
            Kind::ServiceL2Status => self.announcers.names().map(Into::into).collect(),
            Kind::SpeakerReport => self.reports.names().map(Into::into).collect(),
        };
        self.stale.insert(kind, known);
    }

    /// Counts an object as listed again, as it is known: whoever lists could not read it this time.
    pub fn keep(&mut self, kind: Kind, key: &str) {
        self.seen(kind, key);
    }

    /// The list of `kind` is complete.
    pub fn finish(&mut self, kind: Kind) {
        for key in self.stale.remove(&kind).unwrap_or_default() {
            self.delete(kind, &key);
        }
        self.synced.insert(kind);
        if kind == Kind::Config(ConfigKind::ExternalIpPool) {
            self.dirty.all |= !std::mem::replace(&mut self.external_pools, true);
        }
    }

    /// The kind cannot be had (its CRD or the permission is absent): it counts as synced. What was known stays.
    ///
    /// Not so the kinds whose absence would take addresses away: an API server refuses everything for a moment while it
    /// starts, and a controller that starts with it must not take that for a cluster without pools.
    pub fn set_absent(&mut self, kind: Kind) {
        let needed = [
            Kind::Service,
            Kind::EndpointSlice,
            Kind::Node,
            Kind::Namespace,
            Kind::Config(ConfigKind::IpAddressPool),
        ];
        if !needed.contains(&kind) {
            self.synced.insert(kind);
        }
    }

    /// Validates the configuration if it changed, and hands out what has to be decided again.
    pub fn take_dirty(&mut self) -> Dirty {
        if std::mem::take(&mut self.config_dirty) {
            self.validate();
        }
        std::mem::take(&mut self.dirty)
    }

    /// Services whose EndpointSlices must be listed, because they came before the Service did.
    /// A list that is not older than [`Snapshot::slice_version`] holds them.
    pub fn take_wanted_slices(&mut self) -> BTreeSet<ObjectKey> {
        std::mem::take(&mut self.wanted_slices)
    }

    /// The newest resourceVersion among the EndpointSlices that came, dropped ones included.
    #[must_use]
    pub fn slice_version(&self) -> &ResourceVersion {
        &self.slice_version
    }

    /// Marks Services for another decision, for example at a time that their decision named.
    pub fn touch(&mut self, key: ObjectKey) {
        self.dirty.services.insert(key);
    }

    /// Marks all Services for another decision.
    pub fn touch_all(&mut self) {
        self.dirty.all = true;
    }

    fn validate(&mut self) {
        let nodes =
            self.nodes.iter().map(|(name, node)| (Arc::clone(name), node.labels.clone())).collect();
        let scope = match &self.scope {
            ConfigScope::Controller => Scope::Controller,
            ConfigScope::Speaker(node) => Scope::Speaker { node },
            ConfigScope::All => Scope::All,
        };
        let (config, rejections) = validate(&self.objects, &nodes, scope, &self.config);
        self.rejections = rejections;
        if config != *self.config {
            self.config = Arc::new(config);
            self.dirty.all = true;
        }
    }

    fn seen(&mut self, kind: Kind, key: &str) {
        if let Some(stale) = self.stale.get_mut(&kind) {
            stale.remove(key);
        }
    }

    fn apply_service(&mut self, object: ServiceObject) {
        let key = object.key();
        self.seen(Kind::Service, key.as_str());
        let mut service = object.reduce();
        self.ports.share(&mut service.ports);
        self.annotations.share(&mut service.annotations);
        let known = self.services.get(&key);
        if known.is_some_and(|known| {
            known.uid == service.uid && service.version.is_older_than(&known.version)
        }) {
            return;
        }
        if service.service_type != ServiceType::LoadBalancer {
            self.remove_service(&key);
            return;
        }
        match known {
            Some(known) if **known == service => return,
            Some(known) => {
                // A write that changes nothing which is kept only moves the version.
                let unchanged = Service { version: known.version.clone(), ..service.clone() };
                if **known != unchanged {
                    self.dirty.services.insert(key.clone());
                }
            }
            None => {
                if self.dropped_slices.remove(&self.hasher.hash_one(&key)) {
                    self.wanted_slices.insert(key.clone());
                }
                self.dirty.services.insert(key.clone());
            }
        }
        self.services.insert(key, Box::new(service));
    }

    fn remove_service(&mut self, key: &ObjectKey) {
        if self.services.remove(key).is_none() {
            return;
        }
        self.dirty.services.insert(key.clone());
        let mut dropped = self.wanted_slices.remove(key);
        if !self.keep_all_slices
            && let Some(slices) = self.slices.remove(key)
        {
            dropped = true;
            for (slice, _) in slices {
                self.slice_owners.remove(&slice);
            }
        }
        if dropped {
            self.dropped_slices.insert(self.hasher.hash_one(key));
        }
    }

    fn apply_slice(&mut self, object: EndpointSliceObject) {
        let Some(key) = object.key() else { return };
        self.seen(Kind::EndpointSlice, key.as_str());
        let text = object.metadata.resource_version.as_deref().unwrap_or_default();
        let version = ResourceVersion::new(text);
        if self.slice_version == ResourceVersion::Unknown
            || self.slice_version.is_older_than(&version)
        {
            self.slice_version = version;
        }
        let service = object.service();
        if self.slice_owners.get(&key).is_some_and(|owner| service.as_ref() != Some(owner)) {
            self.remove_slice(&key);
        }
        let Some(service) = service else { return };
        if !self.keep_all_slices && !self.services.contains_key(&service) {
            self.dropped_slices.insert(self.hasher.hash_one(&service));
            return;
        }
        let nodes = &self.nodes;
        let mut slice = Arc::new(object.reduce(|name| {
            nodes.get_key_value(name).map_or_else(|| name.into(), |(known, _)| Arc::clone(known))
        }));
        self.said.share(&mut slice);
        // The Service's own key, so that its text is in memory once.
        let service = self.services.get_key_value(&service).map_or(service, |(key, _)| key.clone());
        let slices = self.slices.entry(service.clone()).or_default();
        match slices.binary_search_by(|(known, _)| known.cmp(&key)) {
            Ok(place) => match slices.get_mut(place) {
                Some((_, known)) if *known == slice => return,
                Some((_, known)) => *known = slice,
                None => return,
            },
            Err(place) => {
                slices.reserve_exact(1);
                slices.insert(place, (key.clone(), slice));
            }
        }
        self.slice_owners.insert(key, service.clone());
        if self.services.contains_key(&service) {
            self.dirty.services.insert(service);
        }
    }

    fn remove_slice(&mut self, key: &ObjectKey) {
        let Some(owner) = self.slice_owners.remove(key) else { return };
        if let Some(slices) = self.slices.get_mut(&owner) {
            slices.retain(|(slice, _)| slice != key);
            if slices.is_empty() {
                self.slices.remove(&owner);
            }
        }
        if self.services.contains_key(&owner) {
            self.dirty.services.insert(owner);
        }
    }

    fn apply_node(&mut self, object: NodeObject) {
        let name: Arc<str> = object.metadata.name.clone().unwrap_or_default().into();
        self.seen(Kind::Node, &name);
        let node = object.reduce();
        match self.nodes.get_mut(&name) {
            Some(known) if *known == node => return,
            // No decision depends on it; only who is patient with a silent speaker wants to know.
            Some(known) if known.differs_in_readiness_only(&node) => {
                (known.ready, known.not_ready_since) = (node.ready, node.not_ready_since);
                self.readiness += 1;
                return;
            }
            Some(known) if known.labels == node.labels => {}
            _ => self.config_dirty = true,
        }
        self.nodes.insert(name, node);
        self.dirty.all = true;
    }
}
