// SPDX-License-Identifier: Apache-2.0
//! The API refuses the configuration when the programs start, as it does for a moment when it starts itself: what was
//! given stays, and all goes on when the permission is there.
//!
//! Topology: two nodes with speakers, a client.
//! Steps: a Service is announced; controller and speakers are killed and the bindings of their roles in metallb-system
//! deleted; they start, and are shown no pool: the Service keeps its address; the bindings are back: the Service is announced
//! again, and a new one gets the next address.

use std::time::Duration;

use serde_json::json;

use crate::lab::control_plane::apply_roles;
use crate::lab::node::{PodAddresses, Proxy};
use crate::lab::objects::service;
use crate::lab::wait::always;
use crate::lab::{Lab, SOON};

const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/metallb-system/rolebindings";
const SERVICE: &str = "/api/v1/namespaces/default/services/web";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let played = play(lab);
    // The lane goes on with the roles in any case.
    apply_roles(lab.kube())?;
    played
}

fn play(lab: &mut Lab) -> anyhow::Result<()> {
    lab.start_all(2, Proxy::Absent)?;
    let endpoint = PodAddresses {
        node: "node1".into(),
        v4: "10.244.1.99".into(),
        v6: "fd00:244:1::99".into(),
    };
    for name in ["web", "next"] {
        lab.set_endpoints(name, std::slice::from_ref(&endpoint))?;
    }
    // Not the first address: one that is given anew would be another one.
    let annotation = json!({"metallb.io/loadBalancerIPs": "172.30.0.205"});
    lab.kube().create(&service("web", json!({"metadata": {"annotations": annotation}})))?;
    lab.expect_addresses("web", &["172.30.0.205"])?;
    let unasked = json!({"metadata": {"annotations": {"metallb.io/loadBalancerIPs": null}}});
    lab.kube().patch(SERVICE, &unasked)?;
    let owner = lab.wait_owner("172.30.0.205")?;

    lab.controller = None;
    for node in &mut lab.nodes {
        node.speaker = None;
    }
    lab.kube().delete(&format!("{BINDINGS}/controller"))?;
    lab.kube().delete(&format!("{BINDINGS}/pod-lister"))?;
    lab.spawn_controller(&[])?;
    for node in &mut lab.nodes {
        node.start_speaker(&[])?;
    }
    always("the Service keeps its address", Duration::from_secs(2), || {
        Ok(lab.addresses("web")? == ["172.30.0.205"])
    })?;

    apply_roles(lab.kube())?;
    lab.wait_controller()?;
    lab.kube().create(&service("next", json!({})))?;
    lab.expect_addresses("next", &["172.30.0.200"])?;
    lab.expect_owner("172.30.0.205", &owner)?;
    lab.wait_owner("172.30.0.200")?;
    always("the Service keeps its address", SOON / 20, || {
        Ok(lab.addresses("web")? == ["172.30.0.205"])
    })
}
