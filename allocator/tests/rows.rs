// SPDX-License-Identifier: Apache-2.0
//! Contract 2.4 to 2.9 row by row: what a Service is told, word by word, and the fixes of contract 12.2.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod server;

use allocator::{Allocator, Notice, Output};
use cluster::{ConfigScope, Object, Snapshot};
use crds::config::{ConfigKind, PoolId, PoolKind};
use serde_json::{Value, json};
use server::Server;

fn pool(name: &str, addresses: &[&str], more: Value) -> Value {
    let mut spec = json!({ "addresses": addresses });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    json!({
        "apiVersion": "metallb.io/v1beta1",
        "kind": "IPAddressPool",
        "metadata": { "name": name, "namespace": "metallb-system" },
        "spec": spec,
    })
}

fn service(name: &str, annotations: Value, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": name, "namespace": "default", "annotations": annotations, "labels": {} },
        "spec": { "type": "LoadBalancer", "ports": [{ "port": 80 }] },
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    object
}

/// The events that one Service gets in a world of its own.
fn told(objects: &[Value]) -> Vec<(bool, &'static str, String)> {
    let mut snapshot = Snapshot::new(ConfigScope::Controller, false);
    for object in objects {
        snapshot.apply(match object["kind"].as_str().unwrap() {
            "Service" => Object::Service(serde_json::from_value(object.clone()).unwrap()),
            _ => Object::Config(ConfigKind::IpAddressPool, object.clone()),
        });
    }
    let dirty = snapshot.take_dirty();
    let outputs = Allocator::new(None).reconcile(&snapshot, &dirty);
    let notices = outputs.into_iter().filter_map(|output| match output {
        Output::Tell { notice: Notice { kind, message }, .. } => {
            Some((kind.is_warning(), kind.reason(), message))
        }
        Output::Write(_) | Output::Cleared { .. } => None,
    });
    notices.collect()
}

fn one(annotations: Value, spec: Value) -> (bool, &'static str, String) {
    let mut spec = spec;
    if spec.get("clusterIPs").is_none() {
        spec["clusterIPs"] = json!(["10.96.0.1"]);
    }
    let all = told(&[
        pool("a", &["10.0.0.0/30"], json!({})),
        pool("pinned", &["10.1.0.0/30"], json!({ "serviceAllocation": { "namespaces": ["x"] } })),
        service("s", annotations, spec),
    ]);
    assert_eq!(all.len(), 1, "{all:?}");
    all.into_iter().next().unwrap()
}

fn failed(message: &str) -> (bool, &'static str, String) {
    failed_for("s", message)
}

fn failed_for(service: &str, message: &str) -> (bool, &'static str, String) {
    let message = format!("Failed to allocate IP for \"default/{service}\": {message}");
    (true, "AllocationFailed", message)
}

#[test]
fn an_address_is_told_as_metallb_tells_it() {
    assert_eq!(
        one(json!({}), json!({})),
        (false, "IPAllocated", "Assigned IP [\"10.0.0.0\"]".to_owned())
    );
}

#[test]
fn a_request_outside_every_pool_says_so() {
    assert_eq!(
        one(json!({ "metallb.io/loadBalancerIPs": "192.0.2.1" }), json!({})),
        failed("[\"192.0.2.1\"] is not allowed in config")
    );
}

#[test]
fn a_pool_that_does_not_exist_is_unknown() {
    assert_eq!(
        one(json!({ "metallb.io/address-pool": "nope" }), json!({})),
        failed("unknown pool \"nope\"")
    );
}

#[test]
fn a_requested_pool_is_still_pinned() {
    assert_eq!(
        one(json!({ "metallb.io/address-pool": "pinned" }), json!({})),
        failed("pool pinned not compatible for ip assignment")
    );
    assert_eq!(
        one(json!({ "metallb.io/loadBalancerIPs": "10.1.0.1" }), json!({})),
        failed("pool pinned not compatible for ip assignment")
    );
}

#[test]
fn an_address_of_another_pool_than_the_requested_one_is_refused() {
    let annotations =
        json!({ "metallb.io/address-pool": "pinned", "metallb.io/loadBalancerIPs": "10.0.0.1" });
    assert_eq!(
        one(annotations, json!({})),
        failed(
            "requested loadBalancer IP(s) [\"10.0.0.1\"] is not compatible with requested address pool pinned"
        )
    );
}

