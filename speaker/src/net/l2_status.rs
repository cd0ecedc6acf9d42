// SPDX-License-Identifier: Apache-2.0
//! Writes ServiceL2Status objects (contract 1.8, 4.9), quietly: one write per real change.
//!
//! The owner of a Service's address has one object for it and removes everybody else's; who is not the owner
//! removes only its own.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use cluster::ObjectKey;
use http::{Method, Request};
use kube::Client;
use l2::Scope;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// What this node's object for a Service is to say; none means that there is to be none.
pub(super) type Wish = Option<BTreeSet<Box<str>>>;

const RETRY: Duration = Duration::from_secs(2);

/// Who writes.
pub(super) struct Writer {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) node: String,
    /// Name and uid of the own pod: the owner of the objects.
    pub(super) pod: Option<(String, String)>,
}

enum Message {
    Wish(ObjectKey, Wish),
    /// Everything that is announced after a start has been wished.
    Settled,
}

/// The handle of the writing task.
pub(super) struct L2StatusSink(mpsc::UnboundedSender<Message>);

/// The interfaces as the status lists them: none where all are used.
pub(super) fn interfaces(scope: &Scope) -> BTreeSet<Box<str>> {
    match scope {
        Scope::AllInterfaces => BTreeSet::new(),
        Scope::Interfaces(names) => names.clone(),
    }
}

impl L2StatusSink {
    pub(super) fn start(writer: Writer) -> Self {
        let (sender, wishes) = mpsc::unbounded_channel();
        tokio::spawn(run(writer, wishes));
        Self(sender)
    }

    pub(super) fn publish(&self, service: ObjectKey, wish: Wish) {
        // The task ends only with the process, or where the kind is absent.
        let _ = self.0.send(Message::Wish(service, wish));
    }

    /// Says that after a start everything which is announced has been published: what an earlier life of this
    /// node left behind for other Services is removed.
    pub(super) fn settled(&self) {
        let _ = self.0.send(Message::Settled);
    }
}

async fn run(writer: Writer, mut messages: mpsc::UnboundedReceiver<Message>) {
    let mut waiting: HashMap<ObjectKey, Wish> = HashMap::new();
    let mut settled = false;
    loop {
        if waiting.is_empty() {
            let Some(message) = messages.recv().await else { return };
            take(message, &mut waiting, &mut settled);
        }
        while let Ok(message) = messages.try_recv() {
            take(message, &mut waiting, &mut settled);
        }
        if std::mem::take(&mut settled) {
            match writer.left_behind().await {
                Ok(services) => {
                    for service in services {
                        waiting.entry(service).or_insert(None);
                    }
                }
                Err(Off) => return,
            }
        }
        let Some(key) = waiting.keys().next().cloned() else { continue };
        let Some(wish) = waiting.remove(&key) else { continue };
        if let Err(error) = writer.write(&key, wish.as_ref()).await {
            tracing::warn!(service = %key, %error, "failed to write ServiceL2Status; it is tried again");
            waiting.entry(key).or_insert(wish);
            tokio::time::sleep(RETRY).await;
        }
    }
}

fn take(message: Message, waiting: &mut HashMap<ObjectKey, Wish>, settled: &mut bool) {
    match message {
        Message::Wish(key, wish) => {
            waiting.insert(key, wish);
        }
        Message::Settled => *settled = true,
    }
}

/// The kind or the permission is absent.
struct Off;

