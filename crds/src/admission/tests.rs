// SPDX-License-Identifier: Apache-2.0
use serde_json::{Value, json};

use super::*;
use crate::config::{ConfigKind, Objects};

const SYSTEM: &str = "metallb-system";

fn object(kind: ConfigKind, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": format!("metallb.io/{}", kind.version()),
        "kind": kind.kind(),
        "metadata": {
            "name": name, "namespace": SYSTEM, "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": spec,
    })
}

fn request(operation: &str, kind: &str, name: &str, new: Value, old: Value) -> Review {
    let body = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u", "kind": { "group": "metallb.io", "version": "v", "kind": kind },
            "operation": operation, "namespace": SYSTEM, "name": name, "object": new,
            "oldObject": old,
        },
    });
    Review::parse(body.to_string().as_bytes()).unwrap()
}

fn create(kind: ConfigKind, name: &str, spec: Value) -> Review {
    request("CREATE", kind.kind(), name, object(kind, name, spec), Value::Null)
}

fn update(kind: ConfigKind, name: &str, old: Value, spec: Value) -> Review {
    request("UPDATE", kind.kind(), name, object(kind, name, spec), object(kind, name, old))
}

fn known(objects: &[(ConfigKind, &str, Value)]) -> Objects {
    let mut known = Objects::default();
    for (kind, name, spec) in objects {
        known.apply(*kind, object(*kind, name, spec.clone()));
    }
    known
}

/// What the whole of both checks says.
fn answer(review: &Review, objects: &Objects) -> Answer {
    let mut answer = alone(review, SYSTEM);
    if answer.is_allowed() {
        answer.refusal = among(review, SYSTEM, objects, &Nodes::new());
    }
    answer
}

fn refused(review: &Review, objects: &Objects) -> String {
    answer(review, objects).refusal.expect("a refusal")
}

use ConfigKind::{
    BfdProfile, BgpAdvertisement, BgpPeer, Community, IpAddressPool, L2Advertisement,
};

#[test]
fn what_overlaps_is_turned_away_whichever_is_older() {
    let there = known(&[(IpAddressPool, "young", json!({ "addresses": ["10.0.0.0/24"] }))]);
    let text =
        r#"CIDR "10.0.0.128/25" in pool "new" overlaps with already defined CIDR "10.0.0.0/24""#;
    let pool = json!({ "addresses": ["10.0.0.128/25"] });
    assert_eq!(refused(&create(IpAddressPool, "new", pool.clone()), &there), text);
    let before = json!({ "addresses": ["10.1.0.0/24"] });
    assert_eq!(refused(&update(IpAddressPool, "new", before, pool), &there), text);
    // In its own place it overlaps nothing.
    let wider = json!({ "addresses": ["10.0.0.0/23"] });
    let review = update(IpAddressPool, "young", json!({ "addresses": ["10.0.0.0/24"] }), wider);
    assert!(answer(&review, &there).is_allowed());
}

#[test]
fn an_update_that_touches_nothing_of_it_is_let_through() {
    let there = known(&[(IpAddressPool, "other", json!({ "addresses": ["10.0.0.0/24"] }))]);
    for spec in [json!({ "addresses": ["10.0.0.0/25"] }), json!({ "addresses": ["nonsense"] })] {
        let review = update(IpAddressPool, "bad", spec.clone(), spec);
        assert!(answer(&review, &there).is_allowed());
    }
}

#[test]
fn references_that_may_come_later_are_not_missed() {
    let none = Objects::default();
    for review in [
        create(
            BgpPeer,
            "p",
            json!({
                "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1", "bfdProfile": "later",
                "passwordSecret": { "name": "later" },
            }),
        ),
        // What MetalLB's webhook takes: it is told where the configuration is judged.
        create(
            BgpPeer,
            "x",
            json!({
                "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1", "password": "p",
                "passwordSecret": { "name": "s" },
            }),
        ),
        create(
            BgpPeer,
            "x",
            json!({ "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1", "routerID": "::1" }),
        ),
        create(
            BgpPeer,
            "x",
            json!({ "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1", "password": "p".repeat(81) }),
        ),
        create(BgpAdvertisement, "a", json!({ "aggregationLengthV6": -1 })),
        create(
            BgpAdvertisement,
            "a",
            json!({
                "communities": ["later", "64512:1"], "peers": ["later"], "ipAddressPools": ["later"],
            }),
        ),
        create(L2Advertisement, "l", json!({ "ipAddressPools": ["later"] })),
    ] {
        assert_eq!(answer(&review, &none), Answer::default(), "{review:?}");
    }
}

