// SPDX-License-Identifier: Apache-2.0
//! Carries out the candidate's decisions: requests, the fence and the term.

use std::time::{Duration, Instant};

use cluster::net::fence::Fence;
use cluster::net::request::send;
use http::Method;
use kube::Client;
use serde_json::Value;
use tokio::sync::watch;

use super::candidate::{Candidate, Holder, Step, Times};
use super::permission::Permission;
use super::pods::Pods;
use super::{Term, Who, lease};

/// The Lease's name.
const NAME: &str = "ferrolb-controller";
/// The time after a refusal until the permission is tried again.
const AGAIN: Duration = Duration::from_secs(30);
/// The time for which a start waits for the name of its Pod.
const START: Duration = Duration::from_secs(1);
/// The time limit for giving the Lease back, and for the wait for writes before that: a Pod gets 2 s to end.
const PARTING: Duration = Duration::from_millis(700);

pub(super) struct Task {
    client: Client,
    leases: String,
    who: Who,
    /// The own Pod as `name/uid`, as soon as it is known.
    pod: Option<String>,
    times: Times,
    candidate: Candidate,
    pods: Pods,
    fence: Fence,
    term: watch::Sender<Term>,
    terms: u64,
    /// The moment from which a Lease that was taken by force may be used.
    from: Option<Instant>,
    /// The Lease as this process wrote it last, while it renews it.
    written: Option<Value>,
    /// True if the Lease is renewed, as the log last said.
    renews: bool,
    /// The moment of the last question whether other controllers are there.
    asked: Option<Instant>,
    permission: Permission,
}

impl Task {
    pub(super) fn new(
        client: Client,
        who: Who,
        times: Times,
        pods: Pods,
        fence: Fence,
        term: watch::Sender<Term>,
    ) -> Self {
        let namespace = &who.namespace;
        Self {
            leases: format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"),
            candidate: Candidate::new(who.identity.clone(), times),
            client,
            who,
            pod: None,
            times,
            pods,
            fence,
            term,
            terms: 0,
            from: None,
            written: None,
            renews: false,
            asked: None,
            permission: Permission::default(),
        }
    }

