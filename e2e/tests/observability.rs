// SPDX-License-Identifier: Apache-2.0
//! The dashboard and the alerts ask only for metrics that the programs have: those of the texts that the scenario `metrics`
//! compares with what they really serve.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn names_in(text: &str) -> BTreeSet<String> {
    text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
        .filter(|word| {
            ["metallb_", "ferrolb_", "frrk8s_"].iter().any(|prefix| word.starts_with(prefix))
        })
        .map(str::to_owned)
        .collect()
}

fn served() -> BTreeSet<String> {
    let mut names: BTreeSet<String> = ["controller", "speaker"]
        .iter()
        .flat_map(|name| {
            let path = format!("{ROOT}/e2e/snapshots/metrics-{name}.txt");
            names_in(&std::fs::read_to_string(path).unwrap())
        })
        .collect();
    // Of sessions there are none in that scenario; the collector has their names without the prefix.
    let collector = std::fs::read_to_string(format!("{ROOT}/speaker/src/net/bgp/collector.rs"));
    let collector = collector.unwrap();
    let quoted = collector.split('"').skip(1).step_by(2);
    let of_sessions = quoted.filter(|text| text.starts_with("bgp_") || text.starts_with("bfd_"));
    names.extend(of_sessions.map(|name| format!("metallb_{name}")));
    names.extend(names_in(&collector));
    names
}

fn expressions(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str() {
                    Some(text) if key == "expr" => found.push(text.to_owned()),
                    _ => expressions(value, found),
                }
            }
        }
        serde_json::Value::Array(values) => {
            values.iter().for_each(|value| expressions(value, found));
        }
        _ => {}
    }
}

#[test]
fn the_dashboard_asks_only_for_metrics_that_there_are() {
    let text =
        std::fs::read_to_string(format!("{ROOT}/manifests/dashboards/ferrolb.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    assert!(found.len() > 10, "{found:?}");
    let asked: BTreeSet<String> = found.iter().flat_map(|text| names_in(text)).collect();
    let served = served();
    let unknown: Vec<&String> = asked.difference(&served).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn the_alerts_ask_only_for_metrics_that_there_are() {
    let text = std::fs::read_to_string(format!("{ROOT}/charts/ferrolb/templates/prometheus.yaml"))
        .unwrap();
    let asked: BTreeSet<String> =
        text.lines().filter(|line| line.contains("expr:")).flat_map(names_in).collect();
    assert!(asked.len() >= 5, "{asked:?}");
    let served = served();
    let unknown: Vec<&String> = asked.difference(&served).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
