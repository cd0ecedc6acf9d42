// SPDX-License-Identifier: Apache-2.0
//! The start beside a listed speaker that takes connections and answers nothing: L2 waits for the ring, BGP does not, and what became
//! dirty meanwhile is L2's to decide afterwards. In a network namespace of its own (root), with the real ring, engine and sessions.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod world;

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use clock::until;
use cluster::Dirty;
use members::Settings;
use nix::sched::{CloneFlags, unshare};
use serde_json::json;
use speaker::net::{
    AgentDriver, AgentSignals, BgpDriver, BgpOptions, Driver, MembershipOptions, Style,
};
use speaker::{Fact, Listed, Listing, Modes, Output, Pod, RouteOutput};
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
    let membership = MembershipOptions {
        bind: "127.0.0.1:7946".parse().unwrap(),
        advertise: None,
        key: None,
        settings: Settings::lan(),
        fence_two: false,
        modes: Modes { sticky: false, spread: false },
        alone: false,
        permit: permit.clone(),
    };
    let (agent, signals, core) = AgentDriver::start(membership, options("node-a")).unwrap();
    let mut signals = Some(signals);
    let (bgp, _signals) = BgpDriver::start(BgpOptions {
        speaker: options("node-a"),
        drain_time: Duration::ZERO,
        drain_on_cordon: false,
        style: Style::of(None),
    });
    let engine = l2::Options { permit, ..l2::Options::default() };
    let (mut driver, _events) = Driver::start(core, agent, bgp, engine).unwrap();
    let address = Some(silent.local_addr().unwrap());
    let pods = vec![Pod { node: None, address, ready: true, young_until: None }];
    driver.find(&Listed { pods, listing: Listing::NoApi });
    let mut world = world();

    assert!(driver.core().view().is_starting());
    let mut dirty = world.snapshot.take_dirty();
    assert!(!dirty.is_empty());
    assert!(!driver.decide(&world.snapshot, &mut dirty), "L2 waits");
    driver.decide_routes(&world.snapshot, &dirty);
    let notices = notices(&mut driver);
    assert!(
        matches!(&notices[..], [Fact::Route(RouteOutput::Advertised { service, .. })] if *service == key("web")),
        "{notices:?}"
    );
    assert_eq!(driver.core().routes().advertised()[&key("web")].paths.len(), 1);
    assert!(world.snapshot.take_dirty().is_empty());

    while driver.core().view().is_starting() {
        let deadline = driver.deadline();
        tokio::select! {
            signal = AgentSignals::next(&mut signals) => driver.handle_agent(signal),
            () = until(deadline) => driver.expire(&world.snapshot),
        }
    }
    let mut dirty = Dirty::default();
    assert!(driver.decide(&world.snapshot, &mut dirty));
    let announced = |notice: &Fact| matches!(notice, Fact::Layer2(Output::Announced { service, .. }) if *service == key("web"));
    let notices = self::notices(&mut driver);
    assert!(notices.iter().any(announced), "{notices:?}");
    driver.stop().await;
}

fn notices(driver: &mut Driver) -> Vec<Fact> {
    std::iter::from_fn(|| driver.poll()).collect()
}
