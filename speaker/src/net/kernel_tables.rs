// SPDX-License-Identifier: Apache-2.0
//! The thread that makes the kernel follow the tables of kept connections (`--keep-connections`). The tables run out by themselves when this
//! thread ends: they stay after a stop in order, and the next process takes them over.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use steer::net::{Applied, Error, Keep, Kernel};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;

use super::connections::KeptConnections;
use super::{draining, flows};
use crate::core::{FlowRequest, KeepTable, ListedFlows};

/// The time between two looks whether the kernel still has the tables.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// The file that says whether conntrack takes up connections in their middle.
const LOOSE: &str = "/proc/sys/net/netfilter/nf_conntrack_tcp_loose";

/// A notice from the threads that ask the kernel.
#[derive(Debug)]
pub enum KernelNotice {
    /// The kernel follows the table of this number, or refuses it, so that no address waits for it.
    Follows(u64),
    /// Flows of UDP.
    Flows(ListedFlows),
}

/// The thread, as the driver sees it, the one that counts, and the one that lists flows.
pub(super) struct KernelTables {
    tables: mpsc::Sender<KeepTable>,
    draining: mpsc::Sender<BTreeSet<IpAddr>>,
    flows: mpsc::Sender<FlowRequest>,
}

impl KernelTables {
    /// Begins. What the kernel says comes out of `done`. Troubles, and the connections of addresses that drain, go to `told`. Also returns what the kernel lacks for addresses that
    /// several nodes serve.
    ///
    /// # Errors
    /// The kernel or the permissions lack something, by name.
    pub(super) fn start(
        linger: Duration,
        done: UnboundedSender<KernelNotice>,
        told: watch::Sender<KeptConnections>,
    ) -> Result<(Self, Option<Error>), Error> {
        let mut kernel = Kernel::open()?;
        kernel.check()?;
        let lack = kernel.check_spread().err();
        let (draining, wishes) = mpsc::channel();
        draining::start(wishes, told.clone())?;
        let (flows, requests) = mpsc::channel();
        flows::start(requests, done.clone())?;
        let (sender, tables) = mpsc::channel();
        let follow = move || follow(kernel, linger, &tables, &done, &told);
        let thread = std::thread::Builder::new().name("tables".to_owned());
        thread
            .spawn(follow)
            .map_err(|source| Error::Socket { doing: "starting a thread", source })?;
        Ok((Self { tables: sender, draining, flows }, lack))
    }

    /// Has the kernel follow this table.
    pub(super) fn order(&self, table: KeepTable) {
        // The threads end with the program.
        let _ = self.draining.send(table.draining.clone());
        let _ = self.tables.send(table);
    }

    /// Has flows of UDP listed.
    pub(super) fn list_flows(&self, request: FlowRequest) {
        let _ = self.flows.send(request);
    }
}

/// The kernel's next word, or never without tables.
pub async fn next_kept(
    receiver: &mut Option<UnboundedReceiver<KernelNotice>>,
) -> Option<KernelNotice> {
    match receiver {
        Some(receiver) => receiver.recv().await,
        None => std::future::pending().await,
    }
}

fn follow(
    mut kernel: Kernel,
    linger: Duration,
    tables: &mpsc::Receiver<KeepTable>,
    done: &UnboundedSender<KernelNotice>,
    told: &watch::Sender<KeptConnections>,
) {
    let renewal = (linger / 3).max(Duration::from_millis(100));
    let mut wanted: Option<Keep> = None;
    let mut renew_at = clock::now() + renewal;
    let mut trouble: Option<String> = None;
    loop {
        let until = renew_at.min(clock::now() + LOOK_INTERVAL);
        let wait = until.saturating_duration_since(clock::now());
        let mut version = None;
        match tables.recv_timeout(wait) {
            Ok(first) => {
                // Only the newest of several tables matters.
                let table = tables.try_iter().last().unwrap_or(first);
                version = Some(table.version);
                let KeepTable { fellows, addresses, spread, flows, .. } = table;
                wanted = Some(Keep { fellows, addresses, spread, flows, loose: is_loose() });
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if let Some(keep) = &wanted {
            let began = clock::now();
            let mut result = kernel.apply(keep, linger);
            let applied = result.is_ok();
            if result.is_ok() && (renew_at <= began || version.is_some()) {
                let addresses = keep.addresses.keys().chain(keep.spread.keys());
                let addresses: BTreeSet<IpAddr> = addresses.copied().collect();
                result = kernel.renew(&addresses, linger).and(result);
                renew_at = began + renewal;
            }
            tell(&result, version, applied, began, &mut trouble);
            told.send_if_modified(|told| told.set_unkept(trouble.as_deref()));
        } else {
            renew_at = clock::now() + renewal;
        }
        if let Some(version) = version {
            // The receiver lives as long as the program.
            let _ = done.send(KernelNotice::Follows(version));
        }
    }
}

/// Logs what came of it; a trouble that lasts is told once.
fn tell(
    result: &Result<Applied, Error>,
    version: Option<u64>,
    applied: bool,
    began: Instant,
    trouble: &mut Option<String>,
) {
    match result {
        Ok(Applied { operations, repaired, left_out }) => {
            if trouble.take().is_some() {
                tracing::info!(
                    event = "keepTables",
                    "the kernel has the tables of kept connections again"
                );
            }
            for repair in repaired {
                tracing::warn!(
                    event = "keepTablesRepaired",
                    ?repair,
                    "another program has changed a table of kept connections; it is as it was before"
                );
            }
            let took = began.elapsed();
            if version.is_some() {
                for step in left_out {
                    tracing::info!(event = "keepStepLeftOut", ip = %step.address, next = %step.next,
                        reason = %step.missing,
                        "connections of this address cannot be led to this node");
                }
                tracing::debug!(
                    event = "keepTables",
                    operations,
                    ?took,
                    "the kernel follows the table of kept connections"
                );
            }
        }
        Err(error) => {
            let text = error.to_string();
            if trouble.as_ref() != Some(&text) {
                let stale =
                    if applied { "its elements cannot be renewed" } else { "it is as before" };
                tracing::error!(event = "keepTablesFailed", %error,
                    "the kernel does not take the table of kept connections, and {stale}: connections break when an address moves");
                *trouble = Some(text);
            }
        }
    }
}

/// True unless conntrack passes over connections that it meets in their middle.
fn is_loose() -> bool {
    std::fs::read_to_string(LOOSE).map_or(true, |text| text.trim() != "0")
}
