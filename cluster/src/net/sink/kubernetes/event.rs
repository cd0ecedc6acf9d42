// SPDX-License-Identifier: Apache-2.0
//! Events: core/v1, since MetalLB's roles permit no other (contract 8.2). One that happens
//! again is raised in count by PATCH instead of written anew.
//!
//! Events wait in a queue of their own, not in a [`crate::writer::Writer`]: they are no state. Each is due once, in
//! the order in which they came; one that comes while it is being written is another one; and one that cannot be
//! written is dropped in the end. A refusal holds up no other event: the API refuses each event in a namespace that
//! is being removed.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crds::config::{PoolId, PoolKind};
use futures::StreamExt;
use http::Method;
use kube::Client;
use serde::de::IgnoredAny;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::rewrite::timestamp;
use crate::ObjectKey;
use crate::net::fence::Fence;
use crate::net::request::send;
use crate::net::writer::{lock, now, trouble};
use crate::writer::{RETRY, Trouble};

/// How many distinct events are remembered for raising; beyond that the memory starts anew.
const REMEMBERED: usize = 4096;

/// How many distinct events may wait for the API; beyond that they are dropped, which the log tells.
const QUEUE: usize = 16_384;

/// How many are written together.
const BATCH: usize = 256;

/// How many requests are under way at once.
const CONCURRENT: usize = 16;

/// The pause after a batch: events that come in a burst go out together, one that comes alone goes at once.
const PAUSE: Duration = Duration::from_millis(200);

/// How often an event is tried to be written, in all.
const ATTEMPTS: u32 = 5;

/// How long the program waits at its end for events that are still to be written.
const FAREWELL: Duration = Duration::from_secs(2);

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Regarding {
    api_version: &'static str,
    kind: &'static str,
    key: ObjectKey,
    uid: Box<str>,
}

impl Regarding {
    /// A Service.
    #[must_use]
    pub fn service(key: ObjectKey, uid: Box<str>) -> Self {
        Self { api_version: "v1", kind: "Service", key, uid }
    }

    /// A pool; one that is in no namespace has `default` in its key, as events on such objects have it.
    #[must_use]
    pub fn pool(pool: &PoolId, namespace: &str, uid: Box<str>) -> Self {
        let (api_version, namespace) = match pool.kind {
            PoolKind::IpAddressPool => ("metallb.io/v1beta1", namespace),
            PoolKind::ExternalIpPool => ("crd.antrea.io/v1beta1", "default"),
        };
        let key = ObjectKey::new(namespace, &pool.name);
        Self { api_version, kind: pool.kind.name(), key, uid }
    }

    /// As the object has it: none for one that is in no namespace.
    fn namespace(&self) -> &str {
        if self.kind == PoolKind::ExternalIpPool.name() { "" } else { self.key.namespace() }
    }

    /// A `BGPPeer`.
    #[must_use]
    pub fn bgp_peer(key: ObjectKey, uid: Box<str>) -> Self {
        Self { api_version: "metallb.io/v1beta2", kind: "BGPPeer", key, uid }
    }
}

/// An event (contract 2.9).
#[derive(Clone, Debug)]
pub struct ObjectEvent {
    /// What it is about.
    pub regarding: Regarding,
    /// Whether it is of type Warning.
    pub warning: bool,
    /// The reason.
    pub reason: &'static str,
    /// The message.
    pub message: String,
}

/// Events that wait to be written. One that happens again meanwhile is counted, not queued again: routes that change faster than the API
/// takes events must not push out those about something else.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// Tells the same event.
    hasher: RandomState,
}

#[derive(Default)]
struct Waiting {
    events: HashMap<u64, Raised>,
    /// In the order in which they came.
    order: VecDeque<u64>,
}

