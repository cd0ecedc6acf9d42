// SPDX-License-Identifier: Apache-2.0
//! Joins the speaker's books to the l2 engine, and keeps what passes to other nodes until they have it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Instant;

use cluster::{Dirty, Snapshot};
use jiff::Timestamp;
use l2::{Layer2, LinkReport, NoResponder};
use tokio::sync::mpsc;

use super::clock::now;
use crate::announce::{Circumstances, preference_ends};
use crate::metrics::SpeakerMetrics;
use crate::passage::{Orders, Passage};
use crate::roster::transport;
use crate::roster::{Members, PoolOrder};
use crate::speaker::{Output, Speaker};
use crate::tenure::Tenure;

/// The books and the engine that carries them out.
pub struct Layer2Driver {
    speaker: Speaker,
    layer2: Layer2,
    interfaces: BTreeSet<Box<str>>,
    /// Those with the node's InternalIPs.
    transport: Option<BTreeSet<Box<str>>>,
    passage: Passage,
    /// When a wish for a node ends, and everything has to be decided again.
    preferences_end: Option<Timestamp>,
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
        let driver = Self {
            speaker,
            layer2,
            interfaces: BTreeSet::new(),
            transport: None,
            passage: Passage::default(),
            preferences_end: None,
        };
        Ok((driver, events))
    }

    /// The books.
    #[must_use]
    pub fn speaker(&self) -> &Speaker {
        &self.speaker
    }

    /// Appends the series of what is announced, and of its addresses.
    pub fn write_metrics(&self, metrics: &SpeakerMetrics, text: &mut String) {
        let announced = self.speaker.announced().iter();
        let announced = announced.map(|(service, it)| (service, &*it.addresses));
        metrics.write(announced, &self.layer2.counters(), text);
    }

    /// The engine.
    #[must_use]
    pub fn layer2(&self) -> &Layer2 {
        &self.layer2
    }

    /// Decides again what is dirty, and everything when the node's interfaces are others than before; then
    /// has the engine answer for what is announced now. What goes to another of our speakers is answered for until that one claims it,
    /// if `passes`; not after a time in which this node was not to speak. What became of it, and what the engine was told to do.
    pub fn reconcile(
        &mut self,
        snapshot: &Snapshot,
        mut dirty: Dirty,
        members: &Members,
        tenure: Option<&Tenure<'_>>,
        passes: bool,
    ) -> (Vec<Output>, Orders) {
        let interfaces = self.usable_interfaces();
        let time = Timestamp::now();
        let own = snapshot.nodes().get(&self.speaker.options().node);
        let transport = transport(own, &self.layer2.links());
        if transport != self.transport {
            self.transport = transport;
            dirty.all = true;
        }
        if interfaces != self.interfaces || self.preferences_end.is_some_and(|end| end <= time) {
            self.interfaces = interfaces;
            dirty.all = true;
        }
        if dirty.is_empty() {
            return (Vec::new(), Orders::default());
        }
        self.note_preferences(snapshot, &dirty, time);
        let circumstances = Circumstances {
            members,
            interfaces: &self.interfaces,
            transport: self.transport.as_ref(),
            pools: &PoolOrder::of(snapshot.config()),
            time,
            tenure,
        };
        let outputs = self.speaker.reconcile(snapshot, &dirty, &circumstances);
        let orders = self.passage.carry_out(now(), &mut self.speaker, &outputs, members, passes);
        self.layer2.linger(orders.linger.clone());
        self.layer2.change(orders.change.clone());
        if let Some(number) = orders.tell {
            self.layer2.tell(number);
        }
        (outputs, orders)
    }

    /// When the next wish for a node ends; looked for only among what has changed.
    fn note_preferences(&mut self, snapshot: &Snapshot, dirty: &Dirty, time: Timestamp) {
        let earliest =
            |ends: &mut dyn Iterator<Item = Timestamp>| ends.filter(|end| *end > time).min();
        self.preferences_end = if dirty.all {
            earliest(&mut snapshot.services().values().filter_map(|it| preference_ends(it)))
        } else {
            let changed = dirty.services.iter().filter_map(|key| snapshot.service(key));
            earliest(&mut changed.filter_map(preference_ends).chain(self.preferences_end))
        };
    }

    /// Everything announced here is announced and claimed again: others may have had it meanwhile.
    pub fn claim_all(&mut self) {
        self.layer2.announce_all();
        if let Some(number) = self.passage.claim(self.speaker.desired().into_keys().collect()) {
            self.layer2.tell(number);
        }
    }

    /// The engine is done up to this number: returns what can be claimed now.
    pub fn done(&mut self, number: u64) -> Vec<IpAddr> {
        self.passage.done(number)
    }

    /// Another speaker answers for these now.
    pub fn claimed(&mut self, addresses: &[IpAddr]) {
        let owned = |address| self.speaker.users(address).next().is_some();
        let released = self.passage.claimed(now(), addresses, owned);
        self.release(released);
    }

    /// The network says that another station has this address.
    pub fn heard(&mut self, address: IpAddr) {
        let released = self.passage.heard(now(), address);
        self.release(released);
    }

    /// Whether an address passes from one speaker to another, or has just done so.
    #[must_use]
    pub fn is_moving(&self, address: IpAddr) -> bool {
        self.passage.is_moving(now(), address)
    }

    /// Lets go of what nobody claimed in time, and returns it.
    pub fn expire(&mut self) -> Vec<IpAddr> {
        let released = self.passage.expired(now());
        self.release(released.clone());
        released
    }

    /// When [`Self::expire`] is due, or a wish for a node ends.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let wishes = self.preferences_end.map(|end| {
            let left = end.duration_since(Timestamp::now());
            now() + std::time::Duration::try_from(left).unwrap_or_default()
        });
        self.passage.deadline().into_iter().chain(wishes).min()
    }

    /// What is still answered for here and passes to other nodes.
    pub fn passing(&self) -> impl Iterator<Item = IpAddr> {
        self.passage.passing()
    }

    /// Whether nothing passes to another node at the moment.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.passage.is_settled()
    }

    fn release(&mut self, addresses: Vec<IpAddr>) {
        self.layer2.change(addresses.into_iter().map(|address| (address, None)).collect());
    }

    /// Ends the engine: from then on nothing is answered.
    pub fn shutdown(self) {
        self.layer2.shutdown();
    }

    /// The node's links.
    #[must_use]
    pub fn links(&self) -> std::sync::Arc<Vec<LinkReport>> {
        self.layer2.links()
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
