// SPDX-License-Identifier: Apache-2.0
//! The snapshot as an index: objects in, what is kept and what is dirty out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod objects;

use std::sync::Arc;

use cluster::{ConfigScope, Dirty, Kind, ObjectKey, Snapshot};
use crds::config::ConfigKind;
use objects::{POOL, advertisement, apply, cluster_ip, key, namespace, node, pool, service, slice};
use serde_json::json;

/// A snapshot that took in these objects, with nothing dirty.
fn settled(keep_all_slices: bool, objects: &[serde_json::Value]) -> Snapshot {
    let mut snapshot = Snapshot::new(ConfigScope::All, keep_all_slices);
    for object in objects {
        apply(&mut snapshot, object);
    }
    snapshot.take_dirty();
    snapshot
}

fn dirty(services: &[&str]) -> Dirty {
    Dirty { all: false, services: services.iter().map(|name| key(name)).collect() }
}

fn nodes_of(snapshot: &Snapshot, service: &ObjectKey) -> Vec<Arc<str>> {
    snapshot.slices(service).flat_map(|slice| slice.nodes.iter().cloned()).collect()
}

#[test]
fn a_service_of_another_type_is_not_kept() {
    let mut snapshot = settled(false, &[]);
    apply(&mut snapshot, &cluster_ip("web", 1));
    assert!(snapshot.services().is_empty());
    assert!(snapshot.take_dirty().is_empty());
}

#[test]
fn a_service_that_becomes_another_type_is_removed_and_dirty() {
    let mut snapshot = settled(false, &[service("web", 1, json!({}))]);
    apply(&mut snapshot, &cluster_ip("web", 2));
    assert!(snapshot.services().is_empty());
    assert_eq!(snapshot.take_dirty(), dirty(&["web"]));
}

#[test]
fn an_older_version_of_a_service_is_ignored_whatever_its_type() {
    let mut snapshot = settled(false, &[service("web", 10, json!({ "a": "new" }))]);
    apply(&mut snapshot, &service("web", 9, json!({ "a": "old" })));
    apply(&mut snapshot, &cluster_ip("web", 9));
    assert_eq!(snapshot.service(&key("web")).unwrap().labels.get("a"), Some("new"));
    assert!(snapshot.take_dirty().is_empty());
}

#[test]
fn a_service_created_anew_counts_whatever_its_version() {
    let mut snapshot = settled(false, &[service("web", 10, json!({}))]);
    let mut again = service("web", 9, json!({ "a": "again" }));
    again["metadata"]["uid"] = json!("another");
    apply(&mut snapshot, &again);
    assert_eq!(snapshot.service(&key("web")).unwrap().labels.get("a"), Some("again"));
    assert_eq!(snapshot.take_dirty(), dirty(&["web"]));
}

#[test]
fn a_write_that_changes_nothing_which_is_kept_makes_nothing_dirty() {
    let mut snapshot = settled(false, &[service("web", 1, json!({}))]);
    let mut written = service("web", 2, json!({}));
    written["metadata"]["annotations"] = json!({ "kubectl.kubernetes.io/restartedAt": "now" });
    apply(&mut snapshot, &written);
    assert!(snapshot.take_dirty().is_empty());
    apply(&mut snapshot, &service("web", 1, json!({ "a": "old" })));
    assert!(snapshot.take_dirty().is_empty(), "the version moved on nevertheless");
}

