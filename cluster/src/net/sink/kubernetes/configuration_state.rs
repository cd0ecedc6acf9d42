// SPDX-License-Identifier: Apache-2.0
//! Writes the component's `ConfigurationState` (contract 1.10, 6.6): what is wrong with the configuration, all of it, and
//! only when it changes or somebody else changed or deleted the object.
//!
//! ```text
//! program ── errors ──> [desired] ──┐
//! watch of the one object ──────────┴──> compare ── differs ──> POST, PATCH metadata, apply status
//! ```

use std::time::Duration;

use futures::{Stream, StreamExt};
use http::Method;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::watcher;
use kube::runtime::watcher::{Event, watcher as watch};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::sync::watch as desired;

use super::rewrite::{apply_status, send, timestamp};
use crate::net::pod::{OwnPod, Owner};

/// The pause after a failure.
const RETRY: Duration = Duration::from_secs(2);
/// How long after a refusal it is tried whether the kind and the permission are there now.
const ABSENT: Duration = Duration::from_secs(60);
/// The longest message that the schema of conditions takes, in bytes, with room for the last line.
const MESSAGE: usize = 32_000;

/// Whose state it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    name: String,
    node: Option<String>,
    condition: &'static str,
    manager: &'static str,
}

impl Component {
    /// The controller's.
    #[must_use]
    pub fn controller() -> Self {
        let (condition, manager) = ("poolReconcilerValid", "poolReconciler");
        Self { name: "controller".into(), node: None, condition, manager }
    }

    /// That of the speaker on this node.
    #[must_use]
    pub fn speaker(node: &str) -> Self {
        let (condition, manager) = ("configReconcilerValid", "configReconciler");
        Self { name: format!("speaker-{node}"), node: Some(node.into()), condition, manager }
    }

    fn labels(&self) -> Value {
        match &self.node {
            None => json!({ "metallb.io/component-type": "controller" }),
            Some(node) => {
                json!({ "metallb.io/component-type": "speaker", "metallb.io/node-name": node })
            }
        }
    }

    fn metadata(&self, pod: Option<&OwnPod>) -> Value {
        let mut metadata = json!({ "labels": self.labels() });
        if let (Some(pod), Some(metadata)) = (pod, metadata.as_object_mut()) {
            metadata.insert("ownerReferences".into(), json!([pod.owner_reference()]));
        }
        metadata
    }

    /// The status for these errors, of which the object has `live` now.
    fn status(&self, errors: &[String], live: Option<&Value>, now: &str) -> Value {
        let message = message(errors);
        let valid = errors.is_empty();
        let status = if valid { "True" } else { "False" };
        let before = live
            .and_then(|live| live.pointer("/status/conditions"))
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .find(|condition| {
                condition.get("type").and_then(Value::as_str) == Some(self.condition)
            });
        // By the convention for conditions: the time of the last change of the status, not of the last look.
        let since = before
            .filter(|before| before.get("status").and_then(Value::as_str) == Some(status))
            .and_then(|before| before.get("lastTransitionTime").cloned())
            .unwrap_or_else(|| json!(now));
        json!({
            "result": if valid { "Valid" } else { "Invalid" },
            "errorSummary": message,
            "conditions": [{
                "type": self.condition,
                "status": status,
                "reason": if valid { "Reconciled" } else { "ConfigurationError" },
                "message": message,
                "lastTransitionTime": since,
            }],
        })
    }

