// SPDX-License-Identifier: Apache-2.0
//! Clients that are slow, silent, many or long-winded cost the metrics and webhook servers no more than their limits say, and those that
//! behave are served beside and after them. Over the loopback interface, in real time: each time is only bounded generously from above.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what tests share fails by panicking, as they do"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::{get, post};
use daemon::serve::{Limits, Plain, Server, Tls};
use daemon::tls::{Slot, TlsOptions, self_signed};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
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

/// A client's connection to a server that speaks HTTP/2.
async fn http2_stream() -> tokio_rustls::client::TlsStream<TcpStream> {
    let (chain, key) = self_signed("here").unwrap();
    let slot = Slot::default();
    slot.set(chain.as_bytes(), key.as_bytes()).unwrap();
    let tls = TlsOptions::parse("", "", "").unwrap();
    let routes = Router::new()
        .route("/metrics", get(async || "the page\n"))
        .route("/never", get(std::future::pending::<&str>));
    let config = Arc::new(tls.server(Arc::new(slot), &["h2"]).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server =
        Server { tls: Some(Tls { config, routes }), plain: Plain::Refused, limits: PATIENT };
    server.start(listener);

    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect("here".try_into().unwrap(), stream).await.unwrap()
}

/// The same, driven by a task of its own.
async fn http2() -> h2::client::SendRequest<Bytes> {
    let (client, connection) = h2::client::handshake(http2_stream().await).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    client
}

fn question(path: &str, header: &str) -> axum::http::Request<()> {
    let uri = format!("https://here{path}");
    axum::http::Request::get(uri).header("x-long", header).body(()).unwrap()
}

async fn http2_status(
    client: &h2::client::SendRequest<Bytes>,
    header: &str,
) -> Result<u16, h2::Error> {
    let mut client = client.clone().ready().await?;
    let (answer, _) = client.send_request(question("/metrics", header), true)?;
    Ok(timeout(PATIENCE, answer).await.expect("an answer")?.status().as_u16())
}

#[tokio::test]
async fn one_connection_of_http2_has_no_more_than_64_requests_at_a_time() {
    let client = http2().await;
    assert_eq!(http2_status(&client, "").await.unwrap(), 200);
    // The client's side knows the limit by now, and keeps to it: 64 are under way, the next one waits.
    let mut waiting = Vec::new();
    for _ in 0..64 {
        let mut ready = timeout(PATIENCE, client.clone().ready()).await.unwrap().unwrap();
        waiting.push(ready.send_request(question("/never", ""), true).unwrap());
    }
    assert_eq!(client.current_max_send_streams(), 64);
    let mut next = client.clone();
    // A 65th may be queued in the client; it is answered only after another one was given up.
    next = timeout(PATIENCE, next.ready()).await.unwrap().unwrap();
    let (answer, _) = next.send_request(question("/metrics", ""), true).unwrap();
    tokio::pin!(answer);
    assert!(timeout(Duration::from_millis(200), &mut answer).await.is_err());
    waiting.pop();
    assert_eq!(timeout(PATIENCE, answer).await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn a_header_list_of_http2_that_is_too_long_is_refused() {
    let client = http2().await;
    assert_eq!(http2_status(&client, &"a".repeat(1 << 10)).await.unwrap(), 200);
    match http2_status(&client, &"a".repeat(PATIENT.head_octets + 1)).await {
        Ok(status) => assert_eq!(status, 431),
        Err(error) => assert!(error.is_reset() || error.is_go_away(), "{error}"),
    }
}

/// A frame of HTTP/2 (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// "Rapid reset" (CVE-2023-44487). The frames are written by hand: a client of h2 would not send what it takes back at once.
#[tokio::test]
async fn whoever_takes_its_requests_back_at_once_loses_the_connection() {
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const GOAWAY: u8 = 7;
    let mut stream = http2_stream().await;
    let mut octets = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    octets.extend(frame(SETTINGS, 0, 0, &[]));
    for number in (1..400).step_by(2) {
        // END_STREAM and END_HEADERS; GET, https, / (RFC 7541 appendix A), and the host.
        octets.extend(frame(HEADERS, 5, number, b"\x82\x87\x84\x41\x04here"));
        octets.extend(frame(RST_STREAM, 0, number, &[0, 0, 0, 8]));
    }
    // The connection may be closed before all of it is written.
    drop(stream.write_all(&octets).await);
    let mut reason = None;
    while reason.is_none() {
        let mut head = [0; 9];
        let read = timeout(PATIENCE, stream.read_exact(&mut head)).await.expect("an end");
        read.expect("the server says why it closes the connection");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == GOAWAY {
            reason = payload[4..8].try_into().ok().map(u32::from_be_bytes);
        }
    }
    assert_eq!(reason, Some(u32::from(h2::Reason::ENHANCE_YOUR_CALM)));
}

#[allow(clippy::disallowed_methods, reason = "a test on real sockets measures in real time")]
fn now() -> Instant {
    Instant::now()
}
