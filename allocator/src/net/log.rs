// SPDX-License-Identifier: Apache-2.0
//! Logs the allocator's outputs (contract 7.2). The controller publishes the events on Services elsewhere.

use std::collections::BTreeSet;

use cluster::{Dirty, ObjectKey};
use daemon::log::Addresses;

use crate::{Allocations, NoticeKind, Output};

/// Logs an output that is about to be carried out.
pub fn note(output: &Output, allocations: &Allocations) {
    match output {
        Output::Write(write) => {
            tracing::info!(event = "serviceUpdated", service = %write.service,
                ips = %Addresses(&write.addresses), pool = write.pool.as_deref().unwrap_or_default(),
                "updated service object");
        }
        Output::Tell { service, notice, .. } => {
            let (event, reason) = (notice.kind.event(), notice.kind.reason());
            if notice.kind == NoticeKind::DeprecatedAnnotation {
                tracing::warn!(event, %service, "{}", notice.message);
            } else if notice.kind == NoticeKind::Allocated {
                let had = allocations.of(service);
                let ips = had.map(|assigned| &assigned.addresses[..]).unwrap_or_default();
                tracing::info!(event, %service, ips = %Addresses(ips), "{}", notice.message);
            } else if notice.kind.is_warning() {
                tracing::error!(event, %service, reason, "{}", notice.message);
            } else {
                tracing::info!(event, %service, reason, "{}", notice.message);
            }
        }
        Output::Cleared { service, addresses, change } => {
            tracing::info!(event = "clearAssignment", %service, ips = %Addresses(addresses),
                reason = change.name(), "{change}");
        }
    }
}

/// Logs the Services that were decided again and stay as they are.
pub(super) fn note_unchanged(dirty: &Dirty, outputs: &[Output]) {
    let written: BTreeSet<&ObjectKey> = outputs
        .iter()
        .filter_map(|output| match output {
            Output::Write(write) => Some(&write.service),
            Output::Tell { .. } | Output::Cleared { .. } => None,
        })
        .collect();
    for service in dirty.services.iter().filter(|service| !written.contains(service)) {
        tracing::debug!(event = "noChange", %service, "service converged, no change");
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use cluster::model::POOL_ANNOTATION;
    use cluster::net::rounds;
    use cluster::{ConfigScope, Object, Snapshot};
    use crds::config::ConfigKind;
    use daemon::log::{Format, lines_of};
    use serde_json::{Value, json};

    use super::*;
    use crate::Allocator;

    /// A Service with an address of pool `a`, in a world that has a pool `b` as well.
    struct World {
        snapshot: Snapshot,
        allocator: Allocator,
        annotations: Value,
    }

    impl World {
        fn new() -> Self {
            let mut snapshot = Snapshot::new(ConfigScope::Controller, false);
            for (name, range) in [("a", "10.0.0.0/24"), ("b", "10.1.0.0/24")] {
                let pool = json!({ "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
                    "metadata": { "name": name, "namespace": "metallb-system" },
                    "spec": { "addresses": [range] } });
                snapshot.apply(Object::Config(ConfigKind::IpAddressPool, pool));
            }
            let mut world =
                Self { snapshot, allocator: Allocator::new(None), annotations: json!({}) };
            world.show(Some("10.0.0.7".parse().unwrap()));
            world
        }

        /// The Service as the API has it.
        fn show(&mut self, address: Option<IpAddr>) {
            let ingress: Vec<Value> = address.iter().map(|ip| json!({ "ip": ip })).collect();
            let mut annotations = self.annotations.clone();
            if address.is_some() {
                annotations[POOL_ANNOTATION] = json!("a");
            }
            let service = json!({ "apiVersion": "v1", "kind": "Service",
                "metadata": { "name": "web", "namespace": "default", "annotations": annotations },
                "spec": { "type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], "ports": [{ "port": 80 }] },
                "status": { "loadBalancer": { "ingress": ingress } } });
            self.snapshot.apply(Object::Service(serde_json::from_value(service).unwrap()));
        }

        /// The log lines of one round, without their times.
        fn round(&mut self, threshold: &str) -> Vec<Value> {
            let dirty = self.snapshot.take_dirty();
            let lines = lines_of(threshold.parse().unwrap(), Format::Json, || {
                rounds::note_start(&dirty);
                let outputs = self.allocator.reconcile(&self.snapshot, &dirty);
                note_unchanged(&dirty, &outputs);
                outputs.iter().for_each(|output| note(output, self.allocator.allocations()));
                rounds::note_end(&dirty);
            });
            lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }

    fn events(lines: &[Value]) -> Vec<&str> {
        lines.iter().filter_map(|line| line["event"].as_str()).collect()
    }

    #[test]
    fn addresses_that_are_taken_back_on_request_are_told_once_with_what_changed() {
        for (annotation, value, reason) in [
            ("metallb.io/loadBalancerIPs", "10.0.0.9", "differentIPRequested"),
            ("metallb.io/address-pool", "b", "differentPoolRequested"),
        ] {
            let mut world = World::new();
            assert_eq!(events(&world.round("info")), [] as [&str; 0]);
            world.annotations[annotation] = json!(value);
            world.show(Some("10.0.0.7".parse().unwrap()));
            let lines = world.round("info");
            assert_eq!(events(&lines), ["clearAssignment", "ipAllocated", "serviceUpdated"]);
            let line = &lines[0];
            assert_eq!(line["reason"], reason);
            assert_eq!(line["service"], "default/web");
            assert_eq!(line["ips"], json!(["10.0.0.7"]));
            assert_eq!(line["level"], "info");
            // The write has not been seen yet, or it failed: nothing is taken back again.
            world.snapshot.touch_all();
            assert_eq!(events(&world.round("info")), ["serviceUpdated"]);
        }
    }

    #[test]
    fn addresses_are_taken_back_once_though_the_request_cannot_be_met() {
        let mut world = World::new();
        world.round("info");
        world.annotations["metallb.io/loadBalancerIPs"] = json!("192.0.2.1");
        world.show(Some("10.0.0.7".parse().unwrap()));
        let lines = world.round("info");
        let cleared = lines.iter().filter(|line| line["event"] == "clearAssignment");
        assert_eq!(cleared.count(), 1, "{lines:?}");
        assert!(events(&lines).contains(&"allocationFailed"));
        world.show(None);
        world.snapshot.touch_all();
        assert_eq!(events(&world.round("info")), [] as [&str; 0]);
    }

    #[test]
    fn a_round_is_framed_at_level_debug() {
        let mut world = World::new();
        world.round("info");
        // The Service has changed for the allocator, and its address stays.
        world.annotations["metallb.io/allow-shared-ip"] = json!("key");
        world.show(Some("10.0.0.7".parse().unwrap()));
        let lines = world.round("debug");
        assert_eq!(events(&lines), ["startUpdate", "noChange", "endUpdate"]);
        let words = lines.iter().map(|line| line["msg"].as_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(words[0], "start of service update");
        assert_eq!(words[2], "end of service update");
        assert!(lines.iter().all(|line| line["service"] == "default/web"));
        assert!(lines.iter().all(|line| line["level"] == "debug"));
    }
}
