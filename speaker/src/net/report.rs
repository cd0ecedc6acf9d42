// SPDX-License-Identifier: Apache-2.0
//! Keeps this speaker's SpeakerReport objects equal to its words about Services.
//!
//! ```text
//! program ── word, or none ──> Report ── changed shares, after 200 ms ──> apply or delete one object each
//! ```
//! Under manifests that do not know the kind nothing is written; the events tell the same.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cluster::ObjectKey;
use cluster::model::ServiceCondition;
use cluster::net::pod::Owner;
use cluster::net::request::{apply, delete};
use cluster::net::writer::{Failure, Kind, Sink, lock};
use cluster::writer::{Limits, Trouble};
use crds::ferrolb::{GROUP, SpeakerReport};
use kube::api::ListParams;
use kube::{Api, Client};
use serde_json::json;

use super::connections::object_name;
use crate::report::{Report, SHARES};

/// The owner of the fields, to the API server.
pub(super) const MANAGER: &str = "ferrolb-speaker";
/// The time in which words are collected before they are written together.
const BATCH_TIME: Duration = Duration::from_millis(200);
/// The time after which an earlier process's object is removed, if this process has no word in it.
const SETTLED_TIME: Duration = Duration::from_secs(30);

/// The handle of the writing task.
pub(super) struct ReportSink {
    report: Arc<Mutex<Report>>,
    shares: Sink<u8, ()>,
}

impl ReportSink {
    /// Starts the task on the current runtime. `owner` owns the objects. `keeps` tells whether this process writes the object about open
    /// connections; otherwise one of an earlier process is removed.
    pub(super) fn start(
        client: Client,
        namespace: String,
        node: String,
        owner: Owner,
        keeps: bool,
    ) -> Self {
        let report = Arc::<Mutex<Report>>::default();
        let kind = Shares { client, namespace, node, owner, report: Arc::clone(&report) };
        let sweeper = kind.clone();
        // Only a changed share is set, and its words are asked for when it is written.
        let limits = Limits { settle: BATCH_TIME, remembers: false, ..Limits::default() };
        let shares = Sink::start(kind, limits);
        let swept = shares.clone();
        tokio::spawn(async move {
            tokio::time::sleep(SETTLED_TIME).await;
            let names = sweeper.left_behind().await;
            for share in (0..SHARES).filter(|share| names.contains(&sweeper.name(*share))) {
                swept.set(share, Some(()));
            }
            let connections = object_name(&sweeper.node);
            if !keeps && names.contains(&connections) {
                // The object goes with its Pod in any case.
                let _ = delete(&sweeper.client, sweeper.path(&connections)).await;
            }
        });
        Self { report, shares }
    }

    /// Sets the word about a Service, or removes it.
    pub(super) fn publish(&self, service: ObjectKey, word: Option<ServiceCondition>) {
        let changed = {
            let mut report = lock(&self.report);
            report.say(&service, word, jiff::Timestamp::now().as_second());
            report.take_changed()
        };
        for share in changed {
            self.shares.set(share, Some(()));
        }
    }
}

/// How the share of a report is written.
#[derive(Clone)]
struct Shares {
    client: Client,
    namespace: String,
    node: String,
    owner: Owner,
    report: Arc<Mutex<Report>>,
}

impl Kind for Shares {
    type Key = u8;
    type Value = ();

    /// An object without words is removed.
    async fn write(&self, share: &u8, _: Option<&()>) -> Result<(), Failure> {
        let (words, left_out) = lock(&self.report).words(*share);
        if left_out > 0 {
            tracing::warn!(
                event = "speakerReportFull",
                share,
                services = left_out,
                "a SpeakerReport has no room for the words on some Services: their condition ferrolb.io/Announced is not kept"
            );
        }
        let name = self.name(*share);
        let path = self.path(&name);
        if words.is_empty() {
            return Ok(delete(&self.client, path).await?);
        }
        let mut metadata = json!({
            "name": name, "namespace": self.namespace, "labels": { "ferrolb.io/node": label(&self.node) },
        });
        self.owner.own(&mut metadata).await;
        let object = json!({
            "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "SpeakerReport",
            "metadata": metadata, "spec": { "words": words },
        });
        Ok(apply(&self.client, path, MANAGER, &object).await?)
    }

    fn tell(&self, _: Option<&u8>, trouble: Trouble, error: &kube::Error) {
        match trouble {
            Trouble::Refused => tracing::info!(event = "speakerReportOff", %error,
                "the condition ferrolb.io/Announced is off: SpeakerReports or the permission are absent here; events say the same"),
            Trouble::Failed => tracing::warn!(event = "speakerReportFailed", %error,
                "failed to write a SpeakerReport; it is tried again"),
        }
    }
}

impl Shares {
    /// The names of the objects that this process or an earlier one of this node has written, among others.
    async fn left_behind(&self) -> Vec<String> {
        let api: Api<SpeakerReport> = Api::namespaced(self.client.clone(), &self.namespace);
        let ours = ListParams::default().labels(&format!("ferrolb.io/node={}", label(&self.node)));
        match api.list_metadata(&ours).await {
            Ok(list) => list.items.into_iter().filter_map(|object| object.metadata.name).collect(),
            // Without the permission to list there is none to write either.
            Err(_) => Vec::new(),
        }
    }

    /// The name of a share's object. Its last label is the share's, so that no two nodes have objects of the same name.
    fn name(&self, share: u8) -> String {
        format!("{}.{share:x}", self.node)
    }

    /// The path of an object of this name.
    fn path(&self, name: &str) -> String {
        format!("/apis/{GROUP}/v1alpha1/namespaces/{}/speakerreports/{name}", self.namespace)
    }
}

/// The node's name in a label. A label's value has at most 63 characters; a node's name may have more.
pub(super) fn label(node: &str) -> String {
    let short: String = node.chars().take(63).collect();
    short.trim_end_matches(['.', '-']).to_owned()
}
