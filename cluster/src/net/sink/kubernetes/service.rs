// SPDX-License-Identifier: Apache-2.0
//! Writes the status of Services: level-triggered, one write per Service at a time.
//!
//! ```text
//! program ── ServiceStatus / verify ──> [wish by key] ── up to 16 at once ──> GET, PUT ──> ServiceReport
//! ```

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{ListParams, PartialObjectMeta};
use kube::{Api, Client};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::rewrite::{Rewrite, rewrite_status, timestamp};
use crate::ObjectKey;
use crate::model::{
    ALLOCATED_CONDITION, ANNOUNCED_CONDITION, Hostname, ServiceCondition, ServiceObject,
};
use crate::net::fence::Fence;
use crate::net::writer::{Failure, Kind, Sink};
use crate::writer::{Limits, Trouble};

/// The pauses after failures: the first, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// What a Service's status and pool annotation are to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceStatus {
    /// For `status.loadBalancer.ingress`.
    pub addresses: Vec<IpAddr>,
    /// What stands beside each address.
    pub hostname: Hostname,
    /// The annotation's key.
    pub annotation: &'static str,
    /// The annotation's value; none removes it.
    pub pool: Option<Arc<str>>,
    /// The condition `ferrolb.io/Allocated`; none removes it.
    pub condition: Option<ServiceCondition>,
}

/// What became of a Service's status.
#[derive(Debug)]
pub enum ServiceReport {
    /// It is as desired; the object as the server has it now.
    Written(ObjectKey, Box<ServiceObject>),
    /// The Service is gone, or no longer of type LoadBalancer and cleared.
    Gone(ObjectKey),
    /// It failed, and is tried again.
    Failed(ObjectKey, String),
}

/// What is to be done with a Service's status.
#[derive(Clone, Debug, Default, PartialEq)]
struct Task {
    allocation: Option<Allocation>,
    /// The condition `ferrolb.io/Announced`, in a speaker's words.
    announced: Option<ServiceCondition>,
}

#[derive(Clone, Debug, PartialEq)]
enum Allocation {
    Write(ServiceStatus),
    /// The Service left the selection of LoadBalancers: if it still exists, clear it (contract 2.4 step 1).
    Verify {
        annotation: &'static str,
    },
}

impl Task {
    /// This, and of what was to be done before what this says nothing of.
    fn after(self, before: Option<&Self>) -> Self {
        let before = before.cloned().unwrap_or_default();
        Self {
            allocation: self.allocation.or(before.allocation),
            announced: self.announced.or(before.announced),
        }
    }
}

/// The handle of the writing task.
#[derive(Clone, Debug)]
pub struct ServiceSink(Sink<ObjectKey, Task>);

impl ServiceSink {
    /// Starts the task on the current runtime. Nothing is written that `fence` does not allow at the last moment.
    #[must_use]
    pub fn start(client: Client, fence: Fence) -> (Self, mpsc::UnboundedReceiver<ServiceReport>) {
        let (reports, receiver) = mpsc::unbounded_channel();
        // A refusal of one Service says nothing of the others, and a wish that comes again says that somebody else
        // changed it.
        let (refused, remembers) = (None, false);
        let limits =
            Limits { concurrent: 16, retry: RETRY, refused, remembers, ..Limits::default() };
        (Self(Sink::start(Services { client, fence, reports }, limits)), receiver)
    }

    /// Sets what the Service's status is to be, in place of what was said before.
    pub fn write(&self, service: ObjectKey, status: ServiceStatus) {
        self.send(service, Task { allocation: Some(Allocation::Write(status)), announced: None });
    }

    /// Copies a speaker's word into the Service's condition `ferrolb.io/Announced`.
    pub fn announce(&self, service: ObjectKey, word: ServiceCondition) {
        self.send(service, Task { allocation: None, announced: Some(word) });
    }

    /// Looks whether a Service that is no longer listed as LoadBalancer still exists, and clears it then.
    pub fn verify(&self, service: ObjectKey, annotation: &'static str) {
        let allocation = Some(Allocation::Verify { annotation });
        self.send(service, Task { allocation, announced: None });
    }

    fn send(&self, service: ObjectKey, task: Task) {
        self.0.change(|core, now| {
            let task = task.after(core.wish(&service));
            core.set(service, Some(task), now);
        });
    }
}

/// How Services are written.
struct Services {
    client: Client,
    fence: Fence,
    reports: mpsc::UnboundedSender<ServiceReport>,
}

impl Kind for Services {
    type Key = ObjectKey;
    type Value = Task;

    async fn write(&self, key: &ObjectKey, task: Option<&Task>) -> Result<(), Failure> {
        let Some(task) = task else { return Ok(()) };
        let path = format!("/api/v1/namespaces/{}/services/{}", key.namespace(), key.name());
        let change = |object: &mut Value| change(object, task);
        let report = match rewrite_status(&self.client, &path, &self.fence, change).await {
            // Another controller writes now; whoever asked for this begins anew when it is the leader again.
            Ok(Rewrite::Fenced) => return Err(Failure::Fenced),
            Ok(Rewrite::Written(object) | Rewrite::Unchanged(object))
                if is_load_balancer(&object) =>
            {
                match serde_json::from_value(object) {
                    Ok(object) => ServiceReport::Written(key.clone(), Box::new(object)),
                    Err(error) => ServiceReport::Failed(key.clone(), error.to_string()),
                }
            }
            Ok(_) => ServiceReport::Gone(key.clone()),
            Err(error) => {
                let _ = self.reports.send(ServiceReport::Failed(key.clone(), error.to_string()));
                return Err(error.into());
            }
        };
        // The program may have ended its term.
        let _ = self.reports.send(report);
        Ok(())
    }

