// SPDX-License-Identifier: Apache-2.0
//! Every field: its limits and default in `fields.yaml`, its place in the contract's tables, and which fields are ferrolb's own.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const ROWS: &str = include_str!("../fields.yaml");
const CONTRACT: &str = include_str!("../../../../../docs/contract/01-kinds.md");

/// The schema without its texts, its inner fields and their being required.
fn bare(schema: &Value) -> Value {
    let mut bare = schema.clone();
    let map = bare.as_object_mut().unwrap();
    for key in ["description", "properties", "required"] {
        map.remove(key);
    }
    if let Some(items) = map.get_mut("items") {
        *items = self::bare(items);
    }
    bare
}

/// Collects the schemas of the fields below a schema by their paths, but not what is within label selectors.
fn collect(schema: &Value, path: &str, found: &mut BTreeMap<String, Value>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if ["apiVersion", "kind", "metadata"].contains(&path.as_str()) {
            continue;
        }
        let is_root = path == "spec" || path == "status";
        if !is_root || property["properties"].as_object().is_none_or(Map::is_empty) {
            found.insert(path.clone(), property.clone());
        }
        let is_selector = |schema: &Value| !schema["properties"]["matchExpressions"].is_null();
        if !is_selector(property) && !is_selector(&property["items"]) {
            collect(property, &path, found);
            collect(&property["items"], &format!("{path}[]"), found);
        }
    }
}

/// All fields of all kinds of one group, by the kind's plural with the version, and the path.
fn fields() -> BTreeMap<String, BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    for (_, manifest) in manifests() {
        let plural = manifest["spec"]["names"]["plural"].as_str().unwrap();
        for version in manifest["spec"]["versions"].as_array().unwrap() {
            let mut found = BTreeMap::new();
            collect(&version["schema"]["openAPIV3Schema"], "", &mut found);
            all.insert(format!("{plural} {}", version["name"].as_str().unwrap()), found);
        }
    }
    all
}

#[test]
fn every_field_has_a_row_with_its_limits_and_its_default() {
    let rows: BTreeMap<String, BTreeMap<String, Value>> = serde_saphyr::from_str(ROWS).unwrap();
    let mut fields = fields();
    assert!(fields.remove("externalippools v1beta1").is_some(), "tests::external has it whole");
    let kinds = |all: &BTreeMap<String, _>| all.keys().cloned().collect::<Vec<String>>();
    assert_eq!(kinds(&fields), kinds(&rows));
    for (kind, found) in &fields {
        for (path, schema) in found {
            assert_eq!(Some(&bare(schema)), rows[kind].get(path), "{kind} {path}");
        }
        let gone: Vec<&String> =
            rows[kind].keys().filter(|path| !found.contains_key(*path)).collect();
        assert!(gone.is_empty(), "{kind} has no {gone:?}");
    }
}

/// The part of the contract under the heading that begins so.
fn section(heading: &str) -> &'static str {
    let (_, from) = CONTRACT.split_once(&format!("\n## {heading}")).unwrap();
    from.split_once("\n## ").map_or(from, |(section, _)| section)
}

/// The names between backticks.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn the_contract_names_every_field_of_the_configuration() {
    for (kind, heading) in [
        ("ipaddresspools v1beta1", "1.1 "),
        ("l2advertisements v1beta1", "1.2 "),
        ("bgpadvertisements v1beta1", "1.3 "),
        ("bgppeers v1beta2", "1.4 "),
        ("bgppeers v1beta1", "1.5 "),
        ("bfdprofiles v1beta1", "1.7 "),
    ] {
        let named = quoted(section(heading));
        for path in fields()[kind].keys().filter(|path| path.starts_with("spec.")) {
            let field = path.rsplit('.').next().unwrap();
            let is_named = named.contains(field) || named.contains(format!(".{field}").as_str());
            // Inner fields of a reference are core/v1's.
            let is_core = path.starts_with("spec.passwordSecret.");
            let is_inner = path.contains("[].");
            assert!(is_named || is_core || is_inner, "{heading}does not name {path}");
        }
    }
}

#[test]
fn the_fields_of_our_own_are_those_that_the_contract_lists() {
    for (kind, heading) in [("bgpadvertisements v1beta1", "1.3 "), ("bgppeers v1beta2", "1.4 ")] {
        let (_, from) = section(heading).split_once("\nOf our own: ").unwrap();
        let listed = from.split_once("\n\n").map_or(from, |(list, _)| list);
        let all = &fields()[kind];
        let own = all.iter().filter(|(_, schema)| {
            schema["description"].as_str().unwrap_or_default().contains("ferrolb only")
        });
        let own: BTreeSet<&str> = own.map(|(path, _)| path.trim_start_matches("spec.")).collect();
        assert_eq!(quoted(listed), own, "{heading}");
    }
}

#[test]
fn conditions_are_a_map_and_the_old_peer_lacks_what_came_later() {
    let conditions = schema("configurationstates", "v1beta1", "status.conditions");
    assert_eq!(conditions["x-kubernetes-list-type"], "map");
    let old = version("bgppeers", "v1beta1").to_string();
    assert!(!old.contains("vrf") && !old.contains("passwordSecret"));
    assert!(!crd("configurationstates").to_string().contains("\"spec\":{\"description"));
}
