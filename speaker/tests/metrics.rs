// SPDX-License-Identifier: Apache-2.0
//! The speaker's metrics are the text that the scenario `metrics` compares with the program's: names, types, help, labels, and a series for
//! each reason and each cause. Those of sessions are in `bgp_metrics`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;

use cluster::ObjectKey;
use daemon::metrics::ClientMetrics;
use members::net::Cause;
use prometheus::{Registry, TextEncoder};
use speaker::metrics::{MembershipMetrics, SpeakerMetrics};
use speaker::{ReasonCounts, Withhold};

const SNAPSHOT: &str = include_str!("../../e2e/snapshots/metrics-speaker.txt");

/// The lines of a text with an N for each value.
fn normal(text: &str) -> BTreeSet<String> {
    let line = |line: &str| match line.rsplit_once(' ') {
        Some((series, _)) if !line.starts_with('#') => {
            format!("{series} N").replace(env!("CARGO_PKG_VERSION"), "V")
        }
        _ => line.to_owned(),
    };
    text.lines().map(line).collect()
}

#[test]
fn the_text_is_as_the_snapshot_has_it() {
    let registry = Registry::new();
    let _client = ClientMetrics::register(&registry).unwrap();
    let members = MembershipMetrics::register(&registry).unwrap();
    members.set(2, None);
    members.set_refused(Cause::ALL.iter().map(|cause| (cause.name(), 0)));
    let metrics = SpeakerMetrics::register(&registry, "node1").unwrap();
    for protocol in ["layer2", "bgp"] {
        metrics.set_withheld(protocol, &ReasonCounts::default());
    }
    let mut text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let addresses = ["172.30.0.200".parse().unwrap(), "fd30::1000".parse().unwrap()];
    let counters = addresses.map(|address| (address, l2::CounterValues::default()));
    let web = ObjectKey::new("default", "web");
    metrics.write([(&web, &addresses[..])].into_iter(), &counters, &mut text);
    assert_eq!(normal(&text), normal(SNAPSHOT));
    for name in Withhold::NAMES {
        assert!(text.contains(&format!("{{protocol=\"bgp\",reason=\"{name}\"}} 0\n")), "{name}");
    }
}