#[test]
fn each_thing_that_is_kept_of_a_service_makes_it_dirty() {
    let changes = [
        ("/metadata/labels", json!({ "a": "b" })),
        ("/metadata/annotations", json!({ "metallb.io/address-pool": "p" })),
        ("/metadata/uid", json!("v")),
        ("/spec/loadBalancerClass", json!("c")),
        ("/spec/loadBalancerIP", json!("10.0.0.1")),
        ("/spec/clusterIPs", json!(["10.96.0.1"])),
        ("/spec/ipFamilyPolicy", json!("PreferDualStack")),
        ("/spec/ipFamilies", json!(["IPv6"])),
        ("/spec/externalTrafficPolicy", json!("Local")),
        ("/spec/ports", json!([{ "port": 81 }])),
        ("/status", json!({ "loadBalancer": { "ingress": [{ "ip": "10.0.0.1" }] } })),
    ];
    for (pointer, value) in changes {
        let mut snapshot = settled(false, &[service("web", 1, json!({}))]);
        let mut changed = service("web", 2, json!({}));
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        changed.pointer_mut(parent).unwrap()[field] = value;
        apply(&mut snapshot, &changed);
        assert_eq!(snapshot.take_dirty(), dirty(&["web"]), "{pointer}");
    }
}

#[test]
fn a_selector_matters_to_a_service_that_may_share() {
    for (annotations, matters) in [
        (json!({}), false),
        (json!({ "metallb.io/allow-shared-ip": "key" }), true),
        (json!({ "metallb.universe.tf/allow-shared-ip": "key" }), true),
    ] {
        let with = |version, selector| {
            let mut service = service("web", version, json!({}));
            service["metadata"]["annotations"] = annotations.clone();
            service["spec"]["selector"] = selector;
            service
        };
        let mut snapshot = settled(false, &[with(1, json!({ "app": "one" }))]);
        apply(&mut snapshot, &with(2, json!({ "app": "two" })));
        assert_eq!(!snapshot.take_dirty().is_empty(), matters, "{annotations}");
    }
}

#[test]
fn slices_of_unknown_services_are_dropped_and_wanted_when_the_service_appears() {
    let mut snapshot = settled(false, &[slice("web-1", Some("web"), &["n1"])]);
    assert_eq!(snapshot.slices(&key("web")).count(), 0);
    assert!(snapshot.take_wanted_slices().is_empty());
    apply(&mut snapshot, &service("web", 1, json!({})));
    apply(&mut snapshot, &service("other", 1, json!({})));
    assert_eq!(snapshot.take_wanted_slices(), [key("web")].into());
    assert!(snapshot.take_wanted_slices().is_empty(), "it is asked for once");
    snapshot.take_dirty();
    apply(&mut snapshot, &slice("web-1", Some("web"), &["n1"]));
    assert_eq!(nodes_of(&snapshot, &key("web")), ["n1".into()]);
    assert_eq!(snapshot.take_dirty(), dirty(&["web"]));
}

#[test]
fn a_source_that_delivers_once_has_its_slices_kept() {
    let mut snapshot = settled(true, &[slice("web-1", Some("web"), &["n1"])]);
    assert!(snapshot.take_dirty().is_empty(), "nobody asks for them yet");
    apply(&mut snapshot, &service("web", 1, json!({})));
    assert!(snapshot.take_wanted_slices().is_empty());
    assert_eq!(nodes_of(&snapshot, &key("web")), ["n1".into()]);
}

#[test]
fn slices_of_a_deleted_service_are_wanted_when_it_comes_back() {
    let objects = [service("web", 1, json!({})), slice("web-1", Some("web"), &["n1"])];
    let mut snapshot = settled(false, &objects);
    snapshot.delete(Kind::Service, "default/web");
    assert_eq!(snapshot.slices(&key("web")).count(), 0);
    apply(&mut snapshot, &objects[0]);
    assert_eq!(snapshot.take_wanted_slices(), [key("web")].into());

    let mut keeping = settled(true, &objects);
    keeping.delete(Kind::Service, "default/web");
    apply(&mut keeping, &objects[0]);
    assert_eq!(nodes_of(&keeping, &key("web")), ["n1".into()]);
}

#[test]
fn slices_that_were_wanted_when_the_service_went_are_wanted_when_it_comes_back() {
    let mut snapshot = settled(false, &[slice("web-1", Some("web"), &["n1"])]);
    apply(&mut snapshot, &service("web", 1, json!({})));
    snapshot.delete(Kind::Service, "default/web");
    assert!(snapshot.take_wanted_slices().is_empty());
    apply(&mut snapshot, &service("web", 2, json!({})));
    assert_eq!(snapshot.take_wanted_slices(), [key("web")].into());
}

