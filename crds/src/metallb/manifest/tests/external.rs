// SPDX-License-Identifier: Apache-2.0
//! The schema of Antrea's ExternalIPPool, word by word (contract C.2).

use super::*;

/// Without the texts.
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
