// SPDX-License-Identifier: Apache-2.0
//! Writes the condition `ferrolb.io/Announced`, by a server-side apply of that condition alone: all else in the status stays.

use std::time::{Duration, Instant};

use cluster::ObjectKey;
use cluster::model::{ANNOUNCED_CONDITION, ServiceCondition};
use http::{Method, Request};
use kube::Client;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::sync::mpsc;

/// All speakers write under one name, so that one takes over what another wrote.
const MANAGER: &str = "ferrolb-speaker";
/// The pause before a write that failed is tried again, and how often it is.
const RETRY: Duration = Duration::from_secs(2);
const ATTEMPTS: u32 = 5;
/// How long after a refusal it is tried whether it is permitted now.
const REFUSED: Duration = Duration::from_secs(300);

/// The handle of the writing task.
pub(super) struct AnnouncedSink(mpsc::UnboundedSender<(ObjectKey, ServiceCondition)>);

impl AnnouncedSink {
    pub(super) fn start(client: Client) -> Self {
        let (sender, words) = mpsc::unbounded_channel();
        tokio::spawn(run(client, words));
        Self(sender)
    }

    pub(super) fn publish(&self, service: ObjectKey, word: ServiceCondition) {
        // The task ends only with the process.
        let _ = self.0.send((service, word));
    }
}

async fn run(client: Client, mut words: mpsc::UnboundedReceiver<(ObjectKey, ServiceCondition)>) {
    let mut refused: Option<Instant> = None;
    while let Some((service, word)) = words.recv().await {
        #[allow(clippy::disallowed_methods, reason = "a shell: it reads the clock")]
        let now = Instant::now();
        if refused.is_some_and(|since| now < since + REFUSED) {
            continue;
        }
        for attempt in 1..=ATTEMPTS {
            match write(&client, &service, &word).await {
                Ok(IgnoredAny) => refused = None,
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(kube::Error::Api(status)) if status.code == 403 => {
                    if refused.replace(now).is_none() {
                        tracing::info!(event = "announcedConditionOff", error = %status.message,
                            "the condition ferrolb.io/Announced is off: not permitted here; events say the same");
                    }
                }
                Err(error) if attempt == ATTEMPTS => {
                    tracing::warn!(%service, %error, "the condition ferrolb.io/Announced could not be written");
                }
                Err(_) => {
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            }
            break;
        }
    }
}

async fn write(
    client: &Client,
    service: &ObjectKey,
    word: &ServiceCondition,
) -> Result<IgnoredAny, kube::Error> {
    let (namespace, name) = (service.namespace(), service.name());
    let object = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": name, "namespace": namespace },
        "status": { "conditions": [{
            "type": ANNOUNCED_CONDITION,
            "status": word.status(),
            "reason": word.reason,
            "message": word.message,
            "lastTransitionTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        }] },
    });
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(format!(
            "/api/v1/namespaces/{namespace}/services/{name}/status?fieldManager={MANAGER}&force=true"
        ))
        .header("Content-Type", "application/apply-patch+yaml")
        .body(object.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    client.request(request).await
}
