// SPDX-License-Identifier: Apache-2.0
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use http::Method;
use serde_json::json;

use super::queue::{ATTEMPTS, QUEUE};
use super::*;
use crate::ObjectKey;
use crate::net::fake::{Asked, api};
use crate::writer::RETRY;

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
