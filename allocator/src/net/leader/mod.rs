// SPDX-License-Identifier: Apache-2.0
//! Of several controllers one decides: a Lease (coordination.k8s.io/v1) in the own namespace says which. Where leases are not
//! permitted, as with MetalLB's roles, every controller takes itself for the only one, until they are.
//!
//! ```text
//! GET, PUT of the Lease ──> Term (watch) ──> the program's loop: begins anew with each term
//!                      └──> Fence ──> asked before each write of a Service, a pool's counters and an event
//!                             └──────> asks for a look at the Lease when a write comes and none was lately
//! ```
//!
//! # How two never write at the same time
//!
//! A holder writes only within 10 s (`--leader-elect-renew-deadline`) after the moment at which it began to look at a Lease, or to write it,
//! that was its own. Another one writes only when that time is over, by one of three ways:
//!
//! * The holder **gave it back**: it closed its fence before, and waited for what it was writing. This is how every rollout goes, as SIGTERM
//!   does that. The next one takes the Lease at once.
//! * The holder **renews it** every 2 s, and it has not changed for its duration of 15 s as the other one saw it.
//! * The holder **renews nothing**, and the other one takes the Lease by force: it writes its name into it, which only one can by the
//!   resourceVersion, and then writes nothing else for 15 s. Whatever the holder is, its next look finds another name. It needs no clock
//!   of another machine, and does not trust what the API says of Pods and nodes: that decides only when force is tried. For that time the
//!   Lease says so (`ferrolb.io/forced`), so that whoever gets it meanwhile in one of the ways above waits as long.
//!
//! `model.rs` plays this at random, with every part of a round late or lost.
//!
//! # What is renewed
//!
//! A controller alone renews nothing: it takes the Lease once per start, reads it every 30 s, and once before it writes where it has not lately.
//! Renewing would be 43,200 writes a day. It says on the Lease that it does not renew (`ferrolb.io/renewed: "false"`).
//! Whether others are there it knows in two ways: by its own Deployment (`status.replicas`) when it takes the Lease; and who comes later
//! writes its name on the Lease (`ferrolb.io/stands-by`). It finds that within 30 s and renews from then on, until its Deployment has one Pod again.
//!
//! # When the Lease is taken by force
//!
//! * At once, if the holder's Pod is gone, has ended, or stands on a node that is gone or not Ready. A Pod whose container starts again is
//!   the own one, and needs no force: the process before it has ended.
//! * Otherwise when the mark `ferrolb.io/stands-by` has gone unanswered for 60 s: a holder that lives has seen it twice.
//!
//! # The price
//!
//! With several replicas nobody gives addresses for 15 s after the leader crashed or lost its node, and for a moment after SIGTERM. With one
//! replica a crash costs the time until its container runs again; a lost node costs what Kubernetes takes to notice (40 s), and then 15 s.
//! A second one that finds a holder hanging in an Alive Pod, or has no right to read Pods, takes 60 s and 15 s. Where somebody deletes
//! the Lease, its next holder waits for 15 s too; a first one, whose Deployment has no other Pod, does not.
//!
//! An API that does not answer costs no term: writes wait, and go on if the Lease is still the own one. Only who finds another name on it
//! forgets what it knows and begins with a fresh list when it leads again.

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

/// Which time this process is the leader, counted from 1; none while another one is.
pub(super) type Term = Option<u64>;

/// The handle of the task that holds the Lease.
pub(super) struct Leadership {
    pub(super) term: watch::Receiver<Term>,
    end: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

/// Who stands for election.
pub(super) struct Who {
    pub(super) namespace: String,
    /// Its name among the controllers.
    pub(super) identity: String,
    /// Its Pod.
    pub(super) owner: Owner,
    /// The name of its Deployment.
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
        // Without its task nobody looks at the Lease: the fence closes by itself.
        let _ = term.wait_for(|term| *term != Some(mine)).await;
    }
}
