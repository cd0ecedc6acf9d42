// SPDX-License-Identifier: Apache-2.0
//! The whole text of both programs' metrics: names, types, help and labels are those of the snapshots.
//!
//! Topology: two nodes with speakers, a client that has asked for the address.
//! Steps: a dual-stack Service is announced and asked for; the metrics of the controller and of the owner's speaker are
//! compared with snapshots/metrics-*.txt, where every value is an N; a pool that is not valid sets
//! metallb_k8s_client_config_stale_bool on both, and its removal clears it.
//!
//! After a wanted change: `E2E_ACCEPT=1 e2e run metrics` writes the snapshots anew.

use std::collections::BTreeSet;
use std::fmt::Write;

use anyhow::{Context, bail};
use serde_json::json;

use crate::lab::node::{PodAddresses, Proxy, fetch};
use crate::lab::objects::{POOL_V4, pool, service};
use crate::lab::wait::eventually_true;
use crate::lab::{Lab, SOON};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots");

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_all(2, Proxy::Absent)?;
    let endpoint = PodAddresses {
        node: "node1".into(),
        v4: "10.244.1.99".into(),
        v6: "fd00:244:1::99".into(),
    };
    lab.set_endpoints("web", &[endpoint])?;
    lab.kube().create(&service("web", json!({"spec": {"ipFamilyPolicy": "RequireDualStack"}})))?;
    lab.expect_addresses("web", &["172.30.0.200", "fd30::1000"])?;
    let owner = lab.wait_owner("172.30.0.200")?;
    lab.expect_owner("fd30::1000", &owner)?;

    let mut differences = String::new();
    eventually_true("the controller's metrics are those of the snapshot", SOON, || {
        differences = compare("controller", &controller(lab)?)?;
        Ok(differences.is_empty())
    })
    .with_context(|| format!("\n{differences}"))?;
    let speaker = speaker(lab, &owner)?;
    let differences = compare("speaker", &speaker)?;
    if !differences.is_empty() {
        bail!("the speaker's metrics are not those of the snapshot:\n{differences}");
    }

    lab.kube().apply(&pool("pool", &[POOL_V4, "nonsense"]))?;
    expect_stale(lab, &owner, true)?;
    lab.kube().apply(&pool("pool", &[POOL_V4, crate::lab::objects::POOL_V6]))?;
    expect_stale(lab, &owner, false)
}

fn controller(lab: &Lab) -> anyhow::Result<String> {
    fetch(&lab.plane, "http://127.0.0.1:9120/metrics").context("the controller's metrics")
}

fn speaker(lab: &mut Lab, node: &str) -> anyhow::Result<String> {
    lab.node(node)?.metrics()
}

fn expect_stale(lab: &mut Lab, owner: &str, stale: bool) -> anyhow::Result<()> {
    let line = format!("metallb_k8s_client_config_stale_bool {}", u8::from(stale));
    eventually_true(&format!("both say {line}"), SOON, || {
        Ok([controller(lab)?, speaker(lab, owner)?].iter().all(|text| text.contains(&line)))
    })
}

/// Which lines differ from the snapshot.
fn compare(program: &str, text: &str) -> anyhow::Result<String> {
    let path = format!("{FOLDER}/metrics-{program}.txt");
    let normal: String = text.lines().map(|line| format!("{}\n", normal(line))).collect();
    if std::env::var_os("E2E_ACCEPT").is_some() {
        std::fs::write(&path, &normal)?;
    }
    let snapshot = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let (old, new): (BTreeSet<&str>, BTreeSet<&str>) =
        (snapshot.lines().collect(), normal.lines().collect());
    let mut differences = String::new();
    for line in old.difference(&new) {
        writeln!(differences, "    - {line}")?;
    }
    for line in new.difference(&old) {
        writeln!(differences, "    + {line}")?;
    }
    Ok(differences)
}

/// A line without what differs from run to run.
fn normal(line: &str) -> String {
    if line.starts_with('#') {
        return line.to_owned();
    }
    let series = line.rsplit_once(' ').map_or(line, |(series, _)| series);
    match series.split_once("version=\"") {
        Some((before, rest)) => {
            let after = rest.split_once('"').map_or("", |(_, after)| after);
            format!("{before}version=\"V\"{after} N")
        }
        None => format!("{series} N"),
    }
}
