// SPDX-License-Identifier: Apache-2.0
//! `/metrics` of the daemons: over TLS for whoever may read it; without TLS for everybody where that is wanted
//! (contract 3.3).

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::Registry;

use crate::access::{Access, Permission};
use crate::endpoints::text;
use crate::flags::Common;
use crate::listen;
use crate::serve::{Limits, Plain, Server, Tls};
use crate::tls::{Slot, TlsOptions, follow_folder, self_signed};

/// Where metrics were before they spoke TLS: what asks there asks without it, probes of old manifests among them.
const OLD_PORT: u16 = 7472;

/// What scrapers and probes need, with room to spare.
pub(crate) const LIMITS: Limits = Limits {
    connections: 64,
    per_source: 16,
    greeting: Duration::from_secs(5),
    head: Duration::from_secs(10),
    request: Duration::from_secs(30),
    idle: Duration::from_secs(90),
    head_octets: 16 << 10,
};

/// Serves `/metrics` on the port of the flags until the runtime ends; port 0 is none. `more` appends families that
/// no registry holds, in the text format.
///
/// # Errors
/// When the flags cannot be followed, the certificate cannot be read, or the port is taken.
pub fn start(
    flags: &Common,
    registry: Registry,
    more: impl Fn(&mut String) + Clone + Send + Sync + 'static,
    access: Access,
) -> anyhow::Result<()> {
    let tls = TlsOptions::parse(
        &flags.tls_min_version,
        &flags.tls_cipher_suites,
        &flags.tls_curve_preferences,
    )?;
    if flags.port == 0 {
        return Ok(());
    }
    let slot = if flags.metrics_cert_dir.is_empty() {
        own_certificate()?
    } else {
        let slot = Slot::default();
        follow_folder(flags.metrics_cert_dir.as_ref(), slot.clone())
            .context("--metrics-cert-dir")?;
        slot
    };
    let listener = listen::everywhere(flags.port)
        .with_context(|| format!("cannot serve metrics on port {}", flags.port))?;
    let page = move || text(&registry, &more);
    let open = page.clone();
    let plain = if flags.port == OLD_PORT || flags.metrics_plain_http {
        Plain::Routes(Router::new().route("/metrics", get(async move || open())))
    } else {
        Plain::Refused
    };
    let server = Server {
        tls: Some(Tls {
            config: Arc::new(tls.server(Arc::new(slot), &["http/1.1"])?),
            routes: guarded("/metrics", page, access),
        }),
        plain,
        limits: LIMITS,
    };
    server.start(listener);
    Ok(())
}

/// A certificate that nobody signed, for this host.
pub(crate) fn own_certificate() -> anyhow::Result<Slot> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let (chain, key) = self_signed(host.trim())?;
    let slot = Slot::default();
    slot.set(chain.as_bytes(), key.as_bytes())?;
    Ok(slot)
}

/// A page at this path, for whoever has access.
pub(crate) fn guarded<P: IntoResponse>(
    path: &str,
    page: impl Fn() -> P + Clone + Send + Sync + 'static,
    access: Access,
) -> Router {
    let judged = async move |State(access): State<Access>, headers: HeaderMap| {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        match access.verdict(given).await {
            Permission::Allowed => page().into_response(),
            Permission::Unauthenticated => unauthenticated(),
            Permission::Forbidden => (StatusCode::FORBIDDEN, "Forbidden\n").into_response(),
        }
    };
    Router::new().route(path, get(judged)).with_state(access)
}

fn unauthenticated() -> Response {
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], "Unauthorized\n")
        .into_response()
}