impl Writer {
    /// The Services for which there is an object of this node.
    async fn left_behind(&self) -> Result<Vec<ObjectKey>, Off> {
        loop {
            let selector = format!("metallb.io%2Fnode%3D{}", self.node);
            match self.list(&selector).await {
                Ok(objects) => {
                    let label = |object: &Value, name: &str| {
                        let label =
                            object.pointer(&format!("/metadata/labels/metallb.io~1{name}"))?;
                        label.as_str().map(str::to_owned)
                    };
                    let services = objects.iter().filter_map(|object| {
                        let namespace = label(object, "service-namespace")?;
                        Some(ObjectKey::new(&namespace, &label(object, "service-name")?))
                    });
                    return Ok(services.collect());
                }
                Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {
                    tracing::info!(event = "l2StatusOff", error = %status.message,
                        "ServiceL2Status objects are off: the kind or the permission is absent here");
                    return Err(Off);
                }
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    /// Whether the object belongs to this pod; that of an earlier pod goes when the pod does.
    fn is_owned(&self, object: &Value) -> bool {
        let Some((_, uid)) = &self.pod else { return true };
        let owner = object.pointer("/metadata/ownerReferences/0/uid").and_then(Value::as_str);
        owner == Some(uid)
    }

    async fn write(
        &self,
        service: &ObjectKey,
        wish: Option<&BTreeSet<Box<str>>>,
    ) -> Result<(), kube::Error> {
        let selector = format!(
            "metallb.io%2Fservice-name%3D{},metallb.io%2Fservice-namespace%3D{}",
            service.name(),
            service.namespace()
        );
        let mut own: Option<Value> = None;
        for object in self.list(&selector).await? {
            let is_own =
                object.pointer("/metadata/labels/metallb.io~1node").and_then(Value::as_str)
                    == Some(&self.node);
            if wish.is_some() && is_own && own.is_none() && self.is_owned(&object) {
                own = Some(object);
            } else if let (true, Some(name)) = (wish.is_some() || is_own, name(&object)) {
                self.delete(name).await?;
            }
        }
        let Some(interfaces) = wish else { return Ok(()) };
        let list: Vec<Value> = interfaces.iter().map(|name| json!({ "name": name })).collect();
        let mut status = json!({
            "node": self.node,
            "serviceName": service.name(),
            "serviceNamespace": service.namespace(),
        });
        if let (false, Some(status)) = (list.is_empty(), status.as_object_mut()) {
            status.insert("interfaces".to_owned(), json!(list));
        }
        let object = match own {
            Some(object) if object.get("status") == Some(&status) => return Ok(()),
            Some(object) => object,
            None => self.create(service).await?,
        };
        let Some(name) = name(&object) else { return Ok(()) };
        if let (true, Some(status)) = (list.is_empty(), status.as_object_mut()) {
            // A merge patch removes what is null.
            status.insert("interfaces".to_owned(), Value::Null);
        }
        let patch = json!({ "status": status });
        self.send(Method::PATCH, &format!("/{name}/status"), Some(&patch)).await?;
        Ok(())
    }

    async fn create(&self, service: &ObjectKey) -> Result<Value, kube::Error> {
        let mut metadata = json!({
            "generateName": "l2-",
            "namespace": self.namespace,
            "labels": {
                "metallb.io/node": self.node,
                "metallb.io/service-name": service.name(),
                "metallb.io/service-namespace": service.namespace(),
            },
        });
        if let (Some((name, uid)), Some(metadata)) = (&self.pod, metadata.as_object_mut()) {
            let owner = json!([{ "apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid }]);
            metadata.insert("ownerReferences".to_owned(), owner);
        }
        let object = json!({
            "apiVersion": "metallb.io/v1beta1",
            "kind": "ServiceL2Status",
            "metadata": metadata,
            "spec": {},
        });
        self.send(Method::POST, "", Some(&object)).await
    }

    async fn list(&self, selector: &str) -> Result<Vec<Value>, kube::Error> {
        let mut list = self.send(Method::GET, &format!("?labelSelector={selector}"), None).await?;
        Ok(match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        })
    }

    async fn delete(&self, name: &str) -> Result<(), kube::Error> {
        match self.send(Method::DELETE, &format!("/{name}"), None).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => other.map(|_| ()),
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, kube::Error> {
        let base =
            format!("/apis/metallb.io/v1beta1/namespaces/{}/servicel2statuses", self.namespace);
        let content_type = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("{base}{path}"))
            .header("Content-Type", content_type)
            .body(body.map(|body| body.to_string().into_bytes()).unwrap_or_default())
            .map_err(kube::Error::HttpError)?;
        self.client.request(request).await
    }
}

fn name(object: &Value) -> Option<&str> {
    object.pointer("/metadata/name").and_then(Value::as_str)
}