    /// Whether `live` says what it is to say; conditions of others do not count. The owner may be another Pod of the component: the
    /// object goes with that one and is made anew then, and two that take it from one another would never end.
    fn is_up_to_date(&self, live: &Value, wanted: &Value, metadata: &Value) -> bool {
        let holds = |whole: Option<&Value>, part: &Value| match (whole, part) {
            (Some(Value::Object(whole)), Value::Object(part)) => {
                part.iter().all(|(key, value)| whole.get(key) == Some(value))
            }
            _ => false,
        };
        let text = |value: &Value, pointer: &str| {
            value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let condition = wanted.pointer("/conditions/0").cloned().unwrap_or_default();
        let owned = live.pointer("/metadata/ownerReferences/0").is_some();
        let conditions = live.pointer("/status/conditions").and_then(Value::as_array);
        holds(live.pointer("/metadata/labels"), metadata.get("labels").unwrap_or(&Value::Null))
            && (owned || metadata.get("ownerReferences").is_none())
            && text(live, "/status/result") == text(wanted, "/result")
            && text(live, "/status/errorSummary") == text(wanted, "/errorSummary")
            && conditions.into_iter().flatten().any(|live| holds(Some(live), &condition))
    }
}

/// All errors, each with MetalLB's prefix; what does not fit is counted.
fn message(errors: &[String]) -> String {
    let mut message = String::new();
    for (index, error) in errors.iter().enumerate() {
        let line = format!("configuration error: {error}");
        if message.len() + line.len() > MESSAGE {
            let rest = errors.len() - index;
            message.push_str(&format!("\n(and {rest} more)"));
            break;
        }
        if index > 0 {
            message.push('\n');
        }
        message.push_str(&line);
    }
    message
}

/// The handle of the writing task.
#[derive(Debug)]
pub struct ConfigurationStateSink(desired::Sender<Option<Vec<String>>>);

impl ConfigurationStateSink {
    /// Starts the task on the current runtime. `owner` owns the object.
    #[must_use]
    pub fn start(client: Client, namespace: String, component: Component, owner: Owner) -> Self {
        let (sender, wish) = desired::channel(None);
        tokio::spawn(async move {
            let pod = owner.pod().await;
            Writer { client, namespace, component, pod }.run(wish).await;
        });
        Self(sender)
    }

    /// Says nothing until something is published again: another process has the word.
    pub fn pause(&self) {
        self.0.send_replace(None);
    }

    /// What is wrong with the configuration now, each in the contract's text.
    pub fn publish(&self, errors: Vec<String>) {
        self.0.send_if_modified(|current| {
            let changed = current.as_ref() != Some(&errors);
            *current = Some(errors);
            changed
        });
    }
}

struct Writer {
    client: Client,
    namespace: String,
    component: Component,
    pod: Option<OwnPod>,
}

/// Whether the kind, or the permission for it, is absent.
fn is_absent(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 403..=405))
}

