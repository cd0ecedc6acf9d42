// SPDX-License-Identifier: Apache-2.0
//! The watches against a server that answers badly. A real API server cannot be made to give these answers, so that a
//! small HTTP server stands for it; the client and the watches are the real ones. The tests judge only orders and
//! counts, no times.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::kinds::ConfigScope;
use crate::net::client;
use crate::snapshot::Snapshot;

const CRD: Kind = Kind::Config(ConfigKind::L2Advertisement);
/// The deadline of a wait for something that must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server's answer to a request.
#[derive(Clone)]
enum Answer {
    /// This status with headers and this body.
    Says(&'static str, String),
    /// The connection is closed.
    Closes,
    /// A watch that stays silent.
    Silence,
}

/// The next answers; when there is none left, the last is given again.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<Vec<Answer>>>,
    /// The questions so far: path with query.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    fn new(answers: Vec<Answer>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers)), ..Self::default() }
    }

    fn next(&self, question: &str) -> Answer {
        self.asked.lock().unwrap().push(question.to_owned());
        let mut answers = self.answers.lock().unwrap();
        if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, script) = (listener.local_addr().unwrap(), self.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, script.clone()));
            }
        });
        address
    }
}

/// One request per connection.
async fn answer(mut stream: TcpStream, script: Script) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(octet) => head.push(octet),
            Err(_) => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let question = head.split(' ').nth(1).unwrap_or_default();
    match script.next(question) {
        Answer::Says(status, body) => {
            let length = body.len();
            let text = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            );
            drop(stream.write_all(text.as_bytes()).await);
        }
        Answer::Closes => {}
        Answer::Silence => {
            let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
            drop(stream.write_all(head).await);
            // Wait until the client gives up.
            drop(stream.read_u8().await);
        }
    }
}

/// A Status as the API server sends it.
fn status(code: u16, reason: &str) -> String {
    format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"m","reason":"{reason}","code":{code}}}"#
    )
}

fn list(names: &[&str]) -> Answer {
    let items: Vec<String> = names
        .iter()
        .map(|name| {
            format!(
                r#"{{"metadata":{{"name":"{name}","namespace":"here","uid":"1","resourceVersion":"5"}},"spec":{{}}}}"#
            )
        })
        .collect();
    let items = items.join(",");
    Answer::Says(
        "200 OK",
        format!(
            r#"{{"kind":"L2AdvertisementList","apiVersion":"metallb.io/v1beta1","metadata":{{"resourceVersion":"7"}},"items":[{items}]}}"#
        ),
    )
}

/// A watch that is ended with 410, as the server does when its history is gone.
fn gone() -> Answer {
    Answer::Says(
        "200 OK",
        format!(r#"{{"type":"ERROR","object":{}}}"#, status(410, "Expired")) + "\n",
    )
}

async fn watch_one(script: &Script) -> mpsc::Receiver<Update> {
    let client = client::to(script.serve().await);
    watch_all(
        &client,
        Watches { namespace: "here".into(), kinds: vec![CRD], with_external_pools: Vec::new() },
    )
}

/// Feeds a snapshot until `holds` is true; returns the names of the updates, in order.
async fn until_so(
    updates: &mut mpsc::Receiver<Update>,
    snapshot: &mut Snapshot,
    mut holds: impl FnMut(&[&'static str]) -> bool,
) -> Vec<&'static str> {
    let mut seen = Vec::new();
    while !holds(&seen) {
        let next = tokio::time::timeout(PATIENCE, updates.recv()).await;
        let update = next.unwrap_or_else(|_| panic!("nothing came after {seen:?}")).unwrap();
        seen.push(match &update {
            Update::Restart(_) => "restart",
            Update::Apply(_) => "apply",
            Update::Delete(..) => "delete",
            Update::Finish(_) => "finish",
            Update::Absent(..) => "absent",
            Update::Trouble(..) => "trouble",
        });
        snapshot.handle(update);
    }
    seen
}

fn known(snapshot: &mut Snapshot) -> usize {
    snapshot.take_dirty();
    snapshot.config().l2_advertisements.len()
}

/// After the first list everything fails, in each of the ways in turn; then the list comes back. The known objects stay
/// all the while, and each failure costs one question or two.
#[tokio::test]
async fn what_was_known_stays_through_every_bad_answer_and_the_list_comes_back() {
    let says = |text, body: &str| Answer::Says(text, body.to_owned());
    let failures = vec![
        gone(),
        Answer::Says("410 Gone", status(410, "Expired")),
        Answer::Says("403 Forbidden", status(403, "Forbidden")),
        Answer::Says("404 Not Found", status(404, "NotFound")),
        says("404 Not Found", "404 page not found\n"),
        Answer::Says("429 Too Many Requests\r\nRetry-After: 1", status(429, "TooManyRequests")),
        Answer::Says("500 Internal Server Error", status(500, "InternalError")),
        says("502 Bad Gateway\r\nContent-Type: text/html", "<html>no</html>"),
        says("200 OK\r\nContent-Type: text/html", "<html>log in</html>"),
        Answer::Closes,
    ];
    for failure in failures {
        let script = Script::new(vec![list(&["a", "b"]), failure, Answer::Silence]);
        // The list, not only the watch, meets the failure: after a 410 the client lists again.
        script.answers.lock().unwrap().splice(1..1, [gone()]);
        let again = script.answers.lock().unwrap().len() - 1;
        script.answers.lock().unwrap().insert(again, list(&["a", "b", "c"]));
        let mut updates = watch_one(&script).await;
        let mut snapshot = Snapshot::new(ConfigScope::All, true);
        until_so(&mut updates, &mut snapshot, |seen| seen.last() == Some(&"finish")).await;
        assert_eq!(known(&mut snapshot), 2);
        let mut finished = 0;
        while finished == 0 {
            let seen = until_so(&mut updates, &mut snapshot, |seen| !seen.is_empty()).await;
            finished += usize::from(seen == ["finish"]);
            if finished == 0 {
                // The new list adds its third object as that comes.
                assert!(known(&mut snapshot) >= 2, "after {seen:?} of {:?}", script.asked());
            }
        }
        assert_eq!(known(&mut snapshot), 3);
        // The list, its watch, the failure (which a client may try twice), the list, its watch.
        assert!(script.asked().len() <= 7, "{:?}", script.asked());
    }
}

/// While an API server refuses everything, questions come rarer and rarer.
#[tokio::test]
async fn a_server_that_always_refuses_is_asked_no_storm() {
    let refuses = Answer::Says("500 Internal Server Error", status(500, "InternalError"));
    let script = Script::new(vec![refuses]);
    let mut updates = watch_one(&script).await;
    let mut snapshot = Snapshot::new(ConfigScope::All, true);
    until_so(&mut updates, &mut snapshot, |seen| seen.len() == 5).await;
    // One question each, or two if the client tries again by itself; the waits between them double (`pause.rs`).
    assert!(script.asked().len() <= 10, "{:?}", script.asked());
    assert!(!snapshot.is_synced(CRD), "a failure is no list");
}

/// A kind whose CRD is missing counts as read, and holds nothing up.
#[tokio::test]
async fn a_kind_without_crd_is_absent_and_counts_as_read() {
    let script = Script::new(vec![Answer::Says("404 Not Found", "404 page not found\n".into())]);
    let mut updates = watch_one(&script).await;
    let mut snapshot = Snapshot::new(ConfigScope::All, true);
    let seen = until_so(&mut updates, &mut snapshot, |seen| seen.last() == Some(&"absent")).await;
    assert!(!seen.contains(&"finish"), "{seen:?}");
    assert!(snapshot.is_synced(CRD));
}
