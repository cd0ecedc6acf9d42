// SPDX-License-Identifier: Apache-2.0
use super::*;

const OLD: &str = "metallb.io/v1beta1";
const NEW: &str = "metallb.io/v1beta2";

fn peer(version: &str, spec: Value) -> Value {
    json!({
        "apiVersion": version,
        "kind": "BGPPeer",
        "metadata": { "name": "p", "uid": "u", "labels": { "a": "b" }, "unknown": 1 },
        "spec": spec,
        "status": {},
    })
}

fn there_and_back(object: Value, version: &str) -> Value {
    let own = object["apiVersion"].as_str().unwrap().to_owned();
    convert(convert(object, version).unwrap(), &own).unwrap()
}

#[test]
fn an_old_peer_keeps_all_it_has() {
    let spec = json!({
        "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1", "sourceAddress": "10.0.0.2",
        "peerPort": 1179, "holdTime": "1m30s", "keepaliveTime": "30s", "routerID": "1.1.1.1",
        "nodeSelectors": [{ "matchExpressions": [{ "key": "a", "operator": "In", "values": ["b"] }] }],
        "password": "x", "bfdProfile": "b", "ebgpMultiHop": true,
    });
    let old = peer(OLD, spec.clone());
    assert_eq!(convert(old.clone(), NEW).unwrap(), peer(NEW, spec));
    assert_eq!(there_and_back(old.clone(), NEW), old);
    assert_eq!(convert(old.clone(), OLD).unwrap(), old);
}

#[test]
fn timers_that_are_omitted_or_zero_do_not_become_zero() {
    let plain = json!({ "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1" });
    let mut zero = plain.clone();
    zero["holdTime"] = "0s".into();
    zero["keepaliveTime"] = "0s".into();
    for spec in [plain.clone(), zero] {
        assert_eq!(convert(peer(OLD, spec), NEW).unwrap(), peer(NEW, plain.clone()));
    }
}

#[test]
fn what_v1beta1_cannot_say_survives_being_read_and_written_through_it() {
    for spec in [
        json!({ "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1" }),
        json!({ "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1", "holdTime": "0s", "keepaliveTime": "0s" }),
        json!({
            "myASN": 1, "dynamicASN": "external", "interface": "eth0", "localASN": 3,
            "connectTime": "5s", "passwordSecret": { "name": "s" }, "enableGracefulRestart": true,
            "vrf": "red", "disableMP": false, "dualStackAddressFamily": true, "passive": true,
            "role": "peer", "maxPrefixes": 9, "ipv6NextHop": "global", "peerPort": 179,
            "nodeSelectors": [{ "matchExpressions": [{ "key": "a", "operator": "Exists" }] }],
        }),
    ] {
        let new = peer(NEW, spec);
        assert_eq!(there_and_back(new.clone(), OLD), new);
    }
}

/// A value for a field of this schema; a text that is a duration as well.
fn value(schema: &Value) -> Value {
    let first = schema["enum"].get(0).cloned();
    first.unwrap_or_else(|| match schema["type"].as_str().unwrap() {
        "boolean" => json!(true),
        "integer" => json!(schema["maximum"].as_u64().unwrap()),
        "string" => json!("1m30s"),
        "array" => json!([{ "matchLabels": { "a": "b" } }]),
        "object" => json!({ "name": "s" }),
        other => panic!("no value for {other}"),
    })
}

#[test]
fn every_field_survives_being_read_and_written_through_v1beta1() {
    let (_, crd) = crate::metallb::manifest::manifests()
        .into_iter()
        .find(|(file, _)| file == "bgppeers.metallb.io.yaml")
        .unwrap();
    let versions = crd["spec"]["versions"].as_array().unwrap();
    let stored = versions.iter().find(|version| version["name"] == "v1beta2").unwrap();
    let spec = &stored["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let fields = spec["properties"].as_object().unwrap();
    assert!(fields.len() > 25, "{fields:?}");
    for (field, schema) in fields {
        let mut spec = json!({ "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1" });
        spec[field] = value(schema);
        let new = peer(NEW, spec);
        assert_eq!(there_and_back(new.clone(), OLD), new, "{field}");
    }
}

#[test]
fn what_is_changed_through_v1beta1_goes_before_what_was_kept() {
    let new = peer(
        NEW,
        json!({ "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1", "vrf": "red", "holdTime": "0s" }),
    );
    let mut seen = convert(new, OLD).unwrap();
    assert_eq!(seen["spec"], json!({ "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1" }));
    seen["spec"]["holdTime"] = "9s".into();
    seen["spec"]["peerAddress"] = "10.0.0.9".into();
    seen["metadata"]["annotations"]["other"] = "stays".into();
    let back = convert(seen, NEW).unwrap();
    let expected = json!({
        "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.9", "vrf": "red", "holdTime": "9s",
    });
    assert_eq!(back["spec"], expected);
    assert_eq!(back["metadata"]["annotations"], json!({ "other": "stays" }));
}

#[test]
fn an_annotation_that_is_not_ours_to_read_is_left_alone() {
    let mut old = peer(OLD, json!({ "myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1" }));
    old["metadata"]["annotations"] = json!({ KEPT_ANNOTATION: "nonsense" });
    let new = convert(old.clone(), NEW).unwrap();
    assert_eq!(new["metadata"], old["metadata"]);
}

#[test]
fn a_peer_without_a_spec_is_converted_and_nonsense_is_refused() {
    let mut bare = peer(NEW, Value::Null);
    assert_eq!(convert(bare.clone(), OLD).unwrap()["spec"]["peerASN"], 0);
    bare.as_object_mut().unwrap().remove("spec");
    bare.as_object_mut().unwrap().remove("metadata");
    assert!(convert(bare, OLD).is_ok());
    for (object, desired) in [
        (peer(NEW, json!({})), "metallb.io/v1"),
        (peer("metallb.io/v1alpha1", json!({})), NEW),
        (peer(OLD, json!({ "holdTime": "soon" })), NEW),
        (json!({}), NEW),
        (peer(OLD, json!([])), NEW),
    ] {
        assert!(convert(object, desired).is_err());
    }
}

#[test]
fn a_password_is_never_shown_nor_kept_in_the_annotation() {
    let spec = json!({ "myASN": 1, "peerASN": 2, "password": "s3cr3t", "vrf": "red" });
    let hub: HubSpec = serde_json::from_value(spec.clone()).unwrap();
    let old: BgpPeerSpec = serde_json::from_value(spec.clone()).unwrap();
    assert!(!format!("{hub:?}{old:?}").contains("s3cr3t"));
    let seen = convert(peer(NEW, spec), OLD).unwrap();
    assert!(!seen["metadata"].to_string().contains("s3cr3t"));
    assert_eq!(seen["spec"]["password"], "s3cr3t");
}
