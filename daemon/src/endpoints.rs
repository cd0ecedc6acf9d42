// SPDX-License-Identifier: Apache-2.0
//! `/healthz` and `/readyz` over plain HTTP (contract 3.3); `/metrics` as well for programs without a cluster.
//!
//! Health is true: `/healthz` answers as long as the program's one loop turns, `/readyz` once that loop says
//! that it can do its work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;

use crate::metrics_server::LIMITS;
use crate::serve::{Plain, Server};

/// Whether the program can do its work; shared between its loop and the endpoint.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Sets what `/readyz` answers from now on.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    /// Whether it is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Serves `/healthz` and `/readyz` until the runtime ends.
pub fn serve_health(listener: TcpListener, readiness: Readiness) {
    let ready = move || {
        let readiness = readiness.clone();
        async move {
            if readiness.is_ready() {
                (StatusCode::OK, "ok")
            } else {
                (StatusCode::SERVICE_UNAVAILABLE, "not synced yet")
            }
        }
    };
    let routes = Router::new().route("/healthz", get(async || "ok")).route("/readyz", get(ready));
    serve(listener, routes);
}

/// Serves `/metrics` until the runtime ends. `more` appends families that no registry holds, in the text format.
pub fn serve_metrics(
    listener: TcpListener,
    registry: Registry,
    more: impl Fn(&mut String) + Clone + Send + Sync + 'static,
) {
    let metrics = move || {
        let (registry, more) = (registry.clone(), more.clone());
        async move { text(&registry, more) }
    };
    serve(listener, Router::new().route("/metrics", get(metrics)));
}

/// All metrics in the text format 0.0.4.
pub(crate) fn text(registry: &Registry, more: impl Fn(&mut String)) -> axum::response::Response {
    let mut body = String::new();
    let encoded = TextEncoder::new().encode_utf8(&registry.gather(), &mut body);
    more(&mut body);
    match encoded {
        Ok(()) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn serve(listener: TcpListener, routes: Router) {
    Server { tls: None, plain: Plain::Routes(routes), limits: LIMITS }.start(listener);
}
