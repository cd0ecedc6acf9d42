// SPDX-License-Identifier: Apache-2.0
//! The manifests, held against the tables of contract 1.

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

/// The schema without its texts and its inner parts.
fn bare(mut schema: Value) -> Value {
    let map = schema.as_object_mut().unwrap();
    for key in ["description", "properties", "required"] {
        map.remove(key);
    }
    schema
}

#[test]
fn the_committed_manifests_are_those_that_are_generated() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("generated");
    let mut files = std::collections::BTreeSet::new();
    for (file, manifest) in manifests() {
        let committed = std::fs::read_to_string(folder.join(&file)).unwrap_or_default();
        assert_eq!(
            committed,
            to_yaml(&manifest).unwrap(),
            "run `cargo run -p crds --bin crdgen`: {file}"
        );
        let read_back: Value = serde_saphyr::from_str(&committed).unwrap();
        assert_eq!(read_back, manifest, "{file} says what is meant");
        files.insert(file);
    }
    let found: std::collections::BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(found, files, "nothing else is in the folder");
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
fn fields_have_the_limits_and_defaults_of_the_contract() {
    let string = json!({ "type": "string" });
    let boolean = json!({ "type": "boolean" });
    let integer = json!({ "type": "integer" });
    let strings = json!({ "type": "array", "items": { "type": "string" } });
    let asn = |minimum: u32| json!({ "type": "integer", "format": "int64", "minimum": minimum, "maximum": 4_294_967_295_u32 });
    let int32 = |minimum: u32, maximum: u32| json!({ "type": "integer", "format": "int32", "minimum": minimum, "maximum": maximum });
    let with = |mut schema: Value, key: &str, value: Value| {
        schema[key] = value;
        schema
    };
    let int64 = json!({ "type": "integer", "format": "int64" });
    let plain32 = json!({ "type": "integer", "format": "int32" });
    let immutable = with(
        string.clone(),
        "x-kubernetes-validations",
        json!([
            { "message": "Value is immutable", "rule": "self == oldSelf" },
        ]),
    );
    let rows: Vec<(&str, &str, &str, Value)> = vec![
        ("ipaddresspools", "v1beta1", "spec.addresses", strings.clone()),
        (
            "ipaddresspools",
            "v1beta1",
            "spec.autoAssign",
            with(boolean.clone(), "default", json!(true)),
        ),
        (
            "ipaddresspools",
            "v1beta1",
            "spec.avoidBuggyIPs",
            with(boolean.clone(), "default", json!(false)),
        ),
        ("ipaddresspools", "v1beta1", "spec.serviceAllocation", json!({ "type": "object" })),
        ("ipaddresspools", "v1beta1", "spec.serviceAllocation.priority", integer),
        ("ipaddresspools", "v1beta1", "spec.serviceAllocation.namespaces", strings.clone()),
        ("ipaddresspools", "v1beta1", "status.assignedIPv4", int64.clone()),
        ("ipaddresspools", "v1beta1", "status.assignedIPv6", int64.clone()),
        ("ipaddresspools", "v1beta1", "status.availableIPv4", int64.clone()),
        ("ipaddresspools", "v1beta1", "status.availableIPv6", int64),
        ("l2advertisements", "v1beta1", "spec.ipAddressPools", strings.clone()),
        ("l2advertisements", "v1beta1", "spec.interfaces", strings.clone()),
        ("l2advertisements", "v1beta1", "spec.preferredNodeSelectors[].weight", int32(1, 100)),
        (
            "bgpadvertisements",
            "v1beta1",
            "spec.aggregationLength",
            json!({ "type": "integer", "format": "int32", "minimum": 1, "default": 32 }),
        ),
        (
            "bgpadvertisements",
            "v1beta1",
            "spec.aggregationLengthV6",
            json!({ "type": "integer", "format": "int32", "default": 128 }),
        ),
        ("bgpadvertisements", "v1beta1", "spec.localPref", plain32),
        ("bgpadvertisements", "v1beta1", "spec.communities", strings.clone()),
        ("bgpadvertisements", "v1beta1", "spec.ipAddressPools", strings.clone()),
        ("bgpadvertisements", "v1beta1", "spec.peers", strings.clone()),
        ("bgpadvertisements", "v1beta1", "spec.asPathPrepend", int32(0, 10)),
        ("bgpadvertisements", "v1beta1", "spec.med", asn(0)),
        ("bgpadvertisements", "v1beta1", "spec.extendedCommunities", strings.clone()),
        ("bgpadvertisements", "v1beta1", "spec.externalIPPools", strings.clone()),
        ("bgppeers", "v1beta2", "spec.myASN", asn(0)),
        ("bgppeers", "v1beta2", "spec.peerASN", asn(0)),
        (
            "bgppeers",
            "v1beta2",
            "spec.dynamicASN",
            with(string.clone(), "enum", json!(["internal", "external"])),
        ),
        ("bgppeers", "v1beta2", "spec.localASN", asn(1)),
        ("bgppeers", "v1beta2", "spec.peerAddress", string.clone()),
        ("bgppeers", "v1beta2", "spec.interface", string.clone()),
        ("bgppeers", "v1beta2", "spec.sourceAddress", string.clone()),
        ("bgppeers", "v1beta2", "spec.peerPort", with(int32(1, 16_384), "default", json!(179))),
        ("bgppeers", "v1beta2", "spec.holdTime", string.clone()),
        ("bgppeers", "v1beta2", "spec.keepaliveTime", string.clone()),
        (
            "bgppeers",
            "v1beta2",
            "spec.connectTime",
            with(
                string.clone(),
                "x-kubernetes-validations",
                json!([
                    { "message": "connect time should be between 1 seconds to 65535",
                      "rule": "duration(self).getSeconds() >= 1 && duration(self).getSeconds() <= 65535" },
                    { "message": "connect time should contain a whole number of seconds",
                      "rule": "duration(self).getMilliseconds() % 1000 == 0" },
                ]),
            ),
        ),
        ("bgppeers", "v1beta2", "spec.routerID", string.clone()),
        ("bgppeers", "v1beta2", "spec.password", string.clone()),
        (
            "bgppeers",
            "v1beta2",
            "spec.passwordSecret",
            json!({ "type": "object", "x-kubernetes-map-type": "atomic" }),
        ),
        ("bgppeers", "v1beta2", "spec.passwordSecret.name", string.clone()),
        ("bgppeers", "v1beta2", "spec.passwordSecret.namespace", string.clone()),
        ("bgppeers", "v1beta2", "spec.bfdProfile", string.clone()),
        (
            "bgppeers",
            "v1beta2",
            "spec.enableGracefulRestart",
            with(
                boolean.clone(),
                "x-kubernetes-validations",
                json!([
                    { "message": "EnableGracefulRestart cannot be changed after creation",
                      "rule": "self == oldSelf" },
                ]),
            ),
        ),
        ("bgppeers", "v1beta2", "spec.ebgpMultiHop", boolean.clone()),
        ("bgppeers", "v1beta2", "spec.vrf", string.clone()),
        ("bgppeers", "v1beta2", "spec.disableMP", with(boolean.clone(), "default", json!(false))),
        (
            "bgppeers",
            "v1beta2",
            "spec.dualStackAddressFamily",
            with(boolean.clone(), "default", json!(false)),
        ),
        ("bgppeers", "v1beta2", "spec.passive", boolean.clone()),
        ("bgppeers", "v1beta2", "spec.listenPort", int32(1, 65_535)),
        ("bgppeers", "v1beta2", "spec.ttlSecurity", int32(1, 254)),
        ("bgppeers", "v1beta2", "spec.gracefulRestartTime", string.clone()),
        ("bgppeers", "v1beta2", "spec.longLivedStaleTime", string.clone()),
        ("bgppeers", "v1beta2", "spec.maxPrefixes", asn(1)),
        (
            "bgppeers",
            "v1beta2",
            "spec.ipv6NextHop",
            with(string.clone(), "enum", json!(["global-and-link-local", "global"])),
        ),
        ("bgppeers", "v1beta1", "spec.myASN", asn(0)),
        ("bgppeers", "v1beta1", "spec.peerASN", asn(0)),
        ("bgppeers", "v1beta1", "spec.peerAddress", string.clone()),
        ("bgppeers", "v1beta1", "spec.peerPort", int32(0, 16_384)),
        ("bgppeers", "v1beta1", "spec.holdTime", string.clone()),
        ("bgppeers", "v1beta1", "spec.ebgpMultiHop", boolean.clone()),
        ("bfdprofiles", "v1beta1", "spec.receiveInterval", int32(10, 60_000)),
        ("bfdprofiles", "v1beta1", "spec.transmitInterval", int32(10, 60_000)),
        ("bfdprofiles", "v1beta1", "spec.detectMultiplier", int32(2, 255)),
        ("bfdprofiles", "v1beta1", "spec.echoInterval", int32(10, 60_000)),
        ("bfdprofiles", "v1beta1", "spec.echoMode", boolean.clone()),
        ("bfdprofiles", "v1beta1", "spec.passiveMode", boolean),
        ("bfdprofiles", "v1beta1", "spec.minimumTtl", int32(1, 254)),
        ("communities", "v1beta1", "spec.communities[].name", string.clone()),
        ("communities", "v1beta1", "spec.communities[].value", string.clone()),
        ("servicel2statuses", "v1beta1", "spec", json!({ "type": "object" })),
        ("servicel2statuses", "v1beta1", "status.node", immutable.clone()),
        ("servicel2statuses", "v1beta1", "status.serviceName", immutable.clone()),
        ("servicel2statuses", "v1beta1", "status.serviceNamespace", immutable.clone()),
        ("servicel2statuses", "v1beta1", "status.interfaces[].name", string.clone()),
        ("servicebgpstatuses", "v1beta1", "spec", json!({ "type": "object" })),
        ("servicebgpstatuses", "v1beta1", "status.node", immutable.clone()),
        ("servicebgpstatuses", "v1beta1", "status.serviceName", immutable.clone()),
        ("servicebgpstatuses", "v1beta1", "status.serviceNamespace", immutable),
        ("servicebgpstatuses", "v1beta1", "status.peers", strings),
        (
            "configurationstates",
            "v1beta1",
            "status.result",
            with(string.clone(), "enum", json!(["Valid", "Invalid", "Unknown"])),
        ),
        ("configurationstates", "v1beta1", "status.errorSummary", string),
        (
            "configurationstates",
            "v1beta1",
            "status.conditions[].reason",
            json!({ "type": "string", "minLength": 1, "maxLength": 1024,
                "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$" }),
        ),
        (
            "configurationstates",
            "v1beta1",
            "status.conditions[].message",
            json!({ "type": "string", "maxLength": 32_768 }),
        ),
    ];
    for (plural, version, path, expected) in rows {
        assert_eq!(bare(schema(plural, version, path)), expected, "{plural} {version} {path}");
    }
    assert_eq!(
        schema("configurationstates", "v1beta1", "status.conditions[].type")["maxLength"],
        316
    );
    let conditions = schema("configurationstates", "v1beta1", "status.conditions");
    assert_eq!(conditions["x-kubernetes-list-type"], "map");
    assert_eq!(conditions["x-kubernetes-list-map-keys"], json!(["type"]));
    let old = version("bgppeers", "v1beta1").to_string();
    assert!(!old.contains("vrf") && !old.contains("passwordSecret"));
    assert!(!crd("configurationstates").to_string().contains("\"spec\":{\"description"));
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

/// Contract C.2, without the texts.
#[test]
fn the_external_pools_schema_is_antreas() {
    fn without_texts(value: &mut Value) {
        if let Some(map) = value.as_object_mut() {
            if map.get("description").is_some_and(Value::is_string) {
                map.remove("description");
            }
            map.values_mut().for_each(without_texts);
        }
        value.as_array_mut().into_iter().flatten().for_each(without_texts);
    }
    let file = "externalippools.crd.antrea.io.yaml";
    let crd = manifests().into_iter().find(|(name, _)| name == file).map(|(_, crd)| crd).unwrap();
    assert_eq!(crd["spec"]["scope"], "Cluster");
    assert_eq!(
        crd["spec"]["names"],
        json!({
            "kind": "ExternalIPPool", "listKind": "ExternalIPPoolList", "plural": "externalippools",
            "singular": "externalippool", "shortNames": ["eip"],
        })
    );
    let [version] = crd["spec"]["versions"].as_array().unwrap().as_slice() else {
        panic!("one version")
    };
    let columns: Vec<(&Value, &Value, &Value)> = version["additionalPrinterColumns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| (&column["name"], &column["jsonPath"], &column["type"]))
        .collect();
    assert_eq!(
        json!(columns),
        json!([
            ["Total", ".status.usage.total", "integer"],
            ["Used", ".status.usage.used", "integer"],
            ["Age", ".metadata.creationTimestamp", "date"],
        ])
    );
    assert_eq!(version["subresources"], json!({ "status": {} }));
    let mut schema = version["schema"]["openAPIV3Schema"].clone();
    assert_eq!(schema["required"], json!(["spec"]));
    without_texts(&mut schema);
    // What a rule of the webhook (contract C.3 rule 2) takes that is in the schema here.
    let ranges = &mut schema["properties"]["spec"]["properties"]["ipRanges"];
    let mut take = |pointer: &str, field: &str| {
        let object = ranges.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
        object.remove(field).unwrap()
    };
    let rule = take("/items", "x-kubernetes-validations");
    assert_eq!(rule[0]["message"], "range start and range end should belong to same family");
    assert_eq!(take("", "maxItems"), 100_000);
    for end in ["/items/properties/start", "/items/properties/end"] {
        // The longest text of an address: an IPv6 address that ends with an IPv4 address.
        assert_eq!(take(end, "maxLength"), 45);
    }
    let address =
        json!({ "type": "string", "oneOf": [{ "format": "ipv4" }, { "format": "ipv6" }] });
    let text =
        json!({ "type": "string", "pattern": "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$" });
    assert_eq!(
        schema["properties"]["spec"],
        json!({
            "type": "object",
            "required": ["ipRanges", "nodeSelector"],
            "properties": {
                "ipRanges": { "type": "array", "items": {
                    "type": "object",
                    "oneOf": [{ "required": ["cidr"] }, { "required": ["end", "start"] }],
                    "properties": {
                        "cidr": { "type": "string", "format": "cidr" }, "start": address, "end": address,
                    },
                } },
                "subnetInfo": {
                    "type": "object",
                    "required": ["gateway", "prefixLength"],
                    "properties": {
                        "gateway": address,
                        "prefixLength": { "type": "integer", "minimum": 1, "maximum": 127 },
                        "vlan": { "type": "integer", "minimum": 0, "maximum": 4094 },
                    },
                    "x-kubernetes-validations": [{
                        "rule": "self.gateway.contains(':') || self.prefixLength <= 31",
                        "message": "invalid prefixLength",
                    }],
                },
                "nodeSelector": {
                    "type": "object",
                    "properties": {
                        "matchLabels": { "type": "object", "additionalProperties": text },
                        "matchExpressions": { "type": "array", "items": {
                            "type": "object",
                            "properties": {
                                "key": { "type": "string" },
                                "operator": {
                                    "type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                                },
                                "values": { "type": "array", "items": text },
                            },
                        } },
                    },
                },
            },
        })
    );
    let usage = &schema["properties"]["status"]["properties"]["usage"]["properties"];
    assert_eq!(*usage, json!({ "total": { "type": "integer" }, "used": { "type": "integer" } }));
}
