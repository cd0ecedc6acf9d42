// SPDX-License-Identifier: Apache-2.0
//! The world as data. [`Snapshot`] is applied to and read from; it watches nothing and decides nothing.
//!
//! ```text
//! source ── apply / delete / restart+finish ──> Snapshot ── take_dirty ──> who must decide again
//! ```
//!
//! Only Services of type LoadBalancer are kept, and of the EndpointSlices only theirs: the memory taken
//! does not grow with what else the cluster holds.

mod lists;
mod objects;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Arc;

use crds::config::{Config, Objects, PoolId, Rejection, Scope, validate};
use crds::labels::Labels;

use crate::announcers::Announcers;
use crate::key::ObjectKey;
pub use crate::kinds::{ConfigScope, Dirty, Kind, Object};
use crate::model::{Node, ResourceVersion, Service, ServiceCondition, ServicePort, Slice};
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
    /// True if `ExternalIPPool`s were listed at least once: where they cannot be had, nothing is known of Antrea's world.
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

    /// The mistakes in configuration objects, as of the last [`Snapshot::take_dirty`].
    #[must_use]
    pub fn rejections(&self) -> &[Rejection] {
        &self.rejections
    }

    /// True if Antrea's world can be served: its pools are known. Where they are not, a Service of that world is left as it is.
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
}
