// SPDX-License-Identifier: Apache-2.0
//! The controller's registry holds the text that the scenario `metrics` compares with the program's: names, types, help, labels, and a
//! series for each reason.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};

use allocator::metrics::AllocatorMetrics;
use allocator::{Allocations, Reason};
use cluster::{ConfigScope, Object, Snapshot};
use crds::config::ConfigKind;
use daemon::metrics::ClientMetrics;
use prometheus::{Registry, TextEncoder};
use serde_json::json;

const SNAPSHOT: &str = include_str!("../../e2e/snapshots/metrics-controller.txt");

/// The lines of a text with an N for each value.
fn normal(text: &str) -> BTreeSet<String> {
    let line = |line: &str| match line.rsplit_once(' ') {
        Some((series, _)) if !line.starts_with('#') => {
            format!("{series} N").replace(env!("CARGO_PKG_VERSION"), "V")
        }
        _ => line.to_owned(),
    };
    text.lines().map(line).collect()
}

fn encoded(registry: &Registry) -> String {
    TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
}

#[test]
fn the_registry_is_as_the_snapshot_has_it_and_forgets_pools_that_are_gone() {
    let registry = Registry::new();
    let _client = ClientMetrics::register(&registry).unwrap();
    let mut metrics = AllocatorMetrics::register(&registry).unwrap();
    let mut snapshot = Snapshot::new(ConfigScope::Controller, false);
    let pool = json!({
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": {"name": "pool", "namespace": "metallb-system"},
        "spec": {"addresses": ["172.30.0.200-172.30.0.201"]},
    });
    snapshot.apply(Object::Config(ConfigKind::IpAddressPool, pool));
    let _ = snapshot.take_dirty();
    metrics.update(snapshot.config(), &Allocations::default(), &BTreeMap::new());
    let text = encoded(&registry);
    assert_eq!(normal(&text), normal(SNAPSHOT));
    assert!(text.contains("\nmetallb_allocator_ipv4_addresses_total{pool=\"pool\"} 2\n"), "{text}");
    for name in Reason::NAMES {
        assert!(text.contains(&format!("{{reason=\"{name}\"}} 0\n")), "{name}");
    }

    metrics.update(&crds::config::Config::default(), &Allocations::default(), &BTreeMap::new());
    assert!(!encoded(&registry).contains("pool=\"pool\""));
}
