// SPDX-License-Identifier: Apache-2.0
//! The beginning and the end of a decision: before it the metadata of this speaker is brought up to date, after it the
//! others are told what has changed.

use std::net::IpAddr;
use std::time::Instant;

use cluster::model::Node;
use cluster::{Dirty, Snapshot};
use l2::LinkReport;
use members::Command;

use super::Membership;
use crate::wire::links::NodeLinks;
use crate::wire::message::PeerMessage;
use crate::wire::metadata::{PoolLinks, PoolOrder};

/// True if a node is drained; with `drain_on_cordon` a cordoned node counts as drained.
#[must_use]
pub fn is_drained(node: &Node, drain_on_cordon: bool) -> bool {
    node.draining || node.cordoned && drain_on_cordon
}

impl Membership {
    /// Before a decision: reads the metadata of the members, and updates this speaker's own. `time` is that of the wall clock, in
    /// microseconds since 1970.
    pub fn consider(
        &mut self,
        now: Instant,
        time: u64,
        snapshot: &Snapshot,
        links: &[LinkReport],
        dirty: &mut Dirty,
    ) {
        let mut metadata = self.view.metadata().clone();
        if dirty.all || std::mem::take(&mut self.links_changed) {
            let node = snapshot.nodes().get(&self.node);
            let said = NodeLinks::of(snapshot.config(), links, node);
            metadata.set_links(self.links(snapshot, links), said);
            metadata.drained = node.is_some_and(|node| is_drained(node, self.drain_on_cordon));
        }
        metadata.unsynchronised = self.has_tenure()
            && self.table.as_ref().is_some_and(|table| table.is_unsynchronised(now));
        // A speaker that loses the right to answer publishes that elsewhere. One that starts has published it from the beginning, and is
        // ready now.
        if self.view.standing().speaks() {
            metadata.silent = false;
            metadata.by_link = false;
        }
        if self.takes_part && metadata != *self.view.metadata() {
            self.tell(time, metadata);
            dirty.all = true;
        }
        dirty.all |= std::mem::take(&mut self.changed);
        self.consider_holdings(snapshot, dirty);
        let readiness = Some(snapshot.readiness());
        if dirty.all || self.readiness != readiness || self.listed {
            self.readiness = readiness;
            self.consider_gone(now, time, snapshot);
        }
    }

    /// After a decision. Returns true for the first one since this node may answer (again): then everything announced here is to be announced
    /// and claimed anew.
    #[must_use]
    pub fn decided(&mut self) -> bool {
        let resumes = self.view.take_resuming();
        if resumes {
            // A member that took this node for dead has forgotten the newer messages, and the metadata in the memberlist may be a second old.
            self.outbox.notify(None, &PeerMessage::Metadata(self.view.metadata().clone()));
            self.list(None);
            let by_link = self.view.standing().asks_link();
            self.outbox.push(Command::Resume { by_link });
            // The others do not repeat what they said while this node was away.
            self.outbox.notify(None, &PeerMessage::SyncRequest);
        }
        resumes
    }

    /// Tells the others which addresses this speaker answers for from now.
    pub fn claim(&mut self, addresses: Vec<IpAddr>) {
        self.claimed.extend(&addresses);
        self.outbox.notify(None, &PeerMessage::TookOver(addresses));
    }

    fn links(&self, snapshot: &Snapshot, links: &[LinkReport]) -> PoolLinks {
        let config = snapshot.config();
        let node = snapshot.nodes().get(&self.node);
        PoolLinks::of(&PoolOrder::of(config), config, links, |advertisement| {
            node.is_some_and(|node| advertisement.selects_node(&node.labels))
        })
    }
}
