// SPDX-License-Identifier: Apache-2.0
//! Real routers as judges: what they make of what we send. One smoke test each; the scenarios with traffic are elsewhere.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod lab;

use std::sync::Arc;
use std::time::Duration;

use bgp::{
    Attributes, Families, Fqdn, GracefulRestart, HoldTime, Password, Remote, Routes, State, Stop,
};
use lab::{Lab, eventually, node, routes};
use testlab::now;

fn everything() -> Attributes {
    Attributes::default()
        .with_med(50)
        .with_as_path_prepend(1)
        .with_communities([0xfde8_0064, 0xffff_ff01])
        .with_large_communities([[64501, 1, 2]])
        .with_extended_communities([[0, 2, 0xfd, 0xe8, 0, 0, 0, 100]])
}

/// All that is optional and that neither router minds.
fn optional(config: &mut bgp::Config) {
    config.families = Families::BOTH;
    config.extended_message = true;
    config.enhanced_route_refresh = true;
    config.graceful_restart =
        Some(GracefulRestart { restart_time: Duration::from_secs(30), notification: true });
    config.long_lived_stale_time = Some(Duration::from_secs(60));
    config.fqdn = Some(Fqdn { host: "node".into(), domain: "example".into() });
    config.hold_time = HoldTime::from_seconds(9).unwrap();
}

fn shows(what: &str, ask: impl Fn() -> String, parts: &[&str]) {
    eventually(what, || {
        let text = ask();
        if parts.iter().all(|part| text.contains(part)) { Ok(()) } else { Err(text) }
    });
}

fn shows_not(what: &str, ask: impl Fn() -> String, part: &str) {
    eventually(what, || {
        let text = ask();
        if text.contains(part) { Err(text) } else { Ok(()) }
    });
}

#[test]
#[ignore = "needs root, network namespaces and BIRD; make test runs it"]
fn bird_takes_everything_as_it_was_meant() {
    let mut lab = Lab::new();
    lab.bird(
        "protocol bgp node { local 192.0.2.2 as 64502; neighbor 192.0.2.1 as 64501; passive;
           password \"right\"; enable extended messages; long lived graceful restart;
           ipv4 { import all; export none; }; ipv6 { import all; export none; }; }",
    );
    let ours = lab.engine(&lab.node);
    let mut config = node("192.0.2.2");
    optional(&mut config);
    config.password = Password::new(b"right");
    let both = ["10.0.0.1/32", "2001:db8:1::/64"];
    ours.engine.set_routes("router", routes(&both, &everything()));
    ours.engine.initial_sync_done();
    ours.peers([config]);
    let status = ours.established();
    let negotiated = status.negotiated.unwrap();
    assert!(negotiated.extended_message && negotiated.enhanced_route_refresh);
    assert!(negotiated.graceful_restart.is_some());
    let attributes = [
        "BGP.origin: IGP",
        "BGP.as_path: 64501 64501",
        "BGP.med: 50",
        "BGP.community: (65000,100) (65535,65281)",
        "BGP.ext_community: (rt, 65000, 100)",
        "BGP.large_community: (64501, 1, 2)",
    ];
    for (prefix, next_hop) in [("10.0.0.1/32", "192.0.2.1"), ("2001:db8:1::/64", "2001:db8::1")] {
        let next_hop = format!("BGP.next_hop: {next_hop}");
        let wanted = [&attributes[..], &[&*next_hop]].concat();
        shows(prefix, || lab.birdc(&format!("show route {prefix} all")), &wanted);
    }
    // A refresh between its marks changes nothing.
    lab.birdc("reload in node");
    ours.until("a refresh", |status| status.counters.received.route_refreshes > 0);
    ours.until("its marks", |status| status.counters.sent.route_refreshes == 4);
    shows("as before", || lab.birdc("show route 10.0.0.1/32 all"), &attributes);
    ours.engine.set_routes("router", routes(&["10.0.0.1/32"], &Attributes::default()));
    shows_not("withdrawn", || lab.birdc("show route"), "2001:db8:1::/64");
    ours.engine.drain(true);
    shows("draining", || lab.birdc("show route all"), &["(65535,0)"]);
    // Hold time 9, three times over.
    let begin = now();
    ours.until("keepalives", |_| now().duration_since(begin) > Duration::from_secs(28));
    assert_eq!(ours.status().dropped, 0);
    ours.stop(Stop::Shutdown("moving out".to_owned()));
    shows("the farewell", || lab.birdc("show protocols all node"), &["moving out"]);
}

