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
use serde_json::{Value, json};
use speaker::net::{BgpDriver, BgpOptions, SessionNotice, Signal, Style, clock_reading};
use speaker::{Core, Effect};
use world::{World, node, options, pool, service, slice};

/// A peer that never connects.
fn peer(name: &str, created: &str, spec: Value) -> Value {
    let mut peer = json!({
        "apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer",
        "metadata": { "name": name, "creationTimestamp": created },
        "spec": { "myASN": 64512, "peerASN": 64513, "peerAddress": "192.0.2.254", "passive": true, "listenPort": 1791 },
    });
    let fields = peer["spec"].as_object_mut().unwrap();
    fields.extend(spec.as_object().unwrap().clone());
    peer
}

/// The series of a node with one peer and one Service.
fn series(mode: Option<&str>) -> Vec<String> {
    let tor = peer("tor", "2026-01-01T00:00:00Z", json!({}));
    let (series, rejections, notices) = series_of(mode, &[tor]);
    assert_eq!((rejections, notices), (0, Vec::new()));
    series
}

/// The series of a node with these peers and one Service, how many objects were turned away, and what is to be told.
fn series_of(mode: Option<&str>, peers: &[Value]) -> (Vec<String>, usize, Vec<SessionNotice>) {
    let advertisement =
        json!({ "kind": "BGPAdvertisement", "metadata": { "name": "ad" }, "spec": {} });
    let mut objects = vec![
        node("a", json!({})),
        pool("p", &["10.0.0.0/24"]),
        advertisement,
        service("web", &["10.0.0.1"]),
        slice("web", &["a"]),
    ];
    objects.extend_from_slice(peers);
    let world = World::new(&objects);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut driver, _signals) = BgpDriver::start(BgpOptions {
            speaker: options("a"),
            drain_time: Duration::ZERO,
            drain_on_cordon: false,
            style: Style::of(mode),
        });
        let registry = Registry::new();
        registry.register(Box::new(driver.collector())).unwrap();
        let all = Dirty { all: true, ..Dirty::default() };
        let (dirty, sessions) = driver.arrange(&world.snapshot, &all);
        let mut core = Core::disabled(options("a"), clock_reading());
        core.decide_routes(&world.snapshot, &dirty, sessions);
        while let Some(effect) = core.poll() {
            if let Effect::Routes { peer, changes } = effect {
                driver.change_routes(&peer, changes);
            }
        }
        driver.decided();
        let mut notices = driver.handle(Signal::Sessions);
        assert_eq!(driver.handle(Signal::Sessions), [], "told once");
        notices.retain(|notice| matches!(notice, SessionNotice::SharedSeries { .. }));
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        let series = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned);
        (series.collect(), world.snapshot.rejections().len(), notices)
    })
}

#[test]
fn a_peer_that_cannot_have_a_session_has_a_session_that_is_down() {
    let missing = json!({"passwordSecret": {"name": "gone"}});
    let (series, rejections, _) = series_of(None, &[peer("tor", "2026-01-01T00:00:00Z", missing)]);
    assert_eq!(rejections, 1);
    let up: Vec<_> = series.iter().filter(|line| line.contains("session_up")).collect();
    assert_eq!(up, ["metallb_bgp_session_up{peer=\"192.0.2.254:179\"} 0"]);
    let long = json!({"password": "x".repeat(81)});
    let elsewhere = json!({"nodeSelectors": [{"matchLabels": {"rack": "other"}}], "peerAddress": "192.0.2.253"});
    let (series, ..) = series_of(
        None,
        &[
            peer("long", "2026-01-01T00:00:00Z", long),
            peer("elsewhere", "2026-01-01T00:00:00Z", elsewhere),
        ],
    );
    let up: Vec<_> = series.iter().filter(|line| line.contains("session_up")).collect();
    assert_eq!(up, ["metallb_bgp_session_up{peer=\"192.0.2.254:179\"} 0"]);
}

#[test]
fn of_peers_with_equal_labels_the_oldest_has_the_series_and_the_others_are_told() {
    let from = |address: &str| json!({"sourceAddress": address});
    let peers = [
        peer("a", "2026-01-02T00:00:00Z", from("192.0.2.2")),
        peer("b", "2026-01-01T00:00:00Z", from("192.0.2.1")),
    ];
    let (series, rejections, notices) = series_of(None, &peers);
    assert_eq!(rejections, 0);
    let pending: Vec<_> = series.iter().filter(|line| line.contains("pending")).collect();
    assert_eq!(pending, ["metallb_bgp_pending_prefixes_total{peer=\"192.0.2.254:179\"} 1"]);
    let told = SessionNotice::SharedSeries { peer: "a".into(), older: Some("b".into()) };
    assert_eq!(notices, [told]);
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
    assert!(!frr.iter().any(|line| line.contains("received_prefixes_total")));
    assert!(frr.contains(&format!("ferrolb_bgp_dropped_prefixes_total{labels}")));
}
