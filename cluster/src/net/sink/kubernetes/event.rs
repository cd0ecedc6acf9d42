// SPDX-License-Identifier: Apache-2.0
//! Events: core/v1, since MetalLB's roles permit no other (contract 8.2). One that happens
//! again is raised in count by PATCH instead of written anew.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use futures::StreamExt;
use http::Method;
use kube::Client;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::rewrite::send;
use crate::ObjectKey;

/// How many distinct events are remembered for raising; beyond that the memory starts anew.
const REMEMBERED: usize = 4096;

/// How many events may wait for the API; beyond that they are dropped and counted in the log.
const QUEUE: usize = 16_384;

/// How many are written together.
const BATCH: usize = 256;

/// How many requests are under way at once.
const CONCURRENT: usize = 16;

/// The pause after a batch: events that come in a burst go out together, one that comes alone goes at once.
const PAUSE: Duration = Duration::from_millis(200);

/// How long the program waits at its end for events that are still to be written.
const FAREWELL: Duration = Duration::from_secs(2);

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Regarding {
    api_version: &'static str,
    kind: &'static str,
    key: ObjectKey,
    uid: Box<str>,
}

impl Regarding {
    /// A Service.
    #[must_use]
    pub fn service(key: ObjectKey, uid: Box<str>) -> Self {
        Self { api_version: "v1", kind: "Service", key, uid }
    }

    /// A `BGPPeer`.
    #[must_use]
    pub fn bgp_peer(key: ObjectKey, uid: Box<str>) -> Self {
        Self { api_version: "metallb.io/v1beta2", kind: "BGPPeer", key, uid }
    }
}

/// An event (contract 2.9).
#[derive(Clone, Debug)]
pub struct ObjectEvent {
    /// What it is about.
    pub regarding: Regarding,
    /// Whether it is of type Warning.
    pub warning: bool,
    /// The reason.
    pub reason: &'static str,
    /// The message.
    pub message: String,
}

enum Message {
    Event(ObjectEvent),
    /// All events before this have been written when it is answered.
    Flush(oneshot::Sender<()>),
}

/// The handle of the writing task.
#[derive(Clone, Debug)]
pub struct EventSink(mpsc::Sender<Message>);

impl EventSink {
    /// Starts the task on the current runtime. `component` is the source, `host` its node if it has one.
    #[must_use]
    pub fn start(client: Client, component: &'static str, host: Option<String>) -> Self {
        let (sender, events) = mpsc::channel(QUEUE);
        tokio::spawn(run(
            Writer {
                client,
                component,
                host,
                known: HashMap::new(),
                hasher: RandomState::new(),
                serial: 0,
            },
            events,
        ));
        Self(sender)
    }

    /// Writes an event, soon.
    pub fn publish(&self, event: ObjectEvent) {
        if let Err(mpsc::error::TrySendError::Full(Message::Event(event))) =
            self.0.try_send(Message::Event(event))
        {
            tracing::warn!(object = %event.regarding.key, reason = event.reason, "event dropped: too many wait");
        }
    }

    /// Waits until what was published has been written, two seconds at most: for the program's end.
    pub async fn flush(&self) {
        let (answer, written) = oneshot::channel();
        let flush = async {
            if self.0.send(Message::Flush(answer)).await.is_ok() {
                // Nobody answers only when the task has ended.
                let _ = written.await;
            }
        };
        // Late or never: the end does not wait for it.
        let _ = tokio::time::timeout(FAREWELL, flush).await;
    }
}

