// SPDX-License-Identifier: Apache-2.0
//! The endpoint of a program that only has to be alive: `/livez`, and metrics without a series.

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

/// Serves both on `address` until the runtime ends.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve_companion(address: SocketAddr, metrics_path: &str) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let routes = Router::new()
        .route("/livez", get(async || "ok"))
        .route(metrics_path, get(async || "# The speaker exports the sessions.\n"));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::error!(%error, %address, "the endpoint ended");
        }
    });
    Ok(())
}
