// SPDX-License-Identifier: Apache-2.0
//! The connection to the API: one for everything.
//!
//! kube's own client opens a connection with its buffers for every watch, and notices a dead peer only after
//! minutes. This one multiplexes over HTTP/2, sends small writes at once, and asks whether the peer lives.

use std::time::Duration;

use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::ConfigExt;
use kube::{Client, Config};
use tower::ServiceBuilder;

/// How often the peer is asked whether it lives, also while nothing happens.
const PING: Duration = Duration::from_secs(10);

/// How long it may take to answer; then the connection is given up and made anew.
const PONG: Duration = Duration::from_secs(10);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a kubeconfig nor a pod's service account was found, or it is wrong.
    #[error("no Kubernetes API is configured: {0}")]
    Configuration(#[from] kube::config::InferConfigError),
    /// The certificates or the credentials of the configuration cannot be used.
    #[error("the configuration of the Kubernetes API cannot be used: {0}")]
    Credentials(#[from] kube::Error),
    /// The name to expect in the server's certificate is none.
    #[error("tls-server-name {0:?} is not a host name")]
    ServerName(String),
}

/// A client for the API of the environment: the kubeconfig, else the pod's service account.
///
/// # Errors
/// When there is no configuration or it cannot be used. The API itself need not be reachable yet.
pub async fn connect() -> Result<Client, ConnectError> {
    let config = Config::infer().await?;
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(config.connect_timeout);
    let mut https = HttpsConnectorBuilder::new()
        .with_tls_config(config.rustls_client_config()?)
        .https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name = name.clone().try_into().map_err(|_| ConnectError::ServerName(name.clone()))?;
        https = https.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    let https = https.enable_all_versions().wrap_connector(http);
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PONG)
        .http2_keep_alive_while_idle(true)
        .build(https);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .map_err(tower::BoxError::from)
        .service(client);
    Ok(Client::new(service, config.default_namespace))
}
