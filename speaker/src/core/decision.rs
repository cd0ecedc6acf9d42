// SPDX-License-Identifier: Apache-2.0
//! The decisions of a [`Core`]: by L2, by BGP, and the words about each Service.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bgp::Families;
use cluster::{Dirty, ObjectKey, Snapshot};
use jiff::Timestamp;
use l2::{LinkReport, NoResponder};

use super::effect::{Effect, EngineCommand, Fact};
use super::{ClockReading, Core, Leaving};
use crate::announce::{Circumstances, preference_ends};
use crate::announced_condition;
use crate::reason::Withhold;
use crate::speaker::Output;
use ownership::{EngineOrders, Withdrawal};
use ownership::{PoolOrder, transport};

/// The inputs of L2 decisions besides the objects and the members.
#[derive(Debug, Default)]
pub(super) struct Layer2 {
    pub(super) links: Arc<Vec<LinkReport>>,
    interfaces: BTreeSet<Box<str>>,
    /// The links with the node's InternalIPs.
    transport: Option<BTreeSet<Box<str>>>,
    /// The time at which the next preference for a node ends, and everything has to be decided again.
    preferences_end: Option<Timestamp>,
}

/// The BGP sessions of this node, as far as routes depend on them.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    /// The families that each session carries.
    pub families: BTreeMap<Arc<str>, Families>,
    /// The reason why nothing is to be advertised at all, if there is one.
    pub closed: Option<Withhold>,
}

impl Layer2 {
    /// The time at which the next preference for a node ends.
    pub(super) fn deadline(&self, now: ClockReading) -> Option<Instant> {
        self.preferences_end.map(|end| {
            let left = end.duration_since(now.timestamp());
            now.monotonic + Duration::try_from(left).unwrap_or_default()
        })
    }

    /// Marks everything as dirty when the node's interfaces have changed, or a preference has ended.
    fn consider(&mut self, now: ClockReading, node: &str, snapshot: &Snapshot, dirty: &mut Dirty) {
        let time = now.timestamp();
        let transport = transport(snapshot.nodes().get(node), &self.links);
        let interfaces = usable(&self.links);
        let ended = self.preferences_end.is_some_and(|end| end <= time);
        if transport != self.transport || interfaces != self.interfaces || ended {
            (self.transport, self.interfaces) = (transport, interfaces);
            dirty.all = true;
        }
        if !dirty.is_empty() {
            self.note_preferences(snapshot, dirty, time);
        }
    }

    /// Notes when the next preference for a node ends; looks only at Services that have changed.
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
}

/// The output in the form that the handover takes.
fn withdrawal(output: &Output) -> Option<Withdrawal<'_>> {
    let Output::Withdrawn { announcement, reason, successor, .. } = output else { return None };
    Some(Withdrawal {
        addresses: &announcement.addresses,
        successor: successor.as_deref(),
        leaves: matches!(reason, Withhold::Leaving),
    })
}

/// All interfaces but the excluded ones; interfaces that are down count too (contract 4.4).
fn usable(links: &[LinkReport]) -> BTreeSet<Box<str>> {
    let excluded = |link: &&LinkReport| matches!(link.arp_reason, Some(NoResponder::Excluded));
    links.iter().filter(|link| !excluded(link)).map(|link| (*link.name).into()).collect()
}

impl Core {
    /// Decides again what is dirty for L2; after that this node answers again, if it may. Returns false while the memberlist has not been
    /// met: L2 waits, and what is dirty now is decided later. Nothing else waits: `dirty` is afterwards what BGP has to decide in any case.
    ///
    /// A speaker that has given everything away decides no more.
    pub fn decide(&mut self, now: ClockReading, snapshot: &Snapshot, dirty: &mut Dirty) -> bool {
        if !matches!(self.leaving, Leaving::No | Leaving::Deciding) {
            return true;
        }
        self.has_decided = true;
        let starting = self.membership.view().is_starting();
        let decides = self.postponed.admit(starting, dirty);
        if decides {
            self.forget_record();
            let layer2_dirty = self.decide_layer2(now, snapshot, dirty);
            self.consider_words(now, snapshot, &layer2_dirty);
        }
        if self.leaving == Leaving::Deciding {
            self.leaving = Leaving::HandingOver;
        }
        self.say(now.monotonic);
        self.go_on();
        decides
    }

