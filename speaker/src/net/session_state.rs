// SPDX-License-Identifier: Apache-2.0
//! Writes BGPSessionState objects as frr-k8s does (group frrk8s.metallb.io): one per peer of this node, only on change, and only where the
//! kind and the permission are there.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use kube::Client;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use tokio::sync::watch;

use cluster::net::pod::{OwnPod, Owner};
use cluster::net::request::send;

const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// The time after a refusal until the next check whether the kind and the permission are there.
const ABSENT_INTERVAL: Duration = Duration::from_secs(60);

/// The time in which states that flicker settle before they are written.
const SETTLE_TIME: Duration = Duration::from_millis(300);

/// The state of one session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SessionState {
    /// The BGP state by the RFC's name.
    pub(super) bgp: String,
    /// The BFD state: `up`, `down`, ... or `N/A` without BFD.
    pub(super) bfd: String,
}

/// Session states by the peer's address or interface (in the form of a label: IPv6 in full, with hyphens), and its VRF, empty for none.
pub(super) type SessionStates = BTreeMap<(String, String), SessionState>;

/// The handle of the writing task.
pub(super) struct SessionStateSink(watch::Sender<SessionStates>);

impl SessionStateSink {
    /// `owner` owns the objects: they are deleted with it.
    pub(super) fn start(client: Client, namespace: String, node: String, owner: Owner) -> Self {
        let (sender, desired) = watch::channel(SessionStates::new());
        tokio::spawn(async move {
            let pod = owner.pod().await;
            let writer = Writer { client, namespace, node, pod, objects: BTreeMap::new() };
            writer.run(desired).await;
        });
        Self(sender)
    }

    /// Sets the content of all objects of this node.
    pub(super) fn publish(&self, states: SessionStates) {
        self.0.send_if_modified(|current| {
            let changed = *current != states;
            *current = states;
            changed
        });
    }
}

struct Writer {
    client: Client,
    namespace: String,
    node: String,
    pod: Option<OwnPod>,
    /// The name and the state of each object that exists.
    objects: BTreeMap<(String, String), (String, Option<SessionState>)>,
}

/// The kind or the permission is absent.
struct Off(String);

impl Writer {
    async fn run(mut self, mut desired: watch::Receiver<SessionStates>) {
        let mut told = false;
        while let Err(Off(error)) = self.take_stock().await {
            if !std::mem::replace(&mut told, true) {
                tracing::info!(event = "sessionStateOff", %error,
                    "BGPSessionState objects are off: the kind or the permission is absent here; it is tried again");
            }
            tokio::time::sleep(ABSENT_INTERVAL).await;
        }
        loop {
            tokio::time::sleep(SETTLE_TIME).await;
            let states = desired.borrow_and_update().clone();
            if let Err(error) = self.write(&states).await {
                tracing::warn!(%error, "failed to write BGPSessionState; it is tried again");
                tokio::time::sleep(RETRY_INTERVAL).await;
                continue;
            }
            if desired.changed().await.is_err() {
                return;
            }
        }
    }

    /// Reads the objects that an earlier process of this node left.
    async fn take_stock(&mut self) -> Result<(), Off> {
        loop {
            let selector = format!("?labelSelector=frrk8s.metallb.io%2Fnode%3D{}", self.node);
            let list: Result<List, kube::Error> = self.send(Method::GET, &selector, None).await;
            match list {
                Ok(list) => {
                    for object in list.items {
                        let key = (object.status.peer, object.status.vrf);
                        let state = SessionState {
                            bgp: object.status.bgp_status,
                            bfd: object.status.bfd_status,
                        };
                        self.objects.insert(key, (object.metadata.name, Some(state)));
                    }
                    return Ok(());
                }
                Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {
                    return Err(Off(status.message.clone()));
                }
                Err(_) => tokio::time::sleep(RETRY_INTERVAL).await,
            }
        }
    }

    async fn write(&mut self, states: &SessionStates) -> Result<(), kube::Error> {
        let gone: Vec<(String, String)> =
            self.objects.keys().filter(|key| !states.contains_key(*key)).cloned().collect();
        for key in gone {
            if let Some((name, _)) = self.objects.get(&key) {
                match self.send(Method::DELETE, &format!("/{name}"), None).await {
                    Ok(IgnoredAny) => {}
                    Err(kube::Error::Api(status)) if status.code == 404 => {}
                    Err(error) => return Err(error),
                }
            }
            self.objects.remove(&key);
        }
        let mut result = Ok(());
        for (key, state) in states {
            if self.objects.get(key).is_some_and(|(_, known)| known.as_ref() == Some(state)) {
                continue;
            }
            // A failure does not keep the other objects from being written.
            result = result.and(self.write_one(key, state).await);
        }
        result
    }

    async fn write_one(
        &mut self,
        key: &(String, String),
        state: &SessionState,
    ) -> Result<(), kube::Error> {
        let name = match self.objects.get(key) {
            Some((name, _)) => name.clone(),
            None => {
                let name = self.create(key).await?;
                self.objects.insert(key.clone(), (name.clone(), None));
                name
            }
        };
        let (peer, vrf) = key;
        let patch = json!({ "status": {
            "node": self.node, "peer": peer, "vrf": vrf,
            "bgpStatus": state.bgp, "bfdStatus": state.bfd,
        }});
        match self.send(Method::PATCH, &format!("/{name}/status"), Some(&patch)).await {
            Ok(IgnoredAny) => {
                self.objects.insert(key.clone(), (name, Some(state.clone())));
                Ok(())
            }
            Err(error) => {
                self.objects.remove(key);
                Err(error)
            }
        }
    }

    async fn create(&self, (peer, vrf): &(String, String)) -> Result<String, kube::Error> {
        let mut metadata = json!({
            "generateName": format!("{}-", self.node),
            "namespace": self.namespace,
            "labels": {
                "frrk8s.metallb.io/node": self.node,
                "frrk8s.metallb.io/peer": peer,
                "frrk8s.metallb.io/vrf": vrf,
            },
        });
        if let (Some(pod), Some(metadata)) = (&self.pod, metadata.as_object_mut()) {
            metadata.insert("ownerReferences".to_owned(), json!([pod.owner_reference()]));
        }
        let object = json!({
            "apiVersion": "frrk8s.metallb.io/v1beta1",
            "kind": "BGPSessionState",
            "metadata": metadata,
            "spec": {},
        });
        let created: Object = self.send(Method::POST, "", Some(&object)).await?;
        Ok(created.metadata.name)
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, kube::Error> {
        let base = format!(
            "/apis/frrk8s.metallb.io/v1beta1/namespaces/{}/bgpsessionstates",
            self.namespace
        );
        send(&self.client, method, format!("{base}{path}"), body).await
    }
}

#[derive(Deserialize)]
struct List {
    items: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    peer: String,
    vrf: String,
    bgp_status: String,
    bfd_status: String,
}
