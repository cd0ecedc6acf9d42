// SPDX-License-Identifier: Apache-2.0
//! Hints at objects that are valid and cannot work: names that no object has, selectors that match nothing, addresses
//! that no Service gets, and requests that no pool can meet.

use std::net::IpAddr;

use allocator::{Allocator, Reason, Request, RequestError};
use cluster::model::Service;
use cluster::{ObjectKey, Snapshot};
use crds::config::{AddressRange, Config, Policy, Pool, PoolKind};
use crds::labels::{Labels, Selector};
use serde_json::Value;

use super::configuration::Suspects;
use super::{Findings, Places};
use crate::world::settle;

/// Hints at configuration in a namespace that the programs do not read. Objects without a namespace go wherever they
/// are applied.
pub(super) fn namespaces(
    suspects: &Suspects,
    namespace: &str,
    places: &Places,
    findings: &mut Findings,
) {
    for ((kind, name), object) in suspects {
        let own = object.value().pointer("/metadata/namespace").and_then(Value::as_str);
        let is_cluster_wide = kind.kind() == "ExternalIPPool";
        let Some(own) = own.filter(|own| *own != namespace && !is_cluster_wide) else { continue };
        let message = format!(
            "nobody reads {kind}s in namespace {own:?}: the programs read {namespace:?} (--namespace says another)"
        );
        let place = places.get(kind.kind(), name);
        let field = Some("metadata.namespace".to_owned());
        findings.hints.extend(place.map(|place| place.hint(field, message)));
    }
}

/// All other hints.
pub(super) fn all(snapshot: &mut Snapshot, places: &Places, findings: &mut Findings) {
    let mut allocator = Allocator::new(None);
    settle(snapshot, &mut allocator);
    let mut hints = Hints { snapshot, places, findings };
    hints.names();
    hints.selectors();
    hints.pools();
    for (key, service) in snapshot_services(hints.snapshot) {
        hints.service(&key, &service, &allocator);
    }
}

fn snapshot_services(snapshot: &Snapshot) -> Vec<(ObjectKey, Service)> {
    snapshot.services().iter().map(|(key, service)| (key.clone(), (**service).clone())).collect()
}

struct Hints<'a> {
    snapshot: &'a Snapshot,
    places: &'a Places,
    findings: &'a mut Findings,
}

