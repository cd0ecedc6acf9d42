// SPDX-License-Identifier: Apache-2.0
//! Contract C.5 and C.10 row by row: Services of Antrea's world, and where C.14 has us do better.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod server;

use allocator::{Allocator, POOL_ANNOTATION};
use cluster::{ConfigScope, Kind, Object, ObjectKey, Snapshot};
use crds::config::ConfigKind;
use serde_json::{Value, json};
use server::Server;

const POOL: &str = "service.antrea.io/external-ip-pool";
const SHARED: &str = "service.antrea.io/allow-shared-load-balancer-ip";

fn pool(name: &str, ranges: Value) -> Value {
    json!({
        "apiVersion": "crd.antrea.io/v1beta1",
        "kind": "ExternalIPPool",
        "metadata": { "name": name },
        "spec": { "ipRanges": ranges, "nodeSelector": {} },
    })
}

fn range(start: &str, end: &str) -> Value {
    json!([{ "start": start, "end": end }])
}

fn own_pool(addresses: &str) -> Value {
    json!({
        "kind": "IPAddressPool",
        "metadata": { "name": "m", "namespace": "metallb-system" },
        "spec": { "addresses": [addresses] },
    })
}

fn service(name: &str, annotations: Value, spec: Value) -> Value {
    let mut object = json!({
        "kind": "Service",
        "metadata": { "name": name, "namespace": "default", "annotations": annotations },
        "spec": { "type": "LoadBalancer", "ports": [{ "port": 80 }] },
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    object
}

fn of(name: &str, pool: &str) -> Value {
    service(name, json!({ POOL: pool }), json!({}))
}

fn requests(name: &str, address: &str) -> Value {
    service(name, json!({ POOL: "a" }), json!({ "loadBalancerIP": address }))
}

fn shares(name: &str, says: &str, address: &str, port: u16) -> Value {
    let annotations = json!({ POOL: "a", SHARED: says });
    service(name, annotations, json!({ "loadBalancerIP": address, "ports": [{ "port": port }] }))
}

/// What a Service shows, joined by commas.
fn shown(server: &Server, name: &str) -> String {
    let service = &server.services[&ObjectKey::new("default", name)];
    let ingress = service.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
    let entries = ingress.into_iter().flatten().map(|entry| entry["ip"].as_str().unwrap());
    entries.collect::<Vec<_>>().join(",")
}

/// The short name of the reason why it has none.
fn why(server: &Server, name: &str) -> &'static str {
    server.allocator.pending()[&ObjectKey::new("default", name)].name()
}

fn world(objects: &[Value]) -> Server {
    let mut server = Server::new();
    objects.iter().for_each(|object| server.apply(object));
    server
}

fn usual() -> Vec<Value> {
    vec![pool("a", range("10.10.0.2", "10.10.0.4")), pool("b", range("10.20.0.2", "10.20.0.2"))]
}

/// The usual pools and `web` of pool `a`, then these.
fn then(more: &[Value]) -> Server {
    let mut objects = usual();
    objects.push(of("web", "a"));
    objects.extend_from_slice(more);
    world(&objects)
}

#[test]
fn the_lowest_free_address_of_the_first_range_comes_first() {
    let mut server =
        world(&[pool("a", json!([{ "cidr": "10.9.0.0/30" }, { "cidr": "10.1.0.0/31" }]))]);
    for (name, address) in
        [("s1", "10.9.0.1"), ("s2", "10.9.0.2"), ("s3", "10.1.0.0"), ("s4", "10.1.0.1"), ("s5", "")]
    {
        server.apply(&of(name, "a"));
        assert_eq!(shown(&server, name), address, "{name}");
    }
    assert_eq!(why(&server, "s5"), "externalPoolExhausted");
    // A released address is the next one that is handed out.
    server.delete("Service default/s2");
    assert_eq!(shown(&server, "s5"), "10.9.0.2");
    assert!(
        server
            .services
            .values()
            .all(|s| s["metadata"]["annotations"].get(POOL_ANNOTATION).is_none())
    );
}

/// Contract C.10, each row as (what it is, what comes, what `web` shows then).
#[test]
fn changes_of_a_service_have_antreas_effects() {
    let full = |name: &str| of(name, "b");
    let cases: Vec<(&str, Vec<Value>, &str, Option<&str>)> = vec![
        ("pool a to b", vec![of("web", "b")], "10.20.0.2", None),
        ("pool a to a missing one", vec![of("web", "missing")], "", Some("unknownExternalPool")),
        // Antrea goes on showing an address that is not its own any more (C.14).
        (
            "pool a to a full one",
            vec![full("other"), of("web", "b")],
            "",
            Some("externalPoolExhausted"),
        ),
        ("annotation removed", vec![service("web", json!({}), json!({}))], "", Some("noPools")),
        ("annotation emptied", vec![of("web", "")], "", Some("noPools")),
        ("request set", vec![requests("web", "10.10.0.4")], "10.10.0.4", None),
        ("request set to what it has", vec![requests("web", "10.10.0.2")], "10.10.0.2", None),
        (
            "request outside the pool",
            vec![requests("web", "10.10.0.9")],
            "",
            Some("notInExternalPool"),
        ),
        ("request nonsense", vec![requests("web", "what")], "", Some("invalidRequest")),
        (
            "request changed",
            vec![requests("web", "10.10.0.4"), requests("web", "10.10.0.3")],
            "10.10.0.3",
            None,
        ),
        ("request removed", vec![requests("web", "10.10.0.4"), of("web", "a")], "10.10.0.4", None),
        (
            "bad request removed",
            vec![requests("web", "10.10.0.9"), of("web", "a")],
            "10.10.0.2",
            None,
        ),
        (
            "request of another's",
            vec![of("other", "a"), requests("web", "10.10.0.3")],
            "",
            Some("sharing"),
        ),
        (
            "pool range added",
            vec![pool("b", json!([])), of("web", "b"), pool("b", range("10.3.0.1", "10.3.0.1"))],
            "10.3.0.1",
            None,
        ),
        (
            "traffic policy",
            vec![service("web", json!({ POOL: "a" }), json!({ "externalTrafficPolicy": "Local" }))],
            "10.10.0.2",
            None,
        ),
        (
            "class, which Antrea does not look at",
            vec![service("web", json!({ POOL: "a" }), json!({ "loadBalancerClass": "x" }))],
            "10.10.0.2",
            None,
        ),
    ];
    for (case, more, address, reason) in cases {
        let server = then(&more);
        assert_eq!(shown(&server, "web"), address, "{case}");
        let web = ObjectKey::new("default", "web");
        let pending = server.allocator.pending().get(&web).map(allocator::Reason::name);
        assert_eq!(pending, reason, "{case}");
        if let Some(reason) = reason.filter(|reason| *reason != "noPools") {
            let told =
                ("default/web".to_owned(), "Warning".to_owned(), "AllocationFailed".to_owned());
            assert!(server.events.contains(&told), "{case}: an event for {reason}");
        }
    }
}

#[test]
fn a_deleted_pool_takes_its_addresses_and_gives_them_when_it_comes_again() {
    let mut server = then(&[of("other", "a"), of("elsewhere", "b")]);
    server.delete("ExternalIPPool a");
    assert_eq!((shown(&server, "web"), shown(&server, "other")), (String::new(), String::new()));
    assert_eq!(why(&server, "web"), "unknownExternalPool");
    assert_eq!(shown(&server, "elsewhere"), "10.20.0.2");
    server.apply(&usual()[0]);
    assert_eq!(shown(&server, "web"), "10.10.0.2");
    assert_eq!(shown(&server, "other"), "10.10.0.3");
}

#[test]
fn an_invalid_pool_takes_nothing_back() {
    let mut server = then(&[]);
    server.apply(&pool("a", json!([{ "cidr": "nonsense" }])));
    server.restart();
    assert_eq!(shown(&server, "web"), "10.10.0.2");
    server.apply(&of("other", "a"));
    assert_eq!(why(&server, "other"), "invalidPool");
}

#[test]
fn sharers_of_an_invalid_pool_keep_their_address() {
    for later in [json!([{ "cidr": "nonsense" }]), json!([{ "cidr": "10.20.0.0/24" }])] {
        let mut server = world(&[
            usual()[0].clone(),
            pool("0", json!([{ "cidr": "10.20.0.0/24" }])),
            shares("s1", "true", "10.10.0.2", 80),
            shares("s2", "true", "10.10.0.2", 8080),
            shares("s3", "true", "10.10.0.2", 80),
        ]);
        let all = |server: &Server| ["s1", "s2", "s3"].map(|name| shown(server, name));
        // Invalid by itself, or because another pool has the range: a restart forgets the last valid version.
        server.apply(&pool("a", later));
        server.writes = 0;
        server.restart();
        assert_eq!(all(&server), ["10.10.0.2"; 3]);
        assert_eq!(server.writes, 0);
    }
}

/// An older Service that looks for its second family gets nothing that an invalid pool gave to another.
#[test]
fn an_invalid_pool_keeps_its_addresses_before_others_look_for_more() {
    let both = json!({
        "kind": "IPAddressPool",
        "metadata": { "name": "m", "namespace": "metallb-system" },
        "spec": { "addresses": ["10.10.0.0/31", "fd00::/127"] },
    });
    let two = json!({
        "ipFamilyPolicy": "PreferDualStack",
        "clusterIPs": ["10.96.0.9", "fd96::9"],
        "ipFamilies": ["IPv4", "IPv6"],
    });
    let mut server = world(&[
        service("older", json!({}), two),
        pool("a", range("10.10.0.0", "10.10.0.3")),
        of("s1", "a"),
        both,
    ]);
    assert_eq!((&*shown(&server, "older"), &*shown(&server, "s1")), ("fd00::", "10.10.0.0"));
    server.apply(&pool("a", json!([{ "cidr": "nonsense" }])));
    // The restart forgets the valid version of the pool, and with it that its range is contested.
    server.restart();
    assert_eq!(shown(&server, "s1"), "10.10.0.0");
    assert_eq!(shown(&server, "older"), "10.10.0.1,fd00::");
}

#[test]
fn services_share_an_address_when_all_of_them_say_so() {
    for (first, second, shared) in [
        ("true", "true", true),
        ("true", "T", true),
        ("1", "True", true),
        ("true", "yes", false),
        ("false", "true", false),
        ("", "true", false),
    ] {
        let server = world(&[
            usual()[0].clone(),
            shares("s1", first, "10.10.0.2", 80),
            shares("s2", second, "10.10.0.2", 8080),
        ]);
        assert_eq!(shown(&server, "s1"), "10.10.0.2");
        assert_eq!(shown(&server, "s2"), if shared { "10.10.0.2" } else { "" }, "{first} {second}");
        let pool = &server.snapshot.config().external_pools["a"];
        assert_eq!(
            server.allocator.allocations().usage(&pool.id()).v4,
            1,
            "a shared address counts once"
        );
    }
}

#[test]
fn sharing_counts_when_an_address_is_given_and_takes_nothing_back() {
    let mut server = world(&[
        usual()[0].clone(),
        shares("s1", "true", "10.10.0.2", 80),
        shares("s2", "true", "10.10.0.2", 8080),
        shares("s1", "false", "10.10.0.2", 80),
        shares("s3", "true", "10.10.0.2", 81),
        // Asking for nothing never shares.
        service("s4", json!({ POOL: "a", SHARED: "true" }), json!({})),
    ]);
    let all = |server: &Server| ["s1", "s2", "s3", "s4"].map(|name| shown(server, name));
    assert_eq!(all(&server), ["10.10.0.2", "10.10.0.2", "", "10.10.0.3"]);
    // A restart finds two that share although they may not any more, and leaves them.
    server.writes = 0;
    server.restart();
    assert_eq!((all(&server)[1].as_str(), server.writes), ("10.10.0.2", 0));
    // The holder shares again: whoever waited joins.
    server.apply(&shares("s1", "true", "10.10.0.2", 80));
    assert_eq!(shown(&server, "s3"), "10.10.0.2");
}

#[test]
fn an_address_is_free_when_its_last_holder_goes() {
    let mut server = world(&[
        usual()[0].clone(),
        shares("s1", "true", "10.10.0.2", 80),
        shares("s2", "true", "10.10.0.2", 8080),
        requests("s3", "10.10.0.2"),
    ]);
    server.delete("Service default/s1");
    assert_eq!(shown(&server, "s3"), "");
    server.delete("Service default/s2");
    assert_eq!(shown(&server, "s3"), "10.10.0.2");
}

#[test]
fn sharers_that_want_one_port_have_the_address_and_are_warned() {
    let server = world(&[
        usual()[0].clone(),
        shares("s1", "true", "10.10.0.2", 80),
        shares("s2", "true", "10.10.0.2", 80),
    ]);
    assert_eq!(shown(&server, "s2"), "10.10.0.2");
    let told = ("default/s2".to_owned(), "Warning".to_owned(), "SharedPortConflict".to_owned());
    assert!(server.events.contains(&told), "{:?}", server.events);
}

#[test]
fn the_family_is_the_services_and_two_families_give_two_addresses() {
    let both = json!([{ "cidr": "10.1.0.0/30" }, { "cidr": "fd00::/126" }]);
    let policy = |policy: &str| json!({ "ipFamilyPolicy": policy });
    let annotated = |name: &str, pool: &str, spec| service(name, json!({ POOL: pool }), spec);
    let server = world(&[
        pool("both", both),
        pool("six", json!([{ "cidr": "fd01::/126" }])),
        annotated("dual", "both", policy("PreferDualStack")),
        annotated("required", "both", policy("RequireDualStack")),
        annotated("single", "both", policy("SingleStack")),
        annotated("half", "six", policy("PreferDualStack")),
        annotated("none", "six", policy("SingleStack")),
    ]);
    assert_eq!(shown(&server, "dual"), "10.1.0.1,fd00::1");
    assert_eq!(shown(&server, "required"), "10.1.0.2,fd00::2");
    assert_eq!(why(&server, "single"), "externalPoolExhausted", "its family is");
    assert_eq!(shown(&server, "half"), "fd01::1", "only one family is there");
    assert_eq!(why(&server, "none"), "noFamilyInPool");
}

#[test]
fn the_gateway_and_the_nodes_own_addresses_are_given_only_to_who_asks() {
    let mut edge = pool("a", json!([{ "cidr": "10.0.0.0/29" }]));
    edge["spec"]["subnetInfo"] = json!({ "gateway": "10.0.0.1", "prefixLength": 24 });
    let node = json!({
        "kind": "Node", "metadata": { "name": "n" },
        "status": { "addresses": [{ "type": "InternalIP", "address": "10.0.0.2" }] },
    });
    let server = world(&[
        node,
        edge,
        of("web", "a"),
        requests("gateway", "10.0.0.1"),
        requests("node", "10.0.0.2"),
    ]);
    assert_eq!(shown(&server, "web"), "10.0.0.3");
    assert_eq!(shown(&server, "gateway"), "10.0.0.1");
    assert_eq!(shown(&server, "node"), "10.0.0.2");
}

#[test]
fn of_any_pool_a_nodes_own_address_is_given_only_to_who_asks_and_a_special_one_to_nobody() {
    let node = json!({
        "kind": "Node", "metadata": { "name": "n" },
        "status": { "addresses": [{ "type": "InternalIP", "address": "192.0.2.1" }] },
    });
    let plain = |name: &str| service(name, json!({}), json!({}));
    let asks =
        |name: &str, address: &str| service(name, json!({}), json!({ "loadBalancerIP": address }));
    let given = |addresses: &str| {
        let server = world(&[
            node.clone(),
            own_pool(addresses),
            plain("a"),
            plain("b"),
            asks("c", "192.0.2.1"),
            asks("d", "127.0.0.1"),
        ]);
        ["a", "b", "c", "d"].map(|name| shown(&server, name))
    };
    assert_eq!(given("192.0.2.0-192.0.2.2"), ["192.0.2.0", "192.0.2.2", "192.0.2.1", ""]);
    assert_eq!(given("192.0.2.1/32"), ["", "", "192.0.2.1", ""]);
    for special in [
        "0.0.0.0/30",
        "127.0.0.0/30",
        "169.254.7.0/30",
        "224.0.0.0/30",
        "255.255.255.255/32",
        "239.255.255.250-239.255.255.255",
    ] {
        assert_eq!(given(special), ["", "", "", ""], "{special}");
    }
    assert_eq!(given("126.255.255.255-128.0.0.0"), ["126.255.255.255", "128.0.0.0", "", ""]);
}

#[test]
fn what_others_write_into_the_status_is_put_right() {
    let mut server = then(&[]);
    let key = ObjectKey::new("default", "web");
    let mut object = server.services[&key].clone();
    object["status"] = json!({ "loadBalancer": { "ingress": [{ "ip": "10.10.0.4" }] } });
    server.services.insert(key, object.clone());
    let typed = serde_json::from_value(object).unwrap();
    server.snapshot.apply(Object::Service(Box::new(typed)));
    server.settle();
    assert_eq!(shown(&server, "web"), "10.10.0.2");
}

#[test]
fn the_worlds_do_not_touch_each_others_services() {
    let mut server =
        world(&[own_pool("10.50.0.0/24"), service("own", json!({}), json!({})), of("web", "a")]);
    assert_eq!(shown(&server, "own"), "10.50.0.0");
    assert_eq!(why(&server, "web"), "unknownExternalPool", "no address of the other world");
    server.apply(&usual()[0]);
    assert_eq!(shown(&server, "web"), "10.10.0.2");
    // From one world to the other and back.
    server.apply(&of("own", "a"));
    assert_eq!(shown(&server, "own"), "10.10.0.3");
    assert!(
        server.services[&ObjectKey::new("default", "own")]["metadata"]["annotations"]
            .get(POOL_ANNOTATION)
            .is_none()
    );
    server.apply(&service("own", json!({}), json!({})));
    assert_eq!(shown(&server, "own"), "10.50.0.0");
}

#[test]
fn nothing_new_is_given_from_what_both_worlds_hold() {
    let mut server = world(&[
        own_pool("10.10.0.3-10.10.0.9"),
        service("own1", json!({}), json!({})),
        pool("a", range("10.10.0.2", "10.10.0.4")),
        of("e1", "a"),
        of("e2", "a"),
        requests("e3", "10.10.0.4"),
        service("own2", json!({}), json!({})),
        service("own3", json!({ "metallb.io/loadBalancerIPs": "10.10.0.4" }), json!({})),
    ]);
    assert_eq!(shown(&server, "own1"), "10.10.0.3", "what was given before stays");
    assert_eq!(shown(&server, "e1"), "10.10.0.2");
    assert_eq!(why(&server, "e2"), "contested");
    assert_eq!(why(&server, "e3"), "contested");
    assert_eq!(shown(&server, "own2"), "10.10.0.5");
    assert_eq!(why(&server, "own3"), "contested");
    server.writes = 0;
    server.restart();
    assert_eq!((shown(&server, "own1").as_str(), server.writes), ("10.10.0.3", 0));
    server.delete("IPAddressPool metallb-system/m");
    assert_eq!(shown(&server, "e2"), "10.10.0.3");
    assert_eq!(shown(&server, "e3"), "10.10.0.4");
}

#[test]
fn where_the_pools_cannot_be_had_or_antrea_lives_services_are_left_alone() {
    let mut annotated = of("web", "a");
    annotated["status"] = json!({ "loadBalancer": { "ingress": [{ "ip": "10.10.0.2" }] } });
    annotated["spec"]["clusterIPs"] = json!(["10.96.0.1"]);
    let mut snapshot = Snapshot::new(ConfigScope::Controller, false);
    snapshot.apply(Object::Service(serde_json::from_value(annotated).unwrap()));
    let mut allocator = Allocator::new(None);
    let kind = Kind::Config(ConfigKind::ExternalIpPool);
    snapshot.set_absent(kind);
    let dirty = snapshot.take_dirty();
    assert_eq!(allocator.reconcile(&snapshot, &dirty), []);
    assert!(allocator.pending().is_empty());
    // Now there is the kind, and a live Antrea.
    allocator.set_external(false);
    snapshot.apply(Object::Config(ConfigKind::ExternalIpPool, usual()[0].clone()));
    snapshot.finish(kind);
    let dirty = snapshot.take_dirty();
    assert!(dirty.all);
    assert_eq!(allocator.reconcile(&snapshot, &dirty), []);
    // It went: what it gave stays.
    allocator.set_external(true);
    snapshot.touch_all();
    let dirty = snapshot.take_dirty();
    assert_eq!(allocator.reconcile(&snapshot, &dirty), []);
    assert_eq!(allocator.allocations().iter().count(), 1);
}

#[test]
fn the_hostname_follows_the_announcer_with_one_write_a_move() {
    let mut server = then(&[]);
    let report = |name: &str, node: &str, version: u64| {
        let object = json!({
            "metadata": { "name": name, "resourceVersion": version.to_string() },
            "status": { "node": node, "serviceName": "web", "serviceNamespace": "default" },
        });
        Object::Announcer(serde_json::from_value(object).unwrap())
    };
    let hostname = |server: &Server| {
        let web = &server.services[&ObjectKey::new("default", "web")];
        web["status"]["loadBalancer"]["ingress"][0]["hostname"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    server.writes = 0;
    server.snapshot.apply(report("x", "node-1", 1));
    server.settle();
    assert_eq!((hostname(&server).as_str(), server.writes), ("node-1", 1));
    // The old owner is gone before the new one reports.
    server.snapshot.delete(Kind::ServiceL2Status, "x");
    server.settle();
    server.snapshot.apply(report("y", "node-2", 2));
    server.settle();
    assert_eq!((hostname(&server).as_str(), server.writes), ("node-2", 2));
}

/// Milliseconds that a first list of so many Services takes; each is given an address.
#[allow(clippy::disallowed_methods, reason = "it measures")]
fn milliseconds(pool: Value, annotations: &Value, number: u32) -> u128 {
    let mut snapshot = Snapshot::new(ConfigScope::Controller, false);
    let kind = ConfigKind::from_kind(pool["kind"].as_str().unwrap()).unwrap();
    snapshot.apply(Object::Config(kind, pool));
    snapshot.finish(Kind::Config(ConfigKind::ExternalIpPool));
    for index in 0..number {
        let mut object = service(&format!("s{index}"), annotations.clone(), json!({}));
        object["spec"]["clusterIPs"] = json!(["10.96.0.1"]);
        snapshot.apply(Object::Service(serde_json::from_value(object).unwrap()));
    }
    let mut allocator = Allocator::new(None);
    let dirty = snapshot.take_dirty();
    let begin = std::time::Instant::now();
    allocator.reconcile(&snapshot, &dirty);
    let taken = begin.elapsed().as_millis();
    assert_eq!(allocator.allocations().iter().count(), number as usize);
    taken
}

/// The figures are to be read with `--release --nocapture`; what is asserted leaves room for a slow machine without optimization.
#[test]
fn five_thousand_services_take_no_longer_than_metallbs() {
    let external =
        milliseconds(pool("a", json!([{ "cidr": "10.0.0.0/16" }])), &json!({ POOL: "a" }), 5_000);
    let own = milliseconds(own_pool("10.0.0.0/16"), &json!({}), 5_000);
    println!(
        "5,000 Services: {external} ms from an ExternalIPPool, {own} ms from an IPAddressPool"
    );
    assert!(external < 20_000, "{external} ms");
}

#[test]
fn an_address_of_a_pool_that_is_invalid_now_comes_back_when_somebody_takes_it_out_of_the_status() {
    let mut server = Server::new();
    server.apply(&pool("a", range("10.0.0.0", "10.0.0.3")));
    server.apply(&of("web", "a"));
    assert_eq!(shown(&server, "web"), "10.0.0.0");
    server.apply(&pool("a", json!([{ "cidr": "nonsense" }])));
    server.restart();
    assert_eq!(shown(&server, "web"), "10.0.0.0");
    let key = ObjectKey::new("default", "web");
    let mut service = server.services[&key].clone();
    service["status"] = json!({ "loadBalancer": { "ingress": [] } });
    server.services.insert(key, service.clone());
    let object = serde_json::from_value(service).unwrap();
    server.snapshot.apply(Object::Service(Box::new(object)));
    server.settle();
    assert_eq!(shown(&server, "web"), "10.0.0.0");
}
