// SPDX-License-Identifier: Apache-2.0
//! The endpoint of a program that only has to be alive: `/livez` for everybody, and metrics without a series for whoever may
//! read them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::access::Access;
use crate::listen;
use crate::metrics_server::{LIMITS, guarded, own_certificate};
use crate::serve::{Plain, Server, Tls};
use crate::tls::{Slot, TlsOptions, follow_files};

/// Where and how it is served.
#[derive(Clone, Debug)]
pub struct Companion {
    /// At which address it listens; none: at all, of both families.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: u16,
    /// The path of the metrics.
    pub metrics_path: String,
    /// Whether plain HTTP is answered as well, to everybody.
    pub plain: bool,
    /// The files of a certificate and its key; without them nobody has signed it.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// How TLS is spoken.
    pub tls: TlsOptions,
}

impl Companion {
    /// Serves both until the runtime ends.
    ///
    /// # Errors
    /// When the certificate cannot be read, the flags cannot be followed, or the address cannot be bound.
    pub async fn start(self, access: Access) -> anyhow::Result<()> {
        let slot = match self.certificate {
            Some((chain, key)) => {
                let slot = Slot::default();
                follow_files(chain, key, slot.clone())?;
                slot
            }
            None => own_certificate()?,
        };
        let livez = Router::new().route("/livez", get(async || "ok"));
        let plain = if self.plain {
            Plain::Routes(livez.clone().route(&self.metrics_path, get(async || page())))
        } else {
            Plain::Refused
        };
        let server = Server {
            tls: Some(Tls {
                config: Arc::new(self.tls.server(Arc::new(slot), &["http/1.1"])?),
                routes: livez.merge(guarded(&self.metrics_path, page, access)),
            }),
            plain,
            limits: LIMITS,
        };
        let listener = match self.address {
            Some(address) => TcpListener::bind((address, self.port)).await,
            None => listen::everywhere(self.port),
        };
        server.start(listener.with_context(|| format!("cannot listen on port {}", self.port))?);
        Ok(())
    }
}

fn page() -> &'static str {
    "# The speaker exports the sessions.\n"
}
