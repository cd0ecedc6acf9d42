// SPDX-License-Identifier: Apache-2.0
//! `ferrolb run --discard-aggregates`: what no Service owns within an aggregate does not go round in circles.
//!
//! Topology: a host without Kubernetes whose default route leads to BIRD, and a machine behind BIRD.
//! Steps: the host announces an aggregate: a packet to an address in it that no Service owns comes back to BIRD until its
//! time is over; the program is killed and started again with --discard-aggregates: such packets end at the host, by both families;
//! it is killed and started without aggregates: the route that was left behind is gone; it announces the aggregate again and is stopped
//! in order: no route stays.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;

use crate::lab::bgp::ASN;
use crate::lab::folder::{start, write};
use crate::lab::netns::Namespace;
use crate::lab::objects::{bgp_advertisement, bgp_peer, merge, pool, service};
use crate::lab::router::{Families, Kind, Neighbour, Setup};
use crate::lab::wait::{always, eventually_true};
use crate::lab::{Lab, SOON};

const AGGREGATES: [&str; 2] = ["10.61.0.0/24", "fd61::/120"];
/// Within the aggregates, and nobody's.
const UNOWNED: [&str; 2] = ["10.61.0.99", "fd61::99"];

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let base = lab.folder().join("aggregate");
    // Of an earlier time in this lane.
    let _ = std::fs::remove_dir_all(&base);
    let manifests = base.join("manifests");
    std::fs::create_dir_all(&manifests)?;
    let host = lab.switch.attach("host", "eth0", "02:fb:00:00:00:01")?;
    host.ip("address add 172.30.0.11/24 dev eth0\naddress add fd30::11/64 dev eth0")?;
    host.sysctl(&[("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")])?;
    let mut neighbour = Neighbour::new("node", "172.30.0.11", ASN);
    neighbour.families = Families::Both;
    let mut setup = Setup::new(Kind::Bird, vec![neighbour]);
    setup.forward = true;
    lab.add_router(Kind::Bird, &setup)?;
    let (v4, v6) = (Kind::Bird.v4(), Kind::Bird.v6());
    host.ip(&format!("route add default via {v4}\nroute add default via {v6}"))?;
    let customer = lab.customer_behind(Kind::Bird)?;

    let peer = json!({
        "myASN": ASN, "peerASN": Kind::Bird.asn(), "peerAddress": v4,
        "dualStackAddressFamily": true, "connectTime": "1s",
    });
    write(&manifests, "pool", &pool("pool", &AGGREGATES))?;
    write(&manifests, "peer", &bgp_peer("bird", peer))?;
    let lengths = json!({"aggregationLength": 24, "aggregationLengthV6": 120});
    write(&manifests, "advertisement", &bgp_advertisement("a", lengths))?;
    let mut web = service("web", json!({"spec": {"ipFamilyPolicy": "RequireDualStack"}}));
    merge(&mut web, json!({"metadata": {"namespace": "default"}}));
    write(&manifests, "web", &web)?;

    let mut ferrolb = start(lab, &host, &base, &[])?;
    lab.router(Kind::Bird)?.wait_prefixes("node", &AGGREGATES)?;
    for address in UNOWNED {
        eventually_true(&format!("packets to {address} go round in circles"), SOON, || {
            loops(&customer, address)
        })?;
    }
    ferrolb.kill();

    let mut ferrolb = start(lab, &host, &base, &["--discard-aggregates"])?;
    lab.router(Kind::Bird)?.wait_prefixes("node", &AGGREGATES)?;
    expect_routes(&host, &AGGREGATES)?;
    for address in UNOWNED {
        always(&format!("packets to {address} end at the host"), Duration::from_secs(1), || {
            Ok(!loops(&customer, address)?)
        })?;
    }
    ferrolb.kill();
    expect_routes(&host, &AGGREGATES)?;

    std::fs::remove_file(manifests.join("advertisement.yaml"))?;
    let mut ferrolb = start(lab, &host, &base, &["--discard-aggregates"])?;
    expect_routes(&host, &[])?;
    write(&manifests, "advertisement", &bgp_advertisement("a", json!({"aggregationLength": 24})))?;
    expect_routes(&host, &["10.61.0.0/24"])?;
    let status = ferrolb.terminate(SOON)?;
    ensure!(status.success(), "on SIGTERM it ended with {status}");
    ensure!(routes(&host)?.is_empty(), "{:?} is left behind", routes(&host)?);
    Ok(())
}

/// Whether somebody says that the packet's time was over on its way.
fn loops(customer: &Namespace, address: &str) -> anyhow::Result<bool> {
    // It fails, as nobody answers.
    let output = customer.output("ping", ["-n", "-c", "1", "-W", "1", address])?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(said.contains("Time to live exceeded") || said.contains("Hop limit"))
}

/// The prefixes that the host discards.
fn routes(host: &Namespace) -> anyhow::Result<Vec<String>> {
    let mut prefixes = Vec::new();
    for family in ["-4", "-6"] {
        let text = host.run("ip", [family, "route", "show", "type", "blackhole"])?;
        prefixes.extend(text.lines().filter_map(|line| {
            line.split_whitespace().find(|word| word.contains('/')).map(str::to_owned)
        }));
    }
    Ok(prefixes)
}

fn expect_routes(host: &Namespace, wanted: &[&str]) -> anyhow::Result<()> {
    eventually_true(&format!("the host discards {wanted:?}"), SOON, || Ok(routes(host)? == wanted))
}
