// SPDX-License-Identifier: Apache-2.0
//! The connection to the API: one for everything.
//!
//! kube's own client opens a connection with its buffers for every watch, and notices a dead peer only after minutes.
//! This client multiplexes over HTTP/2, sends small writes at once, and pings the peer. It goes through the proxy of
//! the kubeconfig or of the environment (`proxy.rs`), as the user that the kubeconfig names (`impersonate.rs`), and
//! gives up unanswered requests (`patience.rs`).

mod configured;
mod impersonate;
mod patience;
mod proxy;

use std::path::Path;
use std::time::Duration;

use http::Uri;
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::ConfigExt;
use kube::{Client, Config};
use tower::{BoxError, Service, ServiceBuilder};

use configured::{configured, inferred};
use impersonate::impersonation;
use patience::{Patience, PatienceLayer};
use proxy::{Proxy, Way};

/// The time between two pings of the peer, also while nothing happens.
const PING: Duration = Duration::from_secs(10);

/// The time in which the peer must answer a ping; then the connection is given up and made anew.
const PONG: Duration = Duration::from_secs(10);

/// The reason why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a kubeconfig nor a pod's service account was found, or it is wrong.
    #[error("no Kubernetes API is configured: {0}")]
    Configuration(#[from] kube::config::InferConfigError),
    /// The kubeconfig that the flag or the environment names cannot be read.
    #[error("{0}: {1}")]
    Kubeconfig(String, #[source] kube::config::KubeconfigError),
    /// The certificates or the credentials of the configuration cannot be used.
    #[error("the configuration of the Kubernetes API cannot be used: {0}")]
    Credentials(#[from] kube::Error),
    /// `tls-server-name`, the name to expect in the server's certificate, is no host name.
    #[error("tls-server-name {0:?} is not a host name")]
    ServerName(String),
    /// The proxy cannot be used. The text hides its URL, which may hold a password.
    #[error("{field}: {reason}")]
    Proxy {
        /// The field of the kubeconfig, or the variables of the environment.
        field: &'static str,
        /// The fault of the proxy.
        reason: &'static str,
    },
    /// The kubeconfig asks for rights of another user in a way that cannot be followed.
    #[error("the kubeconfig's {field} {reason}")]
    Impersonation {
        /// The field.
        field: &'static str,
        /// The fault of the field.
        reason: &'static str,
    },
}

/// A client for the API of the environment, as kubectl looks for it: the kubeconfig, else the pod's service account.
///
/// # Errors
/// There is no configuration, or it cannot be used or followed. The API itself need not be reachable yet.
pub async fn connect() -> Result<Client, ConnectError> {
    let (config, proxy) = inferred().await?;
    client(config, proxy.as_deref(), Patience::DEFAULT)
}

/// A client for a program of the cluster, as controller-runtime looks for it: the file of `--kubeconfig`, else that of
/// KUBECONFIG, else the pod's service account, else `~/.kube/config`.
///
/// # Errors
/// The same as of [`connect`].
pub async fn connect_by(kubeconfig: Option<&Path>) -> Result<Client, ConnectError> {
    let (config, proxy) = configured(kubeconfig).await?;
    client(config, proxy.as_deref(), Patience::DEFAULT)
}

/// A client as [`connect`]'s, for a server of a test.
#[cfg(test)]
pub(super) fn to(server: std::net::SocketAddr) -> Client {
    let url = format!("http://{server}").parse().unwrap_or_default();
    client(Config::new(url), None, Patience::DEFAULT).unwrap_or_else(|error| panic!("{error}"))
}

fn client(config: Config, proxy: Option<&str>, patience: Patience) -> Result<Client, ConnectError> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    http.set_connect_timeout(config.connect_timeout);
    match Proxy::of(proxy, &config.cluster_url)? {
        None => through(http, config, patience),
        Some(Proxy { way: Way::Tunnel(tunnel), .. }) => {
            through(tunnel.over(http), config, patience)
        }
        Some(Proxy { way: Way::Socks(socks), .. }) => through(socks.over(http), config, patience),
    }
}

/// The client over this way to the server.
fn through<C>(connector: C, config: Config, patience: Patience) -> Result<Client, ConnectError>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: Into<BoxError>,
{
    let mut https = HttpsConnectorBuilder::new()
        .with_tls_config(config.rustls_client_config()?)
        .https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name = name.clone().try_into().map_err(|_| ConnectError::ServerName(name.clone()))?;
        https = https.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    let https = https.enable_all_versions().wrap_connector(connector);
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_keep_alive_interval(PING)
        .http2_keep_alive_timeout(PONG)
        .http2_keep_alive_while_idle(true)
        .build(https);
    let headers = impersonation(&config.auth_info)?;
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .map_err(BoxError::from)
        .layer(PatienceLayer(patience))
        .map_request(move |mut request: http::Request<kube::client::Body>| {
            for (name, value) in &headers {
                request.headers_mut().append(name, value.clone());
            }
            request
        })
        .service(client);
    Ok(Client::new(service, config.default_namespace))
}

#[cfg(test)]
mod tests;
