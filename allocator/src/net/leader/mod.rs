// SPDX-License-Identifier: Apache-2.0
//! Several controllers have one leader: a Lease (coordination.k8s.io/v1) in the own namespace names it. Where leases
//! are not permitted, as with MetalLB's roles, every controller takes itself for the only one until they are.
//!
//! ```text
//! GET, PUT of the Lease ──> Term (watch) ──> the program's loop: begins anew with each term
//!                      └──> Fence ──> asked before each write of a Service, a pool's counters and an event
//!                             └──────> asks for a look at the Lease when a write comes and none was lately
//! ```
//!
//! # How two never write at the same time
//!
//! A holder writes only within 10 s (`--leader-elect-renew-deadline`) after it began to look at a Lease, or to write a
//! Lease, that was its own. Another controller writes only when that time is over, by one of three ways:
//!
//! * The holder **gave the Lease back**. It closed its fence before, and waited for its writes under way. Every rollout
//!   goes like this, as SIGTERM makes a holder give the Lease back. The next controller takes the Lease at once.
//! * The holder **renews the Lease** every 2 s, and the other controller has seen it unchanged for its duration of
//!   15 s.
//! * The holder **renews nothing**, and the other controller takes the Lease by force. It writes its name into the
//!   Lease, which only one can by the resourceVersion, and then writes nothing else for 15 s. Whatever the holder is,
//!   its next look finds another name. This way needs no clock of another machine, and does not trust the API's word on
//!   Pods and nodes: that word only decides when force is tried. For that time the Lease says so (`ferrolb.io/forced`),
//!   so that a controller that gets it meanwhile in one of the ways above waits as long.
//!
//! `model.rs` plays these ways at random, with every part of a round late or lost.
//!
//! # Renewal
//!
//! A controller alone renews nothing. It takes the Lease once per start, reads it every 30 s, and reads it before a
//! write if it has not lately. Renewing would be 43,200 writes a day. The Lease says that it is not renewed
//! (`ferrolb.io/renewed: "false"`). The holder learns of other controllers in two ways: from its own Deployment
//! (`status.replicas`) when it takes the Lease; and from the Lease, on which a later controller writes its name
//! (`ferrolb.io/stands-by`). The holder finds that name within 30 s and renews from then on, until its Deployment has
//! one Pod again.
//!
//! # When the Lease is taken by force
//!
//! * At once, if the holder's Pod is gone, has ended, or stands on a node that is gone or not Ready. A Pod whose
//!   container starts again is the own one, and needs no force: the process before this one has ended.
//! * Otherwise when the mark `ferrolb.io/stands-by` has gone unanswered for 60 s: a holder that lives has seen it
//!   twice.
//!
//! # The price
//!
//! With several replicas nobody gives addresses for 15 s after the leader crashed or lost its node, and for a moment
//! after SIGTERM. With one replica a crash costs the time until its container runs again. A lost node costs the time
//! that Kubernetes takes to notice it (40 s), and then 15 s. A second controller takes 60 s and 15 s if the holder
//! hangs in a living Pod, or if it has no right to read Pods. Where somebody deletes the Lease, its next holder waits
//! for 15 s too; a first one, whose Deployment has no other Pod, does not.
//!
//! An API that does not answer ends no term. Writes wait, and go on if the Lease is still the own one. A controller
//! that finds another name on the Lease forgets everything it knows, and begins with a fresh list when it leads again.

mod candidate;
mod lease;
#[cfg(test)]
mod model;
mod permission;
mod pods;
mod task;

use cluster::net::fence::Fence;
use cluster::net::pod::Owner;
use kube::Client;
use tokio::sync::watch;

pub(in crate::net) use candidate::Times;

use pods::Pods;
use task::Task;

/// The number of this process's term as the leader, counted from 1; none while another one leads.
pub(super) type Term = Option<u64>;

/// The handle of the task that holds the Lease.
pub(super) struct Leadership {
    pub(super) term: watch::Receiver<Term>,
    end: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

/// The process that stands for election.
pub(super) struct Who {
    pub(super) namespace: String,
    /// The name of the process among the controllers.
    pub(super) identity: String,
    /// The Pod of the process.
    pub(super) owner: Owner,
    /// The name of the process's Deployment.
    pub(super) deployment: Option<String>,
}

impl Leadership {
    /// Starts to stand for election. The fence, closed so far, is open while this process may write.
    pub(super) fn start(client: Client, who: Who, times: Times, fence: Fence) -> Self {
        let (sender, term) = watch::channel(None);
        let (end, ending) = watch::channel(false);
        let pods = Pods {
            client: client.clone(),
            namespace: who.namespace.clone(),
            deployment: who.deployment.clone(),
        };
        let task = Task::new(client, who, times, pods, fence, sender);
        Self { term, end, task: tokio::spawn(task.run(ending)) }
    }

    /// Gives the Lease back, if it is held, so that another one takes it at once.
    pub(super) async fn resign(self) {
        self.end.send_replace(true);
        // The task ends by itself; whatever went wrong there, this process ends.
        let _ = self.task.await;
    }

    /// Waits until this process is the leader; returns the term.
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
        // The task is gone and looks at no Lease: the fence closes by itself.
        let _ = term.wait_for(|term| *term != Some(mine)).await;
    }
}
