// SPDX-License-Identifier: Apache-2.0
//! Writes events to the API: a new one by POST, one that happened before by a PATCH of its count.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt;
use http::Method;
use kube::Client;
use serde::de::IgnoredAny;
use serde_json::json;

use super::queue::{Queue, Raised};
use crate::net::fence::Fence;
use crate::net::request::send;
use crate::net::sink::kubernetes::rewrite::timestamp;
use crate::net::writer::trouble;
use crate::writer::Trouble;

/// How many distinct events are remembered for raising; beyond that the memory starts anew.
const REMEMBERED: usize = 4096;

/// How many requests are under way at once.
const CONCURRENT: usize = 16;

/// The requests to the API, and the memory by which an event that happens again is raised.
pub(super) struct Writer {
    pub(super) client: Client,
    pub(super) fence: Fence,
    pub(super) component: &'static str,
    pub(super) host: Option<String>,
    /// Name and count of each event by its hash.
    pub(super) known: HashMap<u64, (String, u32)>,
    pub(super) queue: Arc<Queue>,
    pub(super) serial: u32,
}

impl Writer {
    /// Writes all; gives those that are worth another attempt.
    pub(super) async fn write_all(&mut self, batch: Vec<(u64, Raised)>) -> Vec<Raised> {
        let first = self.serial;
        self.serial = first.wrapping_add(u32::try_from(batch.len()).unwrap_or(0));
        let (writer, mut serial) = (&*self, first);
        let writes = batch.into_iter().map(|(hash, raised)| {
            serial = serial.wrapping_add(1);
            writer.write(hash, raised, serial)
        });
        let written: Vec<_> =
            futures::stream::iter(writes).buffer_unordered(CONCURRENT).collect().await;
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        let mut failed = Vec::new();
        for result in written {
            match result {
                Ok((hash, known)) => drop(self.known.insert(hash, known)),
                Err(again) => failed.extend(again.map(|raised| *raised)),
            }
        }
        failed
    }

    /// Gives the hash with the name and the count that are to be remembered, or the event if it is worth another
    /// attempt.
    async fn write(
        &self,
        hash: u64,
        mut raised: Raised,
        serial: u32,
    ) -> Result<(u64, (String, u32)), Option<Box<Raised>>> {
        let Some(_writing) = self.fence.enter(clock::now()) else {
            // The fence lapsed since the batch began: no attempt was made.
            return Err(Some(Box::new(raised)));
        };
        let written = self.try_write(hash, &raised, serial).await;
        written.map(|known| (hash, known)).map_err(|error| {
            let (object, reason) = (&raised.event.regarding.key, raised.event.reason);
            tracing::debug!(%object, reason, %error, "failed to write an event");
            raised.attempts += 1;
            // The API will refuse the event in a moment as it does now.
            let is_invalid =
                matches!(&error, kube::Error::Api(status) if matches!(status.code, 400 | 422));
            let is_over = is_invalid || trouble(&error) == Trouble::Refused;
            (!is_over).then(|| Box::new(raised))
        })
    }

    async fn try_write(
        &self,
        hash: u64,
        Raised { event, times, .. }: &Raised,
        serial: u32,
    ) -> Result<(String, u32), kube::Error> {
        let object = &event.regarding;
        let path = format!("/api/v1/namespaces/{}/events", object.key.namespace());
        let now = timestamp();
        if let Some((name, count)) = self.known.get(&hash) {
            let count = count.saturating_add(*times);
            let patch = json!({ "count": count, "lastTimestamp": now });
            let path = format!("{path}/{name}");
            match send(&self.client, Method::PATCH, path, Some(&patch)).await {
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
                "namespace": object.namespace(),
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
        let IgnoredAny = send(&self.client, Method::POST, path, Some(&body)).await?;
        Ok((name, *times))
    }
}
