// SPDX-License-Identifier: Apache-2.0
//! Two hosts without Kubernetes serve copies of one folder: one of them answers, and when it goes the other does.
//!
//! Topology: two hosts with a web server each, `ferrolb run --join` on both, a client.
//! Steps: a Service gets its address on both, and one host answers; that one is stopped in order: the other answers; it
//! comes back: the first one answers again; its cable is pulled: the other answers.

use std::path::Path;

use anyhow::Context;
use serde_json::json;

use crate::lab::netns::Namespace;
use crate::lab::node::fetch;
use crate::lab::objects::{l2_advertisement, pool, service};
use crate::lab::process::{Process, Rights, Start};
use crate::lab::wait::{eventually, eventually_true};
use crate::lab::{Lab, SOON};

const ADDRESS: &str = "172.30.0.200";

struct Host {
    name: String,
    mac: String,
    namespace: Namespace,
    ferrolb: Option<Process>,
    _server: Process,
}

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let base = lab.folder().join("folder-ring");
    // Of an earlier time in this lane.
    let _ = std::fs::remove_dir_all(&base);
    std::fs::create_dir_all(base.join("key"))?;
    std::fs::write(base.join("key/secretkey"), "bm90IGEgc2VjcmV0IGF0IGFsbA")?;
    lab.client()?;
    let mut hosts = vec![host(lab, 1)?, host(lab, 2)?];
    for host in &mut hosts {
        let folder = base.join(&host.name);
        std::fs::create_dir_all(&folder)?;
        let objects = [
            ("pool", pool("pool", &["172.30.0.200-172.30.0.220"])),
            ("l2", l2_advertisement("all", json!({}))),
            ("web", service("web", json!({}))),
        ];
        for (name, object) in objects {
            std::fs::write(folder.join(format!("{name}.yaml")), object.to_string())?;
        }
        host.ferrolb = Some(start(lab, host, &base)?);
    }
    let first = owner(lab, &hosts)?;
    let other = 1 - first;
    served(lab, &hosts, first)?;

    stop(&mut hosts, first)?;
    served(lab, &hosts, other)?;
    let process = start(lab, hosts.get(first).context("a host")?, &base)?;
    hosts.get_mut(first).context("a host")?.ferrolb = Some(process);
    served(lab, &hosts, first)?;
    let port = hosts.get(first).map(|host| host.name.clone()).context("a host")?;
    lab.switch.set_cable(&port, false)?;
    served(lab, &hosts, other)?;
    lab.switch.set_cable(&port, true)?;
    served(lab, &hosts, first)
}

fn stop(hosts: &mut [Host], which: usize) -> anyhow::Result<()> {
    let process = hosts.get_mut(which).and_then(|host| host.ferrolb.take());
    let status = process.context("ferrolb")?.terminate(SOON)?;
    anyhow::ensure!(status.success(), "on SIGTERM it ended with {status}");
    Ok(())
}

fn host(lab: &Lab, number: u8) -> anyhow::Result<Host> {
    let name = format!("host{number}");
    let mac = format!("02:fb:00:00:00:{number:02x}");
    let namespace = lab.switch.attach(&name, "eth0", &mac)?;
    namespace.ip(&format!("address add 172.30.0.{}/24 dev eth0", 10 + number))?;
    let mut server = Process::start(
        lab.folder(),
        Start {
            name: format!("web-server-{name}"),
            namespace: &namespace,
            program: &lab.programs.e2e,
            arguments: vec!["serve".into(), "[::]:80".into(), name.clone()],
            environment: Vec::new(),
            rights: Rights::All,
        },
    )?;
    server.wait_ready(SOON, || Ok(fetch(&namespace, "http://127.0.0.1/").is_some()))?;
    Ok(Host { name, mac, namespace, ferrolb: None, _server: server })
}

fn start(lab: &Lab, host: &Host, base: &Path) -> anyhow::Result<Process> {
    Process::start(
        lab.folder(),
        Start {
            name: format!("ferrolb-{}", host.name),
            namespace: &host.namespace,
            program: &lab.programs.ferrolb,
            arguments: vec![
                "run".into(),
                base.join(&host.name).display().to_string(),
                format!("--node={}", host.name),
                format!("--folder-state={}", base.join(format!("{}-state", host.name)).display()),
                "--accept".into(),
                "--log-level=info".into(),
                "--join=172.30.0.11".into(),
                "--join=172.30.0.12".into(),
                format!("--ml-secret-key-path={}", base.join("key").display()),
            ],
            environment: Vec::new(),
            rights: Rights::All,
        },
    )
}

/// Which host alone answers.
fn owner(lab: &mut Lab, hosts: &[Host]) -> anyhow::Result<usize> {
    let client = lab.client()?;
    eventually(&format!("one host answers for {ADDRESS}"), SOON, || {
        let answers = client.who_has(ADDRESS)?;
        let alone = answers.len() == 1;
        Ok(hosts.iter().position(|host| answers.contains(&host.mac)).filter(|_| alone))
    })
}

fn served(lab: &mut Lab, hosts: &[Host], by: usize) -> anyhow::Result<()> {
    let host = hosts.get(by).context("a host")?;
    let client = lab.client()?;
    eventually_true(&format!("{} alone answers for {ADDRESS}", host.name), SOON, || {
        Ok(client.who_has(ADDRESS)?.iter().eq([&host.mac]))
    })?;
    eventually_true(&format!("{ADDRESS} serves a page of {}", host.name), SOON, || {
        Ok(client.page(ADDRESS).as_deref() == Some(&host.name))
    })
}
