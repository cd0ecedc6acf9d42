// SPDX-License-Identifier: Apache-2.0
//! The manifests, held against the tables of contract 1.

mod external;
mod fields;

use super::*;

fn crd(plural: &str) -> Value {
    let file = format!("{plural}.metallb.io.yaml");
    manifests().into_iter().find(|(name, _)| *name == file).map(|(_, value)| value).unwrap()
}

fn version(plural: &str, name: &str) -> Value {
    let crd = crd(plural);
    let versions = crd["spec"]["versions"].as_array().unwrap();
    versions.iter().find(|version| version["name"] == name).cloned().unwrap()
}

/// The schema at a path such as `spec.addresses[]`.
fn schema(plural: &str, version_name: &str, path: &str) -> Value {
    let version = version(plural, version_name);
    let mut at = &version["schema"]["openAPIV3Schema"];
    for part in path.split('.') {
        let name = part.trim_end_matches("[]");
        at = at["properties"].get(name).unwrap_or_else(|| panic!("{plural} has no {path}"));
        if part != name {
            at = &at["items"];
        }
    }
    at.clone()
}

#[test]
fn the_committed_manifests_are_those_that_are_generated() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("generated");
    let mut files = std::collections::BTreeSet::new();
    for (file, manifest) in manifests() {
        let committed = std::fs::read_to_string(folder.join(&file)).unwrap_or_default();
        assert_eq!(committed, to_yaml(&manifest).unwrap(), "run `make manifests`: {file}");
        let read_back: Value = serde_saphyr::from_str(&committed).unwrap();
        assert_eq!(read_back, manifest, "{file} says what is meant");
        files.insert(file);
    }
    let found: std::collections::BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, files, "nothing else is in the folder");
    // The copies that kustomize and the chart read.
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for file in files {
        for folder in ["manifests/crds", "charts/ferrolb/files/crds"] {
            let copy = std::fs::read_to_string(root.join(folder).join(&file)).unwrap_or_default();
            let generated = std::fs::read_to_string(root.join("crds/generated").join(&file));
            assert_eq!(copy, generated.unwrap(), "run `make manifests`: {folder}/{file}");
        }
    }
}

#[test]
fn kinds_have_the_names_versions_and_columns_of_the_contract() {
    let selection = [
        "IPAddressPools: .spec.ipAddressPools string",
        "IPAddressPool Selectors: .spec.ipAddressPoolSelectors string",
    ];
    let nodes = "Node Selectors: .spec.nodeSelectors string prio 10";
    let service = [
        "Service Name: .status.serviceName string",
        "Service Namespace: .status.serviceNamespace string",
    ];
    let pools = vec![
        "Auto Assign: .spec.autoAssign boolean",
        "Avoid Buggy IPs: .spec.avoidBuggyIPs boolean",
        "Addresses: .spec.addresses string",
    ];
    let peers = vec![
        "Address: .spec.peerAddress string",
        "ASN: .spec.peerASN string",
        "BFD Profile: .spec.bfdProfile string",
        "Multi Hops: .spec.ebgpMultiHop string",
    ];
    let profiles = vec![
        "Passive Mode: .spec.passiveMode boolean",
        "Transmit Interval: .spec.transmitInterval integer",
        "Receive Interval: .spec.receiveInterval integer",
        "Multiplier: .spec.detectMultiplier integer",
    ];
    let states = vec![
        "Result: .status.result string",
        "ErrorSummary: .status.errorSummary string",
        "Age: .metadata.creationTimestamp date",
    ];
    let l2 = [&selection[..], &["Interfaces: .spec.interfaces string", nodes]].concat();
    let bgp = [&selection[..], &["Peers: .spec.peers string", nodes]].concat();
    let on_l2 = [&["Allocated Node: .status.node string"], &service[..]].concat();
    let on_bgp = [&["Node: .status.node string"], &service[..]].concat();
    for (kind, plural, singular, columns) in [
        ("IPAddressPool", "ipaddresspools", "ipaddresspool", pools),
        ("L2Advertisement", "l2advertisements", "l2advertisement", l2),
        ("BGPAdvertisement", "bgpadvertisements", "bgpadvertisement", bgp),
        ("BGPPeer", "bgppeers", "bgppeer", peers),
        ("BFDProfile", "bfdprofiles", "bfdprofile", profiles),
        ("Community", "communities", "community", vec![]),
        ("ServiceL2Status", "servicel2statuses", "servicel2status", on_l2),
        ("ServiceBGPStatus", "servicebgpstatuses", "servicebgpstatus", on_bgp),
        ("ConfigurationState", "configurationstates", "configurationstate", states),
    ] {
        let crd = crd(plural);
        assert_eq!(crd["apiVersion"], "apiextensions.k8s.io/v1");
        assert_eq!(
            crd["metadata"],
            json!({
                "name": format!("{plural}.metallb.io"),
                "annotations": { "controller-gen.kubebuilder.io/version": "v0.19.0" },
            })
        );
        assert_eq!(crd["spec"]["group"], "metallb.io");
        assert_eq!(crd["spec"]["scope"], "Namespaced");
        assert_eq!(
            crd["spec"]["names"],
            json!({
                "kind": kind, "plural": plural, "singular": singular, "listKind": format!("{kind}List"),
            })
        );
        let versions = crd["spec"]["versions"].as_array().unwrap();
        let (names, stored): (Vec<&str>, &str) = if kind == "BGPPeer" {
            (vec!["v1beta1", "v1beta2"], "v1beta2")
        } else {
            (vec!["v1beta1"], "v1beta1")
        };
        assert_eq!(versions.iter().map(|v| v["name"].as_str().unwrap()).collect::<Vec<_>>(), names);
        for version in versions {
            assert_eq!(version["served"], true);
            assert_eq!(version["storage"], version["name"] == stored);
            assert_eq!(version["subresources"], json!({ "status": {} }));
            let shown: Vec<String> = version["additionalPrinterColumns"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|column| {
                    let text = |key: &str| column[key].as_str().unwrap().to_owned();
                    let priority = column.get("priority").map(|p| format!(" prio {p}"));
                    format!(
                        "{}: {} {}{}",
                        text("name"),
                        text("jsonPath"),
                        text("type"),
                        priority.unwrap_or_default()
                    )
                })
                .collect();
            assert_eq!(shown, columns, "{kind}");
        }
    }
}

