// SPDX-License-Identifier: Apache-2.0
//! As `spread_nodes`, with IPv6, kube-proxy in iptables mode.
//!
//! Topology: three nodes with speakers and kube-proxy (mode iptables), a pod on each, a client.
//! Steps: the planned moves of `spread_nodes`.

use serde_json::json;

use crate::lab::Lab;
use crate::lab::node::Proxy;

/// The first address of the pool.
const ADDRESS: &str = "fd30::1000";

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let families = json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"], "externalTrafficPolicy": "Local"});
    let spec = json!({"spec": families});
    let (mut connections, mut watched) =
        super::spread_nodes::spread(lab, Proxy::Iptables, ADDRESS, &spec)?;
    super::spread_nodes::planned(lab, &mut connections, &mut watched, ADDRESS)
}