impl Hints<'_> {
    fn hint(&mut self, kind: &str, name: &str, field: Option<String>, message: String) {
        let place = self.places.get(kind, name);
        self.findings.hints.extend(place.map(|place| place.hint(field, message)));
    }

    /// The object as it was written.
    fn value(&self, kind: &str, name: &str) -> Value {
        self.places.get(kind, name).map(|place| place.value()).unwrap_or_default()
    }

    /// Hints at the names of a list that no object has.
    fn absent(
        &mut self,
        kind: &str,
        name: &str,
        field: &str,
        what: &str,
        known: impl Fn(&str) -> bool,
        all: &[&str],
    ) {
        let object = self.value(kind, name);
        let list = object.pointer(&format!("/spec/{field}")).and_then(Value::as_array);
        for (index, entry) in list.into_iter().flatten().enumerate() {
            let Some(entry) = entry.as_str().filter(|entry| !known(entry)) else { continue };
            let near = folder::schema::nearest(entry, all.iter().copied());
            let near = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
            let message = format!("there is no {what} {entry:?}{near}");
            self.hint(kind, name, Some(format!("spec.{field}[{index}]")), message);
        }
    }

    fn names(&mut self) {
        let config = std::sync::Arc::clone(self.snapshot.config());
        let pools: Vec<&str> = config.pools.values().map(|pool| &*pool.name).collect();
        let invalid = |name: &str| config.invalid_pools.contains_key(name);
        let is_pool = |name: &str| config.pools.contains_key(name) || invalid(name);
        for name in config.l2_advertisements.keys() {
            self.absent(
                "L2Advertisement",
                name,
                "ipAddressPools",
                "IPAddressPool",
                is_pool,
                &pools,
            );
        }
        let peers: Vec<&str> = config.peers.keys().map(|name| &**name).collect();
        let is_peer = |name: &str| {
            config.peers.contains_key(name) || config.unusable_peers.contains_key(name)
        };
        let external: Vec<&str> = config.external_pools.values().map(|pool| &*pool.name).collect();
        let is_external = |name: &str| {
            external.contains(&name) || config.invalid_external_pools.contains_key(name)
        };
        for name in config.bgp_advertisements.keys() {
            self.absent(
                "BGPAdvertisement",
                name,
                "ipAddressPools",
                "IPAddressPool",
                is_pool,
                &pools,
            );
            self.absent("BGPAdvertisement", name, "peers", "BGPPeer", is_peer, &peers);
            self.absent(
                "BGPAdvertisement",
                name,
                "externalIPPools",
                "ExternalIPPool",
                is_external,
                &external,
            );
        }
    }

    /// Hints at selectors of nodes and pools that match nothing, where the files hold nodes or pools.
    fn selectors(&mut self) {
        let config = std::sync::Arc::clone(self.snapshot.config());
        let nodes: Vec<(String, Labels)> = self
            .snapshot
            .nodes()
            .iter()
            .filter(|(name, _)| self.places.get("Node", name).is_some())
            .map(|(name, node)| (name.to_string(), node.labels.clone()))
            .collect();
        let none_of = |selectors: &[Selector]| {
            !nodes.is_empty()
                && !selectors.is_empty()
                && !nodes.iter().any(|(_, labels)| selectors.iter().any(|it| it.matches(labels)))
        };
        for (name, ad) in &config.l2_advertisements {
            if none_of(&ad.node_selectors) {
                self.matches_no_node("L2Advertisement", name, "spec.nodeSelectors");
            }
            let preferred: Vec<Selector> =
                ad.preferred_nodes.iter().map(|it| it.preference.clone()).collect();
            if none_of(&preferred) {
                self.matches_no_node("L2Advertisement", name, "spec.preferredNodeSelectors");
            }
            self.pool_selectors("L2Advertisement", name, &ad.pools.selectors, &config);
        }
        for (name, ad) in &config.bgp_advertisements {
            if none_of(&ad.node_selectors) {
                self.matches_no_node("BGPAdvertisement", name, "spec.nodeSelectors");
            }
            self.pool_selectors("BGPAdvertisement", name, &ad.pools.selectors, &config);
        }
        for (name, peer) in &config.peers {
            if none_of(&peer.node_selectors) {
                self.matches_no_node("BGPPeer", name, "spec.nodeSelectors");
            }
        }
        for pool in config.external_pools.values() {
            let Policy::Antrea(policy) = &pool.policy else { continue };
            if policy.node_selector.as_ref().is_some_and(|it| none_of(std::slice::from_ref(it))) {
                self.matches_no_node("ExternalIPPool", &pool.name, "spec.nodeSelector");
            }
        }
    }

    /// Hints at a field whose selectors match no Node.
    fn matches_no_node(&mut self, kind: &str, name: &str, field: &str) {
        let message = "matches none of the Nodes that are given".to_owned();
        self.hint(kind, name, Some(field.into()), message);
    }

    fn pool_selectors(&mut self, kind: &str, name: &str, selectors: &[Selector], config: &Config) {
        let any =
            config.pools.values().any(|pool| selectors.iter().any(|it| it.matches(&pool.labels)));
        if !selectors.is_empty() && !any {
            let message = "matches no IPAddressPool".to_owned();
            self.hint(kind, name, Some("spec.ipAddressPoolSelectors".into()), message);
        }
    }

    fn pools(&mut self) {
        let config = std::sync::Arc::clone(self.snapshot.config());
        for pool in config.pools.values() {
            let announced = config.l2_advertisements.values().any(|ad| ad.pools.selects_pool(pool))
                || config.bgp_advertisements.values().any(|ad| ad.pools.selects_pool(pool));
            if !announced && !pool.is_address_pool() {
                let message =
                    "no advertisement selects it: its addresses are given and not announced";
                self.hint("IPAddressPool", &pool.name, None, message.to_owned());
            }
        }
        for pool in config.pools.values().chain(config.external_pools.values()) {
            let kind = pool_kind(pool);
            for (block, range) in &pool.special {
                let message = format!("{range} is {}: never given", block.name());
                let field = self.entry(kind, pool, range.first());
                self.hint(kind, &pool.name, field, message);
            }
            let nodes: Vec<(String, Vec<IpAddr>)> = self
                .snapshot
                .nodes()
                .iter()
                .map(|(name, node)| (name.to_string(), node.internal_addresses.to_vec()))
                .collect();
            for (node, addresses) in nodes {
                for address in addresses.into_iter().filter(|own| pool.contains(*own)) {
                    let message = format!(
                        "{address} is node {node}'s own: given only to a Service that asks for it"
                    );
                    let field = self.entry(kind, pool, address);
                    self.hint(kind, &pool.name, field, message);
                }
            }
        }
    }

    /// The entry of a pool that holds an address.
    fn entry(&self, kind: &str, pool: &Pool, address: IpAddr) -> Option<String> {
        let object = self.value(kind, &pool.name);
        if let Some(list) = object.pointer("/spec/addresses").and_then(Value::as_array) {
            let holds = |entry: &Value| {
                let range = entry.as_str().and_then(|text| AddressRange::parse(text).ok());
                range.is_some_and(|range| range.contains(address))
            };
            return list.iter().position(holds).map(|index| format!("spec.addresses[{index}]"));
        }
        None
    }

    fn service(&mut self, key: &ObjectKey, service: &Service, allocator: &Allocator) {
        let request = Request::of(service);
        let requested_in = request_field(service);
        let place = self.places.get("Service", key.as_str());
        if let Err(error) = &request.addresses {
            let field = match error {
                RequestError::Field(_) => "spec.loadBalancerIP".to_owned(),
                RequestError::Annotation(_)
                | RequestError::Both
                | RequestError::Families { .. } => requested_in,
            };
            let mistake = place.map(|place| place.mistake(Some(field), error.to_string()));
            self.findings.mistakes.extend(mistake);
            return;
        }
        let external = request.external.is_some();
        if let Some(pool) = request.pool.filter(|_| !external)
            && !self.has_pool(pool)
        {
            let pools = self.snapshot.config().pools.values().map(|pool| &*pool.name);
            let near = folder::schema::nearest(pool, pools);
            let near = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
            let message = format!("asks for pool {pool:?}, which is not among these files{near}");
            return self.hint(
                "Service",
                key.as_str(),
                Some(annotation(service, "address-pool")),
                message,
            );
        }
        // The files hold no pool: nothing is known of the pools.
        let config = self.snapshot.config();
        let empty = match external {
            true => config.external_pools.is_empty() && config.invalid_external_pools.is_empty(),
            false => config.pools.values().next().is_none() && config.invalid_pools.is_empty(),
        };
        if empty && !external {
            return;
        }
        let Some(reason) = allocator.pending().get(key) else { return };
        let field = match reason {
            Reason::Request(_)
            | Reason::NotInConfig(_)
            | Reason::NotInExternalPool { .. }
            | Reason::OtherPool { .. } => Some(requested_in),
            Reason::PoolNotCompatible(_)
            | Reason::InvalidPool { .. }
            | Reason::PoolExhausted { .. }
                if !external =>
            {
                Some(annotation(service, "address-pool")).filter(|_| request.pool.is_some())
            }
            Reason::UnknownExternalPool(_)
            | Reason::NoFamilyInPool { .. }
            | Reason::ExternalPoolExhausted { .. } => {
                Some(format!("metadata.annotations.{}", crds::antrea::POOL_ANNOTATION))
            }
            _ => None,
        };
        self.hint("Service", key.as_str(), field, format!("gets no address: {reason}"));
    }

    fn has_pool(&self, name: &str) -> bool {
        let config = self.snapshot.config();
        config.pools.contains_key(name) || config.invalid_pools.contains_key(name)
    }
}

fn pool_kind(pool: &Pool) -> &'static str {
    match pool.kind() {
        PoolKind::ExternalIpPool => "ExternalIPPool",
        PoolKind::IpAddressPool if pool.is_address_pool() => "AddressPool",
        PoolKind::IpAddressPool => "IPAddressPool",
    }
}

/// An annotation of MetalLB under the prefix that counts.
fn annotation(service: &Service, name: &str) -> String {
    let current = format!("metallb.io/{name}");
    match service.annotations.get(&current) {
        Some(_) => format!("metadata.annotations.{current}"),
        None => format!("metadata.annotations.metallb.universe.tf/{name}"),
    }
}

/// The field by which a Service asks for addresses.
fn request_field(service: &Service) -> String {
    match service.annotation("loadBalancerIPs") {
        Some(_) => annotation(service, "loadBalancerIPs"),
        None => "spec.loadBalancerIP".to_owned(),
    }
}