#[test]
fn every_kind_is_refused_in_metallbs_words() {
    let there = known(&[
        (IpAddressPool, "pool", json!({ "addresses": ["10.0.0.0/28"] })),
        (BgpAdvertisement, "first", json!({ "localPref": 100, "communities": ["later"] })),
        (Community, "names", json!({ "communities": [{ "name": "a", "value": "1:1" }] })),
        (
            BgpPeer,
            "peer",
            json!({
                "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1", "bfdProfile": "used",
            }),
        ),
    ]);
    let cases = [
        (create(IpAddressPool, "x", json!({ "addresses": [] })), "pool has no prefixes defined"),
        (
            create(IpAddressPool, "x", json!({ "addresses": ["10.0.0.9-10.0.0.1"] })),
            r#"invalid CIDR "10.0.0.9-10.0.0.1" in pool "x""#,
        ),
        (
            create(BgpAdvertisement, "x", json!({ "aggregationLength": 26 })),
            "invalid aggregation length 26: prefix 28 in this pool is more specific than the \
             aggregation length for addresses 10.0.0.0/28",
        ),
        (
            create(BgpAdvertisement, "x", json!({ "localPref": 200 })),
            "invalid local preference 200",
        ),
        (
            create(BgpAdvertisement, "x", json!({ "communities": ["1:99999999"] })),
            "invalid community value",
        ),
        (
            create(L2Advertisement, "x", json!({ "ipAddressPools": ["a", "a"] })),
            r#"duplicate definition of ipAddressPools "a""#,
        ),
        (
            create(Community, "x", json!({ "communities": [{ "name": "a", "value": "2:2" }] })),
            r#"duplicate definition of community "a""#,
        ),
        (create(BgpPeer, "x", json!({ "myASN": 1 })), "missing peer ASN and dynamicASN"),
        (
            request(
                "DELETE",
                "BFDProfile",
                "used",
                Value::Null,
                object(BfdProfile, "used", json!({})),
            ),
            "failed to delete BFDProfile used, used by BGPPeer peer",
        ),
    ];
    for (review, text) in cases {
        let refusal = refused(&review, &there);
        assert!(refusal.contains(text), "{refusal}");
    }
    let unused = request(
        "DELETE",
        "BFDProfile",
        "other",
        Value::Null,
        object(BfdProfile, "other", json!({})),
    );
    assert!(answer(&unused, &there).is_allowed());
}

#[test]
fn only_the_system_namespace_may_have_new_ones() {
    for kind in ConfigKind::ALL.into_iter().filter(|kind| kind.is_namespaced()) {
        let mut review = create(kind, "x", json!({}));
        review.namespace = "other".into();
        assert_eq!(
            refused(&review, &Objects::default()),
            "resource must be created in metallb-system namespace"
        );
        review.operation = Operation::Delete;
        assert!(answer(&review, &Objects::default()).is_allowed());
    }
}

#[test]
fn disable_mp_warns_and_is_checked_all_the_same() {
    let good = json!({ "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1", "disableMP": true });
    let told = answer(&create(BgpPeer, "p", good), &Objects::default());
    assert!(told.is_allowed());
    let warning = "disable mp is deprecated and has no effect since it's the default behavior now";
    assert_eq!(told.warnings, [warning]);
    let bad = json!({ "myASN": 0, "disableMP": true });
    let told = answer(&create(BgpPeer, "p", bad), &Objects::default());
    assert!(!told.is_allowed());
    assert_eq!(told.warnings, [warning]);
}

#[test]
fn an_old_pool_is_warned_of() {
    let review = |spec: Value| {
        let pool = json!({ "metadata": { "name": "old", "namespace": SYSTEM }, "spec": spec });
        request("CREATE", "AddressPool", "old", pool, Value::Null)
    };
    let told = answer(
        &review(json!({ "protocol": "layer2", "addresses": ["10.0.0.0/24"] })),
        &Objects::default(),
    );
    assert!(told.is_allowed());
    assert_eq!(told.warnings.len(), 1);
    let refused = |spec: Value| answer(&review(spec), &Objects::default()).refusal.unwrap();
    let nonsense = json!({ "protocol": "layer2", "addresses": ["nonsense"] });
    assert!(refused(nonsense).contains("invalid CIDR"));
    assert!(refused(json!({ "addresses": ["10.0.0.0/24"] })).contains("protocol"));
    // It has to agree with the pools of today.
    let there = known(&[(IpAddressPool, "new", json!({ "addresses": ["10.0.0.0/28"] }))]);
    let told = answer(&review(json!({ "protocol": "bgp", "addresses": ["10.0.0.0/24"] })), &there);
    assert!(told.refusal.unwrap().contains("overlap"));
}