#[test]
fn two_ways_of_asking_are_one_too_many() {
    assert_eq!(
        one(
            json!({ "metallb.io/loadBalancerIPs": "10.0.0.1" }),
            json!({ "loadBalancerIP": "10.0.0.1" })
        ),
        failed(
            "invalid requested loadbalancer IPs: service can not have both metallb.io/loadBalancerIPs and svc.Spec.LoadBalancerIP"
        )
    );
}

#[test]
fn a_dual_stack_service_has_to_ask_for_two() {
    let (_, reason, message) = one(
        json!({ "metallb.io/loadBalancerIPs": "10.0.0.1" }),
        json!({ "clusterIPs": ["10.96.0.1", "fd00::1"], "ipFamilyPolicy": "PreferDualStack" }),
    );
    assert_eq!(reason, "AllocationFailed");
    assert!(message.contains("does not match the ipFamily of the service"), "{message}");
}

#[test]
fn require_dual_stack_with_one_cluster_address_keeps_the_odd_reason() {
    let (warning, reason, message) =
        one(json!({}), json!({ "ipFamilyPolicy": "RequireDualStack" }));
    assert!(warning);
    assert_eq!(reason, "not enough clusterips");
    assert_eq!(message, "Service requires dual stack but not enough clusterips [10.96.0.1]");
}

#[test]
fn a_headless_service_has_no_family() {
    let (_, reason, _) = one(json!({}), json!({ "clusterIPs": ["None"] }));
    assert_eq!(reason, "noclusterIPsIPFamily");
}

#[test]
fn without_any_pool_it_is_said_once() {
    let all = told(&[service("s", json!({}), json!({ "clusterIPs": ["10.96.0.1"] }))]);
    assert_eq!(all, [failed("no pools defined")]);
}

#[test]
fn a_deprecated_annotation_is_told_and_honoured() {
    let all = told(&[
        pool("a", &["10.0.0.0/30"], json!({})),
        service(
            "s",
            json!({ "metallb.universe.tf/loadBalancerIPs": "10.0.0.2" }),
            json!({ "clusterIPs": ["10.96.0.1"] }),
        ),
    ]);
    assert_eq!(all[0].2, "Assigned IP [\"10.0.0.2\"]");
    assert_eq!(
        all[1],
        (
            true,
            "deprecatedAnnotation",
            "Service uses deprecated annotation metallb.universe.tf/loadBalancerIPs".to_owned()
        )
    );
}

#[test]
fn the_current_prefix_wins_even_when_it_is_empty() {
    let annotations = json!({
        "metallb.universe.tf/loadBalancerIPs": "10.0.0.2",
        "metallb.io/loadBalancerIPs": "",
    });
    let all = told(&[
        pool("a", &["10.0.0.0/30"], json!({})),
        service("s", annotations, json!({ "clusterIPs": ["10.96.0.1"] })),
    ]);
    assert_eq!(all[0].2, "Assigned IP [\"10.0.0.0\"]");
}

#[test]
fn the_sharing_verdict_names_the_others_and_the_port() {
    let shared =
        json!({ "metallb.io/allow-shared-ip": "k", "metallb.io/loadBalancerIPs": "10.0.0.1" });
    let spec = json!({ "clusterIPs": ["10.96.0.1"] });
    let mut other = shared.clone();
    other["metallb.io/allow-shared-ip"] = json!("l");
    let all = told(&[
        pool("a", &["10.0.0.0/30"], json!({})),
        service("first", shared.clone(), spec.clone()),
        service("s", shared, spec.clone()),
        service("t", other, spec),
    ]);
    let messages: Vec<&str> = all.iter().map(|(_, _, message)| message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "Assigned IP [\"10.0.0.1\"]",
            "Failed to allocate IP for \"default/s\": port TCP/80 is already in use on \"10.0.0.1\"",
            "Failed to allocate IP for \"default/t\": can't change sharing key for \"default/t\", address also in use by default/first",
        ]
    );
}

