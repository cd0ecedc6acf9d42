// SPDX-License-Identifier: Apache-2.0
//! `frr-metrics`: in Pods of MetalLB's FRR mode the program of this name exports FRR's metrics, and the probes of FRR's container ask it. FRR
//! has no peers here, and the speaker exports the sessions itself, so the only task left is to let probes and scrapes succeed.
//!
//! Manifests before MetalLB 0.16 ask by plain HTTP on 7473; later ones by TLS on 9121, for metrics with a token.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::Context;
use clap::Parser;
use cluster::net::access::may_get;
use cluster::net::client::connect;
use crds::address::parse_address;
use daemon::access::Access;
use daemon::companion::Companion;
use daemon::log::{Format, Threshold};
use daemon::tls::TlsOptions;

/// Answers /livez and /metrics in place of MetalLB's exporter.
#[derive(Debug, Parser)]
#[command(name = "frr-metrics", version, args_override_self = true)]
struct Args {
    /// Port to listen on.
    #[arg(long, default_value_t = 9121)]
    metrics_port: u16,
    /// Address to listen on. Manifests that name it speak TLS only.
    #[arg(long, value_parser = crds::address::flag)]
    metrics_bind_address: Option<IpAddr>,
    /// Address to listen on, or localhost, by the name of manifests before 0.16.
    #[arg(long)]
    host: Option<String>,
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
    /// As of the speaker.
    #[arg(long, default_value = "warn")]
    log_level: Threshold,
}

impl Args {
    fn endpoint(&self) -> anyhow::Result<Companion> {
        let named = match self.host.as_deref().filter(|host| !host.is_empty()) {
            Some("localhost") => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            Some(host) => Some(
                parse_address(host)
                    .with_context(|| format!("--host: {host:?} is not an IP address"))?,
            ),
            None => None,
        };
        // Go listens in this way: an unspecified address of either family stands for all addresses of both.
        let address = self.metrics_bind_address.or(named).filter(|one| !one.is_unspecified());
        let files = [&self.tls_cert_file, &self.tls_private_key_file];
        let has_files = files.iter().all(|file| !file.is_empty());
        Ok(Companion {
            address,
            port: self.metrics_port,
            metrics_path: self.metrics_path.clone(),
            plain: self.metrics_bind_address.is_none(),
            certificate: has_files.then(|| {
                (self.tls_cert_file.as_str().into(), self.tls_private_key_file.as_str().into())
            }),
            tls: TlsOptions::parse(
                &self.tls_min_version,
                &self.tls_cipher_suites,
                &self.tls_curve_preferences,
            )?,
        })
    }
}

/// Runs until a signal ends it.
pub(super) async fn run(arguments: &[OsString]) -> anyhow::Result<()> {
    let name = OsString::from("frr-metrics");
    let arguments = std::iter::once(name).chain(arguments.iter().cloned());
    let args = Args::try_parse_from(daemon::flags::two_dashes(arguments))?;
    daemon::log::start(args.log_level, Format::Json);
    daemon::files::raise_limit();
    let path = args.metrics_path.clone();
    let access = match connect().await {
        Ok(client) => Access::new(move |token| {
            let (client, path) = (client.clone(), path.clone());
            async move { may_get(client, token, &path).await }
        }),
        // The probes need no API.
        Err(error) => {
            let error = format!("{error:#}");
            Access::new(move |_| std::future::ready(Err::<Option<bool>, _>(error.clone())))
        }
    };
    args.endpoint()?.start(access).await?;
    Ok(daemon::signals::terminated().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(arguments: &[&str]) -> Companion {
        let arguments = std::iter::once(&"frr-metrics").chain(arguments);
        Args::try_parse_from(arguments).unwrap().endpoint().unwrap()
    }

    #[test]
    fn each_generation_of_manifests_is_answered_as_it_asks() {
        // The arguments of v0.14.9, of v0.15.3, and of their chart with a proxy in front.
        let old = endpoint(&["--metrics-port=7473"]);
        assert_eq!((old.address, old.port, old.plain), (None, 7473, true));
        let old = endpoint(&["--metrics-port=7473", "--host=localhost"]);
        assert_eq!((old.address, old.port), (Some(Ipv4Addr::LOCALHOST.into()), 7473));
        // The arguments of v0.16.1, and of its chart with a certificate.
        let new = endpoint(&["--metrics-port=9121", "--metrics-bind-address=0.0.0.0"]);
        assert_eq!((new.address, new.port, new.plain), (None, 9121, false));
        assert_eq!(new.certificate, None);
        let new = endpoint(&[
            "--metrics-bind-address=0.0.0.0",
            "--tls-cert-file=/etc/metrics/tls.crt",
            "--tls-private-key-file=/etc/metrics/tls.key",
            "--tls-min-version=VersionTLS12",
        ]);
        let files = ("/etc/metrics/tls.crt".into(), "/etc/metrics/tls.key".into());
        assert_eq!(new.certificate, Some(files));
    }
}
