// SPDX-License-Identifier: Apache-2.0
//! As `http_ipv4`, with kube-proxy in iptables mode.
//!
//! Topology: three nodes with kube-proxy in iptables mode, pods on node1 and node3, a client.
//! Steps: those of `http_ipv4`.

use crate::lab::Lab;
use crate::lab::node::Proxy;

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    super::http_ipv4::serve_page(lab, Proxy::Iptables)
}
