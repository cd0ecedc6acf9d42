// SPDX-License-Identifier: Apache-2.0
//! The webhooks: a server on port 9443 whose answers come from `crds::admission`, and its certificates.

mod authority;
mod bundle;
mod cache;
mod installed;
mod rotation;
mod routes;
mod target;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use cluster::Kind;
use cluster::net::source::kubernetes::{Watches, watch_all};
use cluster::net::source::{Journal, Update};
use crds::config::ConfigKind;
use daemon::endpoints::Readiness;
use daemon::listen;
use daemon::metrics::ClientMetrics;
use daemon::serve::{Limits, Plain, Server, Tls};
use daemon::tls::{Slot, TlsOptions, follow_folder};
use kube::Client;
use prometheus::Registry;
use tokio::sync::watch;

use super::args::Args;
use super::metrics::serve_metrics;
use cache::Cache;
use routes::{Webhooks, routes};

/// The port to which the Service of the webhooks leads (contract 3.3).
const PORT: u16 = 9443;

/// The limits of the server. An API server keeps its connections, and asks much when much is applied.
const LIMITS: Limits = Limits {
    connections: 512,
    // An API server opens about as many at once when much is applied.
    per_source: 128,
    greeting: Duration::from_secs(5),
    head: Duration::from_secs(10),
    // An API server waits for a webhook, or for a conversion, no longer than this.
    request: Duration::from_secs(30),
    // Go's clients close an idle connection earlier. So they close it, and the server never closes it under their next
    // question.
    idle: Duration::from_secs(120),
    head_octets: 16 << 10,
};

/// The time between two looks for a missing certificate.
const LOOK: Duration = Duration::from_secs(5);

/// Starts the webhooks, as `--webhook-mode` says. The receiver holds true once they can answer; where they are disabled
/// it holds true from the beginning.
///
/// # Errors
/// The flags of TLS cannot be followed, or the port is taken.
pub(super) async fn start(
    client: &Client,
    namespace: &str,
    args: &Args,
) -> anyhow::Result<watch::Receiver<bool>> {
    let (ready, receiver) = watch::channel(args.webhook_mode == "disabled");
    if args.webhook_mode == "disabled" {
        tokio::spawn(installed::warn_of_conversion(client.clone(), namespace.to_owned()));
        return Ok(receiver);
    }
    let tls = TlsOptions::parse(
        &args.common.tls_min_version,
        &args.common.tls_cipher_suites,
        &args.common.tls_curve_preferences,
    )?;
    let slot = Slot::default();
    let cache = Arc::new(Mutex::new(Cache::default()));
    let protocols: &[&str] = if args.webhook_http2 { &["h2", "http/1.1"] } else { &["http/1.1"] };
    let server = Server {
        tls: Some(Tls {
            config: Arc::new(tls.server(Arc::new(slot.clone()), protocols)?),
            routes: routes(Webhooks::new(client.clone(), namespace, Arc::clone(&cache))),
        }),
        plain: Plain::Refused,
        limits: LIMITS,
    };
    let listener = listen::everywhere(PORT);
    server.start(listener.with_context(|| format!("cannot serve webhooks on port {PORT}"))?);

    let (listed, mut is_listed) = watch::channel(false);
    tokio::spawn(follow(client.clone(), namespace.to_owned(), cache, listed));
    let (certified, mut is_certified) = watch::channel(false);
    let on_ready = move || {
        certified.send_replace(true);
    };
    if args.disable_cert_rotation {
        tokio::spawn(own_certificate(args.cert_dir.clone().into(), slot, on_ready));
    } else {
        let (client, namespace, args) = (client.clone(), namespace.to_owned(), args.clone());
        tokio::spawn(async move {
            let names = installed::names(&client, &namespace, &args).await;
            rotation::run(client, names, slot, on_ready).await;
        });
    }
    tokio::spawn(async move {
        let both = async {
            is_listed.wait_for(|is| *is).await?;
            is_certified.wait_for(|is| *is).await.map(drop)
        };
        if both.await.is_ok() {
            tracing::info!(event = "webhooksReady", "the webhooks can answer");
            ready.send_replace(true);
        }
        // Receivers keep the last value for as long as the program lives.
        ready.closed().await;
    });
    Ok(receiver)
}

/// Runs `--webhook-mode=onlywebhook`: no addresses are given, only webhooks answer, until a signal ends the program.
///
/// # Errors
/// The metrics' port or a signal handler cannot be had.
pub(super) async fn alone(
    client: &Client,
    args: &Args,
    registry: Registry,
    mut ready: watch::Receiver<bool>,
    readiness: Readiness,
) -> anyhow::Result<()> {
    let metrics = ClientMetrics::register(&registry)?;
    serve_metrics(client, args, registry)?;
    tokio::select! {
        result = daemon::signals::terminated() => return result.context("cannot wait for signals"),
        can = ready.wait_for(|can| *can) => drop(can.context("the webhooks ended")?),
    }
    metrics.set_config(0);
    readiness.set(true);
    daemon::signals::terminated().await.context("cannot wait for signals")
}

/// Keeps the cache as the cluster is.
async fn follow(
    client: Client,
    namespace: String,
    cache: Arc<Mutex<Cache>>,
    listed: watch::Sender<bool>,
) {
    let kinds = ConfigKind::ALL.map(Kind::Config).to_vec();
    let mut updates =
        watch_all(&client, Watches { namespace, kinds, with_external_pools: Vec::new() });
    let mut journal = Journal::default();
    while let Some(update) = updates.recv().await {
        // The controller's own watch says once that there are no such pools.
        if !matches!(update, Update::Absent(Kind::Config(ConfigKind::ExternalIpPool), _)) {
            journal.note(&update);
        }
        let Ok(mut cache) = cache.lock() else { return };
        cache.handle(update);
        if !*listed.borrow() && cache.is_complete() {
            listed.send_replace(true);
        }
    }
}

/// Shows the certificate of a folder that another program fills.
async fn own_certificate(folder: PathBuf, slot: Slot, on_ready: impl Fn()) {
    let mut said = false;
    while let Err(error) = follow_folder(&folder, slot.clone()) {
        if !std::mem::replace(&mut said, true) {
            tracing::warn!(event = "certificateMissing", folder = %folder.display(), %error,
                "the webhooks wait for their certificate");
        }
        tokio::time::sleep(LOOK).await;
    }
    on_ready();
}
