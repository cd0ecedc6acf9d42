// SPDX-License-Identifier: Apache-2.0
//! The accepting loop: TLS and plain HTTP on one port, told apart by the first octet, with limits.
//!
//! ```text
//! accept ── a place is free? ── first octet ─┬─ 0x16 ── handshake ── HTTP
//!                                            └─ other ── HTTP, or one 400
//! ```

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// The content type of a TLS handshake record (RFC 8446 section 5.1): the first octet that a TLS client sends.
const HANDSHAKE: u8 = 0x16;

/// What a plain request is told where TLS is spoken only.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 39\r\nConnection: close\r\n\r\nThis port speaks TLS: use https there.\n";

/// What one client may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time; the next ones wait in the kernel's queue.
    pub connections: usize,
    /// How long a client may take for its first octet, and again for the handshake.
    pub greeting: Duration,
    /// How long it may take for the head of a request, the time between two requests included.
    pub head: Duration,
    /// The longest head in octets, 8192 at least.
    pub head_octets: usize,
}

/// What a connection gets that does not speak TLS.
#[derive(Clone, Debug)]
pub enum Plain {
    /// These routes.
    Routes(Router),
    /// One answer 400.
    Refused,
}

/// A server of one port.
#[derive(Clone, Debug)]
pub struct Server {
    /// How TLS is spoken.
    pub tls: Arc<ServerConfig>,
    /// What is served over TLS.
    pub routes: Router,
    /// What is served without.
    pub plain: Plain,
    /// What one client may take.
    pub limits: Limits,
}

impl Server {
    /// Serves the connections of `listener` until the runtime ends.
    pub fn start(self, listener: TcpListener) {
        tokio::spawn(async move {
            let places = Arc::new(Semaphore::new(self.limits.connections));
            let acceptor = TlsAcceptor::from(Arc::clone(&self.tls));
            let server = Arc::new(self);
            loop {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                let stream = match listener.accept().await {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        // Out of files, most likely: others have to end first.
                        tracing::debug!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                };
                let (server, acceptor) = (Arc::clone(&server), acceptor.clone());
                tokio::spawn(async move {
                    // A client that goes away, or never says anything, is no news.
                    if let Err(error) = server.connection(stream, acceptor).await {
                        tracing::debug!(%error, "a connection ended early");
                    }
                    drop(place);
                });
            }
        });
    }

    async fn connection(&self, stream: TcpStream, acceptor: TlsAcceptor) -> anyhow::Result<()> {
        stream.set_nodelay(true)?;
        let mut first = [0];
        if timeout(self.limits.greeting, stream.peek(&mut first)).await?? == 0 {
            return Ok(());
        }
        if first == [HANDSHAKE] {
            let stream = timeout(self.limits.greeting, acceptor.accept(stream)).await??;
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                return self.http2(stream).await;
            }
            return self.http1(stream, self.routes.clone()).await;
        }
        match &self.plain {
            Plain::Routes(routes) => self.http1(stream, routes.clone()).await,
            Plain::Refused => timeout(self.limits.greeting, refuse(stream)).await?,
        }
    }

    async fn http1(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        routes: Router,
    ) -> anyhow::Result<()> {
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head)
            .max_buf_size(self.limits.head_octets)
            .max_headers(64)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes))
            .await?;
        Ok(())
    }

    async fn http2(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> anyhow::Result<()> {
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(self.limits.head)
            .keep_alive_timeout(self.limits.greeting)
            .max_concurrent_streams(64)
            .max_header_list_size(u32::try_from(self.limits.head_octets).unwrap_or(u32::MAX))
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(self.routes.clone()))
            .await?;
        Ok(())
    }
}

/// Says what the port speaks. The request is read first: closing over unread octets would take the answer with it.
async fn refuse(mut stream: TcpStream) -> anyhow::Result<()> {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).await?;
    stream.write_all(SPEAK_TLS).await?;
    stream.shutdown().await?;
    Ok(())
}
