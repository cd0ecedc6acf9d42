// SPDX-License-Identifier: Apache-2.0
//! What BGP takes, with BIRD as the judge: memory and CPU, how soon routes are there and gone, a large table
//! from a standing start beside GoBGP's, and that many edits reset nothing.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::cluster::{addressed, create, pid, quiet, with_own};
use super::report::Report;
use super::usage::cpu;
use crate::lab::bgp::{ASN, endpoint};
use crate::lab::node::Proxy;
use crate::lab::objects::{bfd_profile, bgp_advertisement, bgp_peer, merge, pool};
use crate::lab::process::{Process, Rights, Start};
use crate::lab::router::{Kind, Neighbour, Router, Setup};
use crate::lab::wait::{closely, eventually_true, now};
use crate::lab::{Lab, SOON};

const SERVICES: usize = 1_000;
const PREFIXES: usize = 10_000;
const EDITS: u64 = 10_000;
/// How many entries gobgp's command line has on the way at most.
const GOBGP_QUEUE: u32 = 1024;
const MINUTES: Duration = Duration::from_secs(300);
/// The addresses of the BIRDs, one for each peer of a speaker: BIRD 2.0 begins a session with an address only when it has no
/// other with it, whatever its own address is.
const PEERS: [&str; 3] = ["172.30.0.122", "172.30.0.125", "172.30.0.126"];

pub(super) fn measure(lab: &mut Lab, binaries: &Path, report: &mut Report) -> anyhow::Result<()> {
    lab.start_controller(&[super::cluster::LOG_LEVEL])?;
    lab.start_nodes(3, Proxy::Absent)?;
    lab.start_speakers(&[super::cluster::LOG_LEVEL])?;
    lab.kube().apply(&pool("pool", &["10.60.0.0/16", "fd60::/112"]))?;
    lab.kube().apply(&bgp_advertisement("all", json!({})))?;
    lab.kube().apply(&bfd_profile(
        "fast",
        json!({"receiveInterval": 50, "transmitInterval": 50, "detectMultiplier": 3}),
    ))?;
    start_bird(lab)?;
    for (number, address) in PEERS.iter().enumerate() {
        let spec = json!({"myASN": ASN, "peerASN": Kind::Bird.asn(), "peerAddress": address, "bfdProfile": if number == 0 { "fast" } else { "" }});
        lab.kube().apply(&bgp_peer(&format!("p{number}"), spec))?;
    }
    for (number, bird) in lab.routers.iter().enumerate() {
        for node in 1..=3 {
            bird.wait_established(&format!("n{number}x{node}"))?;
        }
    }
    let speaker = pid(lab)?;
    quiet(speaker)?;
    report.add(
        "speaker resident, three BGP peers, idle (own memory of it)",
        "",
        with_own(speaker)?,
    );

    let before = cpu(speaker)?;
    let start = now();
    create(lab, 0..SERVICES)?;
    let last = now();
    addressed(lab, SERVICES - 1)?;
    let given = now();
    closely("every BIRD has every prefix", MINUTES, || {
        for (number, bird) in lab.routers.iter().enumerate() {
            if imported(bird, &format!("n{number}x1"))? < SERVICES {
                return Ok(false);
            }
        }
        Ok(true)
    })?;
    let there = now();
    report.add(
        "last of 1,000 Services created -> all prefixes in three BIRDs (until all have an address)",
        "100 ms",
        format!("{} ms ({} ms)", (there - last).as_millis(), (given - last).as_millis()),
    );
    quiet(speaker)?;
    report.add(
        format!(
            "speaker CPU while 1,000 Services are created, three BGP peers (in {:.0} s)",
            (there - start).as_secs_f64()
        ),
        "< 0.5 s",
        format!("{:.2} s", (cpu(speaker)? - before).as_secs_f64()),
    );
    report.add(
        "speaker resident, 1,000 Services, three BGP peers (own memory of it)",
        "12 MB",
        with_own(speaker)?,
    );
    node_cut(lab, report)?;
    edits(lab, binaries, report)?;
    for node in &mut lab.nodes {
        node.speaker = None;
    }
    standing_start(lab, binaries, report)
}

