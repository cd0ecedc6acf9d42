// SPDX-License-Identifier: Apache-2.0
//! The start beside a listed speaker that takes connections and answers nothing: L2 waits for the ring, BGP does not, and what became
//! dirty meanwhile is L2's to decide afterwards. In a network namespace of its own (root), with the real ring, engine and sessions.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod world;

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use cluster::Dirty;
use members::Settings;
use nix::sched::{CloneFlags, unshare};
use serde_json::json;
use speaker::net::{
    BgpDriver, BgpOptions, Fencing, Layer2Driver, Membership, MembershipOptions, RingDriver,
    RingSignals, Style, until,
};
use speaker::{Listed, Listing, Modes, Output, Pod, RouteOutput, Speaker};
use world::{World, advertisement, key, node, options, pool, service, slice};

fn ip(arguments: &str) {
    assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success());
}

fn world() -> World {
    let mut world = World::new(&[]);
    for object in [
        node("node-a", json!({})),
        pool("p", &["192.0.2.0/24"]),
        advertisement("l2", json!({})),
        json!({ "kind": "BGPAdvertisement", "metadata": { "name": "bgp" }, "spec": {} }),
        service("web", &["192.0.2.100"]),
        slice("web", &["node-a"]),
    ] {
        world.stage(&object);
    }
    world
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn routes_are_published_while_the_ring_starts_and_l2_decides_later() {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ip("link set lo up");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(start());
    });
    thread.join().unwrap();
}

async fn start() {
    let silent = TcpListener::bind("127.0.0.2:7946").unwrap();
    let permit = l2::Permit::none();
    let (ring, signals) = RingDriver::start(MembershipOptions {
        node: "node-a".into(),
        bind: "127.0.0.1:7946".parse().unwrap(),
        advertise: None,
        key: None,
        settings: Settings::lan(),
        fencing: Fencing::Majority,
        fence_two: false,
        drain_on_cordon: false,
        modes: Modes { sticky: false, spread: false },
        alone: false,
        permit: permit.clone(),
    })
    .unwrap();
    let mut signals = Some(signals);
    let mut membership = Membership::new(ring, None);
    let address = Some(silent.local_addr().unwrap());
    let pods = vec![Pod { node: None, address, ready: true, young_until: None }];
    membership.find(&Listed { pods, listing: Listing::NoApi });
    let (mut driver, _events) = Layer2Driver::start(
        Speaker::new(options("node-a")),
        l2::Options { permit, ..l2::Options::default() },
    )
    .unwrap();
    let (mut bgp, _signals) = BgpDriver::start(BgpOptions {
        speaker: options("node-a"),
        drain_time: Duration::ZERO,
        drain_on_cordon: false,
        style: Style::of(None),
    });
    let mut world = world();

    assert!(membership.ring.attendance().is_starting());
    let mut dirty = world.snapshot.take_dirty();
    assert!(!dirty.is_empty());
    assert!(membership.decide(&world.snapshot, &mut driver, &mut dirty).is_none(), "L2 waits");
    let routes = bgp.reconcile(&world.snapshot, &dirty);
    assert!(
        matches!(&routes[..], [RouteOutput::Advertised { service, .. }] if *service == key("web"))
    );
    assert_eq!(bgp.books().advertised()[&key("web")].paths.len(), 1);
    assert!(world.snapshot.take_dirty().is_empty());

    while membership.ring.attendance().is_starting() {
        let deadline = membership.deadline(&driver);
        tokio::select! {
            event = RingSignals::next(&mut signals) => membership.handle(event, &mut driver),
            () = until(deadline) => membership.expire(&world.snapshot, &mut driver),
        }
    }
    let mut dirty = Dirty::default();
    let outputs = membership.decide(&world.snapshot, &mut driver, &mut dirty).unwrap();
    assert!(
        outputs.iter().any(
            |output| matches!(output, Output::Announced { service, .. } if *service == key("web"))
        ),
        "{outputs:?}"
    );
    bgp.stop().await;
    driver.shutdown();
}
