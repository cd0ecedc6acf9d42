// SPDX-License-Identifier: Apache-2.0
//! Rollouts of a Deployment with one replica, whose new Pod runs beside the old one for a while: the two never write at the same time,
//! and while one is alone it writes its Lease once.
//!
//! Topology: controllers one after another in the control plane's namespace, each with a Pod of its own in the API, with the Lease's times of the
//! defaults.
//! Steps: while Services come without a break, four times: the next controller starts; a moment later the old one ends by SIGTERM. What the
//! old one decided comes before all that the new one decides, and no address is in two Services. Then the leader stands still and its Pod is gone:
//! another one takes the Lease, and writes when the old one can write no more; that one goes on, and decides nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::controller_leases::{all, lease, no_address_twice, permit};
use crate::lab::control_plane::{Identity, kubeconfig};
use crate::lab::kube::{Kube, SYSTEM};
use crate::lab::objects::{pool, service};
use crate::lab::process::{Process, Rights, Start};
use crate::lab::wait::{always, eventually_true};
use crate::lab::{Lab, SOON};

const ROLLOUTS: usize = 4;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.kube().delete(&format!("/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases"))?;
    permit(lab)?;
    let played = play(lab);
    for number in 0..=ROLLOUTS + 1 {
        let _ = lab.kube().delete(&pod(number));
    }
    let binding = "/apis/rbac.authorization.k8s.io/v1/namespaces/metallb-system/rolebindings/leases";
    lab.kube().delete(binding)?;
    played
}

fn pod(number: usize) -> String {
    format!("/api/v1/namespaces/{SYSTEM}/pods/overlap{number}")
}

fn play(lab: &mut Lab) -> anyhow::Result<()> {
    lab.kube().apply(&pool("pool", &["10.7.0.0/20"]))?;
    let mut leader = controller(lab, 0)?;
    eventually_true("the first leads", SOON, || Ok(leader.log().contains("leaderElected")))?;
    let taken = lease(lab)?;
    always("it leaves its Lease as it is", Duration::from_secs(5), || Ok(lease(lab)? == taken))?;
    let (kube, ended) = (lab.kube().clone(), AtomicBool::new(false));
    let rolled = std::thread::scope(|scope| {
        let churn = scope.spawn(|| churn(&kube, &ended));
        let rolled = (1..=ROLLOUTS).try_for_each(|number| roll_out(lab, &mut leader, number));
        ended.store(true, Ordering::Relaxed);
        let created = churn.join().map_err(|_| anyhow!("the churn panicked"))?;
        rolled.and(created)
    })?;
    ensure!(rolled > ROLLOUTS, "only {rolled} Services were created");
    eventually_true("all have an address", SOON, || Ok(all(lab)?.len() == rolled))?;
    no_address_twice(&all(lab)?)?;
    by_force(lab, &leader, rolled)
}

fn churn(kube: &Kube, ended: &AtomicBool) -> anyhow::Result<usize> {
    let mut created = 0;
    while !ended.load(Ordering::Relaxed) && created < 2_000 {
        kube.create(&service(&format!("s{created}"), json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
        created += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(created)
}

fn roll_out(lab: &Lab, leader: &mut Process, number: usize) -> anyhow::Result<()> {
    eventually_true("the old one decides", SOON, || Ok(decisions(leader).next().is_some()))?;
    let next = controller(lab, number)?;
    eventually_true("the next one stands by", SOON, || {
        let standing = lease(lab)?;
        let mark = standing.pointer("/metadata/annotations/ferrolb.io~1stands-by");
        Ok(mark.is_some() || standing.pointer("/metadata/annotations/ferrolb.io~1renewed").is_none())
    })?;
    let mut old = std::mem::replace(leader, next);
    ensure!(!leader.log().contains("leaderElected"), "two lead");
    old.terminate(SOON)?;
    lab.kube().delete(&pod(number - 1))?;
    eventually_true("the next one decides", SOON, || Ok(decisions(leader).next().is_some()))?;
    let last = decisions(&old).max().context("the old one decided nothing")?;
    let first = decisions(leader).min().context("the next one decided nothing")?;
    ensure!(last <= first, "one decided until {last}, the next one from {first} on");
    Ok(())
}

/// The leader stands still and its Pod is gone: that is taken for no proof that it writes nothing any more.
fn by_force(lab: &Lab, old: &Process, services: usize) -> anyhow::Result<()> {
    eventually_true("it renews nothing any more", SOON * 3, || {
        let renewed = "/metadata/annotations/ferrolb.io~1renewed";
        Ok(lease(lab)?.pointer(renewed).and_then(Value::as_str) == Some("false"))
    })?;
    let before = decisions(old).count();
    old.signal(Signal::SIGSTOP)?;
    lab.kube().delete(&pod(ROLLOUTS))?;
    let new = controller(lab, ROLLOUTS + 1)?;
    lab.kube().create(&service("forced", json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
    eventually_true("another one leads by force", SOON, || Ok(new.log().contains("leaseForced")))?;
    old.signal(Signal::SIGCONT)?;
    eventually_true("the old one sees that", SOON * 2, || Ok(old.log().contains("leaderLost")))?;
    eventually_true("the new one gives an address", SOON * 2, || Ok(all(lab)?.len() > services))?;
    no_address_twice(&all(lab)?)?;
    let after = decisions(old).count();
    ensure!(after <= before + 1, "the old one decided {before} times before, {after} in the end");
    Ok(())
}

/// When a controller gave an address, by its log.
fn decisions(process: &Process) -> impl Iterator<Item = String> {
    let lines: Vec<String> = process.log().lines().map(str::to_owned).collect();
    lines.into_iter().filter_map(|line| {
        let line: Value = serde_json::from_str(&line).ok()?;
        let is_one = line.get("event").and_then(Value::as_str) == Some("ipAllocated");
        is_one.then(|| line.get("ts")?.as_str().map(str::to_owned)).flatten()
    })
}

fn controller(lab: &Lab, number: usize) -> anyhow::Result<Process> {
    let name = format!("overlap{number}");
    // Nobody runs it; it is what the API says of the process.
    lab.kube().apply(&json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": SYSTEM},
        "spec": {"containers": [{"name": "controller", "image": "none"}]},
    }))?;
    Process::start(
        lab.folder(),
        Start {
            name: name.clone(),
            namespace: &lab.plane,
            program: &lab.programs.controller,
            arguments: vec![
                "--port=0".into(),
                format!("--health-probe-port={}", 17_600 + number),
                "--webhook-mode=disabled".into(),
            ],
            environment: vec![
                ("METALLB_NAMESPACE", SYSTEM.to_owned()),
                ("METALLB_POD_NAME", name),
                (
                    "KUBECONFIG",
                    kubeconfig(lab.folder(), Identity::Controller).display().to_string(),
                ),
            ],
            rights: Rights::Nobody,
        },
    )
}
