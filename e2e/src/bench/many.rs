// SPDX-License-Identifier: Apache-2.0
//! Ten thousand Services: how long a start takes until everything is known and decided, and what the programs hold; and five
//! thousand that wait for an address of either world.

use std::time::Duration;

use anyhow::Context;
use serde_json::json;

use super::cluster::{LOG_LEVEL, addressed, create, quiet, settled, with_own};
use super::report::Report;
use super::usage::cpu;
use crate::lab::Lab;
use crate::lab::node::{Proxy, fetch};
use crate::lab::objects::{EXTERNAL_POOLS, l2_advertisement, pool, service};
use crate::lab::wait::{eventually_true, now};

const SERVICES: usize = 10_000;
const METRICS: &str = "http://127.0.0.1:9120/metrics";
const WAITING: usize = 5_000;
const PATIENCE: Duration = Duration::from_secs(120);

/// One node, so that its speaker announces all.
pub(super) fn measure(lab: &mut Lab, report: &mut Report) -> anyhow::Result<()> {
    lab.start_controller(&[LOG_LEVEL])?;
    lab.start_nodes(1, Proxy::Absent)?;
    lab.start_speakers(&[LOG_LEVEL])?;
    lab.kube().apply(&pool("pool", &["10.70.0.0/16"]))?;
    lab.kube().apply(&l2_advertisement("all", json!({})))?;
    create(lab, 0..SERVICES)?;
    addressed(lab, SERVICES - 1)?;

    let mut controller = lab.controller.take().context("no controller")?;
    controller.kill();
    let start = now();
    lab.spawn_controller(&[LOG_LEVEL])?;
    let in_use = "metallb_allocator_addresses_in_use_total{pool=\"pool\"} 10000";
    // Not `closely`: a scrape costs the program that is measured.
    eventually_true("the controller has decided 10,000 Services", PATIENCE, || {
        Ok(fetch(&lab.plane, METRICS).is_some_and(|text| text.lines().any(|line| line == in_use)))
    })?;
    let took = seconds(start.elapsed());
    report.add("controller: started -> 10,000 Services known and decided", "3 s", took);
    let controller = lab.controller.as_ref().context("no controller")?.pid();
    settled(controller)?;
    report.add(
        "controller resident, 10,000 Services (own memory of it)",
        "20 MB",
        with_own(controller)?,
    );

    let node = lab.node("node1")?;
    node.speaker.as_mut().context("no speaker")?.kill();
    let start = now();
    node.start_speaker(&[LOG_LEVEL])?;
    eventually_true("the speaker announces 10,000 Services", PATIENCE, || {
        let text = node.metrics().unwrap_or_default();
        let announced = text.lines().filter(|line| line.starts_with("metallb_speaker_announced{"));
        Ok(announced.count() >= SERVICES)
    })?;
    let took = seconds(start.elapsed());
    report.add("speaker: started -> 10,000 Services known and announced", "3 s", took);
    let speaker = node.speaker.as_ref().context("no speaker")?.pid();
    settled(speaker)?;
    report.add("speaker resident, 10,000 Services (own memory of it)", "20 MB", with_own(speaker)?);
    Ok(())
}

/// Services of MetalLB's pools and of ExternalIPPools that are there before the controller: what it takes until each has an address.
pub(super) fn waiting(lab: &mut Lab, report: &mut Report) -> anyhow::Result<()> {
    for (world, annotations, goal) in [
        ("IPAddressPool", json!({}), ""),
        ("ExternalIPPool", json!({"service.antrea.io/external-ip-pool": "external"}), "1 s"),
    ] {
        lab.apply_antrea_roles()?;
        lab.kube().apply(&pool("pool", &["10.70.0.0/16"]))?;
        lab.kube().post(
            EXTERNAL_POOLS,
            &json!({
                "apiVersion": "crd.antrea.io/v1beta1", "kind": "ExternalIPPool",
                "metadata": {"name": "external"},
                "spec": {"ipRanges": [{"cidr": "10.80.0.0/16"}], "nodeSelector": {}},
            }),
        )?;
        for number in 0..WAITING {
            let change =
                json!({"metadata": {"annotations": annotations}, "spec": {"ipFamilies": ["IPv4"]}});
            lab.kube().create(&service(&format!("s{number}"), change))?;
        }
        lab.spawn_controller(&[LOG_LEVEL])?;
        addressed(lab, WAITING - 1)?;
        let controller = lab.controller.as_ref().context("no controller")?.pid();
        quiet(controller)?;
        report.add(
            format!("controller CPU from its start until 5,000 waiting Services have addresses of an {world}, written to the API"),
            goal,
            seconds(cpu(controller)?),
        );
        lab.reset()?;
    }
    Ok(())
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}
