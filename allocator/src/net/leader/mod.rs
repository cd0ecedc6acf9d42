// SPDX-License-Identifier: Apache-2.0
//! Of several controllers one decides: a Lease (coordination.k8s.io/v1) in the own namespace says which. Where leases are not
//! permitted, as with MetalLB's roles, every controller takes itself for the only one, until they are.
//!
//! ```text
//! GET, PUT of the Lease every 0.5 s ──> Term (watch) ──> the program's loop: begins anew with each term
//!                                  └──> Fence ──> asked before each write of a Service
//! ```

mod candidate;
mod permission;

use std::time::{Duration, Instant};

use candidate::{Candidate, DURATION, PERIOD, Seen, Step};
use cluster::net::fence::Fence;
use cluster::net::request::send;
use http::Method;
use kube::Client;
use permission::Permission;
use serde_json::{Value, json};
use tokio::sync::watch;

/// The Lease's name.
const NAME: &str = "ferrolb-controller";
/// How soon after a refusal it is tried whether there is permission now.
const AGAIN: Duration = Duration::from_secs(30);
/// A request takes no longer than this: the lease would be over.
const PATIENCE: Duration = Duration::from_millis(1_500);

/// Which time this process is the leader, counted from 1; none while another one is.
pub(super) type Term = Option<u64>;

/// The handle of the task that holds the Lease.
pub(super) struct Leadership {
    pub(super) term: watch::Receiver<Term>,
    pub(super) fence: Fence,
    end: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Leadership {
    /// Starts to stand for election as `identity`.
    pub(super) fn start(client: Client, namespace: &str, identity: String) -> Self {
        let (sender, term) = watch::channel(None);
        let (end, ending) = watch::channel(false);
        let fence = Fence::closed();
        let task = Task {
            client,
            leases: format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"),
            identity: identity.clone(),
            candidate: Candidate::new(identity),
            fence: fence.clone(),
            term: sender,
            terms: 0,
            held: None,
            permission: Permission::default(),
        };
        Self { term, fence, end, task: tokio::spawn(task.run(ending)) }
    }

    /// Gives the Lease back, if it is held, so that another one takes it at once.
    pub(super) async fn resign(self) {
        self.end.send_replace(true);
        // Its task ends by itself; whatever went wrong there, this process ends.
        let _ = self.task.await;
    }

    /// Waits until this process is the leader; the term.
    pub(super) async fn elected(&mut self) -> u64 {
        loop {
            if let Some(term) = *self.term.borrow_and_update() {
                return term;
            }
            if self.term.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until this term is over.
    pub(super) async fn lost(term: &mut watch::Receiver<Term>, mine: u64) {
        // Without its task nobody renews the Lease: the fence closes by itself.
        let _ = term.wait_for(|term| *term != Some(mine)).await;
    }
}

struct Task {
    client: Client,
    leases: String,
    identity: String,
    candidate: Candidate,
    fence: Fence,
    term: watch::Sender<Term>,
    terms: u64,
    /// The Lease as it was last written by this process, and until when it holds.
    held: Option<(Value, Instant)>,
    permission: Permission,
}

impl Task {
    async fn run(mut self, mut ending: watch::Receiver<bool>) {
        let mut told = false;
        loop {
            let mut pause = PERIOD;
            match tokio::time::timeout(PATIENCE, self.round()).await {
                Ok(Ok(())) => {
                    told = false;
                    if self.permission.granted() {
                        tracing::info!(
                            event = "leaseOn",
                            "leases are permitted: one of the controllers decides"
                        );
                    }
                }
                Ok(Err(kube::Error::Api(status)))
                    if matches!(status.code, 403 | 404) && self.permission.refused(now()) =>
                {
                    pause = AGAIN;
                    self.go_alone(&status.message);
                }
                Ok(Err(error)) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(event = "leaseFailed", %error, "the lease cannot be read or written; it is tried again");
                    }
                }
                Err(_) => {}
            }
            self.expire();
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                changed = ending.changed() => {
                    // Who asks is gone only when the process ends.
                    if changed.is_err() || *ending.borrow() {
                        self.give_back().await;
                        return;
                    }
                }
            }
        }
    }

