// SPDX-License-Identifier: Apache-2.0
//! The controller is killed again and again while Services come and go: no address of a living Service changes, none is
//! given to two.
//!
//! Topology: the control plane and the controller only; 200 Services are created, every third is deleted again, by
//! another thread, while a third one looks.
//! Steps: SIGKILL and a new controller eight times, each after a random number of new addresses; in the end every
//! Service that is left has an address, each another one.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use serde_json::{Value, json};

use crate::lab::kube::{Kube, path};
use crate::lab::objects::{ingress, pool, service};
use crate::lab::wait::{eventually, eventually_true};
use crate::lab::{Lab, SOON};

const SERVICES: usize = 200;
const KILLS: usize = 8;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    // Hardly more addresses than Services: freed ones are given again.
    lab.kube().apply(&pool("pool", &["10.6.0.0-10.6.0.179"]))?;
    lab.start_controller(&[])?;
    let (kube, done) = (lab.kube().clone(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let (kube, done) = (&kube, &done);
        let churn = scope.spawn(move || churn(kube));
        let watch = scope.spawn(move || watch(kube, done));
        let killed = kill(lab, || churn.is_finished());
        let churned = churn.join().map_err(|_| anyhow!("the churn panicked"));
        let settled = killed.and(churned?).and_then(|()| settle(kube));
        done.store(true, Ordering::Relaxed);
        watch.join().map_err(|_| anyhow!("the watch panicked"))??;
        settled
    })
}

fn named(number: usize) -> Value {
    service(&format!("s{number}"), json!({}))
}

fn churn(kube: &Kube) -> anyhow::Result<()> {
    for number in 0..SERVICES {
        kube.create(&named(number))?;
        // Deleted some time after it was created, with an address or without.
        if let Some(old) = number.checked_sub(10).filter(|old| old % 3 == 0) {
            kube.delete(&path(&named(old)))?;
        }
    }
    Ok(())
}

fn kill(lab: &mut Lab, finished: impl Fn() -> bool) -> anyhow::Result<()> {
    for round in 0..KILLS {
        let random = std::hash::RandomState::new().hash_one(round);
        let more = usize::try_from(random % 30)?;
        let goal = assigned(&services(lab.kube())?).len() + more;
        eventually("some more Services have an address", Duration::from_secs(2), || {
            let enough = assigned(&services(lab.kube())?).len() >= goal;
            Ok((enough || finished()).then_some(()))
        })
        // When as many as may be have one, it is killed anyway.
        .or_else(|_| services(lab.kube()).map(drop))?;
        if let Some(mut controller) = lab.controller.take() {
            controller.kill();
        }
        lab.start_controller(&[])?;
    }
    Ok(())
}

fn services(kube: &Kube) -> anyhow::Result<Vec<Value>> {
    let services = kube.list("/api/v1/namespaces/default/services")?;
    let is_ours = |service: &Value| {
        service.pointer("/spec/type").and_then(Value::as_str) == Some("LoadBalancer")
    };
    Ok(services.into_iter().filter(is_ours).collect())
}

/// What has an address: uid and address.
fn assigned(services: &[Value]) -> BTreeMap<String, String> {
    services
        .iter()
        .filter_map(|service| {
            let uid = service.pointer("/metadata/uid").and_then(Value::as_str)?;
            Some((uid.to_owned(), ingress(service).pop()?))
        })
        .collect()
}

/// Looks until it is told that all is done.
fn watch(kube: &Kube, done: &AtomicBool) -> anyhow::Result<()> {
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    while !done.load(Ordering::Relaxed) {
        let services = services(kube)?;
        let now = assigned(&services);
        let distinct: BTreeSet<&String> = now.values().collect();
        if distinct.len() != now.len() {
            bail!("an address is given twice: {now:?}");
        }
        for service in &services {
            let uid = service.pointer("/metadata/uid").and_then(Value::as_str).context("a uid")?;
            let name = service.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            match (first.get(uid), now.get(uid)) {
                (Some(before), Some(now)) if before == now => {}
                (Some(before), now) => bail!("{name} had {before} and has {now:?}"),
                (None, Some(now)) => drop(first.insert(uid.to_owned(), now.clone())),
                (None, None) => {}
            }
        }
    }
    ensure!(first.len() > SERVICES / 2, "only {} Services had an address", first.len());
    Ok(())
}

fn settle(kube: &Kube) -> anyhow::Result<()> {
    let (mut left, mut with) = (0, 0);
    eventually_true("all Services that are left have an address", SOON, || {
        let services = services(kube)?;
        (left, with) = (services.len(), assigned(&services).len());
        Ok(left > 0 && left == with)
    })
    .with_context(|| format!("{with} of {left}"))
}
