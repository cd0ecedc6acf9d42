// SPDX-License-Identifier: Apache-2.0
//! Rules that hold for every history (docs/design/rules.md, rules 1 and 2), tried on random ones.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use allocator::POOL_ANNOTATION;
use cluster::ObjectKey;
use crds::config::{AddressRange, PoolId};
use proptest::prelude::*;
use serde_json::{Value, json};
use server::Server;

#[derive(Clone, Debug)]
enum Step {
    DeleteExternalPool(u8),
    Pool(Value),
    DeletePool(u8),
    Service(Value),
    DeleteService(u8),
    Restart,
    Edit(u8, Vec<String>),
}

fn pool() -> impl Strategy<Value = Value> {
    let addresses = prop_oneof![
        Just(json!(["10.0.0.0/30"])),
        Just(json!(["10.0.0.0/31", "fd00::/127"])),
        Just(json!(["10.0.1.254-10.0.2.1"])),
        Just(json!(["fd00:1::/126"])),
        Just(json!(["10.0.0.2/31"])),
        Just(json!(["nonsense"])),
    ];
    let allocation = prop_oneof![
        4 => Just(Value::Null),
        1 => Just(json!({ "priority": 5, "namespaces": ["ns1"] })),
        1 => Just(json!({ "serviceSelectors": [{ "matchLabels": { "app": "web" } }] })),
    ];
    (0_u8..3, addresses, any::<bool>(), any::<bool>(), allocation).prop_map(
        |(number, addresses, automatic, avoid, allocation)| {
            json!({
                "apiVersion": "metallb.io/v1beta1",
                "kind": "IPAddressPool",
                "metadata": { "name": format!("p{number}"), "namespace": "metallb-system" },
                "spec": {
                    "addresses": addresses,
                    "autoAssign": automatic || number == 0,
                    "avoidBuggyIPs": avoid,
                    "serviceAllocation": allocation,
                },
            })
        },
    )
}

fn external_pool() -> impl Strategy<Value = Value> {
    let ranges = prop_oneof![
        Just(json!([{ "start": "10.0.0.0", "end": "10.0.0.3" }])),
        Just(json!([{ "cidr": "10.0.0.0/31" }, { "cidr": "fd00::/127" }])),
        Just(json!([{ "cidr": "10.0.8.0/30" }])),
        Just(json!([{ "start": "10.0.2.0", "end": "10.0.2.1" }, { "cidr": "fd00:1::/126" }])),
        Just(json!([{ "cidr": "nonsense" }])),
        Just(json!([])),
    ];
    (0_u8..3, ranges).prop_map(|(number, ranges)| {
        json!({
            "apiVersion": "crd.antrea.io/v1beta1",
            "kind": "ExternalIPPool",
            "metadata": { "name": format!("p{number}") },
            "spec": { "ipRanges": ranges, "nodeSelector": {} },
        })
    })
}

