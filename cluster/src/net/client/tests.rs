// SPDX-License-Identifier: Apache-2.0
//! The client against servers that a real API server cannot be made to be: one that hangs after it accepted a request,
//! one that asks for pauses at will, and a proxy that repeats the question. Each speaks over a real socket.

use std::net::SocketAddr;
use std::time::Instant;

use kube::config::AuthInfo;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::net::request::send;

const SHORT: Duration = Duration::from_millis(200);
/// A deadline that no test needs, on a busy machine either.
const LONG: Duration = Duration::from_secs(60);

/// A server that answers each connection's requests with these texts in turn, then with none; the receiver gets the
/// heads of the requests.
async fn server(
    answers: Vec<&'static str>,
) -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            for answer in &answers {
                let Some(head) = head(&mut stream).await else { break };
                let _ = asked.send(head);
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            let last = head(&mut stream).await;
            last.into_iter().for_each(|head| drop(asked.send(head)));
            // The server has accepted the connection and never answers.
            held.push(stream);
        }
    });
    (address, receiver)
}

async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(read).ok()
}

fn config(address: SocketAddr) -> Config {
    Config::new(format!("http://{address}").parse().unwrap())
}

async fn get(client: &Client, path: &str) -> Result<Value, kube::Error> {
    let answer = send(client, http::Method::GET, path.to_owned(), None);
    tokio::time::timeout(LONG, answer).await.expect("it has its end")
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_is_given_up() {
    let begun = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    for answers in [vec![], vec![begun]] {
        let paths = ["/api/v1/nodes", "/api/v1/nodes?watch=true"];
        // HTTP/1.1 makes another connection for the next request: nothing follows an unanswered one.
        let (address, mut asked) = server(answers).await;
        let client = client(config(address), None, Patience::short(SHORT)).unwrap();
        for path in paths {
            let error = get(&client, path).await.unwrap_err();
            let text = format!("{error:?}");
            assert!(text.contains("Unanswered"), "{text}");
            assert!(asked.recv().await.unwrap().contains(path));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_protocol_is_waited_for_without_end() {
    // The layer stands above the protocol: an unanswered request may be HTTP/1.1 or HTTP/2.
    let never = tower::service_fn(async |_: http::Request<String>| {
        std::future::pending::<Result<http::Response<String>, BoxError>>().await
    });
    let mut client = ServiceBuilder::new().layer(PatienceLayer(Patience::DEFAULT)).service(never);
    let begin = tokio::time::Instant::now();
    assert!(client.call(http::Request::new(String::new())).await.is_err());
    assert_eq!(begin.elapsed(), Duration::from_secs(60));
}

#[tokio::test]
async fn a_pause_that_is_asked_for_is_made() {
    let busy = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}";
    let (address, _asked) = server(vec![busy]).await;
    let client = client(config(address), None, Patience::DEFAULT).unwrap();
    #[allow(clippy::disallowed_methods, reason = "a test on real sockets measures in real time")]
    let begin = Instant::now();
    assert!(get(&client, "/api/v1/nodes").await.is_err());
    assert!(begin.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn whose_rights_are_asked_for_is_said_in_each_request() {
    let (address, mut asked) = server(vec![
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    ])
    .await;
    let mut config = config(address);
    config.auth_info.impersonate = Some("viewer".into());
    config.auth_info.impersonate_uid = Some("u-1".into());
    config.auth_info.impersonate_groups = Some(vec!["a".into(), "b".into()]);
    config.auth_info.impersonate_user_extra =
        Some([("acme.com/scope %".to_owned(), vec!["x".to_owned()])].into());
    let client = client(config, None, Patience::DEFAULT).unwrap();
    get(&client, "/api/v1/nodes").await.unwrap();
    let head = asked.recv().await.unwrap().to_lowercase();
    for line in [
        "impersonate-user: viewer\r\n",
        "impersonate-uid: u-1\r\n",
        "impersonate-group: a\r\n",
        "impersonate-group: b\r\n",
        "impersonate-extra-acme.com%2fscope%20%25: x\r\n",
    ] {
        assert!(head.contains(line), "{line} in {head}");
    }
}

#[test]
fn what_cannot_be_followed_is_refused_with_its_name() {
    let error = |user: AuthInfo| impersonation(&user).unwrap_err().to_string();
    let groups = AuthInfo { impersonate_groups: Some(vec!["a".into()]), ..AuthInfo::default() };
    assert!(error(groups).contains("as-groups"));
    let uid = AuthInfo { impersonate_uid: Some("u".into()), ..AuthInfo::default() };
    assert!(error(uid).contains("as-uid"));
    let odd = AuthInfo { impersonate: Some("a\nb".into()), ..AuthInfo::default() };
    assert!(error(odd).contains("as "));
    assert!(impersonation(&AuthInfo::default()).unwrap().is_empty());
    let cluster: Uri = "https://192.0.2.1:6443".parse().unwrap();
    for url in ["https://user:secret@proxy.example:3128", "ftp://user:secret@proxy.example"] {
        let error = Proxy::of(Some(url), &cluster).err().unwrap().to_string();
        assert!(error.contains("proxy-url") && !error.contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn the_proxy_of_the_kubeconfig_is_asked_and_none_that_is_closed_is_gone_around() {
    let (address, mut asked) = server(vec!["HTTP/1.1 502 Bad Gateway\r\n\r\n"]).await;
    let cluster = Config::new("https://192.0.2.1:6443".parse().unwrap());
    let proxy = format!("http://user:pass@{address}");
    let client = client(cluster, Some(&proxy), Patience::DEFAULT).unwrap();
    assert!(get(&client, "/api/v1/nodes").await.is_err());
    let head = asked.recv().await.unwrap();
    assert!(head.starts_with("CONNECT 192.0.2.1:6443 HTTP/1.1\r\n"), "{head}");
    assert!(head.to_lowercase().contains("proxy-authorization: basic dxnlcjpwyxnz"), "{head}");
    // The server answers, the proxy does not.
    let (address, mut asked) = server(vec!["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"]).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for scheme in ["http", "socks5"] {
        let proxy = format!("{scheme}://{closed}");
        let client = super::client(config(address), Some(&proxy), Patience::DEFAULT).unwrap();
        assert!(get(&client, "/api/v1/nodes").await.is_err());
        assert!(asked.try_recv().is_err(), "it went without the proxy");
    }
}

/// The part of the test below that runs as a process with that environment; not a test by itself.
#[test]
fn by_environment() {
    let Ok(expected) = std::env::var("PROXY_EXPECTED") else { return };
    let cluster: Uri = "https://192.0.2.1:6443".parse().unwrap();
    let way = match Proxy::of(None, &cluster) {
        Ok(None) => "none",
        Ok(Some(Proxy { way: Way::Tunnel(_) })) => "tunnel",
        Ok(Some(Proxy { way: Way::Socks(_) })) => "socks",
        Err(_) => "refused",
    };
    assert_eq!(way, expected);
}

#[test]
fn the_environments_proxy_is_asked_unless_it_says_otherwise() {
    let cases: [(&[(&str, &str)], &str); 7] = [
        (&[], "none"),
        (&[("HTTPS_PROXY", "http://192.0.2.9:3128")], "tunnel"),
        (&[("https_proxy", "http://192.0.2.9:3128")], "tunnel"),
        (&[("HTTP_PROXY", "http://192.0.2.9:3128")], "none"),
        (&[("ALL_PROXY", "socks5://192.0.2.9:1080")], "socks"),
        (&[("HTTPS_PROXY", "http://192.0.2.9:3128"), ("NO_PROXY", "192.0.2.0/24")], "none"),
        (&[("HTTPS_PROXY", "https://192.0.2.9:3128")], "refused"),
    ];
    for (environment, expected) in cases {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "net::client::tests::by_environment"])
            .env_clear()
            .envs(environment.iter().copied())
            .env("PROXY_EXPECTED", expected)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{environment:?} is not {expected}");
    }
}