    pub(super) async fn run(mut self, mut ending: watch::Receiver<bool>) {
        let (mut told, mut failed) = (false, false);
        loop {
            let mut pause = self.candidate.next(clock::now(), self.leads() && !failed);
            match tokio::time::timeout(self.times.renew / 2, self.round()).await {
                Ok(Ok(())) => {
                    (told, failed) = (false, false);
                    pause = self.candidate.next(clock::now(), self.leads());
                    if self.permission.granted() {
                        tracing::info!(
                            event = "leaseOn",
                            "leases are permitted: one of the controllers decides"
                        );
                    }
                }
                Ok(Err(kube::Error::Api(status)))
                    if matches!(status.code, 403 | 404)
                        && self.permission.refused(clock::now()) =>
                {
                    pause = clock::now() + AGAIN;
                    self.go_alone(&status.message);
                }
                Ok(Err(error)) => {
                    failed = true;
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(event = "leaseFailed", %error, "the lease cannot be read or written; it is tried again");
                    }
                }
                Err(_) => failed = true,
            }
            if failed {
                pause = clock::now() + self.times.retry;
            }
            tokio::select! {
                () = tokio::time::sleep_until(pause.into()) => {}
                // After a failure wait for the pause, however many writes wait.
                () = self.fence.asked(), if !failed => {}
                changed = ending.changed() => {
                    // The sender is gone only when the process ends.
                    if changed.is_err() || *ending.borrow() {
                        self.give_back().await;
                        return;
                    }
                }
            }
        }
    }

    fn leads(&self) -> bool {
        self.term.borrow().is_some()
    }

    /// One look at the Lease, and the step that follows. A leader that renews the Lease as it wrote it last does so
    /// without a look: one PUT.
    async fn round(&mut self) -> Result<(), kube::Error> {
        let began = clock::now();
        self.find_pod().await;
        self.look_for_others().await;
        if let Some(lease) = self.written.clone()
            && self.candidate.renews()
        {
            let lease = self.own(Some(lease), self.candidate.is_quarantined(began));
            match self.put(lease).await {
                Ok(lease) => {
                    self.hold(lease, began);
                    return Ok(());
                }
                // Somebody changed it: look again.
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                    self.written = None;
                }
                Err(error) => return Err(error),
            }
        }
        let lease = match self.get().await {
            Ok(lease) => Some(lease),
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            Err(error) => return Err(error),
        };
        let seen = lease.as_ref().map(lease::seen);
        let is_own = seen.as_ref().is_some_and(|seen| seen.holder == self.who.identity);
        if seen.is_some() && !is_own {
            self.lose();
        }
        let holder = match (&lease, &seen) {
            (Some(lease), Some(seen)) if !is_own && !seen.renewed && !seen.holder.is_empty() => {
                self.pods.holder(lease::pod(lease), self.pod.as_deref()).await
            }
            _ => Holder::Unknown,
        };
        let written = match self.candidate.step(clock::now(), seen.as_ref(), holder) {
            Step::Wait => return Ok(()),
            Step::Confirm => {
                self.keep(began);
                return Ok(());
            }
            Step::Mark(_) => {
                let Some(lease) = lease else { return Ok(()) };
                let lease = lease::marked(lease, &self.who.identity);
                return settled(self.put(lease).await.map(drop));
            }
            Step::Create { quarantine } => {
                let lease = self.own(None, quarantine);
                send(&self.client, Method::POST, self.leases.clone(), Some(&lease)).await
            }
            Step::Take { quarantine, .. } => self.put(self.own(lease, quarantine)).await,
            Step::Renew(_) => self.put(self.own(lease, self.candidate.is_quarantined(began))).await,
        };
        settled(written.map(|lease| self.hold(lease, began)))
    }

    /// Finds the own Pod. The search runs beside all else: only a start waits for it.
    async fn find_pod(&mut self) {
        let patience = if self.asked.is_none() { START } else { Duration::ZERO };
        if self.pod.is_none()
            && let Ok(Some(pod)) = tokio::time::timeout(patience, self.who.owner.pod()).await
        {
            self.pod = Some(format!("{}/{}", pod.name, pod.uid));
        }
    }

    /// Asks whether other controllers are there: before the Lease is taken, and now and then while it is renewed.
    async fn look_for_others(&mut self) {
        let now = clock::now();
        let is_due = self.asked.is_none_or(|asked| now >= asked + self.times.patrol());
        if is_due && (!self.leads() || self.candidate.renews()) {
            self.asked = Some(now);
            let others = self.pods.others().await;
            self.candidate.note_others(now, others);
        }
    }

    fn own(&self, there: Option<Value>, forced: bool) -> Value {
        let holder = lease::Holder {
            identity: &self.who.identity,
            pod: self.pod.as_deref(),
            renews: self.candidate.renews(),
            duration: self.times.lease,
            forced,
        };
        lease::held(there, NAME, &holder)
    }

    async fn get(&self) -> Result<Value, kube::Error> {
        send(&self.client, Method::GET, format!("{}/{NAME}", self.leases), None).await
    }

    async fn put(&self, lease: Value) -> Result<Value, kube::Error> {
        send(&self.client, Method::PUT, format!("{}/{NAME}", self.leases), Some(&lease)).await
    }

    /// Notes that a round that began at `began` wrote the Lease.
    fn hold(&mut self, lease: Value, began: Instant) {
        self.written = Some(lease);
        self.keep(began);
    }

    /// Notes that a round that began at `began` found or made the Lease the own one: it may be used.
    fn keep(&mut self, began: Instant) {
        if let Some(from) = self.candidate.own(clock::now()) {
            self.from = from;
            if from.is_some() {
                tracing::info!(
                    event = "leaseForced",
                    "the lease was another one's, which may write for a moment: nothing is written before"
                );
            }
        }
        let renews = self.candidate.renews();
        if std::mem::replace(&mut self.renews, renews) != renews {
            tracing::info!(
                event = "leaseRenewed",
                renews,
                "whether the lease is renewed, as it is while other controllers are there"
            );
        }
        self.fence.extend(self.from, self.candidate.until(began));
        if !self.leads() {
            tracing::info!(
                event = "leaderElected",
                identity = self.who.identity,
                "this controller is the leader"
            );
            self.begin();
        }
    }

    /// Goes on without a Lease, until leases are permitted.
    fn go_alone(&mut self, error: &str) {
        if !self.leads() {
            tracing::info!(
                event = "leaseOff",
                error,
                "leases are not permitted here: this controller takes itself for the only one; it is tried again"
            );
            self.begin();
        }
        self.written = None;
        self.fence.open_for_good();
    }

    fn begin(&mut self) {
        self.terms += 1;
        self.term.send_replace(Some(self.terms));
    }

    /// Ends the term: another controller holds the Lease, or held it. A controller that leads again begins with a fresh
    /// list.
    fn lose(&mut self) {
        self.fence.close();
        (self.written, self.from) = (None, None);
        if self.leads() {
            tracing::warn!(
                event = "leaderLost",
                identity = self.who.identity,
                "this controller is no longer the leader"
            );
            self.term.send_replace(None);
        }
    }

    async fn give_back(&mut self) {
        self.fence.close_after_writes(PARTING).await;
        if !self.leads() || self.permission.is_absent() {
            return;
        }
        let released = async {
            loop {
                let lease = match self.get().await {
                    Ok(lease) if lease::seen(&lease).holder == self.who.identity => lease,
                    _ => return,
                };
                match self.put(lease::released(lease)).await {
                    // A standby controller marked the Lease.
                    Err(kube::Error::Api(status)) if status.code == 409 => {}
                    _ => return,
                }
            }
        };
        // Best effort: if it fails, the others wait until the lease is over.
        let _ = tokio::time::timeout(PARTING, released).await;
    }
}

/// Takes a conflict for success: another controller was faster, and the next look shows the result.
fn settled(written: Result<(), kube::Error>) -> Result<(), kube::Error> {
    match written {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        written => written,
    }
}