fn start_bird(lab: &mut Lab) -> anyhow::Result<()> {
    for (number, own) in PEERS.iter().enumerate() {
        let neighbour = |node: usize| Neighbour {
            bfd: number == 0,
            ..Neighbour::new(&format!("n{number}x{node}"), &format!("172.30.0.{}", 10 + node), ASN)
        };
        let mut neighbours: Vec<Neighbour> = (1..=3).map(neighbour).collect();
        let mut router = if number == 0 {
            // For the standing start.
            let gobgp = Neighbour::new("gobgp", &Kind::Gobgp.v4(), Kind::Gobgp.asn());
            neighbours.push(Neighbour { passive: false, ..gobgp });
            Router::new(Kind::Bird, &lab.switch, &lab.programs.folder)?
        } else {
            let mac = format!("02:fb:00:00:00:{:02x}", 0xe8 + number);
            let namespace = lab.switch.attach(&format!("bird{number}"), "eth0", &mac)?;
            namespace.ip(&format!("address add {own}/24 dev eth0"))?;
            Router::within(Kind::Bird, namespace, &lab.programs.folder)?
        };
        let mut setup = Setup::new(Kind::Bird, neighbours);
        (*own).clone_into(&mut setup.identifier);
        router.start(&setup.text(Kind::Bird))?;
        lab.routers.push(router);
    }
    lab.router(Kind::Bird)?.ask(&["disable", "gobgp"])?;
    Ok(())
}

/// How many routes BIRD has from a neighbour.
fn imported(bird: &Router, neighbour: &str) -> anyhow::Result<usize> {
    let text = bird.ask(&["show", "protocols", "all", neighbour])?;
    let counts = text.lines().filter_map(|line| line.trim().strip_prefix("Routes:"));
    let numbers = counts.filter_map(|rest| rest.split_whitespace().next()?.parse::<usize>().ok());
    Ok(numbers.sum())
}

/// The node's link is cut: from then until BIRD has no route of it.
fn node_cut(lab: &Lab, report: &mut Report) -> anyhow::Result<()> {
    let mut times = Vec::new();
    for _ in 0..5 {
        // The cable between node and switch; the router's own stays, so that only BFD tells.
        lab.switch.set_cable("node1", false)?;
        let start = now();
        closely("BIRD has no route of the node", SOON, || {
            Ok(imported(lab.router(Kind::Bird)?, "n0x1")? == 0)
        })?;
        times.push(start.elapsed());
        lab.switch.set_cable("node1", true)?;
        eventually_true("its routes are back", MINUTES, || {
            Ok(imported(lab.router(Kind::Bird)?, "n0x1")? >= SERVICES)
        })?;
    }
    times.sort();
    let millis: Vec<String> = times.iter().map(|time| time.as_millis().to_string()).collect();
    report.add(
        "node cut off, BFD 50 ms x 3 -> its 1,000 routes gone from BIRD, five times",
        "200 ms",
        format!("{} ms", millis.join(", ")),
    );
    Ok(())
}

/// Random edits of Services; then no session was reset, and BIRD holds what `plan` says.
fn edits(lab: &Lab, binaries: &Path, report: &mut Report) -> anyhow::Result<()> {
    let bird = lab.router(Kind::Bird)?;
    let since = |name: &str| -> anyhow::Result<String> { Ok(bird.session(name)?.since) };
    let names = ["n0x1", "n0x2", "n0x3"];
    let before: Vec<String> = names.iter().map(|name| since(name)).collect::<Result<_, _>>()?;
    let mut random = 1_u64;
    for _ in 0..EDITS {
        // A linear congruential generator (Knuth's MMIX): the same edits in every run.
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let name = format!("s{}", (random >> 33) % SERVICES as u64);
        match (random >> 60) % 4 {
            0 => lab.set_endpoints(&name, &[])?,
            1 => lab.set_endpoints(&name, &[endpoint(1), endpoint(2)])?,
            2 => lab.set_endpoints(&name, &[endpoint(3)])?,
            _ => {
                let policy = if random & (1 << 40) == 0 { "Local" } else { "Cluster" };
                let patch = json!({"spec": {"externalTrafficPolicy": policy}});
                lab.kube().patch(&format!("/api/v1/namespaces/default/services/{name}"), &patch)?;
            }
        };
    }
    let folder = crate::lab::cleanup::folder(0)?.join("edited");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("all.json"), dump(lab)?)?;
    let plan = Command::new(binaries.join("ferrolb"))
        .args(["plan", "--output", "json", "--require-endpoints", "--node", "node1"])
        .arg(&folder)
        .output()?;
    ensure!(plan.status.success(), "{}", String::from_utf8_lossy(&plan.stderr));
    let plan: Value = serde_json::from_slice(&plan.stdout)?;
    let planned = planned(&plan, "p0", "node1");
    eventually_true("BIRD has what is planned", MINUTES, || {
        let routes = bird.routes()?;
        let seen: BTreeSet<String> = routes
            .into_iter()
            .filter(|route| route.neighbour == "n0x1")
            .map(|route| route.prefix)
            .collect();
        Ok(seen == planned)
    })?;
    let after: Vec<String> = names.iter().map(|name| since(name)).collect::<Result<_, _>>()?;
    let resets = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    report.add(
        "10,000 random edits of Services: sessions reset; BIRD's table against `plan`",
        "0; equal",
        format!("{resets}; equal ({} prefixes)", planned.len()),
    );
    Ok(())
}

