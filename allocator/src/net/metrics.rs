// SPDX-License-Identifier: Apache-2.0
//! The port of the metrics.

use cluster::net::access::may_get;
use daemon::access::Access;
use kube::Client;
use prometheus::Registry;

use super::args::Args;

/// Serves the metrics to each caller that the API permits to read them.
pub(super) fn serve_metrics(
    client: &Client,
    args: &Args,
    registry: Registry,
) -> anyhow::Result<()> {
    let client = client.clone();
    let access = Access::new(move |token| may_get(client.clone(), token, "/metrics"));
    daemon::metrics_server::start(&args.common, registry, |_| (), access)
}
