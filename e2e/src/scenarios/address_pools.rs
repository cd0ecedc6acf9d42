// SPDX-License-Identifier: Apache-2.0
//! AddressPools of MetalLB 0.13 beside the kinds of today, with the roles of that time: honoured, each with the advertisements that it says
//! itself.
//!
//! Topology: two nodes with speakers, a client; an IPAddressPool with an L2Advertisement for everything.
//! Steps: Services get addresses of an AddressPool with protocol layer2 and of one with bgp: the first is answered, the second is not, though the
//! L2Advertisement selects every pool. Without that advertisement the IPAddressPool's Service is answered no more, the AddressPool's is. A
//! version of the AddressPool with an address that is none is told and takes nothing away, also over a restart; deleted, it takes its
//! addresses with it.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::lab::generation::Generation;
use crate::lab::kube::documents;
use crate::lab::node::{PodAddresses, Proxy};
use crate::lab::objects::service;
use crate::lab::wait::{always, eventually_true};
use crate::lab::{Lab, SOON};

const KIND: &str = include_str!("../../manifests/address-pool.yaml");
const CRD: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/addresspools.metallb.io";
const POOLS: &str = "/apis/metallb.io/v1beta1/namespaces/metallb-system/addresspools";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let played = play(lab);
    let removed = lab.kube().delete(CRD).map_err(anyhow::Error::from);
    let restored = lab.control.install();
    played.and(removed).and(restored)
}

fn pool(version: &str, name: &str, protocol: &str, addresses: &str) -> Value {
    json!({
        "apiVersion": format!("metallb.io/{version}"), "kind": "AddressPool",
        "metadata": {"name": name, "namespace": "metallb-system"},
        "spec": {"protocol": protocol, "addresses": [addresses], "autoAssign": false},
    })
}

fn play(lab: &mut Lab) -> anyhow::Result<()> {
    lab.control.install_generation(Generation::V0_13)?;
    for object in documents(KIND)? {
        lab.kube().apply(&object)?;
    }
    eventually_true("AddressPools are served", SOON, || Ok(lab.kube().get(POOLS).is_ok()))?;
    lab.kube().create(&pool("v1alpha1", "old", "layer2", "172.30.0.100-172.30.0.101"))?;
    lab.start_all(2, Proxy::Absent)?;
    lab.kube().create(&pool("v1beta1", "routed", "bgp", "172.30.0.110-172.30.0.111"))?;
    let endpoint = PodAddresses {
        node: "node1".into(),
        v4: "10.244.1.99".into(),
        v6: "fd00:244:1::99".into(),
    };
    for (name, pool, address) in [
        ("old", "old", "172.30.0.100"),
        ("routed", "routed", "172.30.0.110"),
        ("new", "pool", "172.30.0.200"),
    ] {
        lab.set_endpoints(name, std::slice::from_ref(&endpoint))?;
        let annotations = json!({"metallb.universe.tf/address-pool": pool});
        lab.kube().create(&service(name, json!({"metadata": {"annotations": annotations}})))?;
        lab.expect_addresses(name, &[address])?;
    }
    for answered in ["172.30.0.100", "172.30.0.200"] {
        lab.wait_owner(answered)?;
    }
    always("nobody answers for it", Duration::from_secs(1), || {
        Ok(lab.owners("172.30.0.110")?.is_empty())
    })?;

    lab.kube().delete("/apis/metallb.io/v1beta1/namespaces/metallb-system/l2advertisements/all")?;
    lab.expect_silence("172.30.0.200").context("the L2Advertisement is gone")?;
    lab.wait_owner("172.30.0.100")?;

    let nonsense = json!({"spec": {"addresses": ["172.30.0.100-172.30.0.101", "nonsense"]}});
    lab.kube().patch(&format!("{POOLS}/old"), &nonsense)?;
    if let Some(mut controller) = lab.controller.take() {
        controller.kill();
    }
    lab.start_controller(&[])?;
    always("it keeps its address", Duration::from_secs(2), || {
        Ok(lab.addresses("old")? == ["172.30.0.100"])
    })?;
    lab.wait_owner("172.30.0.100").context("the AddressPool is invalid")?;

    lab.kube().delete(&format!("{POOLS}/old"))?;
    eventually_true("its Service has no address", SOON, || Ok(lab.addresses("old")?.is_empty()))?;
    lab.expect_silence("172.30.0.100")?;
    ensure!(lab.addresses("routed")? == ["172.30.0.110"], "another pool's went as well");
    Ok(())
}