/// Everything that a plan is made from, as one list.
fn dump(lab: &Lab) -> anyhow::Result<String> {
    let mut items = Vec::new();
    let kinds = [
        ("/api/v1/nodes", "v1", "Node"),
        ("/api/v1/namespaces/default/services", "v1", "Service"),
        (
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            "discovery.k8s.io/v1",
            "EndpointSlice",
        ),
        (
            "/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools",
            "metallb.io/v1beta1",
            "IPAddressPool",
        ),
        (
            "/apis/metallb.io/v1beta1/namespaces/metallb-system/bgpadvertisements",
            "metallb.io/v1beta1",
            "BGPAdvertisement",
        ),
        (
            "/apis/metallb.io/v1beta1/namespaces/metallb-system/bfdprofiles",
            "metallb.io/v1beta1",
            "BFDProfile",
        ),
        (
            "/apis/metallb.io/v1beta2/namespaces/metallb-system/bgppeers",
            "metallb.io/v1beta2",
            "BGPPeer",
        ),
    ];
    for (path, version, kind) in kinds {
        for mut object in lab.kube().list(path)? {
            if kind == "Service" {
                // What it was given, in the words of a request: a folder has no status.
                let given: Vec<&str> = object
                    .pointer("/status/loadBalancer/ingress")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .filter_map(|entry| entry.get("ip")?.as_str())
                    .collect();
                let given = given.join(",");
                merge(
                    &mut object,
                    json!({"metadata": {"annotations": {"metallb.io/loadBalancerIPs": given}}}),
                );
            }
            merge(&mut object, json!({"apiVersion": version, "kind": kind}));
            items.push(object);
        }
    }
    Ok(json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())
}

fn planned(plan: &Value, peer: &str, node: &str) -> BTreeSet<String> {
    let services = plan.get("services").and_then(Value::as_object);
    let routes = services.into_iter().flat_map(|services| services.values());
    routes
        .flat_map(|service| service.get("routes").and_then(Value::as_array).into_iter().flatten())
        .filter(|route| route.get("peer").and_then(Value::as_str) == Some(peer))
        .filter(|route| {
            let nodes = route.get("nodes").and_then(Value::as_array);
            nodes.is_some_and(|nodes| nodes.iter().any(|name| name == node))
        })
        .filter_map(|route| route.get("prefix")?.as_str().map(str::to_owned))
        .collect()
}