#[test]
#[ignore = "needs root, network namespaces and BIRD; make test runs it"]
fn bird_has_ten_thousand_prefixes_soon_and_keeps_them_over_a_restart() {
    let mut lab = Lab::new();
    lab.bird(
        "protocol bgp node { local 192.0.2.2 as 64502; neighbor 192.0.2.1 as 64501; passive;
           graceful restart aware; ipv4 { import all; export none; }; }",
    );
    let attributes = Arc::new(everything());
    let prefix =
        |n: u32| format!("10.{}.{}.{}/32", n >> 16, n >> 8 & 255, n & 255).parse().unwrap();
    let table: Arc<Routes> =
        Arc::new((0..10_000).map(|n| (prefix(n), Arc::clone(&attributes))).collect());
    let mut config = node("192.0.2.2");
    config.graceful_restart =
        Some(GracefulRestart { restart_time: Duration::from_secs(60), notification: false });
    let count = || lab.birdc("show route count");
    let begin = |ours: &lab::Speaker| {
        ours.engine.set_routes("router", Arc::clone(&table));
        ours.engine.initial_sync_done();
        ours.peers([config.clone()]);
        ours.established();
        let begin = now();
        shows("all of them", count, &["10000 of 10000 routes"]);
        begin.elapsed()
    };
    let first = lab.engine(&lab.node);
    let took = begin(&first);
    println!("10,000 prefixes in BIRD {took:?} after Established was seen");
    first.stop(Stop::Restarting("upgrade".to_owned()));
    drop(first);
    shows("waits for us", || lab.birdc("show protocols all node"), &["graceful restart"]);
    shows("kept", count, &["10000 of 10000 routes"]);
    // The new process knows only half of it, and BIRD drops the rest only when it says that this is all.
    let second = lab.engine(&lab.node);
    let half: Arc<Routes> =
        Arc::new((0..5000).map(|n| (prefix(n), Arc::clone(&attributes))).collect());
    second.engine.set_routes("router", half);
    second.peers([config.clone()]);
    second.until("announced", |status| status.announced_prefixes == 5000);
    shows("all are still there", count, &["10000 of 10000 routes"]);
    second.engine.initial_sync_done();
    shows("only what we have", count, &["5000 of 5000 routes"]);
}

#[test]
#[ignore = "needs root, network namespaces and FRR; make test runs it"]
fn frr_takes_everything_as_it_was_meant() {
    let mut lab = Lab::new();
    lab.frr(
        "router bgp 64502
         bgp router-id 192.0.2.2
         no bgp ebgp-requires-policy
         neighbor 2001:db8::1 remote-as 64501
         neighbor 2001:db8::1 capability extended-nexthop
         neighbor 2001:db8::1 password right
         neighbor 2001:db8::1 graceful-restart-helper
         address-family ipv4 unicast
          neighbor 2001:db8::1 activate
         address-family ipv6 unicast
          neighbor 2001:db8::1 activate
         ",
    );
    let ours = lab.engine(&lab.node);
    let mut config = node("2001:db8::2");
    optional(&mut config);
    config.extended_next_hop = true;
    config.listen_port = Some(179);
    config.password = Password::new(b"right");
    let both = ["10.0.0.1/32", "2001:db8:1::/64"];
    ours.engine.set_routes("router", routes(&both, &everything()));
    ours.engine.initial_sync_done();
    ours.peers([config]);
    let negotiated = ours.established().negotiated.unwrap();
    assert!(negotiated.extended_next_hop && negotiated.graceful_restart.is_some());
    let wanted = [
        "64501 64501",
        "2001:db8::1",
        "metric 50",
        "Community: 65000:100 no-export",
        "Extended Community: RT:65000:100",
        "Large Community: 64501:1:2",
    ];
    shows("IPv4", || lab.vtysh("show bgp ipv4 unicast 10.0.0.1/32"), &wanted);
    shows("IPv6", || lab.vtysh("show bgp ipv6 unicast 2001:db8:1::/64"), &wanted);
    let neighbour = || lab.vtysh("show bgp neighbors 2001:db8::1");
    shows("our name", neighbour, &["Hostname: node", "Hold time is 9"]);
    lab.vtysh("clear bgp ipv6 unicast 2001:db8::1 soft in");
    ours.until("a refresh", |status| status.counters.received.route_refreshes > 0);
    ours.engine.set_routes("router", routes(&["10.0.0.1/32"], &Attributes::default()));
    shows_not("withdrawn", || lab.vtysh("show bgp ipv6 unicast"), "2001:db8:1::/64");
    assert_eq!(ours.status().dropped, 0);
    ours.stop(Stop::Shutdown("moving out".to_owned()));
    shows("the farewell", neighbour, &["(Cease/Administrative Shutdown/Hard Reset)"]);
}