async fn run(mut writer: Writer, mut messages: mpsc::Receiver<Message>) {
    let mut batch = Vec::new();
    while messages.recv_many(&mut batch, BATCH).await > 0 {
        let (mut events, mut waiting) = (Vec::with_capacity(batch.len()), Vec::new());
        for message in batch.drain(..) {
            match message {
                Message::Event(event) => events.push(event),
                Message::Flush(answer) => waiting.push(answer),
            }
        }
        writer.write_all(events).await;
        let hurry = !waiting.is_empty();
        for answer in waiting {
            // Who asked may have given up.
            let _ = answer.send(());
        }
        if !hurry {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// An event, and how often it happened in this batch.
struct Raised {
    event: ObjectEvent,
    times: u32,
}

struct Writer {
    client: Client,
    component: &'static str,
    host: Option<String>,
    /// Name and count of each event by its hash.
    known: HashMap<u64, (String, u32)>,
    hasher: RandomState,
    serial: u32,
}

impl Writer {
    async fn write_all(&mut self, batch: Vec<ObjectEvent>) {
        let mut raised: Vec<(u64, Raised)> = Vec::with_capacity(batch.len());
        let mut places: HashMap<u64, usize> = HashMap::new();
        for event in batch {
            let hash = self.hash(&event);
            match places.get(&hash).and_then(|place| raised.get_mut(*place)) {
                Some((_, known)) => known.times += 1,
                None => {
                    places.insert(hash, raised.len());
                    raised.push((hash, Raised { event, times: 1 }));
                }
            }
        }
        let first = self.serial;
        self.serial = first.wrapping_add(u32::try_from(raised.len()).unwrap_or(0));
        let (writer, mut serial) = (&*self, first);
        let writes = raised.into_iter().map(|(hash, raised)| {
            serial = serial.wrapping_add(1);
            writer.write(hash, raised, serial)
        });
        let written: Vec<_> =
            futures::stream::iter(writes).buffer_unordered(CONCURRENT).collect().await;
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.extend(written.into_iter().flatten());
    }

    fn hash(&self, event: &ObjectEvent) -> u64 {
        let ObjectEvent { regarding, warning, reason, message } = event;
        self.hasher.hash_one((regarding, warning, reason, message))
    }

    /// Writes one; gives what is to be remembered of it.
    async fn write(&self, hash: u64, raised: Raised, serial: u32) -> Option<(u64, (String, u32))> {
        let object = raised.event.regarding.key.clone();
        match self.try_write(hash, &raised, serial).await {
            Ok(known) => Some((hash, known)),
            Err(error) => {
                tracing::debug!(%object, %error, "failed to write an event");
                None
            }
        }
    }

    async fn try_write(
        &self,
        hash: u64,
        Raised { event, times }: &Raised,
        serial: u32,
    ) -> Result<(String, u32), kube::Error> {
        let object = &event.regarding;
        let path = format!("/api/v1/namespaces/{}/events", object.key.namespace());
        let now = now();
        if let Some((name, count)) = self.known.get(&hash) {
            let count = count.saturating_add(*times);
            let patch = json!({ "count": count, "lastTimestamp": now });
            let path = format!("{path}/{name}");
            match send(&self.client, Method::PATCH, &path, bytes(&patch)).await {
                Ok(IgnoredAny) => return Ok((name.clone(), count)),
                // Events expire; then it is a new one.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        let name = format!("{}.{hash:x}{serial:08x}", object.key.name());
        let mut source = json!({ "component": self.component });
        if let (Some(host), Some(source)) = (&self.host, source.as_object_mut()) {
            source.insert("host".to_owned(), json!(host));
        }
        let body = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": { "name": name, "namespace": object.key.namespace() },
            "involvedObject": {
                "apiVersion": object.api_version,
                "kind": object.kind,
                "namespace": object.key.namespace(),
                "name": object.key.name(),
                "uid": object.uid,
            },
            "type": if event.warning { "Warning" } else { "Normal" },
            "reason": event.reason,
            "message": event.message,
            "source": source,
            "count": times,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "reportingComponent": self.component,
            "reportingInstance": self.host.as_deref().unwrap_or_default(),
        });
        let IgnoredAny = send(&self.client, Method::POST, &path, bytes(&body)).await?;
        Ok((name, *times))
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn now() -> String {
    // Whole seconds, as metav1.Time has them.
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
