// SPDX-License-Identifier: Apache-2.0
//! Events: core/v1, since MetalLB's roles permit no other (contract 8.2). One that happens
//! again is raised in count by PATCH instead of written anew.
//!
//! Events wait in a queue of their own, not in a [`crate::writer::Writer`], which writes only the newest wish about
//! an object and tries until it holds: an event is an occurrence, due once and in its order, and one that comes
//! again while it waits is counted. One that cannot be written is dropped in the end and holds up no other, since
//! the API refuses each event in a namespace that is being removed.
//!
//! Here is the task that takes them from the [`queue`], and its handle; [`mod@write`] knows the requests,
//! [`object_event`] the events.

mod object_event;
mod queue;
mod write;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::sync::{mpsc, oneshot};

pub use object_event::{ObjectEvent, Regarding};

use self::queue::{Failed, Queue, Raised};
use self::write::Writer;
use crate::net::fence::Fence;

/// How many are written together.
const BATCH: usize = 256;

/// The pause after a batch: events that come in a burst go out together, one that comes alone goes at once.
const PAUSE: Duration = Duration::from_millis(200);

/// How long the program waits at its end for events that are still to be written.
const FAREWELL: Duration = Duration::from_secs(2);

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

#[cfg(test)]
mod tests;