    /// Each failure is a report.
    fn tell(&self, _: Option<&ObjectKey>, _: Trouble, _: &kube::Error) {}
}

fn is_load_balancer(object: &Value) -> bool {
    object.pointer("/spec/type").and_then(Value::as_str) == Some("LoadBalancer")
}

/// Brings the live object to what the task wants; says whether anything changed.
fn change(object: &mut Value, task: &Task) -> bool {
    let is_served = is_load_balancer(object);
    let announced = task.announced.as_ref().filter(|_| is_served);
    let said = announced.is_some_and(|word| set_condition(object, ANNOUNCED_CONDITION, Some(word)));
    let clear;
    let desired = match &task.allocation {
        None => return said,
        Some(Allocation::Write(status)) if is_served => status,
        Some(Allocation::Verify { .. }) if is_served => return said,
        Some(
            Allocation::Write(ServiceStatus { annotation, .. }) | Allocation::Verify { annotation },
        ) => {
            clear = ServiceStatus { annotation, ..ServiceStatus::default() };
            &clear
        }
    };
    set_annotation(object, desired.annotation, desired.pool.as_deref())
        | set_ingress(object, &desired.addresses, &desired.hostname)
        | set_condition(object, ALLOCATED_CONDITION, desired.condition.as_ref())
        | (!is_served && set_condition(object, ANNOUNCED_CONDITION, None))
        | said
}

/// Conditions of others stay where they are.
fn set_condition(object: &mut Value, kind: &str, condition: Option<&ServiceCondition>) -> bool {
    let Some(status) = status_of(object) else { return false };
    let conditions = status.get("conditions").and_then(Value::as_array);
    let mut conditions = conditions.cloned().unwrap_or_default();
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let place = conditions.iter().position(|value| text(value, "type").as_deref() == Some(kind));
    let known = place.map(|place| conditions.remove(place));
    if let Some(condition) = condition {
        let same = |key: &str, value: &str| {
            known.as_ref().is_some_and(|known| text(known, key).as_deref() == Some(value))
        };
        let same_status = same("status", condition.status());
        if same_status && same("reason", &condition.reason) && same("message", &condition.message) {
            return false;
        }
        let since = known.filter(|_| same_status);
        let since = since.and_then(|known| text(&known, "lastTransitionTime"));
        let new = json!({
            "type": kind,
            "status": condition.status(),
            "reason": condition.reason,
            "message": condition.message,
            "lastTransitionTime": since.unwrap_or_else(timestamp),
        });
        conditions.insert(place.unwrap_or(conditions.len()), new);
    } else if known.is_none() {
        return false;
    }
    if conditions.is_empty() {
        status.remove("conditions");
    } else {
        status.insert("conditions".to_owned(), json!(conditions));
    }
    true
}

fn status_of(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object.as_object_mut()?.entry("status").or_insert_with(|| json!({})).as_object_mut()
}

fn set_annotation(object: &mut Value, key: &str, value: Option<&str>) -> bool {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return false;
    };
    let current = metadata.get("annotations").and_then(|all| all.get(key)).and_then(Value::as_str);
    if current == value {
        return false;
    }
    let annotations = metadata.entry("annotations").or_insert(Value::Null);
    if annotations.is_null() {
        *annotations = json!({});
    }
    let Some(annotations) = annotations.as_object_mut() else { return false };
    match value {
        Some(value) => drop(annotations.insert(key.to_owned(), json!(value))),
        None => drop(annotations.remove(key)),
    }
    true
}

fn set_ingress(object: &mut Value, addresses: &[IpAddr], hostname: &Hostname) -> bool {
    let current = object.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
    let same = match current {
        None => addresses.is_empty(),
        Some(entries) => {
            entries.len() == addresses.len()
                && entries.iter().zip(addresses).all(|(entry, address)| {
                    let ip = entry.get("ip").and_then(Value::as_str);
                    let there = entry.get("hostname").and_then(Value::as_str).unwrap_or_default();
                    ip == Some(&address.to_string()) && hostname.is(there)
                })
        }
    };
    if same {
        return false;
    }
    let Some(status) = status_of(object) else { return false };
    let load_balancer = if addresses.is_empty() {
        json!({})
    } else {
        let entry = |ip: &IpAddr| match hostname {
            Hostname::Node(node) => json!({ "ip": ip, "hostname": &**node }),
            Hostname::None | Hostname::Keep => json!({ "ip": ip }),
        };
        let ingress: Vec<Value> = addresses.iter().map(entry).collect();
        json!({ "ingress": ingress })
    };
    status.insert("loadBalancer".to_owned(), load_balancer);
    true
}

/// Services that carry the pool annotation, whatever their type: after a start they show which ones were
/// turned into another type while nobody watched. One paged list of metadata.
///
/// # Errors
/// When the API refuses or cannot be reached.
pub async fn list_formerly_allocated(
    client: &Client,
    annotation: &str,
) -> Result<Vec<ObjectKey>, kube::Error> {
    let api: Api<PartialObjectMeta<ServiceObject>> = Api::all(client.clone());
    let mut page = ListParams::default().limit(500);
    let mut found = Vec::new();
    loop {
        let list = api.list_metadata(&page).await?;
        found.extend(list.items.into_iter().filter_map(|object| {
            object.metadata.annotations.as_ref()?.get(annotation)?;
            Some(ObjectKey::new(
                object.metadata.namespace.as_deref()?,
                object.metadata.name.as_deref()?,
            ))
        }));
        match list.metadata.continue_ {
            Some(token) if !token.is_empty() => page = page.continue_token(&token),
            _ => return Ok(found),
        }
    }
}

#[cfg(test)]
mod tests;
