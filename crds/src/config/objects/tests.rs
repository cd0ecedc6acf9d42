// SPDX-License-Identifier: Apache-2.0
use super::*;
use serde_json::json;

fn pool(name: &str, net: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "addresses": [net] } })
}

#[test]
fn only_what_validation_looks_at_counts_as_a_change() {
    let kind = ConfigKind::IpAddressPool;
    let mut objects = Objects::default();
    let mut object = pool("p", "10.0.0.0/24");
    assert!(objects.apply(kind, object.clone()), "it is new");
    assert!(!objects.apply(kind, object.clone()), "nothing changed");
    object["status"] = json!({ "assignedIPv4": 1 });
    object["metadata"]["resourceVersion"] = json!("2");
    object["metadata"]["managedFields"] = json!([{}]);
    object["metadata"]["annotations"] = json!({ "a": "b" });
    object["spec"]["unknown"] = json!(1);
    object["spec"]["autoAssign"] = Value::Null;
    assert!(!objects.apply(kind, object.clone()), "nothing of use changed");
    object["metadata"]["labels"] = json!({ "a": "b" });
    assert!(objects.apply(kind, object.clone()), "labels select");
    object["spec"]["autoAssign"] = json!(false);
    assert!(objects.apply(kind, object.clone()), "the spec changed");
    object["spec"]["autoAssign"] = json!("perhaps");
    assert!(objects.apply(kind, object.clone()), "it can no longer be read");
    assert!(!objects.apply(kind, object), "still not");
    assert!(objects.delete(kind, "p"));
    assert!(!objects.delete(kind, "p"));
    assert!(!objects.apply(kind, json!({ "spec": {} })), "without a name it is no object");
}

#[test]
fn a_reset_changes_what_differs() {
    let kind = ConfigKind::IpAddressPool;
    let mut objects = Objects::default();
    let (p, q) = (pool("p", "10.0.0.0/24"), pool("q", "10.0.1.0/24"));
    assert!(!objects.reset(kind, vec![]));
    assert!(objects.reset(kind, vec![p.clone(), q.clone()]));
    assert!(!objects.reset(kind, vec![q.clone(), p.clone()]), "the order does not count");
    assert!(objects.reset(kind, vec![q.clone()]));
    assert_eq!(objects.names(kind), [Arc::from("q")]);
    assert!(objects.reset(kind, vec![pool("q", "10.0.2.0/24")]));
    assert!(objects.reset(kind, vec![]));
}

#[test]
fn kinds_are_found_by_their_names() {
    for kind in ConfigKind::ALL {
        assert_eq!(ConfigKind::from_kind(kind.kind()), Some(kind));
        assert_eq!(kind.plural(), kind.plural().to_lowercase());
        let version = if kind == ConfigKind::BgpPeer { "v1beta2" } else { "v1beta1" };
        assert_eq!(kind.version(), version);
    }
    assert_eq!(ConfigKind::from_kind("ServiceL2Status"), None);
}

#[test]
fn secrets_are_read_from_data_or_string_data_and_never_shown() {
    let text = |value: Value| {
        let secret = Secret::parse(&value);
        let shown = format!("{secret:?}");
        assert!(!shown.contains("s3cr3t") && !shown.contains("115"), "{shown}");
        (secret.kind, secret.password.map(|p| String::from_utf8(p.as_bytes().into()).unwrap()))
    };
    assert_eq!(text(json!({})), ("Opaque".into(), None));
    assert_eq!(
        text(json!({ "type": "t", "data": { "password": "czNjcjN0" } })),
        ("t".into(), Some("s3cr3t".into()))
    );
    assert_eq!(
        text(json!({ "data": { "password": "eA==" }, "stringData": { "password": "s3cr3t" } })),
        ("Opaque".into(), Some("s3cr3t".into()))
    );
    assert_eq!(text(json!({ "data": { "password": "?" } })), ("Opaque".into(), None));
}

#[test]
fn secrets_change_when_they_differ() {
    let secret = |password: &str| Secret { kind: "t".into(), password: Some(password.into()) };
    let mut objects = Objects::default();
    assert!(objects.apply_secret("a", secret("x")));
    assert!(!objects.apply_secret("a", secret("x")));
    assert!(objects.apply_secret("a", secret("y")));
    assert!(!objects.reset_secrets([("a".into(), secret("y"))]));
    assert!(objects.reset_secrets([]));
    assert!(!objects.delete_secret("a"));
}

#[test]
fn the_secrets_of_peers_are_known() {
    let mut objects = Objects::default();
    for (name, secret) in [("a", "s"), ("b", "s"), ("c", "t"), ("d", "")] {
        objects.apply(
            ConfigKind::BgpPeer,
            json!({ "metadata": { "name": name }, "spec": { "passwordSecret": { "name": secret } } }),
        );
    }
    assert_eq!(objects.referenced_secrets().into_iter().collect::<Vec<_>>(), ["s", "t"]);
}