#[test]
fn the_old_peer_is_deprecated_and_converted_by_a_webhook() {
    let old = version("bgppeers", "v1beta1");
    assert_eq!(old["deprecated"], true);
    assert_eq!(old["deprecationWarning"], "v1beta1 is deprecated, please use v1beta2");
    assert_eq!(version("bgppeers", "v1beta2").get("deprecated"), None);
    assert_eq!(
        crd("bgppeers")["spec"]["conversion"],
        json!({
            "strategy": "Webhook",
            "webhook": {
                "conversionReviewVersions": ["v1beta1", "v1beta2"],
                "clientConfig": { "service": {
                    "name": "metallb-webhook-service", "namespace": "metallb-system", "path": "/convert",
                } },
            },
        })
    );
    assert_eq!(crd("ipaddresspools")["spec"].get("conversion"), None);
}

#[test]
fn service_selectors_and_aggregates_exclude_each_other() {
    let rules = schema("bgpadvertisements", "v1beta1", "spec")["x-kubernetes-validations"].clone();
    assert_eq!(
        rules[0]["message"],
        "serviceSelectors and aggregationLength are mutually exclusive, can only be used together with \
         default aggregationLength (32) and aggregationLengthV6 (128)"
    );
    assert_eq!(rules.as_array().map(Vec::len), Some(3));
}

#[test]
fn required_fields_are_those_of_the_contract() {
    for (plural, version_name, path, expected) in [
        ("ipaddresspools", "v1beta1", "spec", json!(["addresses"])),
        (
            "ipaddresspools",
            "v1beta1",
            "status",
            json!(["assignedIPv4", "assignedIPv6", "availableIPv4", "availableIPv6"]),
        ),
        ("l2advertisements", "v1beta1", "spec", Value::Null),
        (
            "l2advertisements",
            "v1beta1",
            "spec.preferredNodeSelectors[]",
            json!(["preference", "weight"]),
        ),
        ("bgpadvertisements", "v1beta1", "spec", Value::Null),
        ("bgppeers", "v1beta2", "spec", json!(["myASN"])),
        ("bgppeers", "v1beta1", "spec", json!(["myASN", "peerASN", "peerAddress"])),
        ("bfdprofiles", "v1beta1", "spec", Value::Null),
        ("communities", "v1beta1", "spec", Value::Null),
        ("communities", "v1beta1", "spec.communities[]", Value::Null),
        ("servicel2statuses", "v1beta1", "status", Value::Null),
        ("servicebgpstatuses", "v1beta1", "status", Value::Null),
        ("configurationstates", "v1beta1", "status", Value::Null),
    ] {
        let mut required =
            schema(plural, version_name, path).get("required").cloned().unwrap_or_default();
        if let Some(names) = required.as_array_mut() {
            names.sort_by_key(ToString::to_string);
        }
        assert_eq!(required, expected, "{plural} {version_name} {path}");
    }
    let root =
        |plural: &str| version(plural, "v1beta1")["schema"]["openAPIV3Schema"]["required"].clone();
    assert_eq!(root("ipaddresspools"), json!(["spec"]));
    assert_eq!(root("l2advertisements"), Value::Null, "one without a spec announces everything");
}