impl Writer {
    async fn run(self, mut wish: desired::Receiver<Option<Vec<String>>>) {
        let mut changes = None;
        let mut told = false;
        loop {
            if wish.wait_for(Option::is_some).await.is_err() {
                return;
            }
            let Some(errors) = wish.borrow_and_update().clone() else { continue };
            let pause = match self.write(&errors).await {
                Ok(()) => {
                    told = false;
                    None
                }
                Err(error) if is_absent(&error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::info!(event = "configurationStateOff", %error,
                            "ConfigurationState is off: the kind or the permission is absent here; it is tried again");
                    }
                    Some(ABSENT)
                }
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(event = "configurationStateFailed", %error,
                            "failed to write ConfigurationState; it is tried again");
                    }
                    Some(RETRY)
                }
            };
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
                continue;
            }
            let changes = changes.get_or_insert_with(|| Box::pin(self.changes()));
            tokio::select! {
                changed = wish.changed() => if changed.is_err() { return },
                // Another process that has other errors, as two controllers without a Lease may, is not answered at once.
                Some(()) = changes.next() => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// Says whenever the object may be other than it was written.
    fn changes(&self) -> impl Stream<Item = ()> + use<> {
        let resource = ApiResource {
            group: "metallb.io".into(),
            version: "v1beta1".into(),
            api_version: "metallb.io/v1beta1".into(),
            kind: "ConfigurationState".into(),
            plural: "configurationstates".into(),
        };
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        let own = format!("metadata.name={}", self.component.name);
        let events = watch(api, watcher::Config::default().fields(&own));
        events.filter_map(|event| async move {
            match event {
                Ok(Event::Apply(_) | Event::Delete(_) | Event::InitDone) => Some(()),
                Ok(Event::Init | Event::InitApply(_)) => None,
                Err(_) => {
                    tokio::time::sleep(ABSENT).await;
                    None
                }
            }
        })
    }

    async fn write(&self, errors: &[String]) -> Result<(), kube::Error> {
        let all =
            format!("/apis/metallb.io/v1beta1/namespaces/{}/configurationstates", self.namespace);
        let path = format!("{all}/{}", self.component.name);
        let metadata = self.component.metadata(self.pod.as_ref());
        let live: Option<Value> = match send(&self.client, Method::GET, &path, Vec::new()).await {
            Ok(live) => Some(live),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => return Err(error),
        };
        let wanted = self.component.status(errors, live.as_ref(), &timestamp());
        match &live {
            Some(live) if self.component.is_up_to_date(live, &wanted, &metadata) => return Ok(()),
            Some(_) => {
                let patch = json!({ "metadata": metadata }).to_string().into_bytes();
                let IgnoredAny = send(&self.client, Method::PATCH, &path, patch).await?;
            }
            None => {
                let mut metadata = metadata;
                if let Some(metadata) = metadata.as_object_mut() {
                    metadata.insert("name".into(), json!(self.component.name));
                    metadata.insert("namespace".into(), json!(self.namespace));
                }
                let object = json!({
                    "apiVersion": "metallb.io/v1beta1",
                    "kind": "ConfigurationState",
                    "metadata": metadata,
                });
                let body = object.to_string().into_bytes();
                match send::<IgnoredAny>(&self.client, Method::POST, &all, body).await {
                    Ok(IgnoredAny) => {}
                    // Somebody was faster.
                    Err(kube::Error::Api(status)) if status.code == 409 => {}
                    Err(error) => return Err(error),
                }
            }
        }
        let applied = json!({
            "apiVersion": "metallb.io/v1beta1",
            "kind": "ConfigurationState",
            "metadata": { "name": self.component.name, "namespace": self.namespace },
            "status": wanted,
        });
        apply_status(&self.client, &path, self.component.manager, &applied).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_error_is_said_as_metallb_says_it_and_all_are_said() {
        let component = Component::speaker("node1");
        let error = "peer peer1 referencing non existing bfd profile my-bfd-profile".to_owned();
        let status = component.status(std::slice::from_ref(&error), None, "2026-01-01T00:00:00Z");
        assert_eq!(
            status["errorSummary"],
            "configuration error: peer peer1 referencing non existing bfd profile my-bfd-profile"
        );
        assert_eq!(status["result"], "Invalid");
        assert_eq!(status["conditions"][0]["reason"], "ConfigurationError");
        let many = message(&[error, "another".to_owned()]);
        assert_eq!(many.lines().count(), 2);
        assert!(many.ends_with("\nconfiguration error: another"));
    }

    #[test]
    fn what_does_not_fit_into_a_condition_is_counted() {
        let errors: Vec<String> = (0..1_000).map(|number| format!("{number:0100}")).collect();
        let message = message(&errors);
        assert!(message.len() < 32_768, "{}", message.len());
        assert!(message.ends_with(" more)"), "{}", &message[message.len() - 40..]);
    }

    #[test]
    fn the_time_is_that_of_the_last_change_and_nothing_is_written_without_one() {
        let component = Component::controller();
        let metadata = component.metadata(None);
        let first = component.status(&[], None, "2026-01-01T00:00:00Z");
        let live = json!({ "metadata": metadata, "status": first });
        let second = component.status(&[], Some(&live), "2026-01-01T00:01:00Z");
        assert!(component.is_up_to_date(&live, &second, &metadata));
        let invalid = component.status(&["wrong".to_owned()], Some(&live), "2026-01-01T00:01:00Z");
        assert!(!component.is_up_to_date(&live, &invalid, &metadata));
        assert_ne!(
            invalid["conditions"][0]["lastTransitionTime"],
            first["conditions"][0]["lastTransitionTime"]
        );
    }

    #[test]
    fn another_writers_condition_is_left_alone_and_lost_labels_are_put_back() {
        let component = Component::controller();
        let metadata = component.metadata(None);
        let wanted = component.status(&[], None, "2026-01-01T00:00:00Z");
        let mut live = json!({ "metadata": metadata, "status": wanted });
        live["status"]["conditions"].as_array_mut().unwrap().insert(0, json!({ "type": "other" }));
        assert!(component.is_up_to_date(&live, &wanted, &metadata));
        live["metadata"]["labels"] = json!({});
        assert!(!component.is_up_to_date(&live, &wanted, &metadata));
    }
}
