// SPDX-License-Identifier: Apache-2.0
//! What controller and speakers take on a real API server.

use std::time::Duration;

use anyhow::Context;
use serde_json::json;

use super::arp;
use super::report::Report;
use super::requests::Requests;
use super::usage::{cpu, middle_and_tail, own, resident};
use crate::lab::node::{PodAddresses, Proxy, slice};
use crate::lab::objects::{l2_advertisement, pool, service};
use crate::lab::wait::{eventually, eventually_true, now};
use crate::lab::{Lab, SOON};

const FOREIGN: usize = 3_000;
const SERVICES: usize = 1_000;
/// What MetalLB's manifests run with; the scenarios ask for more.
pub(super) const LOG_LEVEL: &str = "--log-level=info";
pub(super) const MINUTES: Duration = Duration::from_secs(180);

pub(super) fn measure(lab: &mut Lab, report: &mut Report) -> anyhow::Result<()> {
    lab.client()?;
    lab.start_controller(&[LOG_LEVEL])?;
    lab.start_nodes(3, Proxy::Absent)?;
    lab.start_speakers(&[LOG_LEVEL])?;
    lab.kube().apply(&pool("pool", &["172.30.16.0/20", "fd30::1000-fd30::ffff"]))?;
    lab.kube().apply(&l2_advertisement("all", json!({})))?;
    lab.kube().create(&service("first", json!({})))?;
    lab.set_endpoints("first", &[endpoint()])?;
    lab.wait_addresses("first")?;
    let speaker = pid(lab)?;
    let controller = lab.controller.as_ref().context("no controller")?.pid();

    // What only a start needs is given back.
    settled(speaker)?;
    settled(controller)?;
    let idle = resident(speaker)?;
    report.add("speaker resident, idle (own memory of it)", "8 MB", with_own(speaker)?);
    report.add("controller resident, idle (own memory of it)", "8 MB", with_own(controller)?);

    for number in 0..FOREIGN {
        let name = format!("foreign{number}");
        lab.kube().create(&service(
            &name,
            json!({
                "spec": {"type": "ClusterIP", "allocateLoadBalancerNodePorts": null},
            }),
        ))?;
        lab.kube().create(&slice(&name, false, &[endpoint()]))?;
    }
    quiet(speaker)?;
    let grown = resident(speaker)? - idle;
    report.add(
        "speaker resident, growth by 3,000 foreign ClusterIP Services with slices",
        "< 1 MB",
        megabytes(grown),
    );

    let latencies = answered(lab)?;
    let (middle, tail) = middle_and_tail(latencies);
    report.add(
        "Service created -> first announcement heard, middle and 99 % of 50",
        "15 to 20 ms",
        format!("{:.1} ms, {:.1} ms", millis(middle), millis(tail)),
    );

    let before = (cpu(speaker)?, cpu(controller)?);
    let (start, asked) = (now(), Requests::of(lab)?);
    create(lab, 0..SERVICES)?;
    addressed(lab, SERVICES)?;
    let took = start.elapsed();
    quiet(speaker)?;
    quiet(controller)?;
    let after = (cpu(speaker)?, cpu(controller)?);
    report.add(
        format!("speaker CPU while 1,000 Services are created (in {:.0} s)", took.as_secs_f64()),
        "< 0.5 s",
        format!("{:.2} s", (after.0 - before.0).as_secs_f64()),
    );
    report.add(
        "controller CPU while 1,000 Services are created",
        "< 0.5 s",
        format!("{:.2} s", (after.1 - before.1).as_secs_f64()),
    );
    report.add("speaker resident, 1,000 Services (own memory of it)", "10 MB", with_own(speaker)?);
    report.add(
        "what the API server was asked for 1,000 Services, one controller and three speakers",
        "one write per change",
        Requests::of(lab)?.since(&asked).to_string(),
    );
    create(lab, SERVICES..2 * SERVICES)?;
    addressed(lab, 2 * SERVICES)?;
    quiet(controller)?;
    report.add(
        "controller resident, 2,000 Services (own memory of it)",
        "14 MB",
        with_own(controller)?,
    );
    Ok(())
}

pub(super) fn create(lab: &Lab, numbers: std::ops::Range<usize>) -> anyhow::Result<()> {
    for number in numbers {
        let name = format!("s{number}");
        lab.kube().create(&service(&name, json!({})))?;
        lab.kube().create(&slice(&name, false, &[endpoint()]))?;
    }
    Ok(())
}

/// Waits until more Services than these have an address.
pub(super) fn addressed(lab: &Lab, count: usize) -> anyhow::Result<()> {
    eventually_true("every Service has an address", MINUTES, || {
        let services = lab.kube().list("/api/v1/namespaces/default/services")?;
        let given = services
            .iter()
            .filter(|service| service.pointer("/status/loadBalancer/ingress/0/ip").is_some());
        Ok(given.count() > count)
    })
}

pub(super) fn with_own(pid: u32) -> anyhow::Result<String> {
    Ok(format!("{} ({})", megabytes(resident(pid)?), megabytes(own(pid)?)))
}

/// From the reply to the creation to the first ARP announcement that the client hears, one at a time.
fn answered(lab: &mut Lab) -> anyhow::Result<Vec<Duration>> {
    let mut listener = arp::Listener::start(lab)?;
    let mut latencies = Vec::new();
    for number in 0..50 {
        let name = format!("timed{number}");
        // Endpoints first, so that the address alone is waited for.
        lab.kube().create(&slice(&name, false, &[endpoint()]))?;
        let created =
            lab.kube().create(&service(&name, json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
        let start = now();
        let name =
            created.pointer("/metadata/name").and_then(|name| name.as_str()).unwrap_or_default();
        let heard =
            listener.next_new(SOON).with_context(|| format!("no announcement for {name}"))?;
        latencies.push(heard.saturating_duration_since(start));
    }
    Ok(latencies)
}

/// Waits until a process has used no CPU for a second.
pub(super) fn quiet(pid: u32) -> anyhow::Result<()> {
    let mut last = (cpu(pid)?, now());
    eventually("the process is quiet", MINUTES, || {
        let used = cpu(pid)?;
        if used != last.0 {
            last = (used, now());
        }
        Ok((last.1.elapsed() > Duration::from_secs(1)).then_some(()))
    })
}

/// Waits until a process has used no CPU for a second, and then until what memory it holds is the same, but for a hundredth, for as long as
/// it may keep what is free (10 s).
pub(super) fn settled(pid: u32) -> anyhow::Result<()> {
    quiet(pid)?;
    let mut last = (own(pid)?, now());
    eventually("the process takes and gives back no memory", MINUTES, || {
        let held = own(pid)?;
        if (held - last.0).abs() > last.0 / 100.0 {
            last = (held, now());
        }
        Ok((last.1.elapsed() > Duration::from_secs(11)).then_some(()))
    })
}

fn endpoint() -> PodAddresses {
    PodAddresses { node: "node1".into(), v4: "10.244.1.10".into(), v6: "fd00:244:1::10".into() }
}

pub(super) fn pid(lab: &mut Lab) -> anyhow::Result<u32> {
    Ok(lab.node("node1")?.speaker.as_ref().context("no speaker")?.pid())
}

fn megabytes(value: f64) -> String {
    format!("{value:.1} MB")
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
