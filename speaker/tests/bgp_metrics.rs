// SPDX-License-Identifier: Apache-2.0
//! Names and labels of the BGP metrics in each of MetalLB's modes (contract 7.1).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod world;

use std::time::Duration;

use cluster::Dirty;
use prometheus::{Registry, TextEncoder};
use serde_json::json;
use speaker::net::{BgpDriver, BgpOptions, Style};
use world::{World, node, options, pool, service, slice};

/// The series of a node with one peer, which never connects, and one Service.
fn series(mode: Option<&str>) -> Vec<String> {
    let peer = json!({
        "apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer", "metadata": { "name": "tor" },
        "spec": { "myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.254", "passive": true, "listenPort": 1791 },
    });
    let advertisement =
        json!({ "kind": "BGPAdvertisement", "metadata": { "name": "ad" }, "spec": {} });
    let world = World::new(&[
        node("a", json!({})),
        pool("p", &["10.0.0.0/24"]),
        peer,
        advertisement,
        service("web", &["10.0.0.1"]),
        slice("web", &["a"]),
    ]);
    assert_eq!(world.snapshot.rejections(), []);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut driver, _signals) = BgpDriver::start(BgpOptions {
            speaker: options("a"),
            drain_time: Duration::ZERO,
            drain_on_cordon: false,
        });
        let registry = Registry::new();
        registry.register(Box::new(driver.collector(Style::of(mode)))).unwrap();
        driver.reconcile(&world.snapshot, &Dirty { all: true, ..Dirty::default() });
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    })
}

#[test]
fn native_labels_the_peer_alone() {
    let series = series(None);
    assert!(series.contains(&"metallb_bgp_session_up{peer=\"192.0.2.254:179\"} 0".to_owned()));
    for name in ["updates_total", "announced_prefixes_total"] {
        assert!(series.contains(&format!("metallb_bgp_{name}{{peer=\"192.0.2.254:179\"}} 0")));
    }
    assert!(
        series
            .contains(&"metallb_bgp_pending_prefixes_total{peer=\"192.0.2.254:179\"} 1".to_owned()),
        "{series:#?}"
    );
}

#[test]
fn frr_labels_the_vrf_and_frr_k8s_has_a_second_prefix() {
    let labels = "{peer=\"192.0.2.254:179\",vrf=\"default\"} 0";
    let short = "{peer=\"192.0.2.254\",vrf=\"default\"} 0";
    let names = [
        "session_up",
        "announced_prefixes_total",
        "opens_sent",
        "opens_received",
        "notifications_sent",
        "updates_total",
        "updates_total_received",
        "keepalives_sent",
        "keepalives_received",
        "route_refresh_sent",
        "total_sent",
        "total_received",
    ];
    let frr = series(Some("frr"));
    let both = series(Some("frr-k8s"));
    for name in names {
        assert!(frr.contains(&format!("metallb_bgp_{name}{labels}")), "{name}: {frr:#?}");
        assert!(both.contains(&format!("metallb_bgp_{name}{short}")), "{name}");
        assert!(both.contains(&format!("frrk8s_bgp_{name}{short}")), "{name}");
    }
    assert!(!frr.iter().any(|line| line.starts_with("frrk8s_")));
    assert!(both.contains(&format!("frrk8s_bgp_received_prefixes_total{short}")));
}
