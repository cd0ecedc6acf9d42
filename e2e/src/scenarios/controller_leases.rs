// SPDX-License-Identifier: Apache-2.0
//! Two controllers, one of which decides (a Lease), and two without a Lease, whose mistakes are mended.
//!
//! Topology: two controllers in the control plane's namespace, on different ports; no nodes.
//! Steps: with the permission for leases, and a Lease of two seconds: the first one leads, and writes the Lease only once while it is alone; the
//! second does nothing, and the first renews the Lease from then on; the first is killed: when that is over the second gives an address; a third starts, the second ends in order: the third leads at once; it is stopped, the next takes over, and
//! it goes on: it writes nothing any more and no address is given twice. Then without the permission: both decide while 200 Services
//! come and go for 30 seconds; no address is in two Services in the end, nor twice in a row while it lasts, and once it is quiet neither
//! takes the ConfigurationState from the other. The permission comes: one of them stops deciding.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::lab::control_plane::{Identity, kubeconfig};
use crate::lab::kube::SYSTEM;
use crate::lab::objects::{ingress, pool, service};
use crate::lab::process::{Process, Rights, Start};
use crate::lab::wait::{always, eventually_true, now};
use crate::lab::{Lab, SOON};

const SERVICES: &str = "/api/v1/namespaces/default/services";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let played = with_leases(lab).and_then(|()| without_leases(lab));
    let binding = "/apis/rbac.authorization.k8s.io/v1/namespaces/metallb-system/rolebindings/leases";
    lab.kube().delete(binding)?;
    played
}

fn controller(lab: &Lab, number: usize) -> anyhow::Result<Process> {
    Process::start(
        lab.folder(),
        Start {
            name: format!("controller{number}"),
            namespace: &lab.plane,
            program: &lab.programs.controller,
            arguments: vec![
                "--port=0".into(),
                format!("--health-probe-port={}", 17_500 + number),
                "--webhook-mode=disabled".into(),
                "--log-level=debug".into(),
                "--leader-elect-lease-duration=2s".into(),
                "--leader-elect-renew-deadline=1500ms".into(),
                "--leader-elect-retry-period=500ms".into(),
            ],
            environment: vec![
                ("METALLB_NAMESPACE", SYSTEM.to_owned()),
                ("METALLB_POD_NAME", format!("controller{number}")),
                (
                    "KUBECONFIG",
                    kubeconfig(lab.folder(), Identity::Controller).display().to_string(),
                ),
            ],
            rights: Rights::Nobody,
        },
    )
}

fn leads(process: &Process) -> bool {
    process.log().contains("leaderElected")
}

/// Waits until a leader has found that another one stands by.
fn renews(process: &Process) -> anyhow::Result<()> {
    eventually_true("the leader renews its Lease", SOON, || {
        let log = process.log();
        Ok(log.rfind("\"renews\":true") > log.rfind("\"renews\":false"))
    })
}

pub(super) fn lease(lab: &Lab) -> anyhow::Result<Value> {
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases/ferrolb-controller");
    Ok(lab.kube().get(&path)?)
}

/// Lets controllers have a Lease.
pub(super) fn permit(lab: &Lab) -> anyhow::Result<()> {
    lab.kube().apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "leases", "namespace": SYSTEM},
        "rules": [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
                   "verbs": ["create", "get", "update"]}],
    }))?;
    lab.kube().apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "leases", "namespace": SYSTEM},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "leases"},
        "subjects": [{"kind": "ServiceAccount", "name": "controller", "namespace": SYSTEM}],
    }))?;
    Ok(())
}

