// SPDX-License-Identifier: Apache-2.0
//! Carries out the orders of a [`Writer`]: one task for each kind of object, with what is particular to the kind
//! behind [`Kind`].

use std::collections::BTreeSet;
use std::future::{Future, ready};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::StreamExt;
use futures::stream::{self, BoxStream, FuturesUnordered};
use tokio::sync::mpsc;

use crate::writer::{Limits, REFUSED, RETRY, Trouble, Writer};

/// Why an object was not written.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Another process writes now.
    #[error("another process writes now")]
    Fenced,
    /// The API refused, or cannot be reached.
    #[error(transparent)]
    Api(#[from] kube::Error),
}

/// The trouble of which an error speaks: the absence of the kind or the permission, or another one.
#[must_use]
pub fn trouble(error: &kube::Error) -> Trouble {
    match error {
        kube::Error::Api(status) if matches!(status.code, 403..=405) => Trouble::Refused,
        _ => Trouble::Failed,
    }
}

/// The API's own words where it refused, without what the client puts around them.
#[must_use]
pub fn message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// The objects that were found, with their content where that is known.
pub type Found<K> = Vec<(<K as Kind>::Key, Option<<K as Kind>::Value>)>;

/// How the objects of one kind are written.
pub trait Kind: Send + Sync + 'static {
    /// The key of an object among those of its kind.
    type Key: Clone + Ord + Send + Sync + 'static;
    /// The content of one object.
    type Value: Clone + PartialEq + Send + Sync + 'static;

    /// Lists the objects of an earlier process, before anything is written.
    fn list(&self) -> impl Future<Output = Result<Found<Self>, kube::Error>> + Send
    where
        Self: Sized,
    {
        ready(Ok(Vec::new()))
    }

    /// Makes an object equal to the value, or removes it; one that is not there is removed.
    fn write(
        &self,
        key: &Self::Key,
        value: Option<&Self::Value>,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// The keys of objects that somebody may have changed; followed once something was written.
    fn changes(&self) -> BoxStream<'static, Self::Key> {
        stream::pending().boxed()
    }

    /// Tells the log of a trouble, once until nothing fails any more. The key is none where the list failed.
    fn tell(&self, key: Option<&Self::Key>, trouble: Trouble, error: &kube::Error);
}

/// The handle of the writing task, which ends with the last handle.
#[derive(Clone, Debug)]
pub struct Sink<K, V> {
    core: Arc<Mutex<Writer<K, V>>>,
    wake: mpsc::Sender<()>,
}

impl<K, V> Sink<K, V>
where
    K: Clone + Ord + Send + Sync + 'static,
    V: Clone + PartialEq + Send + Sync + 'static,
{
    /// Starts the task on the current runtime.
    #[must_use]
    pub fn start(kind: impl Kind<Key = K, Value = V>, limits: Limits) -> Self {
        let core = Arc::new(Mutex::new(Writer::new(limits)));
        let (wake, wakes) = mpsc::channel(1);
        tokio::spawn(run(kind, Arc::clone(&core), wakes));
        Self { core, wake }
    }

    /// Changes the wishes; the second argument is the time.
    pub fn change(&self, change: impl FnOnce(&mut Writer<K, V>, Instant)) {
        change(&mut lock(&self.core), now());
        // When there is no room the task is woken already.
        let _ = self.wake.try_send(());
    }

    /// Sets what one object is to be; none if there is to be none.
    pub fn set(&self, key: K, wish: Option<V>) {
        self.change(|core, now| core.set(key, wish, now));
    }
}

/// The value, also after a panic of another thread.
pub fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time by the runtime's clock, which a test may hold.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn run<K: Kind>(
    kind: K,
    core: Arc<Mutex<Writer<K::Key, K::Value>>>,
    mut wakes: mpsc::Receiver<()>,
) {
    let kind = &kind;
    let mut told = BTreeSet::new();
    let found = loop {
        let error = match kind.list().await {
            Ok(found) => break found,
            Err(error) => error,
        };
        let trouble = trouble(&error);
        if told.insert(trouble) {
            kind.tell(None, trouble, &error);
        }
        tokio::time::sleep(if trouble == Trouble::Refused { REFUSED } else { RETRY }).await;
    };
    for (key, content) in found {
        lock(&core).adopt(key, content, now());
    }
    let mut running = FuturesUnordered::new();
    let mut changes = stream::pending().boxed();
    let mut is_followed = false;
    loop {
        let deadline = {
            let mut core = lock(&core);
            while let Some((key, value)) = core.poll(now()) {
                running.push(async move {
                    let result = kind.write(&key, value.as_ref()).await;
                    (key, result)
                });
            }
            core.deadline()
        };
        tokio::select! {
            woken = wakes.recv() => if woken.is_none() { return },
            Some((key, result)) = running.next(), if !running.is_empty() => {
                if result.is_ok() && !std::mem::replace(&mut is_followed, true) {
                    changes = kind.changes();
                }
                let mut core = lock(&core);
                let outcome = result.as_ref().copied().map_err(|failure| match failure {
                    Failure::Api(error) => trouble(error),
                    Failure::Fenced => {
                        core.release();
                        Trouble::Failed
                    }
                });
                if core.done(&key, outcome, now()) && let Err(Failure::Api(error)) = &result {
                    kind.tell(Some(&key), trouble(error), error);
                }
            }
            changed = changes.next() => match changed {
                Some(key) => lock(&core).doubt(&key, now()),
                // It ended, and would not bear to be asked again.
                None => changes = stream::pending().boxed(),
            },
            () = clock::until(deadline) => {}
        }
    }
}

#[cfg(test)]
mod tests;