#[test]
fn a_slice_whose_label_names_another_service_leaves_the_first() {
    for keep_all in [false, true] {
        let mut snapshot = settled(
            keep_all,
            &[
                service("a", 1, json!({})),
                service("b", 1, json!({})),
                slice("x", Some("a"), &["n1"]),
            ],
        );
        apply(&mut snapshot, &slice("x", Some("b"), &["n1"]));
        assert_eq!(snapshot.slices(&key("a")).count(), 0);
        assert_eq!(nodes_of(&snapshot, &key("b")), ["n1".into()]);
        assert_eq!(snapshot.take_dirty(), dirty(&["a", "b"]));
        apply(&mut snapshot, &slice("x", None, &["n1"]));
        assert_eq!(snapshot.slices(&key("b")).count(), 0);
        assert_eq!(snapshot.take_dirty(), dirty(&["b"]));
    }
}

#[test]
fn a_slice_is_deleted_whatever_its_name_is() {
    for name in ["web-x7k2p", "web", "entirely-other"] {
        let objects = [service("web", 1, json!({})), slice(name, Some("web"), &["n1"])];
        let mut snapshot = settled(false, &objects);
        snapshot.delete(Kind::EndpointSlice, &format!("default/{name}"));
        assert_eq!(snapshot.slices(&key("web")).count(), 0);
        assert_eq!(snapshot.take_dirty(), dirty(&["web"]));
        snapshot.delete(Kind::EndpointSlice, &format!("default/{name}"));
        assert!(snapshot.take_dirty().is_empty());
    }
}

/// Contract 2.10: ready is nil or true, else serving is true.
#[test]
fn endpoints_are_usable_when_ready_is_unset_or_true_or_serving_is() {
    let rows = [
        (json!({}), true),
        (json!({ "conditions": {} }), true),
        (json!({ "conditions": { "ready": true } }), true),
        (json!({ "conditions": { "ready": null, "serving": false } }), true),
        (json!({ "conditions": { "ready": false } }), false),
        (json!({ "conditions": { "ready": false, "serving": false } }), false),
        (json!({ "conditions": { "ready": false, "serving": true, "terminating": true } }), true),
    ];
    for (mut endpoint, usable) in rows {
        endpoint["nodeName"] = json!("n1");
        let mut object = slice("web-1", Some("web"), &[]);
        object["endpoints"] = json!([endpoint]);
        let snapshot = settled(false, &[service("web", 1, json!({})), object]);
        let slice = snapshot.slices(&key("web")).next().unwrap();
        assert_eq!((slice.any, slice.nodes.len()), (usable, usize::from(usable)), "{endpoint}");
        assert!(!slice.any_with_address);
    }
}

#[test]
fn a_heartbeat_of_a_node_makes_nothing_dirty() {
    let mut alive = node("n1", json!({ "zone": "a" }));
    alive["status"] = json!({ "conditions": [
        { "type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z" },
        { "type": "NetworkUnavailable", "status": "False" },
    ] });
    let mut snapshot = settled(false, std::slice::from_ref(&alive));
    alive["status"]["conditions"][0]["lastHeartbeatTime"] = json!("2026-01-01T00:00:10Z");
    alive["status"]["conditions"][0]["status"] = json!("Unknown");
    apply(&mut snapshot, &alive);
    assert!(snapshot.take_dirty().is_empty());
    assert_eq!((snapshot.readiness(), snapshot.nodes()["n1"].ready), (1, false));
    // A cordon may count as a wish to drain.
    alive["spec"] = json!({ "unschedulable": true });
    apply(&mut snapshot, &alive);
    assert!(snapshot.take_dirty().all);
}

