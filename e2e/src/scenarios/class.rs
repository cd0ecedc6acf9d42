// SPDX-License-Identifier: Apache-2.0
//! loadBalancerClass: only what is asked for is served.
//!
//! Topology: two nodes, a client; first without --lb-class, then with it.
//! Steps: without the flag the Service without a class is served and that of another class is left alone; with the flag it
//! is the other way round: the one with the class is served, the other keeps its status and is answered no more.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;

use crate::lab::Lab;
use crate::lab::node::{PodAddresses, Proxy};
use crate::lab::objects::service;
use crate::lab::wait::always;

const FLAG: &str = "--lb-class=example.com/metal";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_all(2, Proxy::Absent)?;
    let endpoint = PodAddresses {
        node: "node1".into(),
        v4: "10.244.1.99".into(),
        v6: "fd00:244:1::99".into(),
    };
    for name in ["plain", "classy"] {
        lab.set_endpoints(name, std::slice::from_ref(&endpoint))?;
    }
    let class = json!({"spec": {"loadBalancerClass": "example.com/metal"}});
    lab.kube().create(&service("classy", class))?;
    lab.kube().create(&service("plain", json!({})))?;
    lab.expect_addresses("plain", &["172.30.0.200"])?;
    lab.wait_owner("172.30.0.200")?;
    always("the other class is left alone", Duration::from_millis(300), || {
        Ok(lab.addresses("classy")?.is_empty())
    })?;
    let events = lab.kube().events("classy")?;
    ensure!(events.is_empty(), "events about a Service that is not ours: {events:?}");

    lab.controller = None;
    for node in &mut lab.nodes {
        node.speaker = None;
    }
    lab.start_controller(&[FLAG])?;
    lab.start_speakers(&[FLAG])?;
    let addresses = lab.wait_addresses("classy")?;
    let address = addresses.first().cloned().unwrap_or_default();
    lab.wait_owner(&address)?;
    ensure!(lab.addresses("plain")? == ["172.30.0.200"], "a foreign status was touched");
    if address != "172.30.0.200" {
        lab.expect_silence("172.30.0.200")?;
    }
    Ok(())
}
