// SPDX-License-Identifier: Apache-2.0
//! `ferrolb run` on a folder of manifests, without any control plane: the folder is edited, the program is killed.
//!
//! Topology: a node without Kubernetes that runs a web server on port 80, a client.
//! Steps: two Services get addresses and are served; one asks for another address: it moves there, which the log says, and the old one is silent;
//! the program is killed; while it is away a Service that comes first by name is added and another removed: after the
//! restart all have kept their addresses, and nobody answers for the removed one; a Service is removed: silence; a file that is no YAML takes nothing down; on
//! SIGTERM nobody answers any more.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::lab::folder::{start, write};
use crate::lab::node::fetch;
use crate::lab::objects::{l2_advertisement, pool, service};
use crate::lab::process::{Process, Rights, Start};
use crate::lab::wait::{always, eventually_true};
use crate::lab::{Lab, SOON};

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let base = lab.folder().join("folder-run");
    // Of an earlier time in this lane.
    let _ = std::fs::remove_dir_all(&base);
    let (manifests, state) = (base.join("manifests"), base.join("state"));
    std::fs::create_dir_all(&manifests)?;
    lab.client()?;
    let node = lab.switch.attach("host", "eth0", "02:fb:00:00:00:01")?;
    node.ip("address add 172.30.0.11/24 dev eth0\naddress add fd30::11/64 dev eth0")?;
    let mut server = Process::start(lab.folder(), Start {
        name: "web-server".into(),
        namespace: &node,
        program: &lab.programs.e2e,
        arguments: vec!["serve".into(), "[::]:80".into(), "hello".into()],
        environment: Vec::new(),
        rights: Rights::All,
    })?;
    server.wait_ready(SOON, || Ok(fetch(&node, "http://127.0.0.1/").is_some()))?;

    write(&manifests, "pool", &pool("pool", &["172.30.0.200-172.30.0.220", "fd30::1000/120"]))?;
    write(&manifests, "l2", &l2_advertisement("all", json!({})))?;
    write(&manifests, "web", &service("web", json!({})))?;
    write(&manifests, "web6", &service("web6", json!({"spec": {"ipFamilies": ["IPv6"]}})))?;
    let mut ferrolb = start(lab, &node, &base, &["--accept", "--log-level=info"])?;
    expect_served(lab, &state, "web", "172.30.0.200")?;
    expect_served(lab, &state, "web6", "fd30::1000")?;

    let annotation = json!({"metallb.io/loadBalancerIPs": "172.30.0.210"});
    let moved = service("web", json!({"metadata": {"annotations": annotation}}));
    write(&manifests, "web", &moved)?;
    expect_served(lab, &state, "web", "172.30.0.210")?;
    lab.expect_silence("172.30.0.200")?;
    let said = ferrolb.log();
    let cleared = said.lines().find(|line| line.contains("clearAssignment"));
    let cleared = cleared.context("it does not say that an address was taken back")?;
    ensure!(cleared.contains("differentIPRequested") && cleared.contains("172.30.0.200"), "{cleared}");
    write(&manifests, "other", &service("other", json!({})))?;
    expect_served(lab, &state, "other", "172.30.0.200")?;

    ferrolb.kill();
    write(&manifests, "aaa", &service("aaa", json!({})))?;
    std::fs::remove_file(manifests.join("web6.yaml"))?;
    let mut ferrolb = start(lab, &node, &base, &["--accept", "--log-level=info"])?;
    expect_served(lab, &state, "other", "172.30.0.200")?;
    expect_served(lab, &state, "web", "172.30.0.210")?;
    expect_served(lab, &state, "aaa", "172.30.0.201")?;
    lab.expect_silence("fd30::1000")?;

    std::fs::remove_file(manifests.join("other.yaml"))?;
    lab.expect_silence("172.30.0.200")?;
    std::fs::write(manifests.join("broken.yaml"), "kind: [Service\n")?;
    always("a broken file takes nothing down", Duration::from_millis(800), || {
        Ok(lab.owners("172.30.0.210")?.len() == 1)
    })?;
    ensure!(ferrolb.log().contains("broken.yaml"), "the broken file is not named:\n{}", ferrolb.log());

    let status = ferrolb.terminate(SOON)?;
    ensure!(status.success(), "on SIGTERM it ended with {status}");
    lab.expect_silence("172.30.0.210")?;
    let routes = node.run("ip", ["route", "show", "table", "local"])?;
    ensure!(!routes.contains("172.30.0.210"), "local routes are left behind:\n{routes}");
    Ok(())
}

fn expect_served(lab: &mut Lab, state: &Path, name: &str, address: &str) -> anyhow::Result<()> {
    let file: PathBuf = state.join("status.json");
    let mut seen = String::new();
    eventually_true(&format!("{name} has {address}"), SOON, || {
        seen = std::fs::read_to_string(&file)?;
        let status: Value = serde_json::from_str(&seen)?;
        let addresses = status.pointer(&format!("/services/default~1{name}/addresses"));
        Ok(addresses == Some(&json!([address])))
    })
    .with_context(|| seen.clone())?;
    let client = lab.client()?;
    eventually_true(&format!("one host answers for {address}"), SOON, || {
        Ok(client.who_has(address)?.iter().eq(["02:fb:00:00:00:01"]))
    })?;
    eventually_true(&format!("{address} serves a page"), SOON, || {
        Ok(client.page(address).as_deref() == Some("hello"))
    })
}
