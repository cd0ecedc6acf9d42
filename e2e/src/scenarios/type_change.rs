// SPDX-License-Identifier: Apache-2.0
//! A Service that is no longer of type LoadBalancer gives its address back, also when nobody watched.
//!
//! Topology: two nodes, a client.
//! Steps: LoadBalancer -> ClusterIP: status and annotation are cleared, nobody answers, the address is given to the next;
//! back again: another address; the same change while the controller is away: cleared when it is back.

use serde_json::json;

use crate::lab::node::{PodAddresses, Proxy};
use crate::lab::objects::{ingress, pool_of, service};
use crate::lab::wait::eventually_true;
use crate::lab::{Lab, SOON};

const WEB: &str = "/api/v1/namespaces/default/services/web";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_all(2, Proxy::Absent)?;
    let endpoint = PodAddresses {
        node: "node1".into(),
        v4: "10.244.1.99".into(),
        v6: "fd00:244:1::99".into(),
    };
    for name in ["web", "next"] {
        lab.set_endpoints(name, std::slice::from_ref(&endpoint))?;
    }
    let turn = |kind: &str| json!({"spec": {"type": kind, "allocateLoadBalancerNodePorts": null}});
    lab.kube().create(&service("web", json!({})))?;
    lab.expect_addresses("web", &["172.30.0.200"])?;
    lab.wait_owner("172.30.0.200")?;

    lab.kube().patch(WEB, &turn("ClusterIP"))?;
    expect_cleared(lab)?;
    lab.expect_silence("172.30.0.200")?;
    lab.kube().create(&service("next", json!({})))?;
    lab.expect_addresses("next", &["172.30.0.200"])?;
    lab.wait_owner("172.30.0.200")?;

    lab.kube().patch(WEB, &turn("LoadBalancer"))?;
    lab.expect_addresses("web", &["172.30.0.201"])?;
    lab.wait_owner("172.30.0.201")?;

    lab.controller = None;
    lab.kube().patch(WEB, &turn("ClusterIP"))?;
    lab.start_controller(&[])?;
    expect_cleared(lab)?;
    lab.expect_silence("172.30.0.201")
}

fn expect_cleared(lab: &Lab) -> anyhow::Result<()> {
    eventually_true("status and annotation are cleared", SOON, || {
        let service = lab.kube().get(WEB)?;
        Ok(ingress(&service).is_empty() && pool_of(&service).is_none())
    })
}
