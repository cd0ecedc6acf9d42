// SPDX-License-Identifier: Apache-2.0

use std::path::PathBuf;

use serde_json::Value;

use super::*;
use crate::args::ImportSource;

const CONFIG: &str = "
peers:
- my-asn: 64500
  peer-asn: 64501
  peer-address: 192.0.2.1
  node-selectors:
  - match-labels: {rack: a}
    match-expressions:
    - {key: zone, operator: In, values: [x, y]}
- my-asn: 64500
  peer-asn: 64502
  peer-address: 192.0.2.2
  hold-time: 30s
  bfd-profile: Fast_One
bgp-communities:
  no-advertise: 65535:65282
  custom: 64500:1
address-pools:
- name: Old_Pool
  protocol: bgp
  addresses: [198.51.100.0/24]
  avoid-buggy-ips: true
  bgp-advertisements:
  - {aggregation-length: 32, localpref: 100, communities: [custom]}
  - {aggregation-length: 24}
- name: plain
  protocol: bgp
  addresses: [203.0.113.0-203.0.113.9]
  auto-assign: false
- name: local
  protocol: layer2
  addresses: [192.0.2.100-192.0.2.110]
bfd-profiles:
- {name: Fast_One, receive-interval: 50, detect-multiplier: 3}
";

fn config_map(config: &str) -> String {
    let config = config.replace('\n', "\n    ");
    format!(
        "kind: ConfigMap\nmetadata: {{name: config, namespace: lb}}\ndata:\n  config: |\n    {config}\n"
    )
}

fn import(text: &str, import: impl Fn(ImportSource) -> Import) -> anyhow::Result<String> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("input.yaml");
    std::fs::write(&file, text)?;
    let source = ImportSource { file, only_data: false, namespace: None };
    run(&ImportArgs { source: import(source) })
}

fn objects(text: &str) -> Vec<(String, String, Value)> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    documents
        .into_iter()
        .map(|object| {
            let text = |pointer| object.pointer(pointer).unwrap().as_str().unwrap().to_owned();
            (text("/kind"), text("/metadata/name"), object["spec"].clone())
        })
        .collect()
}

#[test]
fn a_config_map_becomes_the_objects_of_today_in_metallbs_order() {
    let text = import(&config_map(CONFIG), Import::Configmap).unwrap();
    let all = objects(&text);
    let names: Vec<String> = all.iter().map(|(kind, name, _)| format!("{kind}/{name}")).collect();
    assert_eq!(
        names,
        [
            "BGPPeer/peer1",
            "BGPPeer/peer2",
            "IPAddressPool/old-pool",
            "IPAddressPool/plain",
            "IPAddressPool/local",
            "BGPAdvertisement/bgpadvertisement1",
            "BGPAdvertisement/bgpadvertisement2",
            "BGPAdvertisement/bgpadvertisement3",
            "L2Advertisement/l2advertisement1",
            "BFDProfile/fast-one",
            "Community/communities",
        ]
    );
    assert_eq!(all[0].2["holdTime"], "90s");
    assert_eq!(all[0].2["nodeSelectors"][0]["matchExpressions"][0]["values"][1], "y");
    assert_eq!(all[1].2["bfdProfile"], "fast-one");
    assert_eq!(all[3].2["autoAssign"], false);
    assert_eq!(all[5].2["communities"][0], "custom");
    assert_eq!(all[7].2, json!({ "ipAddressPools": ["plain"] }));
    assert_eq!(all[10].2["communities"][0]["name"], "custom", "sorted by name");
    assert!(text.contains("namespace: lb"), "the ConfigMap's own namespace");
}

#[test]
fn what_would_not_be_valid_is_named_and_nothing_is_printed() {
    let wrong = CONFIG.replace("198.51.100.0/24", "203.0.113.0/24");
    let error = import(&config_map(&wrong), Import::Configmap).unwrap_err();
    assert!(format!("{error:#}").contains("overlaps"), "{error:#}");
    let wrong = CONFIG.replace("my-asn", "my-as");
    let error = import(&config_map(&wrong), Import::Configmap).unwrap_err();
    assert!(format!("{error:#}").contains("my-as"), "{error:#}");
    let wrong = CONFIG.replace("layer2", "l2");
    let error = import(&config_map(&wrong), Import::Configmap).unwrap_err();
    assert!(format!("{error:#}").contains("local"), "{error:#}");
}

#[test]
fn only_the_data_can_be_given() {
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("config");
    std::fs::write(&file, CONFIG).unwrap();
    let source = ImportSource { file, only_data: true, namespace: Some("here".into()) };
    let text = run(&ImportArgs { source: Import::Configmap(source) }).unwrap();
    assert_eq!(text.matches("namespace: here").count(), 11);
}

#[test]
fn address_pools_become_pools_and_advertisements() {
    let text = "
apiVersion: metallb.io/v1beta1
kind: AddressPool
metadata: {name: a, namespace: metallb-system}
spec: {protocol: layer2, addresses: [192.0.2.0/28]}
---
apiVersion: metallb.io/v1beta1
kind: AddressPool
metadata: {name: b, namespace: metallb-system}
spec: {protocol: bgp, addresses: [198.51.100.0/24], bgpAdvertisements: [{localPref: 7}]}
";
    let all = objects(&import(text, Import::Addresspool).unwrap());
    let kinds: Vec<&str> = all.iter().map(|(kind, _, _)| &**kind).collect();
    assert_eq!(kinds, ["IPAddressPool", "L2Advertisement", "IPAddressPool", "BGPAdvertisement"]);
    assert_eq!(all[3].2["localPref"], 7);
}

#[test]
fn names_become_what_the_api_takes() {
    assert_eq!(normalized("My_Pool"), "my-pool");
    assert_eq!(normalized("9-lives"), "lives");
    assert_eq!(normalized(&"x".repeat(80)).len(), 63);
}
