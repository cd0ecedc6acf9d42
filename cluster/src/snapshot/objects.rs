// SPDX-License-Identifier: Apache-2.0
//! Objects that come and go: the snapshot keeps what decisions need of each, and marks what is to be decided again.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;

use crds::labels::Labels;
use serde_json::Value;

use super::Snapshot;
use crate::key::ObjectKey;
use crate::kinds::{Kind, Object};
use crate::model::{
    EndpointSliceObject, Ingress, NodeObject, ResourceVersion, Service, ServiceObject, ServiceType,
    given,
};

impl Snapshot {
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

    /// The announcer of a Service has changed, on which only the status of Services of Antrea's world depends.
    fn note_announcer(&mut self, moved: Option<ObjectKey>) {
        let external = |key: &ObjectKey| {
            self.services.get(key).is_some_and(|service| service.external_pool().is_some())
        };
        self.dirty.services.extend(moved.filter(external));
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
            // No decision depends on readiness; only the patience with a silent speaker does.
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