#[test]
fn prefer_dual_stack_on_a_single_stack_cluster_does_not_flap() {
    let mut server = Server::new();
    server.apply(&pool("dual", &["10.0.0.0/30", "fd00::/126"], json!({})));
    let mut object = service("s", json!({}), json!({ "ipFamilyPolicy": "SingleStack" }));
    server.apply(&object);
    // The API server of a single-stack cluster leaves one cluster address with this policy.
    let key = cluster::ObjectKey::new("default", "s");
    object = server.services[&key].clone();
    object["spec"]["ipFamilyPolicy"] = json!("PreferDualStack");
    server.writes = 0;
    for resource_version in 1..5 {
        object["metadata"]["resourceVersion"] = json!(resource_version.to_string());
        object["metadata"]["labels"]["turn"] = json!(resource_version.to_string());
        let object = serde_json::from_value(object.clone()).unwrap();
        server.snapshot.apply(Object::Service(Box::new(object)));
        server.settle();
    }
    assert_eq!(server.writes, 0);
}

#[test]
fn namespace_selectors_that_match_nothing_mean_nobody() {
    let allocation = json!({ "serviceAllocation": {
        "namespaceSelectors": [{ "matchLabels": { "team": "x" } }],
        "serviceSelectors": [{ "matchLabels": {} }],
    } });
    let all = told(&[
        pool("p", &["10.0.0.0/30"], allocation),
        service("s", json!({}), json!({ "clusterIPs": ["10.96.0.1"] })),
    ]);
    let why =
        "no pool may be used by this Service: \"p\" (serviceAllocation selects other Services)";
    assert_eq!(all, [failed(&format!("no available IPs: {why}"))]);
}

#[test]
fn an_exhausted_pool_is_told_from_pools_that_may_not_be_used() {
    let taken = service("a", json!({}), json!({ "clusterIPs": ["10.96.0.1"] }));
    let one_more = service("b", json!({}), json!({ "clusterIPs": ["10.96.0.2"] }));
    let manual = json!({ "autoAssign": false });
    let pools =
        [pool("full", &["10.0.0.1/32"], json!({})), pool("manual", &["10.0.1.0/24"], manual)];
    let [full, manual] = pools;
    let all = told(&[full, manual.clone(), taken, one_more.clone()]);
    let why = "every pool that this Service may use is exhausted for ipv4: \"full\"";
    assert!(all.contains(&failed_for("b", &format!("no available IPs: {why}"))), "{all:?}");
    let v6 = pool("six", &["fd00::/120"], json!({}));
    let all = told(&[manual, v6, one_more]);
    let why = "no pool may be used by this Service: \"manual\" (autoAssign is false); \"six\" (no addresses for ipv4)";
    assert_eq!(all, [failed_for("b", &format!("no available IPs: {why}"))]);
}

#[test]
fn pools_of_equal_priority_are_taken_by_name() {
    let allocation = json!({ "serviceAllocation": { "priority": 1 } });
    let all = told(&[
        pool("b", &["10.0.1.0/30"], allocation.clone()),
        pool("a", &["10.0.0.0/30"], allocation),
        service("s", json!({}), json!({ "clusterIPs": ["10.96.0.1"] })),
    ]);
    assert_eq!(all[0].2, "Assigned IP [\"10.0.0.0\"]");
}

#[test]
fn an_invalid_pool_takes_nothing_back_also_after_a_restart() {
    let mut server = Server::new();
    server.apply(&pool("p", &["10.0.0.0/30"], json!({})));
    server.apply(&service("s", json!({}), json!({})));
    let key = cluster::ObjectKey::new("default", "s");
    let given = server.services[&key]["status"].clone();
    assert_eq!(given["loadBalancer"]["ingress"][0]["ip"], "10.0.0.0");
    server.apply(&pool("p", &["10.0.0.0/33"], json!({})));
    assert_eq!(server.services[&key]["status"], given);
    server.restart();
    assert_eq!(server.services[&key]["status"], given);
    server.apply(&service("t", json!({}), json!({})));
    let other = &server.services[&cluster::ObjectKey::new("default", "t")];
    assert_eq!(other["status"]["loadBalancer"]["ingress"], Value::Null, "nothing is given from it");
}