impl Queue {
    /// False if there is no room for the event, which is dropped then.
    fn add(&self, raised: Raised) -> bool {
        let ObjectEvent { regarding, warning, reason, message } = &raised.event;
        let hash = self.hasher.hash_one((regarding, warning, reason, message));
        let Waiting { events, order } = &mut *lock(&self.waiting);
        let full = events.len() >= QUEUE;
        match events.entry(hash) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.times += raised.times;
                known.attempts = known.attempts.max(raised.attempts);
            }
            Entry::Vacant(_) if full => {
                tracing::warn!(object = %regarding.key, reason, "event dropped: too many wait");
                return false;
            }
            Entry::Vacant(place) => {
                place.insert(raised);
                order.push_back(hash);
            }
        }
        true
    }

    /// The first so many with their hashes, and whether more wait.
    fn take(&self, count: usize) -> (Vec<(u64, Raised)>, bool) {
        let mut waiting = lock(&self.waiting);
        let Waiting { events, order } = &mut *waiting;
        let hashes = order.drain(..count.min(order.len()));
        let taken = hashes.filter_map(|hash| Some((hash, events.remove(&hash)?))).collect();
        let more = !order.is_empty();
        if !more {
            // A burst must not hold its room for ever.
            *waiting = Waiting::default();
        }
        (taken, more)
    }
}

enum Wake {
    Published,
    /// All events before this have been written when it is answered.
    Flush(oneshot::Sender<()>),
}

/// The handle of the writing task.
#[derive(Clone)]
pub struct EventSink {
    queue: Arc<Queue>,
    wake: mpsc::Sender<Wake>,
}

impl EventSink {
    /// Starts the task on the current runtime. `component` is the source, `host` its node if it has one. Nothing is
    /// written that `fence` does not allow at the last moment.
    #[must_use]
    pub fn start(
        client: Client,
        component: &'static str,
        host: Option<String>,
        fence: Fence,
    ) -> Self {
        let queue = Arc::<Queue>::default();
        let (wake, wakes) = mpsc::channel(1);
        let writer = Writer {
            client,
            fence,
            component,
            host,
            known: HashMap::new(),
            queue: Arc::clone(&queue),
            serial: 0,
        };
        tokio::spawn(run(writer, wakes));
        Self { queue, wake }
    }

    /// Writes an event, soon.
    pub fn publish(&self, event: ObjectEvent) {
        self.queue.add(Raised { event, times: 1, attempts: 0 });
        // When there is no room for it the task is woken already.
        let _ = self.wake.try_send(Wake::Published);
    }

    /// Waits until what was published has been written, two seconds at most: for the program's end.
    pub async fn flush(&self) {
        let (answer, written) = oneshot::channel();
        let flush = async {
            if self.wake.send(Wake::Flush(answer)).await.is_ok() {
                // Nobody answers only when the task has ended.
                let _ = written.await;
            }
        };
        // Late or never: the end does not wait for it.
        let _ = tokio::time::timeout(FAREWELL, flush).await;
    }
}

