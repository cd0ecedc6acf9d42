// SPDX-License-Identifier: Apache-2.0
//! The API server is away: what is announced stays announced; when it is back, what is new is served.
//!
//! Topology: two nodes with kube-proxy, a pod on each, a client.
//! Steps: a Service is served; the API server is killed; for a minute the same node answers and pages come; it
//! starts again; the Service has kept its address and is served; a new Service gets an address and is served.

use std::time::Duration;

use anyhow::ensure;
use serde_json::json;

use crate::lab::{Lab, SOON};
use crate::lab::node::Proxy;
use crate::lab::objects::service;
use crate::lab::wait::{always, eventually};

const AWAY: Duration = Duration::from_secs(60);
/// The pauses between kube-proxy's tries have grown to half a minute by then.
const PROXY: Duration = Duration::from_secs(90);

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_all(2, Proxy::Nftables)?;
    let pods = [lab.start_pod(1)?, lab.start_pod(2)?];
    lab.set_endpoints("web", &pods)?;
    lab.kube().create(&service("web", json!({})))?;
    lab.expect_addresses("web", &["172.30.0.200"])?;
    let owner = lab.wait_owner("172.30.0.200")?;
    lab.wait_page("172.30.0.200")?;

    lab.control.apiserver.kill();
    always("the same node answers without the API", AWAY, || {
        let owners = lab.owners("172.30.0.200")?;
        Ok(owners.len() == 1 && owners.contains(&owner))
    })?;
    lab.wait_page("172.30.0.200")?;
    lab.control.restart_apiserver(&lab.plane)?;

    lab.set_endpoints("next", &pods)?;
    // A server that has just started says for a moment that it has no cluster addresses left.
    eventually("the API server takes a new Service", SOON, || {
        match lab.kube().create(&service("next", json!({}))) {
            Ok(_) => Ok(Some(())),
            Err(error) if error.to_string().contains("range is full") => Ok(None),
            Err(error) => Err(error.into()),
        }
    })?;
    lab.expect_addresses("next", &["172.30.0.201"])?;
    lab.wait_owner("172.30.0.201")?;
    let client = lab.client()?;
    eventually("kube-proxy has come back and serves the new Service", PROXY, || {
        Ok(client.page("172.30.0.201"))
    })?;
    ensure!(lab.addresses("web")? == ["172.30.0.200"], "the old Service lost its address");
    lab.expect_owner("172.30.0.200", &owner)
}
