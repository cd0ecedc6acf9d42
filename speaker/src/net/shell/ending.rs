// SPDX-License-Identifier: Apache-2.0
//! The end of a speaker: its addresses pass to others, and its sessions are closed.

use clock::until;
use tokio::sync::mpsc;

use super::Shell;
use crate::net::agent::AgentSignals;
use crate::net::kernel_tables::{KernelNotice, next_kept};

impl Shell {
    /// Before the end: other speakers take over the addresses that are announced here, and say so; then the ring hears that this speaker
    /// leaves.
    async fn hand_over(
        &mut self,
        signals: &mut Option<AgentSignals>,
        noticed: &mut mpsc::UnboundedReceiver<l2::Event>,
        kept: &mut Option<mpsc::UnboundedReceiver<KernelNotice>>,
    ) {
        self.driver.terminate();
        self.decide();
        while !self.driver.core().has_left() {
            let deadline = self.driver.deadline();
            tokio::select! {
                signal = AgentSignals::next(signals) => self.driver.handle_agent(signal),
                Some(event) = noticed.recv() => self.handle_layer2(&event),
                Some(notice) = next_kept(kept) => self.driver.handle_kept(notice),
                () = until(deadline) => self.driver.expire(&self.snapshot),
            }
            self.tell();
        }
    }

    /// The end of this program: nothing is left behind but what others need.
    pub(in crate::net) async fn end(
        &mut self,
        signals: &mut Option<AgentSignals>,
        noticed: &mut mpsc::UnboundedReceiver<l2::Event>,
        kept: &mut Option<mpsc::UnboundedReceiver<KernelNotice>>,
    ) {
        self.hand_over(signals, noticed, kept).await;
        self.driver.stop().await;
        if let Some(routes) = &self.discard
            && let Err(error) = routes.sweep().await
        {
            tracing::warn!(%error, "routes that discard are left behind until the next start");
        }
        self.events.flush().await;
    }
}
