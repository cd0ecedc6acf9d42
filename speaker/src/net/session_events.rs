// SPDX-License-Identifier: Apache-2.0
//! Events about sessions, on the BGPPeer: in order, and few. The peer's uid, which nothing else needs, is read once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cluster::ObjectKey;
use cluster::net::sink::kubernetes::{EventSink, ObjectEvent, Regarding};
use kube::Client;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The time in which a peer gets one event of each reason, so that a session that flaps does not flood the API.
const EVENT_INTERVAL: Duration = Duration::from_secs(10);

/// The number of events that wait, at most.
const QUEUE_LIMIT: usize = 1024;

/// An event about a peer.
#[derive(Clone, Debug)]
pub(super) struct SessionEvent {
    pub(super) peer: Arc<str>,
    pub(super) warning: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// The handle of the task.
pub(super) struct SessionEvents(mpsc::Sender<SessionEvent>);

impl SessionEvents {
    pub(super) fn start(client: Client, namespace: String, events: EventSink) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE_LIMIT);
        let teller =
            Teller { client, namespace, events, uids: HashMap::new(), last: HashMap::new() };
        tokio::spawn(teller.run(queue));
        Self(sender)
    }

    pub(super) fn publish(&self, event: SessionEvent) {
        if let Err(mpsc::error::TrySendError::Full(event)) = self.0.try_send(event) {
            tracing::warn!(
                peer = &*event.peer,
                reason = event.reason,
                "event dropped: too many wait"
            );
        }
    }
}

/// The time of the last event of one reason for a peer, and the number of events left out since.
struct Last {
    at: Instant,
    left_out: u32,
}

struct Teller {
    client: Client,
    namespace: String,
    events: EventSink,
    uids: HashMap<Arc<str>, Box<str>>,
    last: HashMap<(Arc<str>, &'static str), Last>,
}

impl Teller {
    async fn run(mut self, mut queue: mpsc::Receiver<SessionEvent>) {
        while let Some(event) = queue.recv().await {
            self.tell(event).await;
        }
    }

    #[allow(clippy::disallowed_methods, reason = "this is a shell: it reads the clock")]
    async fn tell(&mut self, SessionEvent { peer, warning, reason, mut message }: SessionEvent) {
        let now = Instant::now();
        let key = (Arc::clone(&peer), reason);
        if let Some(last) = self.last.get_mut(&key) {
            if now.duration_since(last.at) < EVENT_INTERVAL {
                last.left_out += 1;
                return;
            }
            if last.left_out > 0 {
                message = format!("{message} ({} times more before that)", last.left_out);
            }
        }
        self.last.insert(key, Last { at: now, left_out: 0 });
        let uid = match self.uids.get(&peer) {
            Some(uid) => uid.clone(),
            None => {
                let uid = self.uid(&peer).await.unwrap_or_default();
                if !uid.is_empty() {
                    self.uids.insert(Arc::clone(&peer), uid.clone());
                }
                uid
            }
        };
        let regarding = Regarding::bgp_peer(ObjectKey::new(&self.namespace, &peer), uid);
        self.events.publish(ObjectEvent { regarding, warning, reason, message });
    }

    async fn uid(&self, peer: &str) -> Option<Box<str>> {
        let path =
            format!("/apis/metallb.io/v1beta2/namespaces/{}/bgppeers/{peer}", self.namespace);
        let request = http::Request::get(path).body(Vec::new()).ok()?;
        let object: serde_json::Value = self.client.request(request).await.ok()?;
        Some(object.pointer("/metadata/uid")?.as_str()?.into())
    }
}
