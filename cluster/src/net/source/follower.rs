// SPDX-License-Identifier: Apache-2.0
//! Follows one kind of objects for as long as there is a receiver.

use std::fmt::Debug;

use futures::StreamExt;
use kube::core::ObjectMeta;
use kube::runtime::watcher as watch;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Update;
use super::pause::{Failure, Pause};
use crate::snapshot::{Kind, Object};

/// Objects per page of a list: a small page keeps the peak of memory low.
const PAGE: u32 = 250;

/// The reason why a watch ended for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The receiver is gone.
    Closed,
    /// The server does not understand the selector.
    Refused,
}

/// Follows one kind.
pub(super) struct Follower {
    pub(super) kind: Kind,
    pub(super) updates: mpsc::Sender<Update>,
}

impl Follower {
    pub(super) async fn follow<K>(
        &self,
        api: Api<K>,
        config: watcher::Config,
        convert: impl Fn(K) -> Option<Object>,
        on_listed: impl Fn(),
    ) -> Ended
    where
        K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let selective = config.field_selector.is_some();
        let mut pause = Pause::default();
        let mut stream = watch(api, config.page_size(PAGE)).boxed();
        loop {
            let event = match stream.next().await {
                Some(Ok(event)) => event,
                Some(Err(error)) => {
                    if selective && status_code(&error) == Some(400) {
                        return Ended::Refused;
                    }
                    if !self.report(&error, &mut pause).await {
                        return Ended::Closed;
                    }
                    continue;
                }
                None => return Ended::Closed,
            };
            let listed = matches!(event, Event::InitDone);
            if let Some(update) = self.update(event, &convert)
                && self.updates.send(update).await.is_err()
            {
                return Ended::Closed;
            }
            if listed {
                on_listed();
            }
        }
    }

    fn update<K: Resource>(
        &self,
        event: Event<K>,
        convert: &impl Fn(K) -> Option<Object>,
    ) -> Option<Update> {
        match event {
            Event::Init => Some(Update::Restart(self.kind)),
            Event::InitDone => Some(Update::Finish(self.kind)),
            Event::InitApply(object) | Event::Apply(object) => convert(object).map(Update::Apply),
            Event::Delete(object) => {
                Some(Update::Delete(self.kind, self.key(object.meta()).into()))
            }
        }
    }

    fn key(&self, metadata: &ObjectMeta) -> String {
        let name = metadata.name.as_deref().unwrap_or_default();
        match self.kind {
            Kind::Service | Kind::EndpointSlice => {
                format!("{}/{name}", metadata.namespace.as_deref().unwrap_or_default())
            }
            Kind::Node
            | Kind::Namespace
            | Kind::Secret
            | Kind::Config(_)
            | Kind::ServiceL2Status
            | Kind::SpeakerReport => name.to_owned(),
        }
    }

    /// Reports an error and waits before the next try; false if the receiver is gone.
    async fn report(&self, error: &watcher::Error, pause: &mut Pause) -> bool {
        let (failure, update) = if matches!(status_code(error), Some(403 | 404)) {
            let listed = matches!(error, watcher::Error::WatchStartFailed(_));
            let failure = if listed { Failure::Unwatched } else { Failure::Absent };
            (failure, Update::Absent(self.kind, with_causes(error)))
        } else {
            (Failure::Failing, Update::Trouble(self.kind, with_causes(error)))
        };
        if self.updates.send(update).await.is_err() {
            return false;
        }
        tokio::select! {
            () = tokio::time::sleep(pause.after(failure, Instant::now())) => true,
            () = self.updates.closed() => false,
        }
    }
}

/// The HTTP status with which the API refused, if it did.
fn status_code(error: &watcher::Error) -> Option<u16> {
    let cause = match error {
        watcher::Error::InitialListFailed(cause)
        | watcher::Error::WatchStartFailed(cause)
        | watcher::Error::WatchFailed(cause) => cause,
        watcher::Error::WatchError(status) => return Some(status.code),
        watcher::Error::NoResourceVersion => return None,
    };
    match cause {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// An error with all its causes, without those that the text above them says already.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