    /// Returns everything that was decided again. A change of the links does not concern BGP, which `dirty` is for.
    fn decide_layer2(
        &mut self,
        now: ClockReading,
        snapshot: &Snapshot,
        dirty: &mut Dirty,
    ) -> Dirty {
        let at = now.monotonic;
        self.membership.consider(at, now.wall, snapshot, &self.layer2.links, dirty);
        self.check_port(at, false);
        let mut layer2_dirty = dirty.clone();
        let node = Arc::clone(&self.speaker.options().node);
        self.layer2.consider(now, &node, snapshot, &mut layer2_dirty);
        if !layer2_dirty.is_empty() {
            let view = self.membership.view();
            let (members, passes) = (view.members(), view.passes());
            let placement = self.membership.placement();
            let circumstances = Circumstances {
                members,
                interfaces: &self.layer2.interfaces,
                transport: self.layer2.transport.as_ref(),
                pools: &PoolOrder::of(snapshot.config()),
                places: &self.places,
                time: now.timestamp(),
                placement: placement.as_ref(),
            };
            let outputs = self.speaker.reconcile(snapshot, &layer2_dirty, &circumstances);
            // The Services that share an address with a dirty one.
            layer2_dirty.services.extend(self.speaker.redecided().iter().cloned());
            let withdrawals = outputs.iter().filter_map(withdrawal);
            let changes = self.speaker.take_changes();
            let orders = self.handovers.carry_out(at, withdrawals, changes, members, passes);
            self.admit_by_link(now, orders);
            self.keep_nodes(at, snapshot);
            let notices = outputs.into_iter().map(|output| Effect::Fact(Fact::Layer2(output)));
            self.effects.extend(notices);
        }
        if self.membership.decided() {
            self.release_all();
            // Others may have announced the addresses meanwhile: everything announced here is announced and claimed again.
            self.effects.push_back(Effect::Engine(EngineCommand::AnnounceAll));
            let announced = self.announced.iter().copied().collect();
            let tell = self.handovers.claim(announced);
            self.effects.extend(tell.map(|number| Effect::Engine(EngineCommand::Tell(number))));
        }
        layer2_dirty
    }

    pub(super) fn command_engine(&mut self, orders: EngineOrders) {
        let EngineOrders { answer_only, change, tell } = orders;
        let answer_only =
            (!answer_only.is_empty()).then_some(EngineCommand::AnswerOnly(answer_only));
        let change = (!change.is_empty()).then_some(EngineCommand::Change(change));
        let commands = answer_only.into_iter().chain(change).chain(tell.map(EngineCommand::Tell));
        self.effects.extend(commands.map(Effect::Engine));
    }

    /// Decides again what is dirty for BGP, with these sessions.
    pub fn decide_routes(&mut self, snapshot: &Snapshot, dirty: &Dirty, sessions: Sessions) {
        self.routes.set_closed(sessions.closed);
        for output in self.routes.reconcile(snapshot, dirty, &sessions.families) {
            self.effects.push_back(Effect::Fact(Fact::Route(output)));
        }
        for (peer, changes) in self.routes.take_changes() {
            self.effects.push_back(Effect::Routes { peer, changes });
        }
    }

    /// Considers the words about the Services that were decided again.
    pub(super) fn consider_words(&mut self, now: ClockReading, snapshot: &Snapshot, dirty: &Dirty) {
        let words = self.link_words();
        let (members, speaker) = (self.membership.view().members(), &self.speaker);
        let spreads = self.keeping.as_ref().is_some_and(|keeping| keeping.can_spread);
        let mut consider = |service: &ObjectKey| {
            let mut word =
                announced_condition::word(service, snapshot, speaker, members, words.as_ref());
            if let (Some(word), Some(spreading)) = (&mut word, speaker.spreading(service)) {
                announced_condition::tell_spreading(word, spreading, spreads);
            }
            self.announced_condition.consider(now.monotonic, service, word);
        };
        if dirty.all {
            snapshot.services().keys().for_each(&mut consider);
        }
        dirty.services.iter().for_each(consider);
    }

    /// Tells the words that have lasted.
    pub(super) fn say(&mut self, now: Instant) {
        let retracted =
            self.announced_condition.take_retracted().into_iter().map(|service| (service, None));
        let due = self
            .announced_condition
            .due(now)
            .into_iter()
            .map(|(service, word)| (service, Some(word)));
        let notice = |(service, word)| Effect::Fact(Fact::Word { service, word });
        self.effects.extend(retracted.chain(due).map(notice));
    }
}