#[test]
fn labels_and_the_network_of_a_node_make_all_dirty() {
    let mut snapshot = settled(false, &[node("n1", json!({}))]);
    let mut changed = node("n1", json!({ "zone": "a" }));
    apply(&mut snapshot, &changed);
    assert!(snapshot.take_dirty().all);
    changed["status"] =
        json!({ "conditions": [{ "type": "NetworkUnavailable", "status": "True" }] });
    apply(&mut snapshot, &changed);
    assert!(snapshot.nodes()["n1"].network_unavailable);
    assert!(snapshot.take_dirty().all);
    snapshot.delete(Kind::Node, "n1");
    assert!(snapshot.take_dirty().all);
    snapshot.delete(Kind::Node, "n1");
    assert!(snapshot.take_dirty().is_empty());
}

#[test]
fn labels_of_a_namespace_make_all_dirty() {
    let mut snapshot = settled(false, &[namespace("default", json!({ "team": "a" }))]);
    let mut annotated = namespace("default", json!({ "team": "a" }));
    annotated["metadata"]["annotations"] = json!({ "x": "y" });
    apply(&mut snapshot, &annotated);
    assert!(snapshot.take_dirty().is_empty());
    apply(&mut snapshot, &namespace("default", json!({ "team": "b" })));
    assert_eq!(snapshot.namespace("default").unwrap().get("team"), Some("b"));
    assert!(snapshot.take_dirty().all);
}

#[test]
fn the_configuration_is_made_anew_only_when_it_means_something_else() {
    let mut snapshot = settled(false, &[pool("p", &["10.0.0.0/30"])]);
    let first = Arc::clone(snapshot.config());
    assert!(first.pools.contains_key("p"));

    let mut same = pool("p", &["10.0.0.0/30"]);
    same["metadata"]["resourceVersion"] = json!("7");
    same["status"] = json!({ "assignedIPv4": 3 });
    same["spec"]["autoAssign"] = json!(true);
    apply(&mut snapshot, &same);
    assert!(snapshot.take_dirty().is_empty());
    assert!(Arc::ptr_eq(&first, snapshot.config()));

    apply(&mut snapshot, &pool("p", &["10.0.0.0/29"]));
    assert!(Arc::ptr_eq(&first, snapshot.config()), "not before it is asked for");
    assert!(snapshot.take_dirty().all);
    assert!(!Arc::ptr_eq(&first, snapshot.config()));
}

#[test]
fn an_invalid_object_keeps_its_last_valid_version_and_makes_nothing_dirty() {
    let mut snapshot = settled(false, &[pool("p", &["10.0.0.0/30"])]);
    apply(&mut snapshot, &pool("p", &["10.0.0.0/33"]));
    assert!(snapshot.take_dirty().is_empty());
    assert!(snapshot.rejections()[0].kept_last_valid);
    assert!(snapshot.config().pools.contains_key("p"));
    apply(&mut snapshot, &pool("p", &["10.0.0.0/30"]));
    assert!(snapshot.take_dirty().is_empty());
    assert!(snapshot.rejections().is_empty());
}

#[test]
fn what_is_not_listed_again_is_removed_and_the_rest_is_not_dirty() {
    let objects = |name: &str| {
        [
            (Kind::Service, service(name, 1, json!({}))),
            (Kind::EndpointSlice, slice(name, Some("kept"), &["n1"])),
            (Kind::Node, node(name, json!({}))),
            (Kind::Namespace, namespace(name, json!({}))),
            (POOL, pool(name, &[if name == "kept" { "10.0.0.0/30" } else { "10.0.1.0/30" }])),
            (
                Kind::Config(ConfigKind::L2Advertisement),
                advertisement(name, json!({ "ipAddressPools": [name] })),
            ),
        ]
    };
    for index in 0..6 {
        let (kind, kept) = objects("kept")[index].clone();
        let gone = objects("gone")[index].1.clone();
        let all: Vec<_> = objects("kept").into_iter().map(|(_, object)| object).collect();
        let without = settled(false, &all);
        let mut snapshot = settled(false, &all);
        apply(&mut snapshot, &gone);
        snapshot.take_dirty();

        snapshot.restart(kind);
        apply(&mut snapshot, &kept);
        apply(&mut snapshot, &gone);
        snapshot.finish(kind);
        assert!(snapshot.take_dirty().is_empty(), "{kind:?}: all of it was listed again");
        assert!(snapshot.is_synced(kind));

        snapshot.restart(kind);
        apply(&mut snapshot, &kept);
        assert!(snapshot.take_dirty().is_empty(), "{kind:?}: nothing is gone before the end");
        snapshot.finish(kind);
        assert!(!snapshot.take_dirty().is_empty(), "{kind:?}");
        assert_eq!(snapshot.services(), without.services());
        assert_eq!(snapshot.nodes(), without.nodes());
        assert_eq!(snapshot.config(), without.config());
        assert!(snapshot.namespace("gone").is_none());
        assert_eq!(snapshot.slices(&key("kept")).count(), 1);
    }
}

