// SPDX-License-Identifier: Apache-2.0
//! Events on Services: core/v1, since MetalLB's roles permit no other (contract 8.2). One that happens
//! again is raised in count by PATCH instead of written anew.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;

use http::Method;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::rewrite::send;
use crate::ObjectKey;

/// How many distinct events are remembered for raising; beyond that the memory starts anew.
const REMEMBERED: usize = 4096;

/// How many events may wait for the API; beyond that they are dropped and counted in the log.
const QUEUE: usize = 4096;

/// An event on a Service (contract 2.9).
#[derive(Clone, Debug)]
pub struct ServiceEvent {
    /// The Service.
    pub service: ObjectKey,
    /// Its uid.
    pub uid: Box<str>,
    /// Whether it is of type Warning.
    pub warning: bool,
    /// The reason.
    pub reason: &'static str,
    /// The message.
    pub message: String,
}

/// The handle of the writing task.
#[derive(Clone, Debug)]
pub struct EventSink(mpsc::Sender<ServiceEvent>);

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
    pub fn publish(&self, event: ServiceEvent) {
        if let Err(mpsc::error::TrySendError::Full(event)) = self.0.try_send(event) {
            tracing::warn!(service = %event.service, reason = event.reason, "event dropped: too many wait");
        }
    }
}

async fn run(mut writer: Writer, mut events: mpsc::Receiver<ServiceEvent>) {
    while let Some(event) = events.recv().await {
        if let Err(error) = writer.write(&event).await {
            tracing::debug!(service = %event.service, %error, "failed to write an event");
        }
    }
}

struct Writer {
    client: Client,
    component: &'static str,
    host: Option<String>,
    /// Name and count of each event by its hash.
    known: HashMap<u64, (String, NonZeroU32)>,
    hasher: RandomState,
    serial: u32,
}

impl Writer {
    async fn write(&mut self, event: &ServiceEvent) -> Result<(), kube::Error> {
        let hash = self.hasher.hash_one((
            event.service.as_str(),
            &event.uid,
            event.warning,
            event.reason,
            &event.message,
        ));
        let path = format!("/api/v1/namespaces/{}/events", event.service.namespace());
        let now = now();
        if let Some((name, count)) = self.known.get_mut(&hash) {
            *count = count.saturating_add(1);
            let patch = json!({ "count": count.get(), "lastTimestamp": now });
            match send(&self.client, Method::PATCH, &format!("{path}/{name}"), bytes(&patch)).await
            {
                Ok(_) => return Ok(()),
                // Events expire; then it is a new one.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        self.serial = self.serial.wrapping_add(1);
        let name = format!("{}.{:x}{:08x}", event.service.name(), hash, self.serial);
        let mut source = json!({ "component": self.component });
        if let (Some(host), Some(source)) = (&self.host, source.as_object_mut()) {
            source.insert("host".to_owned(), json!(host));
        }
        let body = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": { "name": name, "namespace": event.service.namespace() },
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Service",
                "namespace": event.service.namespace(),
                "name": event.service.name(),
                "uid": event.uid,
            },
            "type": if event.warning { "Warning" } else { "Normal" },
            "reason": event.reason,
            "message": event.message,
            "source": source,
            "count": 1,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "reportingComponent": self.component,
            "reportingInstance": self.host.as_deref().unwrap_or_default(),
        });
        send(&self.client, Method::POST, &path, bytes(&body)).await?;
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(hash, (name, NonZeroU32::MIN));
        Ok(())
    }
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn now() -> String {
    // Whole seconds, as metav1.Time has them.
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