fn service() -> impl Strategy<Value = Value> {
    let annotations = prop_oneof![
        4 => Just(json!({})),
        3 => Just(json!({ "metallb.io/allow-shared-ip": "k" })),
        1 => Just(json!({ "metallb.io/address-pool": "p1" })),
        1 => Just(json!({ "metallb.universe.tf/loadBalancerIPs": "10.0.0.1" })),
        1 => Just(json!({ "metallb.io/loadBalancerIPs": "what" })),
        4 => (0_u8..3).prop_map(|number| {
            json!({ "service.antrea.io/external-ip-pool": format!("p{number}") })
        }),
        3 => (0_u8..3).prop_map(|number| json!({
            "service.antrea.io/external-ip-pool": format!("p{number}"),
            "service.antrea.io/allow-shared-load-balancer-ip": "true",
        })),
    ];
    let requested = prop_oneof![
        3 => Just(Value::Null),
        1 => Just(json!("10.0.0.1")),
        1 => Just(json!("10.0.8.1")),
    ];
    let policy = prop_oneof![
        Just(Value::Null),
        Just(json!("SingleStack")),
        Just(json!("PreferDualStack")),
        Just(json!("RequireDualStack"))
    ];
    let traffic = prop_oneof![Just("Cluster"), Just("Local")];
    (0_u8..6, annotations, policy, traffic, 80_u16..83, any::<bool>(), requested).prop_map(
        |(number, annotations, policy, traffic, port, web, requested)| {
            json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {
                    "name": format!("s{number}"),
                    "namespace": if number % 2 == 0 { "default" } else { "ns1" },
                    "annotations": annotations,
                    "labels": { "app": if web { "web" } else { "db" } },
                },
                "spec": {
                    "type": "LoadBalancer",
                    "ipFamilyPolicy": policy,
                    "loadBalancerIP": requested,
                    "externalTrafficPolicy": traffic,
                    "selector": { "a": "1" },
                    "ports": [{ "port": port, "protocol": "TCP" }],
                },
            })
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => pool().prop_map(Step::Pool),
        3 => external_pool().prop_map(Step::Pool),
        1 => (0_u8..3).prop_map(Step::DeleteExternalPool),
        1 => (0_u8..3).prop_map(Step::DeletePool),
        8 => service().prop_map(Step::Service),
        3 => (0_u8..6).prop_map(Step::DeleteService),
        1 => Just(Step::Restart),
        1 => (0_u8..6, proptest::sample::subsequence(
                vec!["10.0.0.1".to_owned(), "fd00::".to_owned(), "rubbish".to_owned()], 0..=2))
            .prop_map(|(number, ips)| Step::Edit(number, ips)),
    ]
}

fn service_name(number: u8) -> String {
    let namespace = if number.is_multiple_of(2) { "default" } else { "ns1" };
    format!("{namespace}/s{number}")
}

fn take(server: &mut Server, step: &Step) {
    match step {
        Step::Pool(pool) | Step::Service(pool) => server.apply(pool),
        Step::DeletePool(number) => {
            server.delete(&format!("IPAddressPool metallb-system/p{number}"))
        }
        Step::DeleteExternalPool(number) => server.delete(&format!("ExternalIPPool p{number}")),
        Step::DeleteService(number) => server.delete(&format!("Service {}", service_name(*number))),
        Step::Restart => server.restart(),
        Step::Edit(number, ips) => {
            let key = ObjectKey::parse(&service_name(*number)).unwrap();
            let Some(mut service) = server.services.get(&key).cloned() else { return };
            let ingress: Vec<Value> = ips.iter().map(|ip| json!({ "ip": ip })).collect();
            service["status"] = json!({ "loadBalancer": { "ingress": ingress } });
            server.services.insert(key, service.clone());
            let object = serde_json::from_value(service).unwrap();
            server.snapshot.apply(cluster::Object::Service(Box::new(object)));
            server.settle();
        }
    }
}

/// What every Service shows: its addresses and its pool.
fn shown(server: &Server) -> BTreeMap<String, (Vec<String>, Option<String>)> {
    server
        .services
        .iter()
        .map(|(key, service)| {
            let ingress = service.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
            let ips = ingress
                .into_iter()
                .flatten()
                .map(|entry| entry["ip"].as_str().unwrap_or_default().to_owned())
                .collect();
            let pool = service["metadata"]["annotations"].get(POOL_ANNOTATION);
            (key.to_string(), (ips, pool.and_then(Value::as_str).map(str::to_owned)))
        })
        .collect()
}

