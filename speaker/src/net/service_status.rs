// SPDX-License-Identifier: Apache-2.0
//! Writes ServiceL2Status and ServiceBGPStatus objects (contract 1.8, 1.9, 4.9, 5.8), quietly: one write per real change.
//!
//! By L2 the owner of a Service's address has one object for the Service and removes those of other nodes; any other node removes only its
//! own. By BGP every node has its own object.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use cluster::ObjectKey;
use l2::Scope;
use std::time::Instant;
use tokio::sync::mpsc;

mod writer;

use writer::{Off, Written};
pub(super) use writer::{StatusKind, Writer};

/// The content of this node's object for a Service (names of interfaces or of peers); none if there is to be no object.
pub(super) type Wish = Option<BTreeSet<Box<str>>>;

const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// The time after a refusal until the next check whether the kind and the permission are there.
const ABSENT_INTERVAL: Duration = Duration::from_secs(30);

/// The pause after a batch: wishes that come in a burst are written together, and a single one is written at once.
const BATCH_PAUSE: Duration = Duration::from_millis(200);

/// The time after the last take-over until objects that other nodes left behind are looked for.
const SWEEP_DELAY: Duration = Duration::from_secs(2);
/// The same time after the first take-over, at most.
const SWEEP_LIMIT: Duration = Duration::from_secs(10);

enum Message {
    Wish(ObjectKey, Wish),
    /// After a start, wishes for all announced Services have been sent.
    Settled,
}

/// The handle of the writing task.
pub(super) struct StatusSink(mpsc::UnboundedSender<Message>);

/// The interfaces in the status's form: none where all are used.
pub(super) fn interfaces(scope: &Scope) -> BTreeSet<Box<str>> {
    match scope {
        Scope::AllInterfaces => BTreeSet::new(),
        Scope::Interfaces(names) => names.clone(),
    }
}

impl StatusSink {
    pub(super) fn start(writer: Writer) -> Self {
        let (sender, wishes) = mpsc::unbounded_channel();
        tokio::spawn(run(writer, wishes));
        Self(sender)
    }

    pub(super) fn publish(&self, service: ObjectKey, wish: Wish) {
        // The task ends only with the process.
        let _ = self.0.send(Message::Wish(service, wish));
    }

    /// Tells that after a start all announced Services have been published: objects that an earlier process of this node left behind for
    /// other Services are removed.
    pub(super) fn settled(&self) {
        let _ = self.0.send(Message::Settled);
    }
}

/// Services that were taken over, for which the objects of other nodes have to go.
#[derive(Default)]
struct Sweep {
    services: BTreeSet<ObjectKey>,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Sweep {
    fn due(&self) -> Option<Instant> {
        Some((self.last? + SWEEP_DELAY).min(self.first? + SWEEP_LIMIT))
    }
}

async fn run(mut writer: Writer, mut messages: mpsc::UnboundedReceiver<Message>) {
    writer.pod = writer.owner.pod().await;
    let mut written: HashMap<ObjectKey, Written> = HashMap::new();
    let mut waiting: BTreeMap<ObjectKey, Wish> = BTreeMap::new();
    let mut sweep = Sweep::default();
    let mut listed = false;
    loop {
        let mut settled = false;
        let due = tokio::select! {
            message = messages.recv() => {
                let Some(message) = message else { return };
                settled |= take(message, &mut waiting);
                false
            }
            () = clock::until(sweep.due()) => true,
        };
        while let Ok(message) = messages.try_recv() {
            settled |= take(message, &mut waiting);
        }
        // A Service that was taken over and given up again is another node's now, and so is its object.
        sweep.services.retain(|service| !matches!(waiting.get(service), Some(None)));
        if due {
            writer.sweep(&mut sweep).await;
        }
        if !std::mem::replace(&mut listed, true) {
            written = loop {
                match writer.left_behind().await {
                    Ok(found) => break found,
                    // An API server that starts refuses everything; or the kind comes later.
                    Err(Off) => {
                        settled |= take_for(ABSENT_INTERVAL, &mut messages, &mut waiting).await
                    }
                }
            };
            while let Ok(message) = messages.try_recv() {
                settled |= take(message, &mut waiting);
            }
        }
        if settled {
            // The objects of an earlier process for Services that this node does not announce now have to go.
            for service in written.keys() {
                waiting.entry(service.clone()).or_insert(None);
            }
        }
        while !waiting.is_empty() {
            let now = clock::now();
            let claimed = waiting
                .iter()
                .filter(|(service, wish)| wish.is_some() && !written.contains_key(*service))
                .filter(|_| writer.kind.is_exclusive());
            for (service, _) in claimed {
                sweep.services.insert(service.clone());
                sweep.first.get_or_insert(now);
                sweep.last = Some(now);
            }
            waiting = writer.write_all(std::mem::take(&mut waiting), &mut written).await;
            if !waiting.is_empty() {
                tokio::time::sleep(RETRY_INTERVAL).await;
                while let Ok(message) = messages.try_recv() {
                    take(message, &mut waiting);
                }
            }
        }
        tokio::time::sleep(BATCH_PAUSE).await;
    }
}

/// Takes the messages that come in this time, so that no more than one wish for each Service is kept. Returns true if [`Message::Settled`]
/// was among them.
async fn take_for(
    time: Duration,
    messages: &mut mpsc::UnboundedReceiver<Message>,
    waiting: &mut BTreeMap<ObjectKey, Wish>,
) -> bool {
    let end = clock::now() + time;
    let mut settled = false;
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(end.into()) => return settled,
            Some(message) = messages.recv() => settled |= take(message, waiting),
        }
    }
}

/// Takes a message. Returns true for [`Message::Settled`].
fn take(message: Message, waiting: &mut BTreeMap<ObjectKey, Wish>) -> bool {
    match message {
        Message::Wish(key, wish) => {
            waiting.insert(key, wish);
            false
        }
        Message::Settled => true,
    }
}
