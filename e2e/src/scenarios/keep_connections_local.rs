// SPDX-License-Identifier: Apache-2.0
//! As `keep_connections`, with kube-proxy in iptables mode and the policy Local.
//!
//! Topology: three nodes with speakers and kube-proxy (mode iptables), a pod on each, a client.
//! Steps: the moves of `keep_connections`.

use serde_json::json;

use crate::lab::Lab;
use crate::lab::node::Proxy;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let spec = json!({"spec": {"externalTrafficPolicy": "Local"}});
    super::keep_connections::keep_through_moves(lab, Proxy::Iptables, &[1, 2, 3], &spec)?;
    Ok(())
}