/// docs/design/rules.md, rule 1: whoever shows the same address may share it.
fn check_sharing(server: &Server) {
    let mut users: BTreeMap<IpAddr, Vec<&ObjectKey>> = BTreeMap::new();
    for (key, service) in server.snapshot.services() {
        for address in service.ingress_addresses() {
            users.entry(address).or_default().push(key);
        }
    }
    for (address, keys) in users.iter().filter(|(_, keys)| keys.len() > 1) {
        let worlds: BTreeSet<_> =
            keys.iter().map(|key| server.snapshot.services()[*key].pool_kind()).collect();
        assert_eq!(worlds.len(), 1, "{address} is given by both worlds to {keys:?}");
        if worlds.contains(&crds::config::PoolKind::ExternalIpPool) {
            // What is shared there once stays so, whatever the annotations say later (contract C.5).
            continue;
        }
        let mut ports = BTreeSet::new();
        let mut sharing = BTreeSet::new();
        for key in keys {
            let claim = allocator::Claim::of(&server.snapshot.services()[*key]);
            assert!(claim.sharing.is_allowed(), "{address} is held by {keys:?}");
            sharing.insert(claim.sharing);
            for port in claim.ports.iter().cloned() {
                assert!(ports.insert(port), "{address} is held by {keys:?} on one port");
            }
        }
        assert_eq!(sharing.len(), 1, "{address} is held by {keys:?} with different keys");
    }
}

/// Every Service either has addresses or a reason why not.
fn check_reasons(server: &Server) {
    for (key, service) in server.snapshot.services() {
        let has = service.ingress_addresses().next().is_some();
        let pending = server.allocator.pending().contains_key(key);
        assert!(has != pending, "{key}: has an address {has}, pending {pending}");
        let booked =
            server.allocator.allocations().of(key).map(|assigned| assigned.addresses.clone());
        let shown: Vec<IpAddr> = service.ingress_addresses().collect();
        assert_eq!(booked.unwrap_or_default(), shown, "{key}: books and status differ");
    }
}

/// What pools of both kinds hold.
fn contested(server: &Server) -> Vec<(PoolId, Vec<AddressRange>)> {
    let config = server.snapshot.config();
    let pools = config.pools.values().chain(config.external_pools.values());
    pools.map(|pool| (pool.id(), pool.contested.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_history_gives_an_address_twice_or_loses_one_at_a_restart(
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let mut server = Server::new();
        for step in &steps {
            take(&mut server, step);
            check_sharing(&server);
            check_reasons(&server);
        }
        let before = shown(&server);
        let before_contested = contested(&server);
        server.writes = 0;
        server.restart();
        if contested(&server) != before_contested {
            // The last valid version of a pool that is invalid now is forgotten, and with it what both kinds held: who
            // waited gets it, also for its second family.
            let after = shown(&server);
            for (key, (had, pool)) in before.iter().filter(|(_, (had, _))| !had.is_empty()) {
                let (has, pool_now) = &after[key];
                prop_assert!(had.iter().all(|address| has.contains(address)), "{}: {:?}", key, has);
                prop_assert_eq!(pool_now, pool);
            }
            return Ok(());
        }
        prop_assert_eq!(shown(&server), before);
        prop_assert_eq!(server.writes, 0, "a restart writes nothing");
    }

    #[test]
    fn what_comes_at_once_is_decided_the_same_in_any_order(
        (objects, shuffled) in proptest::collection::vec(
            prop_oneof![pool(), external_pool(), service()], 1..14)
            .prop_map(|objects| {
                // One version of each object, so that the set is the same in any order.
                let by_name: BTreeMap<String, Value> = objects
                    .into_iter()
                    .map(|object| (object["metadata"].to_string(), object))
                    .map(|(_, object)| {
                        let name = object["metadata"]["name"].as_str().unwrap();
                        (format!("{} {name}", object["kind"].as_str().unwrap()), object)
                    })
                    .collect();
                by_name.into_values().collect::<Vec<_>>()
            })
            .prop_flat_map(|objects| (Just(objects.clone()), Just(objects).prop_shuffle())),
    ) {
        let settle = |objects: &[Value]| {
            let mut server = Server::new();
            server.frozen_clock = true;
            for object in objects {
                server.stage(object);
            }
            server.settle();
            shown(&server)
        };
        prop_assert_eq!(settle(&objects), settle(&shuffled));
    }
}
