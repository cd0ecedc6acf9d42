// SPDX-License-Identifier: Apache-2.0
//! Joins the speaker's books to the l2 engine, and keeps what passes to other nodes until they have it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use cluster::{Dirty, Snapshot};
use jiff::Timestamp;
use l2::{Layer2, LinkReport, NoResponder};
use tokio::sync::mpsc;

use crate::announce::{Circumstances, preference_ends};
use crate::handover::Handover;
use crate::roster::{Members, PoolOrder};
use crate::speaker::{Output, Speaker};

/// How long after a planned move two may announce one address.
pub(super) const MOVING: Duration = Duration::from_secs(2);
/// So many addresses that have moved are remembered of one decision.
const FEW: usize = 256;

/// The books and the engine that carries them out.
pub struct Layer2Driver {
    speaker: Speaker,
    layer2: Layer2,
    interfaces: BTreeSet<Box<str>>,
    handover: Handover,
    /// Addresses that are announced since, by the number with which the engine says that it is done.
    claiming: BTreeMap<u64, Vec<IpAddr>>,
    claims: u64,
    /// Addresses that have just come from another speaker or go to one: two announce them for a moment.
    moving: BTreeMap<IpAddr, Instant>,
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
            handover: Handover::default(),
            claiming: BTreeMap::new(),
            claims: 0,
            moving: BTreeMap::new(),
            preferences_end: None,
        };
        Ok((driver, events))
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
    /// has the engine answer for what is announced now. What goes to another of our speakers is answered for until that one claims it,
    /// if `passes`; not after a time in which this node was not to speak.
    pub fn reconcile(
        &mut self,
        snapshot: &Snapshot,
        mut dirty: Dirty,
        members: &Members,
        passes: bool,
    ) -> Vec<Output> {
        let interfaces = self.usable_interfaces();
        let time = Timestamp::now();
        if interfaces != self.interfaces || self.preferences_end.is_some_and(|end| end <= time) {
            self.interfaces = interfaces;
            dirty.all = true;
        }
        if dirty.is_empty() {
            return Vec::new();
        }
        self.note_preferences(snapshot, &dirty, time);
        let circumstances = Circumstances {
            members,
            interfaces: &self.interfaces,
            pools: &PoolOrder::of(snapshot.config()),
            time,
        };
        let outputs = self.speaker.reconcile(snapshot, &dirty, &circumstances);
        self.carry_out(&outputs, members, passes);
        outputs
    }

    fn carry_out(&mut self, outputs: &[Output], members: &Members, passes: bool) {
        let passing: BTreeSet<IpAddr> = outputs
            .iter()
            .filter_map(|output| match output {
                Output::Withdrawn { announcement, successor: Some(successor), .. }
                    if passes && members.is_ferrolb(successor) =>
                {
                    Some(&announcement.addresses)
                }
                Output::Withdrawn { .. }
                | Output::Announced { .. }
                | Output::NoInterface { .. } => None,
            })
            .flatten()
            .copied()
            .collect();
        let mut changes = self.speaker.take_changes();
        let now = now();
        let mut lingering = Vec::new();
        changes.retain(|(address, scope)| match scope {
            Some(_) => {
                self.handover.end(*address);
                true
            }
            None if passing.contains(address) => {
                let passes = self.handover.begin(now, *address);
                if passes {
                    lingering.push(*address);
                }
                !passes
            }
            None => {
                self.handover.end(*address);
                true
            }
        });
        self.moving.retain(|_, since| now < *since + MOVING);
        self.moving.extend(lingering.iter().map(|address| (*address, now)));
        self.layer2.linger(lingering);
        let gained: Vec<IpAddr> = changes
            .iter()
            .filter(|(_, scope)| scope.is_some())
            .map(|(address, _)| *address)
            .collect();
        self.layer2.change(changes);
        if members.has_others() {
            // More at once come from members that are new or gone, which is known otherwise.
            self.moving.extend(gained.iter().take(FEW).map(|address| (*address, now)));
            self.claim(gained);
        }
    }

    /// Whether an address passes from one speaker to another, or has just done so.
    #[must_use]
    pub fn is_moving(&self, address: IpAddr) -> bool {
        self.moving.get(&address).is_some_and(|since| now() < *since + MOVING)
    }

    /// When the next wish for a node ends; looked for only among what has changed.
    fn note_preferences(&mut self, snapshot: &Snapshot, dirty: &Dirty, time: Timestamp) {
        let earliest =
            |ends: &mut dyn Iterator<Item = Timestamp>| ends.filter(|end| *end > time).min();
        self.preferences_end = if dirty.all {
            earliest(&mut snapshot.services().values().filter_map(preference_ends))
        } else {
            let changed = dirty.services.iter().filter_map(|key| snapshot.service(key));
            earliest(&mut changed.filter_map(preference_ends).chain(self.preferences_end))
        };
    }

    /// Tells, as soon as they are announced, that these are answered for here.
    fn claim(&mut self, addresses: Vec<IpAddr>) {
        if !addresses.is_empty() {
            self.claims += 1;
            self.claiming.insert(self.claims, addresses);
            self.layer2.tell(self.claims);
        }
    }

    /// Everything announced here is announced and claimed again: others may have had it meanwhile.
    pub fn claim_all(&mut self) {
        self.layer2.announce_all();
        self.claim(self.speaker.desired().into_keys().collect());
    }

    /// The engine is done up to this number: returns what can be claimed now.
    pub fn done(&mut self, number: u64) -> Vec<IpAddr> {
        let later = self.claiming.split_off(&(number + 1));
        std::mem::replace(&mut self.claiming, later).into_values().flatten().collect()
    }

    /// Another speaker answers for these now.
    pub fn claimed(&mut self, addresses: &[IpAddr]) {
        let owned = |address| self.speaker.users(address).next().is_some();
        let released = self.handover.claimed(now(), addresses, owned);
        self.release(released);
    }

    /// Lets go of what nobody claimed in time.
    pub fn expire(&mut self) {
        let released = self.handover.expired(now());
        self.release(released);
    }

    /// When [`Self::expire`] is due, or a wish for a node ends.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let wishes = self.preferences_end.map(|end| {
            let left = end.duration_since(Timestamp::now());
            now() + Duration::try_from(left).unwrap_or_default()
        });
        self.handover.deadline().into_iter().chain(wishes).min()
    }

    /// Whether nothing passes to another node at the moment.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.handover.is_empty()
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

#[allow(
    clippy::disallowed_methods,
    reason = "this is the shell: the one place that reads the clock"
)]
fn now() -> Instant {
    Instant::now()
}