    /// One look, and what follows. A leader renews what it wrote last without looking: one PUT.
    async fn round(&mut self) -> Result<(), kube::Error> {
        let begin = now();
        if let Some((lease, _)) = self.held.clone() {
            match self.put(lease, &self.identity).await {
                Ok(lease) => {
                    self.hold(lease, begin);
                    return Ok(());
                }
                // Somebody changed it: look again.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                    self.held = None;
                }
                Err(error) => return Err(error),
            }
        }
        let path = format!("{}/{NAME}", self.leases);
        let lease: Option<Value> = match send(&self.client, Method::GET, path, None).await {
            Ok(lease) => Some(lease),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => return Err(error),
        };
        let seen = lease.as_ref().map(|lease| {
            let text = |pointer| lease.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            Seen {
                holder: text("/spec/holderIdentity").to_owned(),
                version: text("/metadata/resourceVersion").to_owned(),
            }
        });
        let written = match (self.candidate.step(now(), seen.as_ref()), lease) {
            (Step::Wait, _) | (Step::Hold { .. }, None) => return Ok(()),
            (Step::Create, _) => {
                let lease = json!({
                    "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": { "name": NAME }, "spec": self.spec(&self.identity),
                });
                send(&self.client, Method::POST, self.leases.clone(), Some(&lease)).await
            }
            (Step::Hold { .. }, Some(lease)) => self.put(lease, &self.identity).await,
        };
        match written {
            Ok(lease) => {
                self.hold(lease, begin);
                Ok(())
            }
            // Another one was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn spec(&self, holder: &str) -> Value {
        json!({
            "holderIdentity": holder,
            "leaseDurationSeconds": DURATION.as_secs(),
            "renewTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
        })
    }

    async fn put(&self, mut lease: Value, holder: &str) -> Result<Value, kube::Error> {
        if let Some(lease) = lease.as_object_mut() {
            lease.insert("spec".into(), self.spec(holder));
        }
        let path = format!("{}/{NAME}", self.leases);
        send(&self.client, Method::PUT, path, Some(&lease)).await
    }

    /// The Lease was written by a request that began then: it holds from there.
    fn hold(&mut self, lease: Value, begin: Instant) {
        let until = begin + DURATION;
        self.held = Some((lease, until));
        self.fence.extend(until);
        if self.term.borrow().is_none() {
            tracing::info!(
                event = "leaderElected",
                identity = self.identity,
                "this controller is the leader"
            );
            self.begin();
        }
    }

    /// Without a Lease, until there may be one.
    fn go_alone(&mut self, error: &str) {
        if self.term.borrow().is_none() {
            tracing::info!(
                event = "leaseOff",
                error,
                "leases are not permitted here: this controller takes itself for the only one; it is tried again"
            );
            self.begin();
        }
        self.held = None;
        self.fence.open_for_good();
    }

    fn begin(&mut self) {
        self.terms += 1;
        self.term.send_replace(Some(self.terms));
    }

    /// Whether the time is over, or another one holds it: then the term ends. Whoever comes back begins with a fresh list.
    fn expire(&mut self) {
        if self.permission.is_absent() {
            return;
        }
        let over = self.held.as_ref().is_none_or(|(_, until)| now() >= *until);
        if over && self.term.borrow().is_some() {
            tracing::warn!(
                event = "leaderLost",
                identity = self.identity,
                "this controller is no longer the leader"
            );
            self.held = None;
            self.fence.close();
            self.term.send_replace(None);
        }
    }

    async fn give_back(&mut self) {
        self.fence.close();
        if let Some((lease, _)) = self.held.take() {
            // Best effort: without it the others wait until it is over.
            let _ = tokio::time::timeout(PATIENCE, self.put(lease, "")).await;
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a shell: it reads the clock")]
fn now() -> Instant {
    Instant::now()
}
