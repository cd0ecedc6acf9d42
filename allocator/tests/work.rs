// SPDX-License-Identifier: Apache-2.0
//! The work of a decision does not grow with the number of those who share: counted, not timed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use allocator::Allocator;
use cluster::{ConfigScope, Kind, Object, ObjectKey, Snapshot};
use crds::config::ConfigKind;
use serde_json::{Value, json};

fn service(number: usize, annotations: &Value, port: usize) -> Object {
    let service = json!({
        "metadata": { "name": format!("s{number:05}"), "namespace": "default", "annotations": annotations },
        "spec": {
            "type": "LoadBalancer",
            "clusterIPs": ["10.96.0.1"],
            "ports": [{ "port": port }],
        },
    });
    Object::Service(serde_json::from_value(service).unwrap())
}

fn key(number: usize) -> ObjectKey {
    ObjectKey::new("default", &format!("s{number:05}"))
}

/// The steps, and the Services with an address, after all were decided, decided again, every second went and came again.
fn steps(pool: &str, count: usize, make: &dyn Fn(usize) -> Object) -> (u64, usize) {
    let mut snapshot = Snapshot::new(ConfigScope::Controller, false);
    snapshot.apply(Object::Config(
        ConfigKind::IpAddressPool,
        json!({
            "apiVersion": "metallb.io/v1beta1",
            "kind": "IPAddressPool",
            "metadata": { "name": "p", "namespace": "metallb-system" },
            "spec": { "addresses": [pool] },
        }),
    ));
    snapshot.apply(Object::Config(
        ConfigKind::ExternalIpPool,
        json!({
            "metadata": { "name": "e" },
            "spec": { "ipRanges": [{ "cidr": "10.9.0.0/24" }], "nodeSelector": {} },
        }),
    ));
    snapshot.finish(Kind::Config(ConfigKind::ExternalIpPool));
    let mut allocator = Allocator::new(None);
    let mut settle = |snapshot: &mut Snapshot| {
        let dirty = snapshot.take_dirty();
        allocator.reconcile(snapshot, &dirty);
        allocator.allocations().iter().count()
    };
    (0..count).for_each(|number| snapshot.apply(make(number)));
    let all = settle(&mut snapshot);
    (0..count).step_by(2).for_each(|number| snapshot.delete(Kind::Service, key(number).as_str()));
    settle(&mut snapshot);
    (0..count).step_by(2).for_each(|number| snapshot.apply(make(number)));
    assert_eq!(settle(&mut snapshot), all);
    (allocator.allocations().steps(), all)
}

/// Four times as many Services cost four times as many steps, and some for the smaller count's good luck.
fn is_linear(pool: &str, make: &dyn Fn(usize) -> Object) -> usize {
    let (few, _) = steps(pool, 500, make);
    let (many, served) = steps(pool, 2000, make);
    assert!(many <= 5 * few + 1000, "{few} steps for 500, {many} for 2,000");
    assert!(many <= 40 * 2000, "{many} steps for 2,000");
    served
}

fn shared(key: &str) -> Value {
    json!({ "metallb.io/allow-shared-ip": key })
}

#[test]
fn of_services_that_share_one_address() {
    let served = is_linear("10.0.0.0/16", &|number| service(number, &shared("k"), number + 1));
    assert_eq!(served, 2000);
}

#[test]
fn of_services_that_would_share_and_want_the_same_port() {
    let served = is_linear("10.0.0.0/16", &|number| service(number, &shared("k"), 80));
    assert_eq!(served, 2000);
}

#[test]
fn of_services_of_two_keys_by_turns() {
    let make = |number: usize| service(number, &shared(["a", "b"][number % 2]), 80);
    assert_eq!(is_linear("10.0.0.0/16", &make), 2000);
}

#[test]
fn of_services_for_which_the_pool_does_not_suffice() {
    let served = is_linear("10.0.0.0/24", &|number| service(number, &shared("k"), 80));
    assert_eq!(served, 256);
}

#[test]
fn of_services_that_ask_for_addresses_from_the_highest_down() {
    let make = |number: usize| {
        let address = 4000 - 2 * number.min(1999);
        let address = format!("10.0.{}.{}", address / 256, address % 256);
        let annotations =
            json!({ "metallb.io/allow-shared-ip": "k", "metallb.io/loadBalancerIPs": address });
        service(number, &annotations, 80)
    };
    assert_eq!(is_linear("10.0.0.0/16", &make), 2000);
}

#[test]
fn of_services_that_ask_for_an_address_of_others() {
    // Half share it; the others have other keys and are told so, each in a few words.
    let make = |number: usize| {
        let sharing = if number < 250 { "k".to_owned() } else { format!("k{number}") };
        let annotations = json!({ "metallb.io/allow-shared-ip": sharing, "metallb.io/loadBalancerIPs": "10.0.0.7" });
        service(number, &annotations, number + 1)
    };
    assert_eq!(is_linear("10.0.0.0/16", &make), 250);
}

#[test]
fn of_services_of_antreas_world_that_share_one_address_and_port() {
    let make = |number: usize| {
        let annotations = json!({
            "service.antrea.io/external-ip-pool": "e",
            "service.antrea.io/allow-shared-load-balancer-ip": "true",
        });
        let service = json!({
            "metadata": { "name": format!("s{number:05}"), "namespace": "default", "annotations": annotations },
            "spec": {
                "type": "LoadBalancer", "loadBalancerIP": "10.9.0.1", "clusterIPs": ["10.96.0.1"],
                "ports": [{ "port": 80 }],
            },
        });
        Object::Service(serde_json::from_value(service).unwrap())
    };
    assert_eq!(is_linear("10.0.0.0/16", &make), 2000);
}
