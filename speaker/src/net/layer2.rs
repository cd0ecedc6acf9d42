// SPDX-License-Identifier: Apache-2.0
//! Joins the speaker's books to the l2 engine.

use std::collections::BTreeSet;

use cluster::{Dirty, Snapshot};
use l2::{Layer2, NoResponder};
use tokio::sync::mpsc;

use crate::announce::Members;
use crate::speaker::{Output, Speaker};

/// The books and the engine that carries them out.
pub struct Layer2Driver {
    speaker: Speaker,
    layer2: Layer2,
    interfaces: BTreeSet<Box<str>>,
}

impl Layer2Driver {
    /// Starts the engine; what it notices comes out of the receiver.
    ///
    /// # Errors
    /// When the sockets cannot be had, with what is missing for them.
    pub fn start(
        speaker: Speaker,
        options: l2::Options,
    ) -> Result<(Self, mpsc::UnboundedReceiver<l2::Event>), l2::StartError> {
        let (sender, events) = mpsc::unbounded_channel();
        let layer2 = Layer2::start(options, move |event| {
            // The receiver lives as long as the program.
            let _ = sender.send(event);
        })?;
        Ok((Self { speaker, layer2, interfaces: BTreeSet::new() }, events))
    }

    /// The books.
    #[must_use]
    pub fn speaker(&self) -> &Speaker {
        &self.speaker
    }

    /// The engine.
    #[must_use]
    pub fn layer2(&self) -> &Layer2 {
        &self.layer2
    }

    /// Decides again what is dirty, and everything when the node's interfaces are others than before; then
    /// has the engine answer for what is announced now.
    pub fn reconcile(
        &mut self,
        snapshot: &Snapshot,
        mut dirty: Dirty,
        members: &Members,
    ) -> Vec<Output> {
        let interfaces = self.usable_interfaces();
        if interfaces != self.interfaces {
            self.interfaces = interfaces;
            dirty.all = true;
        }
        if dirty.is_empty() {
            return Vec::new();
        }
        let outputs = self.speaker.reconcile(snapshot, &dirty, members, &self.interfaces);
        self.layer2.change(self.speaker.take_changes());
        outputs
    }

    /// Ends the engine: from then on nothing is answered.
    pub fn shutdown(self) {
        self.layer2.shutdown();
    }

    /// Every interface but the excluded ones, also those that are down (contract 4.4).
    fn usable_interfaces(&self) -> BTreeSet<Box<str>> {
        self.layer2
            .links()
            .iter()
            .filter(|link| !matches!(link.arp_reason, Some(NoResponder::Excluded)))
            .map(|link| (*link.name).into())
            .collect()
    }
}
