// SPDX-License-Identifier: Apache-2.0
//! Clients that are slow, silent, many or long-winded cost the metrics and webhook servers no more than their limits say, and those that
//! behave are served beside and after them. Over the loopback interface, in real time: each time is only bounded generously from above.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what tests share fails by panicking, as they do"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use daemon::tls::{Limits, Plain, Server, Slot, TlsOptions, self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const LIMITS: Limits = Limits {
    connections: 4,
    greeting: Duration::from_millis(300),
    head: Duration::from_millis(300),
    head_octets: 8192,
};
/// A limit has been kept when the connection is closed within this time, on a busy machine as well.
const PATIENCE: Duration = Duration::from_secs(20);
const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";

async fn server() -> std::net::SocketAddr {
    let slot = Slot::default();
    let (chain, key) = self_signed("here").unwrap();
    slot.set(chain.as_bytes(), key.as_bytes()).unwrap();
    let routes = Router::new().route("/metrics", get(async || "the page\n"));
    let tls = TlsOptions::parse("", "", "").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server {
        tls: Arc::new(tls.server(Arc::new(slot), &["http/1.1"]).unwrap()),
        routes: routes.clone(),
        plain: Plain::Routes(routes),
        limits: LIMITS,
    };
    server.start(listener);
    address
}

/// All that the server says until it closes the connection, by an end or a reset.
async fn rest(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let ended = timeout(PATIENCE, stream.read_to_end(&mut said)).await;
    drop(ended.expect("the server closes the connection"));
    String::from_utf8_lossy(&said).into_owned()
}

async fn page(address: std::net::SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();
    rest(&mut stream).await
}

#[tokio::test]
async fn whoever_says_nothing_is_sent_away() {
    let address = server().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    assert_eq!(rest(&mut stream).await, "");
    assert!(page(address).await.ends_with("the page\n"));
}

#[tokio::test]
async fn whoever_begins_a_handshake_and_stops_is_sent_away() {
    let address = server().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The head of a handshake record of 512 octets (RFC 8446 section 5.1), and nothing of it.
    stream.write_all(&[0x16, 3, 1, 2, 0]).await.unwrap();
    rest(&mut stream).await;
    assert!(page(address).await.ends_with("the page\n"));
}

#[tokio::test]
async fn a_head_that_comes_octet_by_octet_is_not_waited_for() {
    let address = server().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let began = now();
    let mut sent = 0;
    // A header line without end: each octet would be news, if it were the pause that counts.
    let endless =
        b"GET /metrics HTTP/1.1\r\nX-Slow: ".iter().copied().chain(std::iter::repeat(b'a'));
    for octet in endless {
        let taken = stream.write_all(&[octet]).await;
        let mut said = [0; 256];
        let closed = stream.try_read(&mut said).is_ok() || taken.is_err();
        if closed {
            break;
        }
        sent += 1;
        assert!(now() - began < PATIENCE, "it is still listened to after {sent} octets");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(now() - began >= LIMITS.head / 2, "it had no time at all");
    assert!(page(address).await.ends_with("the page\n"));
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let address = server().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let long = format!("GET /metrics HTTP/1.1\r\nX-Long: {}\r\n\r\n", "a".repeat(64 << 10));
    // It may be refused before all of it is written.
    drop(stream.write_all(long.as_bytes()).await);
    let said = rest(&mut stream).await;
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 431"), "{said}");
    assert!(page(address).await.ends_with("the page\n"));
}

#[tokio::test]
async fn a_connection_that_is_kept_open_is_closed_when_nothing_follows() {
    let address = server().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
    let said = rest(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 200") && said.contains("the page\n"), "{said}");
}

#[tokio::test]
async fn those_who_take_all_places_and_say_nothing_keep_nobody_out_for_long() {
    let address = server().await;
    let mut silent = Vec::new();
    for _ in 0..LIMITS.connections * 5 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    // Twenty, four at a time, each for its greeting; then whoever came after them.
    let served = timeout(PATIENCE, page(address)).await.expect("it is its turn");
    assert!(served.ends_with("the page\n"), "{served}");
    for stream in &mut silent {
        assert_eq!(rest(stream).await, "");
    }
}

#[allow(clippy::disallowed_methods, reason = "a test on real sockets measures in real time")]
fn now() -> Instant {
    Instant::now()
}