fn with_leases(lab: &mut Lab) -> anyhow::Result<()> {
    permit(lab)?;
    lab.kube().apply(&pool("pool", &["172.30.1.0/24"]))?;
    let mut first = controller(lab, 1)?;
    eventually_true("the first leads", SOON, || Ok(leads(&first)))?;
    lab.kube().create(&service("one", json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
    lab.expect_addresses("one", &["172.30.1.0"])?;
    let alone = lease(lab)?;
    always("a leader that is alone leaves its Lease as it is", Duration::from_secs(5), || {
        Ok(lease(lab)? == alone)
    })?;
    let mut second = controller(lab, 2)?;
    eventually_true("the second stands by", SOON, || {
        Ok(second.log().contains("MetalLB controller starting"))
    })?;

    renews(&first)?;
    first.kill();
    let killed = now();
    lab.kube().create(&service("two", json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
    lab.expect_addresses("two", &["172.30.1.1"])?;
    let took = killed.elapsed();
    println!("controller_leases: another controller gave an address {took:.1?} after the leader was killed");

    let third = controller(lab, 3)?;
    eventually_true("the third stands by", SOON, || {
        Ok(third.log().contains("MetalLB controller starting"))
    })?;
    second.terminate(SOON)?;
    lab.kube().create(&service("three", json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
    lab.expect_addresses("three", &["172.30.1.2"])?;
    ensure!(leads(&third), "the third does not lead");

    let mut fourth = controller(lab, 4)?;
    eventually_true("the fourth stands by", SOON, || {
        Ok(fourth.log().contains("MetalLB controller starting"))
    })?;
    renews(&third)?;
    third.signal(Signal::SIGSTOP)?;
    for number in 0..20 {
        let name = format!("meanwhile{number}");
        lab.kube().create(&service(&name, json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
    }
    eventually_true("all have an address", SOON, || Ok(all(lab)?.len() == 23))?;
    third.signal(Signal::SIGCONT)?;
    eventually_true("the third notices that it leads no more", SOON, || {
        Ok(third.log().contains("leaderLost"))
    })?;
    no_address_twice(&all(lab)?)?;
    ensure!(fourth.ended().is_none(), "the fourth ended");
    drop((third, fourth));
    lab.reset()
}

fn without_leases(lab: &mut Lab) -> anyhow::Result<()> {
    let binding = "/apis/rbac.authorization.k8s.io/v1/namespaces/metallb-system/rolebindings/leases";
    lab.kube().delete(binding)?;
    lab.kube().apply(&pool("pool", &["172.30.1.0/24"]))?;
    for number in [1, 2] {
        // Nobody runs them; they own what the two processes write.
        lab.kube().apply(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("controller{number}"), "namespace": SYSTEM},
            "spec": {"containers": [{"name": "controller", "image": "none"}]},
        }))?;
    }
    let both = [controller(lab, 1)?, controller(lab, 2)?];
    for process in &both {
        eventually_true("it runs without a lease", SOON, || Ok(process.log().contains("leaseOff")))?;
    }
    let end = now() + Duration::from_secs(30);
    let (mut created, mut doubles) = (0_u32, BTreeMap::<String, u32>::new());
    while now() < end {
        for _ in 0..10 {
            let name = format!("churn{created}");
            lab.kube().create(&service(&name, json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
            created += 1;
            if let Some(old) = created.checked_sub(200) {
                lab.kube().delete(&format!("{SERVICES}/churn{old}"))?;
            }
        }
        // What is given twice now must not be so when it is looked again and again.
        let twice = given_twice(&all(lab)?);
        doubles.retain(|address, _| twice.contains(address));
        for address in twice {
            let seen = doubles.entry(address.clone()).or_default();
            *seen += 1;
            ensure!(*seen < 20, "{address} stays with two Services");
        }
    }
    eventually_true("all have an address", SOON, || {
        let services = lab.kube().list(SERVICES)?;
        Ok(services.iter().filter(|service| is_ours(service)).all(|s| !ingress(s).is_empty()))
    })?;
    eventually_true("no address is given twice", SOON, || Ok(given_twice(&all(lab)?).is_empty()))?;
    let owned = state(lab)?;
    ensure!(owned.contains("ownerReferences"), "the ConfigurationState has no owner: {owned}");
    always("nobody writes the ConfigurationState", Duration::from_secs(5), || {
        Ok(state(lab)? == owned)
    })?;

    // Who finds an old one would wait until it is over, and decide nothing meanwhile.
    lab.kube().delete(&format!("/apis/coordination.k8s.io/v1/namespaces/{SYSTEM}/leases"))?;
    permit(lab)?;
    let deadline = Duration::from_secs(60);
    for process in &both {
        eventually_true("it sees the permission", deadline, || Ok(process.log().contains("leaseOn")))?;
    }
    let lost = |process: &&Process| process.log().contains("leaderLost");
    eventually_true("one of them stops deciding", SOON, || Ok(both.iter().filter(lost).count() == 1))?;
    lab.kube().create(&service("last", json!({"spec": {"ipFamilies": ["IPv4"]}})))?;
    lab.wait_addresses("last")?;
    ensure!(both.iter().filter(lost).count() == 1, "both of them stopped deciding");
    for number in [1, 2] {
        lab.kube().delete(&format!("/api/v1/namespaces/{SYSTEM}/pods/controller{number}"))?;
    }
    Ok(())
}

/// The controller's ConfigurationState, with its version.
fn state(lab: &Lab) -> anyhow::Result<String> {
    let path = format!("/apis/metallb.io/v1beta1/namespaces/{SYSTEM}/configurationstates/controller");
    Ok(lab.kube().get(&path)?.to_string())
}

fn is_ours(service: &Value) -> bool {
    service.pointer("/spec/type").and_then(Value::as_str) == Some("LoadBalancer")
}

/// Name and address of every Service that has one.
pub(super) fn all(lab: &Lab) -> anyhow::Result<Vec<(String, String)>> {
    let services = lab.kube().list(SERVICES)?;
    let mut found = Vec::new();
    for service in services.iter().filter(|service| is_ours(service)) {
        let name = service.pointer("/metadata/name").and_then(Value::as_str).context("a name")?;
        found.extend(ingress(service).into_iter().map(|address| (name.to_owned(), address)));
    }
    Ok(found)
}

fn given_twice(all: &[(String, String)]) -> Vec<String> {
    let mut counts = BTreeMap::<&str, u32>::new();
    for (_, address) in all {
        *counts.entry(address).or_default() += 1;
    }
    counts.into_iter().filter(|(_, count)| *count > 1).map(|(address, _)| address.to_owned()).collect()
}

pub(super) fn no_address_twice(all: &[(String, String)]) -> anyhow::Result<()> {
    let twice = given_twice(all);
    ensure!(twice.is_empty(), "given twice: {twice:?} of {all:?}");
    Ok(())
}
