// SPDX-License-Identifier: Apache-2.0
//! Keeps this speaker's SpeakerReport objects equal to its words about Services.
//!
//! ```text
//! program ── word, or none ──> Report ── changed shares, after 200 ms ──> apply or delete one object each
//! ```
//! Under manifests that do not know the kind nothing is written; the events tell the same.

use std::time::Duration;

use cluster::ObjectKey;
use cluster::model::ServiceCondition;
use cluster::net::pod::{OwnPod, Owner};
use cluster::net::request::send;
use crds::ferrolb::{GROUP, SpeakerReport, Word};
use http::{Method, Request};
use kube::api::ListParams;
use kube::{Api, Client};
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::report::{Report, SHARES};
use clock::until;

/// The owner of the fields, to the API server.
const MANAGER: &str = "ferrolb-speaker";
/// The time in which words are collected before they are written together.
const BATCH_TIME: Duration = Duration::from_millis(200);
/// The pause after a failure.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);
/// The time after a refusal until the next check whether the kind and the permission are there.
const ABSENT_INTERVAL: Duration = Duration::from_secs(60);
/// The time after which an earlier process's object is removed, if this process has no word in it.
const SETTLED_TIME: Duration = Duration::from_secs(30);

/// The handle of the writing task.
pub(super) struct ReportSink(mpsc::UnboundedSender<(ObjectKey, Option<ServiceCondition>)>);

impl ReportSink {
    /// Starts the task on the current runtime. `owner` owns the objects.
    pub(super) fn start(client: Client, namespace: String, node: String, owner: Owner) -> Self {
        let (sender, words) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let pod = owner.pod().await;
            Writer { client, namespace, node, pod }.run(words).await;
        });
        Self(sender)
    }

    /// Sets the word about a Service, or removes it.
    pub(super) fn publish(&self, service: ObjectKey, word: Option<ServiceCondition>) {
        // The task ends only with the process.
        let _ = self.0.send((service, word));
    }
}

struct Writer {
    client: Client,
    namespace: String,
    node: String,
    pod: Option<OwnPod>,
}

impl Writer {
    async fn run(self, mut words: mpsc::UnboundedReceiver<(ObjectKey, Option<ServiceCondition>)>) {
        let mut report = Report::default();
        let mut next: Option<Instant> = None;
        let mut sweep = Some(Instant::now() + SETTLED_TIME);
        let mut told = false;
        loop {
            let at = next.into_iter().chain(sweep).min();
            tokio::select! {
                biased;
                received = words.recv() => {
                    let Some((service, word)) = received else { return };
                    report.say(&service, word, jiff::Timestamp::now().as_second());
                    next.get_or_insert_with(|| Instant::now() + BATCH_TIME);
                    continue;
                }
                () = until(at.map(Instant::into_std)) => {}
            }
            if sweep.is_some_and(|at| at <= Instant::now()) {
                sweep = None;
                for share in self.left_behind().await {
                    report.failed(share);
                }
            }
            next = match self.write(&mut report).await {
                Ok(()) => {
                    told = false;
                    None
                }
                Err(error) => {
                    let absent = matches!(&error, kube::Error::Api(status) if matches!(status.code, 403..=405));
                    if !std::mem::replace(&mut told, true) {
                        if absent {
                            tracing::info!(event = "speakerReportOff", %error,
                                "the condition ferrolb.io/Announced is off: SpeakerReports or the permission are absent here; events say the same");
                        } else {
                            tracing::warn!(event = "speakerReportFailed", %error,
                                "failed to write a SpeakerReport; it is tried again");
                        }
                    }
                    Some(Instant::now() + if absent { ABSENT_INTERVAL } else { RETRY_INTERVAL })
                }
            };
        }
    }

    /// Writes the shares that have changed; a share that fails stays changed.
    async fn write(&self, report: &mut Report) -> Result<(), kube::Error> {
        let changed = report.take_changed();
        let mut result = Ok(());
        for share in changed {
            let (words, left_out) = report.words(share);
            if left_out > 0 {
                tracing::warn!(
                    event = "speakerReportFull",
                    share,
                    services = left_out,
                    "a SpeakerReport has no room for the words on some Services: their condition ferrolb.io/Announced is not kept"
                );
            }
            let written = match result {
                Ok(()) => self.write_object(share, words).await,
                // One refusal is enough.
                Err(_) => {
                    report.failed(share);
                    continue;
                }
            };
            if let Err(error) = written {
                report.failed(share);
                result = Err(error);
            }
        }
        result
    }

    async fn write_object(&self, share: u8, words: Vec<Word>) -> Result<(), kube::Error> {
        let name = self.name(share);
        let path = format!("{}/{name}", self.collection());
        if words.is_empty() {
            return match send::<IgnoredAny>(&self.client, Method::DELETE, path, None).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                result => result.map(|_| ()),
            };
        }
        let mut metadata = json!({
            "name": name, "namespace": self.namespace, "labels": { "ferrolb.io/node": self.label() },
        });
        if let (Some(pod), Some(metadata)) = (&self.pod, metadata.as_object_mut()) {
            metadata.insert("ownerReferences".into(), json!([pod.owner_reference()]));
        }
        let object = json!({
            "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "SpeakerReport",
            "metadata": metadata, "spec": { "words": words },
        });
        let request = Request::builder()
            .method(Method::PATCH)
            .uri(format!("{path}?fieldManager={MANAGER}&force=true"))
            .header("Content-Type", "application/apply-patch+yaml")
            // JSON is YAML.
            .body(object.to_string().into_bytes())
            .map_err(kube::Error::HttpError)?;
        let IgnoredAny = self.client.request(request).await?;
        Ok(())
    }

    /// The shares of which an earlier process of this node has left an object.
    async fn left_behind(&self) -> Vec<u8> {
        let api: Api<SpeakerReport> = Api::namespaced(self.client.clone(), &self.namespace);
        let ours = ListParams::default().labels(&format!("ferrolb.io/node={}", self.label()));
        let names: Vec<String> = match api.list_metadata(&ours).await {
            Ok(list) => list.items.into_iter().filter_map(|object| object.metadata.name).collect(),
            // Without the permission to list there is none to write either.
            Err(_) => Vec::new(),
        };
        (0..SHARES).filter(|share| names.contains(&self.name(*share))).collect()
    }

    fn collection(&self) -> String {
        format!("/apis/{GROUP}/v1alpha1/namespaces/{}/speakerreports", self.namespace)
    }

    /// The name of a share's object. Its last label is the share's, so that no two nodes have objects of the same name.
    fn name(&self, share: u8) -> String {
        format!("{}.{share:x}", self.node)
    }

    /// The node's name in a label. A label's value has at most 63 characters; a node's name may have more.
    fn label(&self) -> String {
        let short: String = self.node.chars().take(63).collect();
        short.trim_end_matches(['.', '-']).to_owned()
    }
}