#[test]
fn a_service_that_is_decided_twice_in_one_round_is_written_once() {
    let mut snapshot = Snapshot::new(ConfigScope::Controller, false);
    let mut allocator = Allocator::new(None);
    let mut round = |objects: &[Value]| {
        for object in objects {
            snapshot.apply(match object["kind"].as_str().unwrap() {
                "Service" => Object::Service(serde_json::from_value(object.clone()).unwrap()),
                _ => Object::Config(ConfigKind::IpAddressPool, object.clone()),
            });
        }
        let dirty = snapshot.take_dirty();
        let outputs = allocator.reconcile(&snapshot, &dirty);
        outputs.into_iter().filter(|output| matches!(output, Output::Write(_))).count()
    };
    let cluster_ips = json!({ "clusterIPs": ["10.96.0.1"] });
    let given = service("s", json!({}), cluster_ips.clone());
    assert_eq!(round(&[pool("p", &["10.0.0.0/30"], json!({})), given]), 1);
    // Its address is taken back, which lets all who wait try again, itself among them.
    let wanted = json!({ "metallb.io/loadBalancerIPs": "10.9.9.9" });
    let mut changed = service("s", wanted, cluster_ips);
    changed["status"] = json!({ "loadBalancer": { "ingress": [{ "ip": "10.0.0.0" }] } });
    assert_eq!(round(&[changed]), 1);
}

#[test]
fn sharers_of_an_invalid_pool_keep_their_address_only_while_they_may_share() {
    let mut server = Server::new();
    server.apply(&pool("p", &["10.0.0.0/30"], json!({})));
    let shared = json!({ "metallb.io/allow-shared-ip": "k" });
    server.apply(&service("s", shared.clone(), json!({})));
    server.apply(&service("t", shared, json!({ "ports": [{ "port": 81 }] })));
    server.apply(&pool("p", &["nonsense"], json!({})));
    server.restart();
    server.apply(&service("t", json!({}), json!({ "ports": [{ "port": 81 }] })));
    let ingress = |name: &str| {
        let key = cluster::ObjectKey::new("default", name);
        server.services[&key]["status"]["loadBalancer"]["ingress"][0]["ip"].clone()
    };
    assert_eq!((ingress("s"), ingress("t")), (json!("10.0.0.0"), Value::Null));
}

#[test]
fn a_duplicate_address_is_kept_by_the_older_service() {
    let mut server = Server::new();
    server.apply(&pool("p", &["10.0.0.0/30"], json!({})));
    for name in ["young", "old"] {
        let mut object = service(name, json!({}), json!({ "clusterIPs": ["10.96.0.1"] }));
        let year = if name == "old" { 2020 } else { 2021 };
        object["metadata"]["creationTimestamp"] = json!(format!("{year}-01-01T00:00:00Z"));
        object["metadata"]["annotations"] = json!({ "metallb.io/ip-allocated-from-pool": "p" });
        object["status"] = json!({ "loadBalancer": { "ingress": [{ "ip": "10.0.0.3" }] } });
        server.services.insert(cluster::ObjectKey::new("default", name), object);
    }
    server.restart();
    let ip = |name: &str| {
        server.services[&cluster::ObjectKey::new("default", name)]["status"]["loadBalancer"]
            ["ingress"][0]["ip"]
            .clone()
    };
    assert_eq!(ip("old"), "10.0.0.3");
    assert_eq!(ip("young"), "10.0.0.0");
    assert!(server.events.contains(&(
        "default/young".to_owned(),
        "Normal".to_owned(),
        "ClearAssignment".to_owned()
    )));
}

#[test]
fn a_duplicate_that_appears_later_goes_to_the_one_that_carried_it_first() {
    let mut server = Server::new();
    server.apply(&pool("p", &["10.0.0.0/30"], json!({})));
    server.apply(&service("holder", json!({}), json!({})));
    server.restart();
    let mut object = service("claimer", json!({}), json!({ "clusterIPs": ["10.96.0.1"] }));
    object["metadata"]["creationTimestamp"] = json!("2000-01-01T00:00:00Z");
    object["status"] = json!({ "loadBalancer": { "ingress": [{ "ip": "10.0.0.0" }] } });
    let key = cluster::ObjectKey::new("default", "claimer");
    server.services.insert(key.clone(), object.clone());
    server.snapshot.apply(Object::Service(serde_json::from_value(object).unwrap()));
    server.settle();
    let holder = &server.services[&cluster::ObjectKey::new("default", "holder")];
    assert_eq!(holder["status"]["loadBalancer"]["ingress"][0]["ip"], "10.0.0.0");
    assert_eq!(server.services[&key]["status"]["loadBalancer"]["ingress"][0]["ip"], "10.0.0.1");
}

