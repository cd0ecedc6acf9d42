// SPDX-License-Identifier: Apache-2.0
//! Writes the component's `ConfigurationState` (contract 1.10, 6.6): what is wrong with the configuration, all of it, and
//! only when it changes or somebody else changed or deleted the object.
//!
//! ```text
//! program ── errors ──> [wish] ──┐
//! watch of the one object ───────┴──> compare ── differs ──> POST, PATCH metadata, apply status
//! ```

use futures::StreamExt;
use futures::stream::BoxStream;
use http::Method;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::watcher;
use kube::runtime::watcher::{Event, watcher as watch};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::rewrite::timestamp;
use crate::net::pod::Owner;
use crate::net::request::{apply, send};
use crate::net::writer::{Failure, Kind, Sink};
use crate::writer::{Limits, REFUSED, Trouble};

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

/// Adds the fields of one object to another one.
fn add(object: Option<&mut Value>, fields: Value) {
    if let (Some(Value::Object(object)), Value::Object(fields)) = (object, fields) {
        object.extend(fields);
    }
}

/// The handle of the writing task.
#[derive(Debug)]
pub struct ConfigurationStateSink(Sink<(), Vec<String>>);

impl ConfigurationStateSink {
    /// Starts the task on the current runtime. `owner` owns the object.
    #[must_use]
    pub fn start(client: Client, namespace: String, component: Component, owner: Owner) -> Self {
        Self(Sink::start(State { client, namespace, component, owner }, Limits::default()))
    }

    /// Says nothing until something is published again: another process has the word.
    pub fn pause(&self) {
        self.0.change(|core, _| core.release());
    }

    /// What is wrong with the configuration now, each in the contract's text.
    pub fn publish(&self, errors: Vec<String>) {
        self.0.set((), Some(errors));
    }
}

/// How the one object is written.
struct State {
    client: Client,
    namespace: String,
    component: Component,
    owner: Owner,
}

impl Kind for State {
    type Key = ();
    type Value = Vec<String>;

    async fn write(&self, (): &(), errors: Option<&Vec<String>>) -> Result<(), Failure> {
        let Some(errors) = errors else { return Ok(()) };
        let all =
            format!("/apis/metallb.io/v1beta1/namespaces/{}/configurationstates", self.namespace);
        let path = format!("{all}/{}", self.component.name);
        let mut metadata = json!({ "labels": self.component.labels() });
        self.owner.own(&mut metadata).await;
        let live: Option<Value> = match send(&self.client, Method::GET, path.clone(), None).await {
            Ok(live) => Some(live),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => return Err(error.into()),
        };
        let wanted = self.component.status(errors, live.as_ref(), &timestamp());
        let mut object = json!({
            "apiVersion": "metallb.io/v1beta1",
            "kind": "ConfigurationState",
            "metadata": { "name": self.component.name, "namespace": self.namespace },
        });
        match &live {
            Some(live) if self.component.is_up_to_date(live, &wanted, &metadata) => return Ok(()),
            Some(_) => {
                let patch = json!({ "metadata": metadata });
                let IgnoredAny =
                    send(&self.client, Method::PATCH, path.clone(), Some(&patch)).await?;
            }
            None => {
                let mut new = object.clone();
                add(new.pointer_mut("/metadata"), metadata);
                match send::<IgnoredAny>(&self.client, Method::POST, all, Some(&new)).await {
                    Ok(IgnoredAny) => {}
                    // Somebody was faster.
                    Err(kube::Error::Api(status)) if status.code == 409 => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        add(Some(&mut object), json!({ "status": wanted }));
        let path = format!("{path}/status");
        Ok(apply(&self.client, path, self.component.manager, &object).await?)
    }

    /// Another process that has other errors, as two controllers without a Lease may, is not answered at once.
    fn changes(&self) -> BoxStream<'static, ()> {
        let kind = GroupVersionKind::gvk("metallb.io", "v1beta1", "ConfigurationState");
        let resource = ApiResource::from_gvk_with_plural(&kind, "configurationstates");
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        let own = format!("metadata.name={}", self.component.name);
        let events = watch(api, watcher::Config::default().fields(&own));
        let changes = events.filter_map(|event| async move {
            match event {
                Ok(Event::Apply(_) | Event::Delete(_) | Event::InitDone) => Some(()),
                Ok(Event::Init | Event::InitApply(_)) => None,
                Err(_) => {
                    tokio::time::sleep(REFUSED).await;
                    None
                }
            }
        });
        changes.boxed()
    }

    fn tell(&self, _: Option<&()>, trouble: Trouble, error: &kube::Error) {
        match trouble {
            Trouble::Refused => tracing::info!(event = "configurationStateOff", %error,
                "ConfigurationState is off: the kind or the permission is absent here; it is tried again"),
            Trouble::Failed => tracing::warn!(event = "configurationStateFailed", %error,
                "failed to write ConfigurationState; it is tried again"),
        }
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
        let metadata = json!({ "labels": component.labels() });
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
        let metadata = json!({ "labels": component.labels() });
        let wanted = component.status(&[], None, "2026-01-01T00:00:00Z");
        let mut live = json!({ "metadata": metadata, "status": wanted });
        live["status"]["conditions"].as_array_mut().unwrap().insert(0, json!({ "type": "other" }));
        assert!(component.is_up_to_date(&live, &wanted, &metadata));
        live["metadata"]["labels"] = json!({});
        assert!(!component.is_up_to_date(&live, &wanted, &metadata));
    }
}
