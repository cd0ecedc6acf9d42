// SPDX-License-Identifier: Apache-2.0
//! `ferrolb run --accept` on a busy host, on a folder that somebody wants it to choke on, with pools that hold the host's own
//! addresses: no edit is lost, and nothing of the host's is touched.
//!
//! Topology: a node without Kubernetes that serves a page at its own address 172.30.0.11, a client.
//! Steps: a pool of the node's own address and the next one, and one of the subnet's broadcast address: a Service that asks for nothing
//! gets the next one; those that ask for the others are told that nothing is accepted for them, and the node's routes stay. The
//! folder gets a pipe, a link to itself and one to an endless device; links of the node come and go all the time, a
//! stranger claims the address a thousand times; 40 edits: each is taken up. A second program on the same state ends with
//! the reason. After SIGKILL, with a Service less in the folder, and a route of somebody else's with the same protocol number, the
//! program takes away its own route and no other; after SIGTERM the node's routes are as at the beginning.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::lab::netns::Namespace;
use crate::lab::folder::{start, write};
use crate::lab::node::fetch;
use crate::lab::objects::{l2_advertisement, pool, service};
use crate::lab::process::{Process, Rights, Start};
use crate::lab::wait::eventually_true;
use crate::lab::{Lab, SOON};

const OWN: &str = "172.30.0.11";
const NEXT: &str = "172.30.0.12";
const BROADCAST: &str = "172.30.0.255";
const EDITS: u32 = 40;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let base = lab.folder().join("folder-hostile");
    // Of an earlier time in this lane.
    let _ = std::fs::remove_dir_all(&base);
    let (manifests, state) = (base.join("manifests"), base.join("state"));
    std::fs::create_dir_all(&manifests)?;
    lab.client()?;
    let node = lab.switch.attach("host", "eth0", "02:fb:00:00:00:01")?;
    node.ip(&format!("address add {OWN}/24 dev eth0"))?;
    let mut server = Process::start(lab.folder(), Start {
        name: "web-server".into(),
        namespace: &node,
        program: &lab.programs.e2e,
        arguments: vec!["serve".into(), "[::]:80".into(), "hello".into()],
        environment: Vec::new(),
        rights: Rights::All,
    })?;
    server.wait_ready(SOON, || Ok(fetch(&node, "http://127.0.0.1/").is_some()))?;
    let before = routes(&node)?;

    let ranges = [&*format!("{OWN}-172.30.0.19"), &*format!("{BROADCAST}/32")];
    write(&manifests, "pool", &pool("pool", &ranges))?;
    write(&manifests, "l2", &l2_advertisement("all", json!({})))?;
    write(&manifests, "web", &service("web", json!({})))?;
    for (name, address) in [("own", OWN), ("broadcast", BROADCAST)] {
        let annotation = json!({"metallb.io/loadBalancerIPs": address});
        let asks = json!({"metadata": {"annotations": annotation}});
        write(&manifests, name, &service(name, asks))?;
    }
    let mut ferrolb = start(lab, &node, &base, &["--accept"])?;
    expect_address(&state, "web", NEXT)?;
    for name in ["own", "broadcast"] {
        eventually_true(&format!("it is said that nothing is accepted for {name}"), SOON, || {
            Ok(field(&state, name, "reason")?.is_some_and(|note| note.contains("not accepted here")))
        })?;
    }
    eventually_true("the client gets the page at the Service's address", SOON, || {
        Ok(lab.client()?.page(NEXT).is_some())
    })?;
    ensure!(lab.client()?.page(OWN).is_some(), "the host is not reached at its own address");
    let now = routes(&node)?;
    ensure!(before.iter().all(|route| now.contains(route)), "of the routes {before:#?} are left {now:#?}");

    choke(&manifests)?;
    busy(lab, &node, &manifests, &state)?;

    let mut second = start(lab, &node, &base, &["--accept"])?;
    eventually_true("the second program ends", SOON, || Ok(second.ended().is_some()))?;
    ensure!(second.log().contains("in use by another program"), "it says: {}", second.log());

    // While a file cannot be read it may hold a Service that had an address: nothing would be taken back.
    for name in ["pipe.yaml", "zero.yaml", "self", "again"] {
        std::fs::remove_file(manifests.join(name))?;
    }
    ferrolb.kill();
    node.ip("route add local 198.51.100.9 dev lo table local proto 219")?;
    std::fs::remove_file(manifests.join("web.yaml"))?;
    let mut ferrolb = start(lab, &node, &base, &["--accept"])?;
    eventually_true("the route that the killed program left is gone", SOON, || {
        Ok(!routes(&node)?.iter().any(|route| route.contains(NEXT)))
    })?;
    let status = ferrolb.terminate(SOON)?;
    ensure!(status.success(), "on SIGTERM it ended with {status}");
    let foreign = node.run("ip", ["route", "show", "table", "local", "proto", "219"])?;
    ensure!(foreign.contains("198.51.100.9"), "somebody else's route is gone: {foreign}");
    node.ip("route del local 198.51.100.9 dev lo table local proto 219")?;
    ensure!(routes(&node)? == before, "the routes are {:#?} and were {before:#?}", routes(&node)?);
    ensure!(lab.client()?.page(OWN).is_some(), "the host is not reached at its own address");
    Ok(())
}

