// SPDX-License-Identifier: Apache-2.0

use std::path::PathBuf;

use serde_json::Value;

use super::notes::normalized;
use super::*;
use crate::args::ImportSource;

mod foreign;

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

fn import(text: &str, import: impl Fn(ImportSource) -> Import) -> anyhow::Result<Imported> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("input.yaml");
    std::fs::write(&file, text)?;
    let source = ImportSource { file, only_data: false, namespace: None };
    run(&ImportArgs { source: import(source) })
}

fn told(imported: &Imported) -> Vec<String> {
    imported.notes.iter().map(ToString::to_string).collect()
}

/// The names of the objects of one kind.
fn names_of(imported: &Imported, kind: &str) -> Vec<String> {
    let all = objects(&imported.manifests).into_iter();
    all.filter(|(is, _, _)| is == kind).map(|(_, name, _)| name).collect()
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
    let imported = import(&config_map(CONFIG), Import::Configmap).unwrap();
    let text = &imported.manifests;
    let all = objects(text);
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
    assert_eq!(
        told(&imported),
        [
            "renamed: BFDProfile \"Fast_One\" is \"fast-one\" now",
            "renamed: IPAddressPool \"Old_Pool\" is \"old-pool\" now: each Service whose annotation metallb.io/address-pool or \
             metallb.universe.tf/address-pool says \"Old_Pool\" must say \"old-pool\"",
        ]
    );
    assert!(!imported.loses(), "everything is there");
    assert!(text.contains("\n# renamed: IPAddressPool \"Old_Pool\""), "{text}");
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
    let text = run(&ImportArgs { source: Import::Configmap(source) }).unwrap().manifests;
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
    let imported = import(text, Import::Addresspool).unwrap();
    assert_eq!(told(&imported), [""; 0]);
    let all = objects(&imported.manifests);
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

#[test]
fn two_of_one_name_are_two_objects_and_each_new_name_is_told() {
    let pool = |name: &str, third: u8| {
        format!("- {{name: {name}, protocol: bgp, addresses: [10.0.{third}.0/24]}}\n")
    };
    let all = ["default", "default", "pool_b", "pool-b", "Pool_B", "'...'", "pool-b-2"];
    let pools: String = (0..).zip(all).map(|(third, name)| pool(name, third)).collect();
    let imported = import(&config_map(&format!("address-pools:\n{pools}")), Import::Configmap);
    let imported = imported.unwrap();
    assert_eq!(
        names_of(&imported, "IPAddressPool"),
        ["default", "default-2", "pool-b-3", "pool-b", "pool-b-4", "ipaddresspool", "pool-b-2"]
    );
    // Each address is advertised as itself.
    let advertised: Vec<String> = objects(&imported.manifests)
        .iter()
        .filter(|(kind, _, _)| kind == "BGPAdvertisement")
        .map(|(_, _, spec)| spec["ipAddressPools"][0].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(advertised, names_of(&imported, "IPAddressPool"));
    let renamed: Vec<(String, String)> = imported
        .notes
        .iter()
        .filter_map(|note| match note {
            Note::Renamed { from, to, follow: Some(_), .. } => Some((from.clone(), to.clone())),
            _ => None,
        })
        .collect();
    let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    assert_eq!(
        renamed,
        [
            pair("default", "default-2"),
            pair("pool_b", "pool-b-3"),
            pair("Pool_B", "pool-b-4"),
            pair("...", "ipaddresspool"),
        ]
    );
    assert!(!imported.loses());
    let long = "x".repeat(70);
    let pools = pool(&long, 0) + &pool(&format!("{long}y"), 1);
    let imported = import(&config_map(&format!("address-pools:\n{pools}")), Import::Configmap);
    let names = names_of(&imported.unwrap(), "IPAddressPool");
    assert_eq!(names, ["x".repeat(63), format!("{}-2", "x".repeat(61))]);
}

#[test]
fn a_profile_keeps_those_that_name_it() {
    let config = "
peers:
- {my-asn: 1, peer-asn: 2, peer-address: 10.0.0.1, bfd-profile: a_b}
- {my-asn: 1, peer-asn: 2, peer-address: 10.0.0.2, bfd-profile: a-b}
bfd-profiles:
- {name: a_b}
- {name: a-b}
";
    let all = objects(&import(&config_map(config), Import::Configmap).unwrap().manifests);
    assert_eq!(all[0].2["bfdProfile"], "a-b-2");
    assert_eq!(all[1].2["bfdProfile"], "a-b");
}

#[test]
fn what_is_not_converted_is_lost_and_told() {
    let map = config_map("address-pools: []") + "  extra: text\n";
    let imported = import(&map, Import::Configmap).unwrap();
    assert_eq!(told(&imported), ["lost: data.extra: only the key config holds configuration"]);
    assert!(imported.loses());
    let pool = "kind: AddressPool\nmetadata: {name: a}\nspec: {protocol: layer2, addresses: [192.0.2.0/28], avoidBuggyIPs: true}\n";
    let imported = import(pool, Import::Addresspool).unwrap();
    let lost = "lost: AddressPool a: spec.avoidBuggyIPs: there is nothing like it";
    assert_eq!(told(&imported), [lost]);
    assert!(imported.manifests.contains(&format!("# {lost}\n")));
}

#[test]
fn pools_of_two_namespaces_that_come_into_one_have_two_names() {
    let pool = |name: &str, namespace: &str, third: u8, protocol: &str| {
        format!(
            "---\nkind: AddressPool\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{protocol: {protocol}, addresses: [10.0.{third}.0/24], bgpAdvertisements: [{{}}, {{localPref: 1, aggregationLength: 26}}]}}\n"
        )
    };
    let text = pool("a", "x", 0, "layer2") + &pool("a", "y", 1, "layer2");
    let both = import(&text, Import::Addresspool).unwrap();
    assert_eq!(names_of(&both, "IPAddressPool"), ["a", "a"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pools");
    std::fs::write(&file, text).unwrap();
    let source = ImportSource { file, only_data: false, namespace: Some("z".into()) };
    let together = run(&ImportArgs { source: Import::Addresspool(source) }).unwrap();
    assert_eq!(names_of(&together, "IPAddressPool"), ["a", "a-2"]);
    assert_eq!(names_of(&together, "L2Advertisement"), ["a", "a-2"]);
    assert_eq!(together.notes.len(), 1);
    let clash = pool("b", "x", 0, "bgp") + &pool("b-2", "x", 1, "bgp");
    let clash = import(&clash, Import::Addresspool).unwrap();
    assert_eq!(names_of(&clash, "BGPAdvertisement"), ["b", "b-2", "b-2-2", "b-2-2-2"]);
}
