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
use axum::body::Bytes;
use axum::routing::{get, post};
use daemon::serve::{Limits, Plain, Server, Tls};
use daemon::tls::{Slot, TlsOptions, self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const LIMITS: Limits = Limits {
    connections: 4,
    per_source: 4,
    greeting: Duration::from_millis(300),
    head: Duration::from_millis(300),
    request: Duration::from_millis(300),
    idle: Duration::from_millis(300),
    head_octets: 8192,
};
/// A limit has been kept when the connection is closed within this time, on a busy machine as well.
const PATIENCE: Duration = Duration::from_secs(20);
const REQUEST: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n";

async fn server() -> std::net::SocketAddr {
    server_with(LIMITS).await
}

async fn server_with(limits: Limits) -> std::net::SocketAddr {
    let slot = Slot::default();
    let (chain, key) = self_signed("here").unwrap();
    slot.set(chain.as_bytes(), key.as_bytes()).unwrap();
    let routes = Router::new().route("/metrics", get(async || "the page\n"));
    let tls = TlsOptions::parse("", "", "").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = routes.route("/read", post(async |body: Bytes| body.len().to_string()));
    let server = Server {
        tls: Some(Tls {
            config: Arc::new(tls.server(Arc::new(slot), &["http/1.1"]).unwrap()),
            routes: routes.clone(),
        }),
        plain: Plain::Routes(routes),
        limits,
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
async fn a_body_that_does_not_come_is_not_waited_for() {
    let address = server().await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"POST /read HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n\r\nabc")
        .await
        .unwrap();
    assert_eq!(rest(&mut stream).await, "");
    assert!(page(address).await.ends_with("the page\n"));
}

/// Nothing is too slow here: only who is silent longest has to go.
const PATIENT: Limits = Limits {
    connections: 64,
    per_source: 16,
    greeting: Duration::from_secs(600),
    head: Duration::from_secs(600),
    request: Duration::from_secs(600),
    idle: Duration::from_secs(600),
    head_octets: 8192,
};

/// A connection from an address of the loopback network.
async fn from(source: [u8; 4], to: std::net::SocketAddr) -> std::io::Result<TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind((std::net::Ipv4Addr::from(source), 0).into())?;
    socket.connect(to).await
}

async fn page_from(source: [u8; 4], address: std::net::SocketAddr) -> String {
    let mut stream = from(source, address).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();
    rest(&mut stream).await
}

async fn is_open(stream: &mut TcpStream) -> bool {
    let said = timeout(Duration::from_millis(1), stream.read(&mut [0])).await;
    said.is_err()
}

#[tokio::test]
async fn whoever_asks_is_answered_beside_ten_thousand_who_say_nothing() {
    // As far as descriptors allow: each connection has two ends here.
    let (_, hard) =
        nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let most = usize::try_from(hard).unwrap().saturating_sub(500).min(10_000);
    let address = server_with(PATIENT).await;
    // One who has asked once, as an API server has, and keeps its connection.
    let mut known = from([127, 0, 0, 9], address).await.unwrap();
    known.write_all(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
    let mut said = vec![0; 4096];
    assert_ne!(timeout(PATIENCE, known.read(&mut said)).await.unwrap().unwrap(), 0);
    for sources in [1, 100] {
        let mut silent = Vec::new();
        for number in 0..most {
            let source = u8::try_from(number % sources).unwrap();
            silent.push(from([127, 0, 1, source], address).await.unwrap());
            if number % 500 == 0 {
                let served = timeout(PATIENCE, page_from([127, 0, 0, 8], address)).await.unwrap();
                assert!(served.ends_with("the page\n"), "beside {number}: {served}");
                // Also from where they all come from.
                let served = page_from([127, 0, 1, source], address).await;
                assert!(served.ends_with("the page\n"), "beside {number}: {served}");
            }
        }
        known.write_all(REQUEST).await.unwrap();
        if sources == 100 {
            assert!(rest(&mut known).await.ends_with("the page\n"));
        } else {
            assert_ne!(timeout(PATIENCE, known.read(&mut said)).await.unwrap().unwrap(), 0);
            known.write_all(b"").await.unwrap();
            known = from([127, 0, 0, 9], address).await.unwrap();
            known.write_all(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n").await.unwrap();
            assert_ne!(timeout(PATIENCE, known.read(&mut said)).await.unwrap().unwrap(), 0);
        }
        let mut open = 0;
        for stream in &mut silent {
            open += usize::from(is_open(stream).await);
        }
        let bound = if sources == 1 { PATIENT.per_source } else { PATIENT.connections };
        assert!(open <= bound, "{open} of {most} are kept");
        // The last ones, which have been silent for the shortest time, are among them.
        assert!(is_open(silent.last_mut().unwrap()).await);
        assert!(!is_open(silent.first_mut().unwrap()).await);
    }
}

#[allow(clippy::disallowed_methods, reason = "a test on real sockets measures in real time")]
fn now() -> Instant {
    Instant::now()
}