#[test]
fn selectors_are_atomic_and_their_operators_free() {
    for (plural, version_name, path) in [
        ("ipaddresspools", "v1beta1", "spec.serviceAllocation.namespaceSelectors[]"),
        ("ipaddresspools", "v1beta1", "spec.serviceAllocation.serviceSelectors[]"),
        ("l2advertisements", "v1beta1", "spec.ipAddressPoolSelectors[]"),
        ("l2advertisements", "v1beta1", "spec.nodeSelectors[]"),
        ("l2advertisements", "v1beta1", "spec.serviceSelectors[]"),
        ("l2advertisements", "v1beta1", "spec.preferredNodeSelectors[].preference"),
        ("bgpadvertisements", "v1beta1", "spec.ipAddressPoolSelectors[]"),
        ("bgpadvertisements", "v1beta1", "spec.nodeSelectors[]"),
        ("bgpadvertisements", "v1beta1", "spec.serviceSelectors[]"),
        ("bgppeers", "v1beta2", "spec.nodeSelectors[]"),
    ] {
        let selector = schema(plural, version_name, path);
        assert_eq!(selector["x-kubernetes-map-type"], "atomic", "{path}");
        let expressions = &selector["properties"]["matchExpressions"];
        assert_eq!(expressions["x-kubernetes-list-type"], "atomic", "{path}");
        assert_eq!(expressions["items"]["required"], json!(["key", "operator"]));
        let inner = &expressions["items"]["properties"];
        assert_eq!(inner["values"]["x-kubernetes-list-type"], "atomic", "{path}");
        assert_eq!(inner["operator"].get("enum"), None);
    }
    let old = schema("bgppeers", "v1beta1", "spec.nodeSelectors[]");
    let expression = &old["properties"]["matchExpressions"]["items"];
    assert_eq!(expression["required"], json!(["key", "operator", "values"]));
    assert_eq!(expression["properties"]["values"]["minItems"], 1);
}

#[test]
fn nothing_is_left_that_the_api_server_does_not_take() {
    fn walk(value: &Value, path: &str) {
        match value {
            Value::Object(map) => {
                for (key, inner) in map {
                    // In Antrea's own words, which an API server takes as a check of values.
                    let antreas = key == "oneOf" && path.starts_with("externalippools.");
                    assert!(
                        antreas
                            || ![
                                "$ref",
                                "anyOf",
                                "oneOf",
                                "allOf",
                                "nullable",
                                "title",
                                "definitions"
                            ]
                            .contains(&key.as_str()),
                        "{path}.{key}"
                    );
                    if key == "format" && inner.is_string() {
                        let known = ["int32", "int64", "date-time", "cidr", "ipv4", "ipv6"];
                        assert!(known.iter().any(|format| inner == format), "{path}: {inner}");
                    }
                    walk(inner, &format!("{path}.{key}"));
                }
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, path)),
            Value::Number(number) => assert!(!number.is_f64(), "{path}: {number}"),
            Value::Null => panic!("{path} is null"),
            Value::Bool(_) | Value::String(_) => {}
        }
    }
    for (file, manifest) in manifests() {
        walk(&manifest, &file);
    }
}

#[test]
fn every_field_has_a_text() {
    fn walk(schema: &Value, path: &str) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            let text = property["description"].as_str().unwrap_or_default();
            assert!(!text.is_empty() || name == "metadata", "{path}");
            assert!(!text.contains('\n'), "{path}");
            walk(property, &path);
            walk(&property["items"], &path);
        }
    }
    for (file, manifest) in manifests() {
        for version in manifest["spec"]["versions"].as_array().unwrap() {
            walk(&version["schema"]["openAPIV3Schema"], &file);
        }
    }
}