/// What a reader of folders might choke on.
fn choke(manifests: &Path) -> anyhow::Result<()> {
    let made = Command::new("mkfifo").arg(manifests.join("pipe.yaml")).status()?;
    ensure!(made.success(), "mkfifo: {made}");
    symlink(".", manifests.join("self"))?;
    symlink(".", manifests.join("again"))?;
    symlink("/dev/zero", manifests.join("zero.yaml"))?;
    Ok(())
}

/// Edits, while links come and go and a stranger claims the address.
fn busy(lab: &mut Lab, node: &Namespace, manifests: &Path, state: &Path) -> anyhow::Result<()> {
    let stranger = lab.switch.attach("stranger", "eth0", "02:fb:00:00:00:66")?;
    let _claims = Process::start(lab.folder(), Start {
        name: "stranger".into(),
        namespace: &stranger,
        program: &lab.programs.e2e,
        arguments: ["claim", "eth0", NEXT, "1000", "1000"].map(str::to_owned).to_vec(),
        environment: Vec::new(),
        rights: Rights::All,
    })?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // As containers do that start and end; then as fast as it goes, which is some hundred a second.
        let churn = scope.spawn(|| -> anyhow::Result<u32> {
            let mut changes = 0;
            while !over.load(Ordering::Relaxed) {
                node.ip("link add churn type veth peer name other\nlink del churn")?;
                changes += 2;
                if changes < 12 {
                    std::thread::sleep(Duration::from_millis(300));
                }
            }
            Ok(changes)
        });
        let edited = (0..EDITS).try_for_each(|number| {
            let address = format!("172.30.0.{}", 13 + number % 2);
            let annotation = json!({"metallb.io/loadBalancerIPs": address});
            let asks = json!({"metadata": {"annotations": annotation}});
            write(manifests, "edited", &service("edited", asks))?;
            expect_address(state, "edited", &address)
        });
        over.store(true, Ordering::Relaxed);
        let changes = churn.join().map_err(|_| anyhow::anyhow!("the thread panicked"))??;
        ensure!(changes > 40, "links hardly changed: {changes} times");
        edited
    })
}

/// Every route of IPv4; those of links that come and go are none.
fn routes(node: &Namespace) -> anyhow::Result<Vec<String>> {
    let text = node.run("ip", ["-4", "route", "show", "table", "all"])?;
    Ok(text.lines().map(|line| line.trim().to_owned()).collect())
}

fn field(state: &Path, service: &str, name: &str) -> anyhow::Result<Option<String>> {
    let file: PathBuf = state.join("status.json");
    let Ok(text) = std::fs::read_to_string(file) else { return Ok(None) };
    let status: Value = serde_json::from_str(&text)?;
    let value = status.pointer(&format!("/services/default~1{service}/{name}"));
    Ok(value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
}

fn expect_address(state: &Path, service: &str, address: &str) -> anyhow::Result<()> {
    eventually_true(&format!("{service} has {address}"), SOON, || {
        Ok(field(state, service, "addresses")? == Some(json!([address]).to_string()))
    })
}