#[test]
#[ignore = "needs root, network namespaces and FRR; make test runs it"]
fn frr_speaks_over_an_unnumbered_link() {
    let mut lab = Lab::new();
    lab.frr(
        "router bgp 64502
         bgp router-id 192.0.2.2
         no bgp ebgp-requires-policy
         neighbor eth0 interface v6only remote-as external
         address-family ipv6 unicast
          neighbor eth0 activate
         ",
    );
    let ours = lab.engine(&lab.node);
    let mut config = node("192.0.2.2");
    config.remote = Remote::Interface("eth0".into());
    config.families = Families::BOTH;
    config.extended_next_hop = true;
    let both = ["10.0.0.1/32", "2001:db8:1::/64"];
    ours.engine.set_routes("router", routes(&both, &everything()));
    ours.peers([config]);
    ours.until("Established", |status| status.state == State::Established);
    shows("IPv4", || lab.vtysh("show bgp ipv4 unicast 10.0.0.1/32"), &["64501 64501", "fe80::"]);
    shows("IPv6", || lab.vtysh("show bgp ipv6 unicast 2001:db8:1::/64"), &["64501 64501"]);
}

#[test]
#[ignore = "needs root, network namespaces and GoBGP; make test runs it"]
fn gobgp_takes_everything_as_it_was_meant() {
    let mut lab = Lab::new();
    let conf = lab.file("gobgp.toml");
    std::fs::write(
        &conf,
        "[global.config]\nas = 64502\nrouter-id = \"192.0.2.2\"\n\
         [[neighbors]]\n[neighbors.config]\nneighbor-address = \"192.0.2.1\"\npeer-as = 64501\nauth-password = \"right\"\n\
         [neighbors.transport.config]\npassive-mode = true\n\
         [[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"ipv4-unicast\"\n\
         [[neighbors.afi-safis]]\n[neighbors.afi-safis.config]\nafi-safi-name = \"ipv6-unicast\"\n",
    )
    .unwrap();
    lab.daemon(&["gobgpd", "-f", &conf, "--api-hosts", "127.0.0.1:50051"]);
    let ours = lab.engine(&lab.node);
    let mut config = node("192.0.2.2");
    optional(&mut config);
    config.password = Password::new(b"right");
    let both = ["10.0.0.1/32", "2001:db8:1::/64"];
    ours.engine.set_routes("router", routes(&both, &everything()));
    ours.engine.initial_sync_done();
    ours.peers([config]);
    ours.established();
    let gobgp = |family: &str| {
        let mut command = lab.router.command("gobgp");
        let output = testlab::output(command.args(["global", "rib", "-a", family])).unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let wanted = ["64501 64501", "{Med: 50}", "65000:100", "64501:1:2"];
    shows("IPv4", || gobgp("ipv4"), &[&wanted[..], &["10.0.0.1/32", "192.0.2.1"]].concat());
    shows("IPv6", || gobgp("ipv6"), &[&wanted[..], &["2001:db8:1::/64", "2001:db8::1"]].concat());
    ours.engine.set_routes("router", Arc::default());
    shows_not("withdrawn", || gobgp("ipv4"), "10.0.0.1/32");
}