#[test]
fn secrets_that_are_not_listed_again_are_gone() {
    let peer = json!({
        "apiVersion": "metallb.io/v1beta2",
        "kind": "BGPPeer",
        "metadata": { "name": "peer" },
        "spec": { "myASN": 64512, "peerASN": 64513, "peerAddress": "10.0.0.1",
            "passwordSecret": { "name": "s" } },
    });
    let secret = || {
        let object =
            json!({ "type": "kubernetes.io/basic-auth", "stringData": { "password": "x" } });
        cluster::Object::Secret("s".into(), crds::config::Secret::parse(&object))
    };
    let mut snapshot = settled(false, &[peer]);
    assert_eq!(snapshot.rejections().len(), 1);
    snapshot.apply(secret());
    assert!(snapshot.take_dirty().all);
    assert!(snapshot.rejections().is_empty());
    snapshot.restart(Kind::Secret);
    snapshot.apply(secret());
    snapshot.finish(Kind::Secret);
    assert!(snapshot.take_dirty().is_empty());
    snapshot.restart(Kind::Secret);
    snapshot.finish(Kind::Secret);
    snapshot.take_dirty();
    assert_eq!(snapshot.rejections().len(), 1);
}

#[test]
fn a_kind_that_cannot_be_had_is_synced_and_takes_nothing_away() {
    let mut snapshot = settled(false, &[pool("p", &["10.0.0.0/30"])]);
    let peers = Kind::Config(ConfigKind::BgpPeer);
    snapshot.set_absent(peers);
    assert!(snapshot.is_synced(peers));
    snapshot.set_absent(POOL);
    assert!(!snapshot.is_synced(POOL), "a cluster without pools is another thing");
    assert!(snapshot.take_dirty().is_empty());
    assert!(snapshot.config().pools.contains_key("p"));
}

#[test]
fn what_is_kept_while_listing_is_not_removed() {
    let mut snapshot = settled(true, &[service("web", 1, json!({}))]);
    snapshot.restart(Kind::Service);
    snapshot.keep(Kind::Service, "default/web");
    snapshot.finish(Kind::Service);
    assert!(snapshot.service(&key("web")).is_some());
    assert!(snapshot.take_dirty().is_empty());
}

#[test]
fn a_status_that_is_set_is_read_back_and_dirty() {
    let mut snapshot = settled(true, &[service("web", 1, json!({}))]);
    let address = "10.0.0.1".parse().unwrap();
    snapshot.set_status(&key("web"), &[address], "metallb.io/ip-allocated-from-pool", Some("p"));
    let service = snapshot.service(&key("web")).unwrap();
    assert_eq!(service.ingress_addresses().collect::<Vec<_>>(), [address]);
    assert_eq!(service.annotation("ip-allocated-from-pool"), Some("p"));
    assert_eq!(snapshot.take_dirty(), dirty(&["web"]));
    snapshot.set_status(&key("web"), &[], "metallb.io/ip-allocated-from-pool", None);
    assert!(snapshot.service(&key("web")).unwrap().annotations.is_empty());
    snapshot.set_status(&key("unknown"), &[address], "a", None);
    assert_eq!(snapshot.take_dirty(), dirty(&["web"]));
}
