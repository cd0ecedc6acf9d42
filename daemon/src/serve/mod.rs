// SPDX-License-Identifier: Apache-2.0
//! The accepting loop of every HTTP port: TLS and plain HTTP, told apart by the first octet, with limits.
//!
//! ```text
//! accept ── a place, for which the longest silent goes ── first octet ─┬─ 0x16 ── handshake ── HTTP/1.1 or HTTP/2
//!                                                                      └─ other ── HTTP/1.1, or one 400
//! ```
//! A stranger may open as many connections as it likes, and may be as slow as it likes: it is let in and sent away again, and whoever asks a
//! question beside it is answered (`seats.rs`). Every pause has its end ([`Limits`]).

mod budget;
mod exchange;
mod seats;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;

pub use budget::{Budget, Refused, Share};
use exchange::{Heard, Routes};
use seats::{Seat, Seats, Source};

/// The content type of a TLS handshake record (RFC 8446 section 5.1): the first octet that a TLS client sends.
const HANDSHAKE: u8 = 0x16;

/// What a plain request is told where TLS is spoken only.
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 39\r\nConnection: close\r\n\r\nThis port speaks TLS: use https there.\n";

/// Requests at a time in one connection of HTTP/2.
const STREAMS: u32 = 64;
/// What a client may send of one request of HTTP/2 before it is read, in octets.
const STREAM_WINDOW: u32 = 256 << 10;
/// What it may send of all of them.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// What waits to be sent in one request of HTTP/2, in octets.
const SEND_BUFFER: usize = 64 << 10;
/// Requests that a client may take back before they are looked at; then its connection is closed ("rapid reset", CVE-2023-44487).
const RESETS: usize = 20;
/// Requests that we took back for its mistakes.
const MISTAKES: usize = 64;

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time. For one more the longest silent one is closed.
    pub connections: usize,
    /// How many of them one source may have that have not sent a whole request yet; for one more its own longest silent one is closed.
    /// A source is an IPv4 address or the first 64 bits of an IPv6 address.
    pub per_source: usize,
    /// How long a client may take for its first octet, and again for the handshake.
    pub greeting: Duration,
    /// How long it may take, from its connection on, until the head of its first request is there.
    pub head: Duration,
    /// How long a request may take from its head until its answer has left: the time for its body, and for a client that reads slowly.
    pub request: Duration,
    /// The time between two requests; the head of the later one included.
    pub idle: Duration,
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

/// What a connection gets that speaks TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// How it is spoken.
    pub config: Arc<ServerConfig>,
    /// What is served.
    pub routes: Router,
}

/// The connection of a request, among the request's extensions: it can be sent away.
#[derive(Clone, Debug)]
pub struct Connection(Arc<Seat>);

impl Connection {
    /// Closes it, whatever it is about.
    pub fn close(&self) {
        self.0.evict();
    }

    /// One that is nobody's.
    #[cfg(test)]
    fn alone() -> Self {
        Self(Arc::new(Seat::new(Source::of(std::net::Ipv4Addr::LOCALHOST.into()), Instant::now())))
    }

    #[cfg(test)]
    fn is_closed(&self) -> bool {
        self.0.is_evicted()
    }
}

/// A server of one port.
#[derive(Clone, Debug)]
pub struct Server {
    /// What is served over TLS; none: it is not spoken.
    pub tls: Option<Tls>,
    /// What is served without.
    pub plain: Plain,
    /// What clients may take.
    pub limits: Limits,
}

impl Server {
    /// Serves the connections of `listener` until the runtime ends.
    pub fn start(self, listener: TcpListener) {
        tokio::spawn(async move {
            let seats = Seats::new(&self.limits);
            let server = Arc::new(self);
            loop {
                let (stream, peer) = match listener.accept().await {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::debug!(%error, "cannot accept a connection");
                        if is_out_of_files(&error) {
                            seats.evict_one();
                            // Its connection is closed by its own task.
                            sleep(Duration::from_millis(10)).await;
                        }
                        continue;
                    }
                };
                let (taken, evicted) = seats.take(Source::of(peer.ip()), Instant::now());
                let server = Arc::clone(&server);
                tokio::spawn(async move {
                    let seat = Arc::clone(&taken.seat);
                    tokio::select! {
                        ended = server.connection(stream, &seat) => {
                            // A client that goes away is no news.
                            if let Err(error) = ended {
                                tracing::debug!(%error, "a connection ended early");
                            }
                        }
                        () = seat.evicted() => {}
                        () = overdue(&seat, &server.limits) => {}
                    }
                    drop(taken);
                });
                if evicted {
                    // The evicted one's task closes its file before the next one is opened.
                    tokio::task::yield_now().await;
                }
            }
        });
    }

    async fn connection(&self, stream: TcpStream, seat: &Arc<Seat>) -> anyhow::Result<()> {
        stream.set_nodelay(true)?;
        let mut first = [0];
        if timeout(self.limits.greeting, stream.peek(&mut first)).await?? == 0 {
            return Ok(());
        }
        let stream = Heard { stream, seat: Arc::clone(seat) };
        match &self.tls {
            Some(tls) if first == [HANDSHAKE] => {
                let accepted = TlsAcceptor::from(Arc::clone(&tls.config)).accept(stream);
                let stream = timeout(self.limits.greeting, accepted).await??;
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    return self
                        .http2(stream, Routes::new(tls.routes.clone(), Arc::clone(seat)))
                        .await;
                }
                self.http1(stream, Routes::new(tls.routes.clone(), Arc::clone(seat))).await
            }
            _ => match &self.plain {
                Plain::Routes(routes) => {
                    self.http1(stream, Routes::new(routes.clone(), Arc::clone(seat))).await
                }
                Plain::Refused => timeout(self.limits.greeting, refuse(stream)).await?,
            },
        }
    }

    async fn http1(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        routes: Routes,
    ) -> anyhow::Result<()> {
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.idle)
            .max_buf_size(self.limits.head_octets)
            .max_headers(64)
            .serve_connection(TokioIo::new(stream), routes)
            .await?;
        Ok(())
    }

    async fn http2(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        routes: Routes,
    ) -> anyhow::Result<()> {
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(self.limits.idle)
            .keep_alive_timeout(self.limits.greeting)
            .max_concurrent_streams(STREAMS)
            .max_pending_accept_reset_streams(RESETS)
            .max_local_error_reset_streams(MISTAKES)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(self.limits.head_octets).unwrap_or(u32::MAX))
            .serve_connection(TokioIo::new(stream), routes)
            .await?;
        Ok(())
    }
}

/// Waits until the connection has taken too long over something.
async fn overdue(seat: &Seat, limits: &Limits) {
    loop {
        let due = seat.due(limits);
        if due <= Instant::now() {
            return;
        }
        tokio::select! {
            () = sleep_until(due) => {}
            // Nothing else makes it end sooner.
            () = seat.begun() => {}
        }
    }
}

/// Whether an accept failed because this process or the system has no more files or memory for sockets (accept(2)).
fn is_out_of_files(error: &io::Error) -> bool {
    let codes = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// Says what the port speaks. The request is read first: closing over unread octets would take the answer with it.
async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> anyhow::Result<()> {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).await?;
    stream.write_all(SPEAK_TLS).await?;
    stream.shutdown().await?;
    Ok(())
}
