// SPDX-License-Identifier: Apache-2.0
//! Finds the proxy that leads to the API: `proxy-url` of the kubeconfig, else `HTTPS_PROXY`, `HTTP_PROXY` and
//! `NO_PROXY` of the environment, as client-go does.

use http::{HeaderValue, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use super::ConnectError;

const OF_KUBECONFIG: &str = "the kubeconfig's proxy-url";
const OF_ENVIRONMENT: &str = "the environment's HTTPS_PROXY, HTTP_PROXY or ALL_PROXY";

/// A proxy that can be used.
pub(super) struct Proxy {
    pub(super) way: Way,
}

/// The protocol of the proxy.
pub(super) enum Way {
    /// HTTP with CONNECT (RFC 9110 section 9.3.6).
    Tunnel(TunnelTo),
    /// SOCKS 5 (RFC 1928).
    Socks(SocksTo),
}

pub(super) struct TunnelTo {
    to: Uri,
    authorization: Option<HeaderValue>,
}

pub(super) struct SocksTo {
    to: Uri,
    user: Option<(String, String)>,
}

impl Proxy {
    /// The proxy that leads to `cluster`, if any.
    pub(super) fn of(explicit: Option<&str>, cluster: &Uri) -> Result<Option<Self>, ConnectError> {
        let (field, matcher) = match explicit {
            // NO_PROXY applies only to the proxies of the environment.
            Some(url) => (OF_KUBECONFIG, Matcher::builder().all(url.to_owned()).build()),
            None => (OF_ENVIRONMENT, Matcher::from_env()),
        };
        match matcher.intercept(cluster) {
            Some(intercept) => Self::by(field, &intercept).map(Some),
            None if explicit.is_some() => {
                Err(ConnectError::Proxy { field, reason: "is no URL of a proxy" })
            }
            None => Ok(None),
        }
    }

    fn by(field: &'static str, intercept: &Intercept) -> Result<Self, ConnectError> {
        let to = intercept.uri().clone();
        let way = match to.scheme_str() {
            Some("http") => {
                Way::Tunnel(TunnelTo { to, authorization: intercept.basic_auth().cloned() })
            }
            Some("socks5" | "socks5h") => {
                let user = intercept.raw_auth();
                let user = user.map(|(user, password)| (user.to_owned(), password.to_owned()));
                Way::Socks(SocksTo { to, user })
            }
            _ => {
                let reason = "only http:// and socks5:// proxies can be used";
                return Err(ConnectError::Proxy { field, reason });
            }
        };
        Ok(Self { way })
    }
}

impl TunnelTo {
    pub(super) fn over(self, http: HttpConnector) -> Tunnel<HttpConnector> {
        let tunnel = Tunnel::new(self.to, http);
        match self.authorization {
            Some(authorization) => tunnel.with_auth(authorization),
            None => tunnel,
        }
    }
}

impl SocksTo {
    pub(super) fn over(self, http: HttpConnector) -> SocksV5<HttpConnector> {
        let socks = SocksV5::new(self.to, http);
        match self.user {
            Some((user, password)) => socks.with_auth(user, password),
            None => socks,
        }
    }
}