async fn run(mut writer: Writer, mut wakes: mpsc::Receiver<Wake>) {
    let mut failed = Failed::default();
    let mut more = false;
    loop {
        let (open, flush) = tokio::select! {
            biased;
            wake = wakes.recv() => match wake {
                Some(Wake::Flush(answer)) => (true, Some(answer)),
                Some(Wake::Published) => (true, None),
                None => (false, None),
            },
            () = clock::until(failed.due) => (true, None),
            () = std::future::ready(()), if more => (true, None),
        };
        let hurry = flush.is_some() || !open;
        for again in failed.take(hurry) {
            writer.queue.add(again);
        }
        let events;
        (events, more) = writer.queue.take(if hurry { usize::MAX } else { BATCH });
        if events.is_empty() || writer.fence.pass().await {
            failed.add(writer.write_all(events).await);
        } else {
            // Another process writes now, and tells what there is to tell.
            (failed, more) = (Failed::default(), writer.queue.take(usize::MAX).1);
        }
        if let Some(answer) = flush {
            // Who asked may have given up.
            let _ = answer.send(());
        }
        if !open {
            return;
        }
        if !hurry {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// An event, how often it happened since it was written, and how often it was tried to write it.
struct Raised {
    event: ObjectEvent,
    times: u32,
    attempts: u32,
}

/// Events that could not be written; no more than may wait.
#[derive(Default)]
struct Failed {
    events: Vec<Raised>,
    due: Option<Instant>,
}

impl Failed {
    /// Those that are due, or in a hurry all.
    fn take(&mut self, hurry: bool) -> Vec<Raised> {
        if !hurry && self.due.is_none_or(|due| due > now()) {
            return Vec::new();
        }
        self.due = None;
        std::mem::take(&mut self.events)
    }

    fn add(&mut self, events: Vec<Raised>) {
        for event in events {
            if event.attempts < ATTEMPTS && self.events.len() < QUEUE {
                self.events.push(event);
            } else {
                let event = &event.event;
                tracing::warn!(object = %event.regarding.key, reason = event.reason,
                    "event dropped: it could not be written");
            }
        }
        if !self.events.is_empty() {
            self.due.get_or_insert_with(|| now() + RETRY);
        }
    }
}

struct Writer {
    client: Client,
    fence: Fence,
    component: &'static str,
    host: Option<String>,
    /// Name and count of each event by its hash.
    known: HashMap<u64, (String, u32)>,
    queue: Arc<Queue>,
    serial: u32,
}

impl Writer {
    /// Writes all; gives those that are worth another attempt.
    async fn write_all(&mut self, batch: Vec<(u64, Raised)>) -> Vec<Raised> {
        let first = self.serial;
        self.serial = first.wrapping_add(u32::try_from(batch.len()).unwrap_or(0));
        let (writer, mut serial) = (&*self, first);
        let writes = batch.into_iter().map(|(hash, raised)| {
            serial = serial.wrapping_add(1);
            writer.write(hash, raised, serial)
        });
        let written: Vec<_> =
            futures::stream::iter(writes).buffer_unordered(CONCURRENT).collect().await;
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        let mut failed = Vec::new();
        for result in written {
            match result {
                Ok((hash, known)) => drop(self.known.insert(hash, known)),
                Err(again) => failed.extend(again.map(|raised| *raised)),
            }
        }
        failed
    }

    /// Gives the hash with the name and the count that are to be remembered, or the event if it is worth another
    /// attempt.
    async fn write(
        &self,
        hash: u64,
        mut raised: Raised,
        serial: u32,
    ) -> Result<(u64, (String, u32)), Option<Box<Raised>>> {
        let Some(_writing) = self.fence.enter(clock::now()) else {
            // The fence lapsed since the batch began: no attempt was made.
            return Err(Some(Box::new(raised)));
        };
        let written = self.try_write(hash, &raised, serial).await;
        written.map(|known| (hash, known)).map_err(|error| {
            let (object, reason) = (&raised.event.regarding.key, raised.event.reason);
            tracing::debug!(%object, reason, %error, "failed to write an event");
            raised.attempts += 1;
            // The API will refuse the event in a moment as it does now.
            let is_invalid =
                matches!(&error, kube::Error::Api(status) if matches!(status.code, 400 | 422));
            let is_over = is_invalid || trouble(&error) == Trouble::Refused;
            (!is_over).then(|| Box::new(raised))
        })
    }

    async fn try_write(
        &self,
        hash: u64,
        Raised { event, times, .. }: &Raised,
        serial: u32,
    ) -> Result<(String, u32), kube::Error> {
        let object = &event.regarding;
        let path = format!("/api/v1/namespaces/{}/events", object.key.namespace());
        let now = timestamp();
        if let Some((name, count)) = self.known.get(&hash) {
            let count = count.saturating_add(*times);
            let patch = json!({ "count": count, "lastTimestamp": now });
            let path = format!("{path}/{name}");
            match send(&self.client, Method::PATCH, path, Some(&patch)).await {
                Ok(IgnoredAny) => return Ok((name.clone(), count)),
                // Events expire; then it is a new one.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        let name = format!("{}.{hash:x}{serial:08x}", object.key.name());
        let mut source = json!({ "component": self.component });
        if let (Some(host), Some(source)) = (&self.host, source.as_object_mut()) {
            source.insert("host".to_owned(), json!(host));
        }
        let body = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": { "name": name, "namespace": object.key.namespace() },
            "involvedObject": {
                "apiVersion": object.api_version,
                "kind": object.kind,
                "namespace": object.namespace(),
                "name": object.key.name(),
                "uid": object.uid,
            },
            "type": if event.warning { "Warning" } else { "Normal" },
            "reason": event.reason,
            "message": event.message,
            "source": source,
            "count": times,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "reportingComponent": self.component,
            "reportingInstance": self.host.as_deref().unwrap_or_default(),
        });
        let IgnoredAny = send(&self.client, Method::POST, path, Some(&body)).await?;
        Ok((name, *times))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU16, Ordering};

    use super::*;
    use crate::net::fake::{Asked, api};

    /// A sink of an API that answers with this status.
    fn sink(status: &Arc<AtomicU16>, fence: Fence) -> (EventSink, Asked) {
        let status = Arc::clone(status);
        let (client, asked) = api(move |_, _| (status.load(Ordering::SeqCst), json!({})));
        (EventSink::start(client, "test", None, fence), asked)
    }

    fn event() -> ObjectEvent {
        ObjectEvent {
            regarding: Regarding::service(ObjectKey::new("default", "web"), "1".into()),
            warning: false,
            reason: "nodeAssigned",
            message: "announcing".to_owned(),
        }
    }

    fn once(message: usize) -> Raised {
        let event = ObjectEvent { message: message.to_string(), ..event() };
        Raised { event, times: 1, attempts: 0 }
    }

    #[test]
    fn an_event_that_happens_again_waits_once() {
        let queue = Queue::default();
        for number in 0..3 * QUEUE {
            assert!(queue.add(once(number % 3)));
        }
        // One that could not be written comes back.
        assert!(queue.add(Raised { times: 5, attempts: 2, ..once(1) }));
        let (taken, more) = queue.take(2);
        let seen: Vec<_> = taken
            .iter()
            .map(|(_, raised)| (&*raised.event.message, raised.times, raised.attempts))
            .collect();
        let times = u32::try_from(QUEUE).unwrap();
        assert_eq!(seen, [("0", times, 0), ("1", times + 5, 2)]);
        assert!(more);
        assert_eq!(queue.take(2).0.len(), 1);
        assert!(!queue.take(2).1);
    }

    #[test]
    fn what_is_new_finds_no_room_when_too_many_wait() {
        let queue = Queue::default();
        for number in 0..QUEUE {
            assert!(queue.add(once(number)));
        }
        assert!(!queue.add(once(QUEUE)));
        assert!(queue.add(once(0)), "it waits already");
        queue.take(1);
        assert!(queue.add(once(QUEUE)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flush_waits_for_all() {
        let (sink, asked) = sink(&Arc::new(AtomicU16::new(201)), Fence::open());
        for number in 0..3 * BATCH {
            sink.publish(once(number).event);
        }
        tokio::task::yield_now().await;
        sink.flush().await;
        assert_eq!(asked.count(&Method::POST), 3 * BATCH);
    }

    async fn asked_after(status: u16, then: u16, time: Duration) -> u32 {
        let answer = Arc::new(AtomicU16::new(status));
        let (sink, asked) = sink(&answer, Fence::open());
        sink.publish(event());
        tokio::time::sleep(RETRY / 2).await;
        answer.store(then, Ordering::SeqCst);
        tokio::time::sleep(time).await;
        u32::try_from(asked.count(&Method::POST)).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_that_could_not_be_written_is_written_later() {
        assert_eq!(asked_after(500, 201, 20 * RETRY).await, 2);
        assert_eq!(asked_after(201, 201, 20 * RETRY).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_tried_a_few_times_only_and_not_where_it_is_forbidden() {
        assert_eq!(asked_after(503, 503, 100 * RETRY).await, ATTEMPTS);
        assert_eq!(asked_after(403, 403, 100 * RETRY).await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_controller_whose_lease_is_lost_writes_no_events() {
        let fence = Fence::open();
        let (sink, asked) = sink(&Arc::new(AtomicU16::new(201)), fence.clone());
        sink.publish(event());
        tokio::time::sleep(10 * PAUSE).await;
        assert_eq!(asked.count(&Method::POST), 1);
        // The lease has run out: the write asks for it, and finds that it is another one's.
        fence.extend(None, clock::now());
        for number in 0..2 * BATCH {
            sink.publish(once(number).event);
        }
        fence.asked().await;
        fence.close();
        tokio::time::sleep(10 * RETRY).await;
        sink.publish(once(0).event);
        tokio::time::sleep(10 * RETRY).await;
        assert_eq!(asked.count(&Method::POST), 1);
        // A dropped event is not told when this controller leads again; a new one is.
        fence.open_for_good();
        sink.publish(once(9).event);
        tokio::time::sleep(10 * RETRY).await;
        assert_eq!(asked.count(&Method::POST), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_waits_for_a_lease_that_has_to_be_looked_at() {
        let fence = Fence::closed();
        fence.extend(None, clock::now());
        let (sink, asked) = sink(&Arc::new(AtomicU16::new(201)), fence.clone());
        sink.publish(event());
        fence.asked().await;
        assert_eq!(asked.count(&Method::POST), 0);
        fence.open_for_good();
        tokio::time::sleep(10 * RETRY).await;
        assert_eq!(asked.count(&Method::POST), 1);
    }
}