#[test]
fn the_answer_is_what_the_api_server_reads() {
    let review = create(IpAddressPool, "x", json!({ "addresses": [] }));
    let told = Answer { refusal: Some("no".into()), warnings: vec!["beware".into()] };
    assert_eq!(
        review.answered(&told),
        json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "response": {
                "uid": "u", "allowed": false, "warnings": ["beware"],
                "status": { "status": "Failure", "reason": "Forbidden", "code": 403, "message": "no" },
            },
        })
    );
    assert_eq!(
        review.answered(&Answer::default())["response"],
        json!({ "uid": "u", "allowed": true })
    );
    assert!(Review::parse(b"nonsense").is_err());
    assert!(Review::parse(br#"{"apiVersion":"v1","request":{"uid":"u","operation":"CREATE","kind":{"group":"apps","kind":"Deployment"}}}"#).is_err());
}

/// The pieces of a conversion as one value.
fn answered(body: &[u8]) -> Value {
    serde_json::from_slice(&converted(body).unwrap().concat()).unwrap()
}

#[test]
fn conversion_answers_in_the_version_of_the_question() {
    let body = |objects: Value| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1beta1", "kind": "ConversionReview",
            "request": { "uid": "u", "desiredAPIVersion": "metallb.io/v1beta2", "objects": objects },
        })
        .to_string()
    };
    let peer = json!({
        "apiVersion": "metallb.io/v1beta1", "kind": "BGPPeer", "metadata": { "name": "p" },
        "spec": { "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1" },
    });
    let answer = answered(body(json!([peer])).as_bytes());
    assert_eq!(answer["apiVersion"], "apiextensions.k8s.io/v1beta1");
    assert_eq!(answer["response"]["result"]["status"], "Success");
    assert_eq!(answer["response"]["convertedObjects"][0]["apiVersion"], "metallb.io/v1beta2");
    let unknown = json!([{ "apiVersion": "metallb.io/v9", "kind": "BGPPeer" }]);
    let answer = answered(body(unknown).as_bytes());
    assert_eq!(answer["response"]["result"]["status"], "Failure");
    let pool = json!([{ "apiVersion": "metallb.io/v1alpha1", "kind": "AddressPool" }]);
    let answer = answered(body(pool).as_bytes());
    assert_eq!(answer["response"]["convertedObjects"][0]["apiVersion"], "metallb.io/v1beta2");
    assert!(converted(b"{}").is_err());
}

fn external(operation: &str, name: &str, new: Value, old: Value) -> Review {
    let object = |spec: Value| {
        if spec.is_null() {
            return spec;
        }
        json!({
            "apiVersion": "crd.antrea.io/v1beta1", "kind": "ExternalIPPool",
            "metadata": { "name": name, "creationTimestamp": "2026-01-01T00:00:00Z" }, "spec": spec,
        })
    };
    let body = json!({
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "u", "kind": { "group": "crd.antrea.io", "version": "v1beta1", "kind": "ExternalIPPool" },
            "operation": operation, "name": name, "object": object(new), "oldObject": object(old),
        },
    });
    Review::parse(body.to_string().as_bytes()).unwrap()
}

#[test]
fn external_pools_are_checked_without_a_namespace_and_only_among_their_like() {
    let spec = |cidr: &str| json!({ "ipRanges": [{ "cidr": cidr }], "nodeSelector": {} });
    let kind = ConfigKind::ExternalIpPool;
    let objects = known(&[
        (kind, "a", spec("10.0.0.0/24")),
        (IpAddressPool, "m", json!({ "addresses": ["10.1.0.0/24"] })),
    ]);
    assert!(
        answer(&external("CREATE", "b", spec("10.1.0.0/24"), Value::Null), &objects).is_allowed()
    );
    assert_eq!(
        refused(&external("CREATE", "b", spec("10.0.0.128/25"), Value::Null), &objects),
        "range [10.0.0.128/25] overlaps with range [10.0.0.0/24] of ExternalIPPool a"
    );
    assert_eq!(
        refused(&external("CREATE", "b", spec("nonsense"), Value::Null), &objects),
        "invalid cidr nonsense"
    );
    assert_eq!(
        refused(&external("UPDATE", "a", spec("10.2.0.0/24"), spec("10.0.0.0/24")), &objects),
        "existing IPRanges [10.0.0.0/24] cannot be updated or deleted"
    );
    let more = json!({ "ipRanges": [{ "cidr": "10.0.0.0/24" }, { "cidr": "10.2.0.0/24" }], "nodeSelector": {} });
    assert!(answer(&external("UPDATE", "a", more, spec("10.0.0.0/24")), &objects).is_allowed());
    assert!(
        answer(&external("DELETE", "a", Value::Null, spec("10.0.0.0/24")), &objects).is_allowed()
    );
}
