// SPDX-License-Identifier: Apache-2.0
//! Routes of this host, in a network namespace of each test's own (root): ours come and go, and no other route is touched.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::process::Command;

use ipnet::IpNet;
use nix::sched::{CloneFlags, unshare};
use speaker::net::{HostRoutes, RouteAction};

/// Runs in a network namespace of its own, with a link `eth0` that has 192.0.2.1/24 and 2001:db8::1/64.
fn inside<F: Future<Output = ()>>(work: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        ip("link set lo up");
        ip("link add eth0 type veth peer name peer");
        ip("link set peer up");
        ip("link set eth0 up");
        give("192.0.2.1/24");
        give("2001:db8::1/64");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work());
    });
    thread.join().unwrap();
}

/// Gives the host an address, and waits until the kernel has a route for it: with IPv6 that comes a moment later.
fn give(address: &str) {
    let is_v6 = address.contains(':');
    let (family, nodad) = if is_v6 { ("-6", " nodad") } else { ("-4", "") };
    ip(&format!("address add {address} dev eth0{nodad}"));
    let own = format!("local {} dev eth0 ", address.split('/').next().unwrap());
    let has = || {
        let routes = ip(&format!("{family} route show table local"));
        routes.lines().any(|route| route.starts_with(&own) && route.contains("proto kernel"))
    };
    for _ in 0..1000 {
        if has() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("the kernel has no route for {address}: {:#?}", routes());
}

fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every route of both families and all tables, but those to the link's own link-local addresses, which come in their own time.
fn routes() -> BTreeSet<String> {
    let all = ip("-4 route show table all") + &ip("-6 route show table all");
    let lines = all.lines().filter(|line| !line.contains("fe80:") && !line.contains("ff00:"));
    lines.map(|line| line.trim().to_owned()).collect()
}

fn prefixes(texts: &[&str]) -> BTreeSet<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn what_the_host_has_itself_is_refused_and_stays() {
    inside(async || {
        let before = routes();
        let mut accept = HostRoutes::start(RouteAction::Accept, "a folder").await.unwrap();
        let own = ["192.0.2.1/32", "192.0.2.255/32", "127.0.0.1/32", "2001:db8::1/128"];
        let wanted = [&own[..], &["192.0.2.2/32", "2001:db8::2/128"]].concat();
        accept.set(&prefixes(&wanted)).await.unwrap();
        let refused: BTreeSet<IpNet> = accept.refused().keys().copied().collect();
        assert_eq!(refused, prefixes(&own));
        let added: Vec<String> = routes().difference(&before).cloned().collect();
        assert_eq!(added.len(), 2, "{added:?}");
        assert!(before.is_subset(&routes()));
        accept.set(&prefixes(&own)).await.unwrap();
        assert_eq!(routes(), before);
        accept.sweep().await.unwrap();
        assert_eq!(routes(), before);
    });
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn an_address_that_the_host_gets_later_stays_when_ours_goes() {
    inside(async || {
        let mut accept = HostRoutes::start(RouteAction::Accept, "a folder").await.unwrap();
        let wanted = prefixes(&["192.0.2.2/32", "2001:db8::2/128"]);
        accept.set(&wanted).await.unwrap();
        give("192.0.2.2/24");
        give("2001:db8::2/64");
        accept.set(&BTreeSet::new()).await.unwrap();
        let left = routes();
        let kernel = |address: &str| {
            left.iter().any(|route| {
                route.starts_with(&format!("local {address} dev eth0"))
                    && route.contains("proto kernel")
            })
        };
        assert!(kernel("192.0.2.2") && kernel("2001:db8::2"), "{left:#?}");
        assert!(!left.iter().any(|route| route.contains("proto 219")), "{left:#?}");
        accept.set(&wanted).await.unwrap();
        assert_eq!(accept.refused().len(), 2);
        ip("address del 192.0.2.2/24 dev eth0");
        accept.set(&wanted).await.unwrap();
        assert_eq!(accept.refused().len(), 1, "what the host no longer has is accepted");
    });
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn only_what_the_same_owner_left_behind_is_removed_at_the_start() {
    inside(async || {
        // Somebody else's, with our protocol number.
        ip("route add local 198.51.100.9/32 dev lo table local proto 219");
        ip("route add blackhole 198.51.100.0/24 proto 219");
        let before = routes();
        for (action, prefix) in
            [(RouteAction::Accept, "192.0.2.2/32"), (RouteAction::Discard, "203.0.113.0/24")]
        {
            let mut killed = HostRoutes::start(action, "a folder").await.unwrap();
            killed.set(&prefixes(&[prefix])).await.unwrap();
            let mut other = HostRoutes::start(action, "another folder").await.unwrap();
            // Both may have the same one.
            other.set(&prefixes(&[prefix])).await.unwrap();
            assert!(other.refused().is_empty(), "{:?}", other.refused());
            assert_eq!(routes().difference(&before).count(), 2, "{:#?}", routes());
            // Dropped without a sweep, as by SIGKILL.
            drop(killed);
            let again = HostRoutes::start(action, "a folder").await.unwrap();
            assert_eq!(routes().difference(&before).count(), 1, "{:#?}", routes());
            again.sweep().await.unwrap();
            other.sweep().await.unwrap();
            assert_eq!(routes(), before);
        }
    });
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_route_that_somebody_else_removed_or_added_is_no_error() {
    inside(async || {
        let mut accept = HostRoutes::start(RouteAction::Accept, "a folder").await.unwrap();
        let wanted = prefixes(&["192.0.2.2/32", "2001:db8::2/128"]);
        accept.set(&wanted).await.unwrap();
        ip("route del local 192.0.2.2 dev lo table local proto 219");
        ip("-6 route del local 2001:db8::2 dev lo table local proto 219");
        accept.set(&BTreeSet::new()).await.unwrap();
        accept.set(&wanted).await.unwrap();
        // As one that lost track of its own routes.
        let mut twin = HostRoutes::start(RouteAction::Accept, "a folder").await.unwrap();
        twin.set(&wanted).await.unwrap();
        accept.sweep().await.unwrap();
        accept.set(&BTreeSet::new()).await.unwrap();
        assert!(!routes().iter().any(|route| route.contains("proto 219")));
    });
}
