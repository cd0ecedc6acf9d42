// SPDX-License-Identifier: Apache-2.0
//! Writes the status of Services: level-triggered, one write per Service at a time.
//!
//! ```text
//! program ── ServiceStatus / verify ──> [desired by key] ── up to 16 at once ──> GET, PUT ──> ServiceReport
//! ```

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kube::api::{ListParams, PartialObjectMeta};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::rewrite::{Rewrite, rewrite_status, timestamp};
use crate::ObjectKey;
use crate::model::{
    ALLOCATED_CONDITION, ANNOUNCED_CONDITION, Hostname, ServiceCondition, ServiceObject,
};
use crate::net::fence::Fence;

const CONCURRENT: usize = 16;
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// What a Service's status and pool annotation are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, Default)]
struct Task {
    allocation: Option<Allocation>,
    /// The condition `ferrolb.io/Announced`, in a speaker's words.
    announced: Option<ServiceCondition>,
}

#[derive(Clone, Debug)]
enum Allocation {
    Write(ServiceStatus),
    /// The Service left the selection of LoadBalancers: if it still exists, clear it (contract 2.4 step 1).
    Verify {
        annotation: &'static str,
    },
}

impl Task {
    /// This, and of what was to be done before what this says nothing of.
    fn after(self, before: Option<Self>) -> Self {
        let before = before.unwrap_or_default();
        Self {
            allocation: self.allocation.or(before.allocation),
            announced: self.announced.or(before.announced),
        }
    }
}

/// The handle of the writing task.
#[derive(Clone, Debug)]
pub struct ServiceSink(mpsc::UnboundedSender<(ObjectKey, Task)>);

impl ServiceSink {
    /// Starts the task on the current runtime. The queue holds at most one entry per Service; nothing is written that `fence`
    /// does not allow at the last moment.
    #[must_use]
    pub fn start(client: Client, fence: Fence) -> (Self, mpsc::UnboundedReceiver<ServiceReport>) {
        let (sender, tasks) = mpsc::unbounded_channel();
        let (reports, receiver) = mpsc::unbounded_channel();
        tokio::spawn(run(client, fence, tasks, reports));
        (Self(sender), receiver)
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
        // The task ends only with the process.
        let _ = self.0.send((service, task));
    }
}

async fn run(
    client: Client,
    fence: Fence,
    mut tasks: mpsc::UnboundedReceiver<(ObjectKey, Task)>,
    reports: mpsc::UnboundedSender<ServiceReport>,
) {
    let mut waiting: HashMap<ObjectKey, Task> = HashMap::new();
    let mut running = FuturesUnordered::new();
    // Services that are being written; a newer wish waits until that has ended.
    let mut busy: HashMap<ObjectKey, Option<Task>> = HashMap::new();
    loop {
        while running.len() < CONCURRENT {
            let Some(key) = waiting.keys().next().cloned() else { break };
            let Some(task) = waiting.remove(&key) else { break };
            busy.insert(key.clone(), None);
            running.push(carry_out(&client, &fence, &reports, key, task));
        }
        tokio::select! {
            received = tasks.recv() => {
                let Some((key, task)) = received else { return };
                match busy.get_mut(&key) {
                    Some(next) => *next = Some(task.after(next.take())),
                    None => {
                        let task = task.after(waiting.remove(&key));
                        waiting.insert(key, task);
                    }
                }
            }
            Some(key) = running.next(), if !running.is_empty() => {
                if let Some(Some(task)) = busy.remove(&key) {
                    waiting.insert(key, task);
                }
            }
        }
    }
}

/// Tries until it is done; gives the key back.
async fn carry_out(
    client: &Client,
    fence: &Fence,
    reports: &mpsc::UnboundedSender<ServiceReport>,
    key: ObjectKey,
    task: Task,
) -> ObjectKey {
    let path = format!("/api/v1/namespaces/{}/services/{}", key.namespace(), key.name());
    let mut pause = FIRST_RETRY;
    loop {
        if !fence.pass().await {
            // Another controller writes now; whoever asked for this begins anew when it is the leader again.
            return key;
        }
        let (mut fenced, mut writing) = (false, None);
        let result = rewrite_status(client, &path, |object| {
            if !change(object, &task) {
                return false;
            }
            writing = fence.enter(clock::now());
            fenced = writing.is_none();
            !fenced
        })
        .await;
        drop(writing);
        if fenced {
            // It lapsed meanwhile, or is another one's.
            continue;
        }
        let report = match result {
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
                // A task that nobody listens to any more has nothing to try again for.
                if reports.send(ServiceReport::Failed(key.clone(), error.to_string())).is_err() {
                    return key;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_RETRY);
                continue;
            }
        };
        let _ = reports.send(report);
        return key;
    }
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
            clear = ServiceStatus {
                addresses: Vec::new(),
                hostname: Hostname::None,
                annotation,
                pool: None,
                condition: None,
            };
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
    let Some(object) = object.as_object_mut() else { return false };
    let status = object.entry("status").or_insert_with(|| json!({}));
    let Some(status) = status.as_object_mut() else { return false };
    let mut conditions = match status.get("conditions") {
        Some(Value::Array(conditions)) => conditions.clone(),
        _ => Vec::new(),
    };
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let ours = |value: &Value| text(value, "type").as_deref() == Some(kind);
    let place = conditions.iter().position(ours);
    let known = place.and_then(|place| conditions.get(place));
    match (known, condition) {
        (None, None) => return false,
        (Some(_), None) => conditions.retain(|value| !ours(value)),
        (known, Some(condition)) => {
            let same = |key: &str, value: &str| {
                known.is_some_and(|known| text(known, key).as_deref() == Some(value))
            };
            let same_status = same("status", condition.status());
            if same_status
                && same("reason", &condition.reason)
                && same("message", &condition.message)
            {
                return false;
            }
            let since = known
                .filter(|_| same_status)
                .and_then(|known| text(known, "lastTransitionTime"))
                .unwrap_or_else(timestamp);
            let new = json!({
                "type": kind,
                "status": condition.status(),
                "reason": condition.reason,
                "message": condition.message,
                "lastTransitionTime": since,
            });
            match place.and_then(|place| conditions.get_mut(place)) {
                Some(known) => *known = new,
                None => conditions.push(new),
            }
        }
    }
    if conditions.is_empty() {
        status.remove("conditions");
    } else {
        status.insert("conditions".to_owned(), json!(conditions));
    }
    true
}

fn set_annotation(object: &mut Value, key: &str, value: Option<&str>) -> bool {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return false;
    };
    let current = metadata.get("annotations").and_then(|all| all.get(key)).and_then(Value::as_str);
    if current == value {
        return false;
    }
    match value {
        Some(value) => {
            let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
            if annotations.is_null() {
                *annotations = json!({});
            }
            if let Some(annotations) = annotations.as_object_mut() {
                annotations.insert(key.to_owned(), json!(value));
            }
        }
        None => {
            if let Some(all) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
                all.remove(key);
            }
        }
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
    let Some(object) = object.as_object_mut() else { return false };
    let status = object.entry("status").or_insert_with(|| json!({}));
    let Some(status) = status.as_object_mut() else { return false };
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
