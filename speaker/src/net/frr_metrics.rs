// SPDX-License-Identifier: Apache-2.0
//! `frr-metrics`: in Pods of MetalLB's FRR mode it exports FRR's metrics, and the probes of FRR's container ask it. FRR has no
//! peers here, and the speaker exports the sessions itself: what is left is that the probes pass.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Context;
use clap::Parser;
use daemon::companion::serve_companion;

/// Answers /livez and /metrics in place of MetalLB's exporter.
#[derive(Debug, Parser)]
#[command(name = "frr-metrics", version, args_override_self = true)]
struct Args {
    /// Port to listen on.
    #[arg(long, default_value_t = 9121)]
    metrics_port: u16,
    /// Address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    metrics_bind_address: IpAddr,
    /// Path of the metrics.
    #[arg(long, default_value = "/metrics")]
    metrics_path: String,
    /// Certificate; a self-signed one without it.
    #[arg(long, default_value = "")]
    tls_cert_file: String,
    /// Its key.
    #[arg(long, default_value = "")]
    tls_private_key_file: String,
    /// As of the speaker.
    #[arg(long, default_value = "")]
    tls_cipher_suites: String,
    /// As of the speaker.
    #[arg(long, default_value = "")]
    tls_curve_preferences: String,
    /// As of the speaker.
    #[arg(long, default_value = "")]
    tls_min_version: String,
}

/// Runs until a signal ends it.
pub(super) async fn run(arguments: &[OsString]) -> anyhow::Result<()> {
    let name = OsString::from("frr-metrics");
    let arguments = std::iter::once(name).chain(arguments.iter().cloned());
    let args = Args::try_parse_from(daemon::flags::two_dashes(arguments))?;
    let address = SocketAddr::new(args.metrics_bind_address, args.metrics_port);
    serve_companion(address, &args.metrics_path)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    Ok(daemon::signals::terminated().await?)
}