/// 10,000 prefixes that are ready before the session is there: from Established until BIRD has them, for `ferrolb run` and for
/// gobgpd.
fn standing_start(lab: &mut Lab, binaries: &Path, report: &mut Report) -> anyhow::Result<()> {
    let folder = crate::lab::cleanup::folder(0)?.join("standing");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("all.yaml"), manifests()?)?;
    for node in 1..=3 {
        lab.router(Kind::Bird)?.ask(&["disable", &format!("n0x{node}")])?;
    }
    let state = crate::lab::cleanup::folder(0)?.join("standing-state");
    let node = lab.nodes.first().context("a node")?;
    let run = Process::start(
        &lab.programs.folder,
        Start {
            name: "standing".to_owned(),
            namespace: &node.namespace,
            program: &binaries.join("ferrolb"),
            arguments: vec![
                "run".to_owned(),
                folder.display().to_string(),
                "--node=node1".to_owned(),
                format!("--folder-state={}", state.display()),
            ],
            environment: Vec::new(),
            rights: Rights::All,
        },
    )?;
    eventually_true("everything is decided", MINUTES, || Ok(state.join("status.json").exists()))?;
    quiet(run.pid())?;
    let ours = established_to_full(lab, "n0x1")?;
    drop(run);

    let mut gobgp = Router::new(Kind::Gobgp, &lab.switch, &lab.programs.folder)?;
    let bird = Neighbour::new("bird", &Kind::Bird.v4(), Kind::Bird.asn());
    gobgp.start(&Setup::new(Kind::Gobgp, vec![bird]).text(Kind::Gobgp))?;
    let dump = folder.join("rib.mrt");
    std::fs::write(&dump, mrt())?;
    let dump = dump.display().to_string();
    gobgp.ask(&["mrt", "inject", "global", &dump, "--nexthop", &Kind::Gobgp.v4(), "--no-ipv6"])?;
    let full = format!("Destination: {PREFIXES},");
    eventually_true("gobgpd has the table", SOON, || {
        Ok(gobgp.ask(&["global", "rib", "summary"])?.contains(&full))
    })?;
    let theirs = established_to_full(lab, "gobgp")?;
    report.add(
        "10,000 prefixes from a standing start: Established -> all in BIRD (gobgpd 3.10 the same)",
        "< 1 s",
        format!("{} ms ({} ms)", ours.as_millis(), theirs.as_millis()),
    );
    Ok(())
}

fn established_to_full(lab: &Lab, neighbour: &str) -> anyhow::Result<Duration> {
    let bird = lab.router(Kind::Bird)?;
    let before = bird.times_up(neighbour);
    bird.ask(&["enable", neighbour])?;
    closely("the session is there", MINUTES, || Ok(bird.times_up(neighbour) > before))?;
    let start = now();
    closely("BIRD has every prefix", MINUTES, || Ok(imported(bird, neighbour)? >= PREFIXES))?;
    Ok(start.elapsed())
}

fn manifests() -> anyhow::Result<String> {
    let mut text = format!(
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: p, namespace: metallb-system}}\n\
         spec: {{addresses: [10.60.0.0/16]}}\n---\n\
         apiVersion: metallb.io/v1beta1\nkind: BGPAdvertisement\nmetadata: {{name: a, namespace: metallb-system}}\n---\n\
         apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {{name: bird, namespace: metallb-system}}\n\
         spec: {{myASN: {ASN}, peerASN: {}, peerAddress: {}}}\n",
        Kind::Bird.asn(),
        PEERS.first().context("a peer")?,
    );
    for number in 0..PREFIXES {
        write!(
            text,
            "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: s{number}\nspec:\n  type: LoadBalancer\n  \
             ports:\n  - port: 80\n"
        )?;
    }
    Ok(text)
}

/// A table of the same size for gobgpd: RFC 6396, TABLE_DUMP_V2.
fn mrt() -> Vec<u8> {
    let mut dump = Vec::new();
    let mut record = |subtype: u8, body: &[u8]| {
        dump.extend([0, 0, 0, 0, 0, 13, 0, subtype]);
        dump.extend(u32::try_from(body.len()).unwrap_or(0).to_be_bytes());
        dump.extend(body);
    };
    // PEER_INDEX_TABLE: a collector without a name, one peer with an AS of four octets.
    record(1, &[10, 0, 0, 1, 0, 0, 0, 1, 2, 10, 0, 0, 2, 10, 0, 0, 2, 0, 0, 0xfd, 0xeb]);
    let prefixes = u32::try_from(PREFIXES).unwrap_or(0);
    // gobgp's command line leaves before the end of its queue was taken: what is lost there had been brought before.
    for number in (0..prefixes).chain(0..2 * GOBGP_QUEUE) {
        let mut body = number.to_be_bytes().to_vec();
        body.push(32);
        body.extend((0x0a3d_0000 + number).to_be_bytes());
        // One entry of peer 0, with ORIGIN, an empty AS_PATH and a next hop.
        let attributes = [0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4, 172, 30, 0, 123];
        body.extend([0, 1, 0, 0, 0, 0, 0, 0, 0, 14]);
        body.extend(attributes);
        record(2, &body);
    }
    dump
}