#[test]
fn ten_thousand_services_in_a_slash_16_stay_linear() {
    let mut snapshot = Snapshot::new(ConfigScope::Controller, false);
    snapshot.apply(Object::Config(
        ConfigKind::IpAddressPool,
        pool("p", &["10.0.0.0/16", "fd00::/64"], json!({ "avoidBuggyIPs": true })),
    ));
    for number in 0..10_000 {
        let object =
            service(&format!("s{number}"), json!({}), json!({ "clusterIPs": ["10.96.0.1"] }));
        snapshot.apply(Object::Service(serde_json::from_value(object).unwrap()));
    }
    let mut allocator = Allocator::new(None);
    let dirty = snapshot.take_dirty();
    let outputs = allocator.reconcile(&snapshot, &dirty);
    assert_eq!(outputs.iter().filter(|output| matches!(output, Output::Write(_))).count(), 10_000);
    assert_eq!(
        allocator
            .allocations()
            .usage(&PoolId { kind: PoolKind::IpAddressPool, name: "p".into() })
            .v4,
        10_000
    );
    assert_eq!(allocator.pending().len(), 0);
}

#[test]
fn a_request_that_is_refused_while_the_address_is_kept_stays_known() {
    let mut server = Server::new();
    server.apply(&pool("p", &["10.0.0.0/30"], json!({})));
    let cluster_ips = json!({ "clusterIPs": ["10.96.0.1"] });
    server.apply(&service("s", json!({}), cluster_ips.clone()));
    assert!(server.allocator.refused().is_empty());
    let wrong = json!({ "metallb.io/loadBalancerIPs": "nonsense" });
    server.apply(&service("s", wrong, cluster_ips.clone()));
    let key = cluster::ObjectKey::new("default", "s");
    let notice = &server.allocator.refused()[&key];
    assert_eq!((notice.kind.is_warning(), notice.kind.reason()), (true, "LoadBalancerFailed"));
    assert!(server.allocator.pending().is_empty(), "its address is kept");
    server.apply(&service("s", json!({}), cluster_ips));
    assert!(server.allocator.refused().is_empty());
}

#[test]
fn a_request_is_read_as_a_pool_is_read() {
    for text in ["010.0.0.1", "10.0.0.01", "10.0.0.1%eth0", "::ffff:10.0.0.01", "10.0.0.1/32"] {
        assert_eq!(
            one(json!({ "metallb.io/loadBalancerIPs": text }), json!({})),
            failed(&format!(
                "invalid requested loadbalancer IPs: invalid metallb.io/loadBalancerIPs: {text:?} is not an IP address"
            ))
        );
        assert_eq!(
            one(json!({}), json!({ "loadBalancerIP": text })),
            failed(&format!(
                "invalid requested loadbalancer IPs: invalid spec.loadBalancerIP: {text:?} is not an IP address"
            ))
        );
    }
    // An IPv4 address written as an IPv6 one is an IPv4 address.
    assert_eq!(
        one(json!({ "metallb.io/loadBalancerIPs": "::ffff:10.0.0.1" }), json!({})),
        (false, "IPAllocated", "Assigned IP [\"10.0.0.1\"]".to_owned())
    );
}

#[test]
fn cluster_addresses_are_read_as_the_api_server_reads_them() {
    assert_eq!(
        one(json!({}), json!({ "clusterIPs": ["10.96.0.010"] })),
        (false, "IPAllocated", "Assigned IP [\"10.0.0.0\"]".to_owned())
    );
    assert_eq!(
        one(json!({}), json!({ "clusterIPs": ["::ffff:10.96.0.10"] })),
        (false, "IPAllocated", "Assigned IP [\"10.0.0.0\"]".to_owned())
    );
}
