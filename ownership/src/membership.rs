// SPDX-License-Identifier: Apache-2.0
//! What a speaker makes of its ring: who takes part, what is told to the others, when everything is to be decided again, and when
//! this node may speak. A synchronous value; whoever drives it carries out the [`Command`]s.

mod join_schedule;
mod known_nodes;
mod port_check;
mod view;

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::model::Node;
use cluster::{Dirty, Snapshot};
use l2::LinkReport;
use members::{Command, Standing};

use crate::handover::{EngineOrders, MOVE_TIME};
use crate::members::{Member, Members};
use crate::placement::{Modes, Placement};
use crate::table::OwnershipTable;
use crate::wire::links::NodeLinks;
use crate::wire::message::PeerMessage;
use crate::wire::metadata::{NodeMetadata, PoolLinks, PoolOrder};
pub use join_schedule::FIRST_PAUSES;
use join_schedule::JoinSchedule;
use known_nodes::Judgement;
pub use known_nodes::{Listed, Listing, Pod};
pub use port_check::{PortChange, PortCheck};
pub use view::MembershipView;

/// How long a doubt may last until the others are told: most are settled sooner, and moving an address costs more.
const DOUBT_TIME: Duration = Duration::from_millis(80);

/// Whether a node is being emptied; with `drain_on_cordon` also while it is cordoned.
#[must_use]
pub fn is_drained(node: &Node, drain_on_cordon: bool) -> bool {
    node.draining || node.cordoned && drain_on_cordon
}

/// See the module's head.
#[derive(Debug)]
pub struct Membership {
    node: Arc<str>,
    view: MembershipView,
    /// Whether there is a ring.
    takes_part: bool,
    drain_on_cordon: bool,
    /// Where those are that are there.
    living: BTreeSet<SocketAddr>,
    join_schedule: JoinSchedule,
    gone: BTreeSet<Arc<str>>,
    expected: BTreeSet<Arc<str>>,
    /// Those who were told what this speaker says of itself.
    greeted: BTreeSet<Arc<str>>,
    /// What was claimed and is announced since.
    claimed: BTreeSet<IpAddr>,
    /// Who holds what, if this speaker was started with `--sticky` or `--spread`.
    table: Option<OwnershipTable>,
    /// The members, or what they say of themselves, are others since it was last decided.
    changed: bool,
    changed_at: Option<Instant>,
    links_changed: bool,
    /// Since when this node has not been to speak, if the others don't know that yet.
    untold: Option<Instant>,
    /// Of the snapshot, when it was last considered; none before the cluster's objects have been read.
    readiness: Option<u64>,
    /// There is a list of the pods that was not considered.
    listed: bool,
    commands: VecDeque<Command>,
}

impl Membership {
    /// Without a ring: every known node counts as running a speaker.
    #[must_use]
    pub fn disabled(node: Arc<str>) -> Self {
        let view = MembershipView::disabled(Arc::clone(&node));
        Self::with(node, view, false)
    }

    /// In a ring, where this speaker has said `metadata` of itself. With `alone` there is nobody to wait for;
    /// with `drain_on_cordon` a cordon counts as being emptied.
    #[must_use]
    pub fn new(node: Arc<str>, metadata: NodeMetadata, alone: bool, drain_on_cordon: bool) -> Self {
        let table =
            (metadata.sticky || metadata.spread).then(|| OwnershipTable::new(metadata.generation));
        let view = MembershipView::new(Arc::clone(&node), metadata, alone);
        let mut membership = Self { drain_on_cordon, table, ..Self::with(node, view, true) };
        if alone {
            membership.commands.push_back(Command::Resume);
        }
        membership
    }

    fn with(node: Arc<str>, view: MembershipView, takes_part: bool) -> Self {
        Self {
            node,
            view,
            takes_part,
            drain_on_cordon: false,
            living: BTreeSet::new(),
            join_schedule: JoinSchedule::default(),
            gone: BTreeSet::new(),
            expected: BTreeSet::new(),
            greeted: BTreeSet::new(),
            claimed: BTreeSet::new(),
            table: None,
            changed: false,
            changed_at: None,
            links_changed: true,
            untold: None,
            readiness: None,
            listed: false,
            commands: VecDeque::new(),
        }
    }

    /// Whether there is a ring.
    #[must_use]
    pub fn takes_part(&self) -> bool {
        self.takes_part
    }

    /// Who takes part, and whether this node may speak.
    #[must_use]
    pub fn view(&self) -> &MembershipView {
        &self.view
    }

    /// What the ring is to do next.
    pub fn poll(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Whether addresses may be moving because the members have just changed.
    #[must_use]
    pub fn just_changed(&self, now: Instant) -> bool {
        self.changed_at.is_some_and(|at| now.saturating_duration_since(at) < MOVE_TIME)
    }

    /// A link of this node changed.
    pub fn note_links(&mut self) {
        self.links_changed = true;
    }

    /// These are the members of the ring now.
    pub fn handle_members<'a>(
        &mut self,
        now: Instant,
        ring: impl Iterator<Item = &'a members::Member> + Clone,
    ) {
        self.living = ring
            .clone()
            .filter(|member| {
                matches!(member.state, members::State::Alive | members::State::Suspect)
            })
            .map(|member| member.address)
            .collect();
        if self.view.count(now, ring) {
            self.note_change(now);
        }
        self.attend(now);
        self.greet();
    }

    /// Who says what it holds: the others that take part and speak.
    fn attend(&mut self, now: Instant) {
        let Members::Alive(members) = self.view.members() else { return };
        let Some(table) = &mut self.table else { return };
        let speaks = |name: &Arc<str>, member: &Member| match member {
            Member::Ferrolb(metadata) => {
                *name != self.node && !metadata.leaving && !metadata.silent
            }
            Member::MetalLb => false,
        };
        let others = members.iter().filter(|(name, member)| speaks(name, member));
        table.retain(|name| members.contains_key(name));
        table.attend(now, others.map(|(name, _)| name));
    }

    /// Who has what, where owners stay or are spread.
    #[must_use]
    pub fn placement(&self) -> Option<Placement<'_>> {
        let members = self.view.members();
        Placement::new(&self.node, Modes::of(members), self.table.as_ref()?, members)
    }

    /// Whether owners stay or are spread.
    fn has_tenure(&self) -> bool {
        self.table.is_some() && Modes::of(self.view.members()).any()
    }

    /// What the ring says of this speaker may be a second old, and whoever is new has not heard what was told since.
    fn greet(&mut self) {
        let Members::Alive(members) = self.view.members() else { return };
        let others = members
            .iter()
            .filter(|(name, member)| **name != self.node && matches!(member, Member::Ferrolb(_)));
        let others: BTreeSet<Arc<str>> = others.map(|(name, _)| Arc::clone(name)).collect();
        let strangers: Vec<Arc<str>> = others.difference(&self.greeted).cloned().collect();
        for to in strangers {
            self.introduce(&to);
        }
        self.greeted = others;
    }

    /// Tells one speaker all that is to be known of this one.
    fn introduce(&mut self, to: &Arc<str>) {
        let metadata = PeerMessage::Metadata(self.view.metadata().clone());
        self.notify(Some(to), &metadata);
        if self.view.standing().speaks() {
            let claims = PeerMessage::TookOver(self.claimed.iter().copied().collect());
            self.notify(Some(to), &claims);
            self.list(Some(to));
        }
    }

    /// Tells one speaker, or all, everything that this one holds.
    fn list(&mut self, to: Option<&Arc<str>>) {
        if let Some(table) = &self.table {
            let (mark, list) = (table.mark(), table.list());
            self.commands.push_back(Command::Mark(mark));
            for part in list {
                self.notify(to, &part);
            }
        }
    }

    /// Another speaker's heartbeats carry this.
    pub fn handle_mark(&mut self, now: Instant, from: &Arc<str>, mark: [u8; 16]) {
        if let Some(table) = &mut self.table {
            table.handle_mark(now, from, mark);
        }
    }

    fn notify(&mut self, to: Option<&Arc<str>>, told: &PeerMessage) {
        let notices = told.encode().into_iter();
        self.commands.extend(notices.map(|octets| Command::Notify { to: to.cloned(), octets }));
    }

    /// Whether this node may speak is another. To be told after the members as they were then.
    pub fn handle_standing(&mut self, now: Instant, time: u64, standing: Standing) {
        self.view.set_standing(standing);
        self.note_change(now);
        match standing {
            // It is told with the decision that follows.
            Standing::Confirmed => {
                self.untold = None;
                if let Some(table) = &mut self.table {
                    table.doubt(now);
                    self.notify(None, &PeerMessage::SyncRequest);
                }
            }
            Standing::Starting | Standing::Doubtful => {
                self.untold.get_or_insert(now);
            }
            Standing::Minority { .. } => self.tell_silence(time),
        }
    }

    /// Another speaker tells something: returns the addresses that it answers for from now, if it is that.
    pub fn handle_notice<'a>(
        &mut self,
        now: Instant,
        from: Arc<str>,
        octets: &[u8],
        ring: impl Iterator<Item = &'a members::Member> + Clone,
    ) -> Vec<IpAddr> {
        match PeerMessage::decode(octets) {
            Some(PeerMessage::Metadata(metadata)) => {
                self.view.handle_metadata(from, metadata);
                self.handle_members(now, ring);
                Vec::new()
            }
            Some(PeerMessage::TookOver(addresses)) => addresses,
            Some(PeerMessage::OwnedSnapshot(held)) => {
                if let Some(table) = &mut self.table {
                    table.handle_snapshot(now, &from, &held);
                }
                Vec::new()
            }
            Some(PeerMessage::OwnedDelta(changed)) => {
                if let Some(table) = &mut self.table {
                    table.handle_delta(now, &from, &changed);
                }
                Vec::new()
            }
            Some(PeerMessage::ConflictReport { address, term, node }) => {
                if let Some(table) = &mut self.table {
                    table.handle_conflict_report(now, address, term, &node);
                }
                Vec::new()
            }
            Some(PeerMessage::SyncRequest) => {
                self.introduce(&from);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// Whether a list of the speakers' pods would decide who counts.
    #[must_use]
    pub fn wants_list(&self, now: Instant) -> bool {
        self.takes_part && self.view.wants_list(now)
    }

    /// Where other speakers should be. They are joined now, first those that are likely to answer, and again and again whenever they are no
    /// members.
    pub fn find(&mut self, now: Instant, listed: &Listed) {
        let known_nodes = self.view.known_nodes();
        known_nodes.handle_list(&listed.pods, listed.listing);
        let likely = |pod: &&Pod| {
            pod.ready && pod.node.as_ref().is_none_or(|node| !known_nodes.is_not_ready(node))
        };
        let likely = listed.pods.iter().filter(likely).filter_map(|pod| pod.address).collect();
        self.listed = true;
        if listed.pods.is_empty() {
            self.commands.push_back(Command::Alone);
        }
        self.expect();
        if self.takes_part {
            let addresses: Vec<_> = listed.pods.iter().filter_map(|pod| pod.address).collect();
            self.join_schedule.find(now, &addresses, likely);
        }
        self.join(now);
    }

    /// Tells the ring who should be a member.
    fn expect(&mut self) {
        let expected = self.view.known_nodes().expected();
        if self.expected != expected {
            self.expected.clone_from(&expected);
            self.commands.push_back(Command::Expect(expected));
        }
    }

    /// Before a decision: what the members say, and what they are told. `time` is that of the wall, in microseconds since 1970.
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
        metadata.behind =
            self.has_tenure() && self.table.as_ref().is_some_and(|table| table.is_behind(now));
        // Whoever is not to speak says so; who starts has said so from the beginning, and is ready now.
        if self.view.standing().speaks() {
            metadata.silent = false;
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

    /// Services whose addresses others hold, or no more, are to be decided again; so are those that nobody has.
    fn consider_holdings(&mut self, snapshot: &Snapshot, dirty: &mut Dirty) {
        let active = self.has_tenure();
        let Some(table) = &mut self.table else { return };
        table.forget(|| {
            let services = snapshot.services().values();
            services.flat_map(|service| service.ingress_addresses()).collect()
        });
        let (changed, resettled) = table.take_changes();
        if !active || dirty.all || changed.is_empty() && !resettled {
            return;
        }
        let table = &*table;
        for (key, service) in snapshot.services() {
            let Some(address) = service.ingress_addresses().next() else { continue };
            let held = || table.term(address).is_some() || table.holders(address).next().is_some();
            if changed.contains(&address) || !held() {
                dirty.services.insert(key.clone());
            }
        }
        dirty.all |= self.placement().is_some_and(|placement| placement.is_overloaded(&self.node));
    }

    /// After a decision. Whether it is the first since this node may speak (again): then everything announced here is to be announced
    /// and claimed anew.
    #[must_use]
    pub fn decided(&mut self) -> bool {
        let resumes = self.view.take_resuming();
        if resumes {
            self.list(None);
            self.commands.push_back(Command::Resume);
            // What the others said while this node was away, they will not say again.
            self.notify(None, &PeerMessage::SyncRequest);
        }
        resumes
    }

    /// After a decision: what the engine was told to do.
    pub fn carried_out(&mut self, orders: &EngineOrders) {
        for address in &orders.linger {
            self.claimed.remove(address);
        }
        for (address, _) in orders.change.iter().filter(|(_, scope)| scope.is_none()) {
            self.claimed.remove(address);
        }
        let Some(table) = &mut self.table else { return };
        let with = |announced: bool| {
            let changed =
                orders.change.iter().filter(move |(_, scope)| scope.is_some() == announced);
            changed.map(|(address, _)| *address)
        };
        let steps = table.change(with(true), with(false).chain(orders.linger.iter().copied()));
        let mark = table.mark();
        // Whoever is not to speak tells all of it when it may.
        if !steps.is_empty() && self.view.standing().speaks() {
            self.commands.push_back(Command::Mark(mark));
            for step in steps {
                self.notify(None, &step);
            }
        }
    }

    /// These were given away, and nobody has claimed them in time.
    pub fn unclaimed(&mut self, now: Instant, addresses: &[IpAddr]) {
        if let Some(table) = &mut self.table {
            table.note_unclaimed(now, addresses);
        }
    }

    /// Tells the others which addresses are answered for here from now.
    pub fn claim(&mut self, addresses: Vec<IpAddr>) {
        self.claimed.extend(&addresses);
        self.notify(None, &PeerMessage::TookOver(addresses));
    }

    /// When [`Self::expire`] is due.
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let untold = self.untold.map(|since| since + DOUBT_TIME);
        let table = self.table.as_ref().filter(|_| self.has_tenure());
        let behind = table.and_then(|table| table.deadline(now));
        let joins = self.join_schedule.deadline();
        self.view.deadline(now).into_iter().chain(untold).chain(behind).chain(joins).min()
    }

    /// Does what has become due.
    pub fn expire(&mut self, now: Instant, time: u64, snapshot: &Snapshot) {
        if self.untold.is_some_and(|since| now >= since + DOUBT_TIME) {
            self.tell_silence(time);
        }
        if self.has_tenure() {
            let asked = self.table.as_mut().map(|table| table.questions(now));
            for name in asked.unwrap_or_default() {
                self.notify(Some(&name), &PeerMessage::SyncRequest);
            }
            let disputes = self.table.as_mut().map(|table| {
                table.reconsider(now);
                table.disputes(now)
            });
            for (name, rival) in disputes.unwrap_or_default() {
                self.notify(Some(&name), &rival);
            }
        }
        self.join(now);
        // Before it has been read no Node is known, which says nothing.
        if self.readiness.is_some() {
            self.consider_gone(now, time, snapshot);
        }
    }

    /// This speaker is about to end. Whether what it announces passes to others now, who say when they have it; MetalLB's speakers take
    /// over only from one that has left.
    pub fn begin_to_leave(&mut self, time: u64) -> bool {
        if self.view.members().is_mixed() {
            return false;
        }
        let metadata = NodeMetadata { leaving: true, ..self.view.metadata().clone() };
        self.tell(time, metadata);
        self.changed = true;
        true
    }

    fn links(&self, snapshot: &Snapshot, links: &[LinkReport]) -> PoolLinks {
        let config = snapshot.config();
        let node = snapshot.nodes().get(&self.node);
        PoolLinks::of(&PoolOrder::of(config), config, links, |advertisement| {
            node.is_some_and(|node| advertisement.selects_node(&node.labels))
        })
    }

    fn note_change(&mut self, now: Instant) {
        self.changed = true;
        self.changed_at = Some(now);
    }

    /// The others shall have its addresses, as far as they hear it.
    fn tell_silence(&mut self, time: u64) {
        self.untold = None;
        if self.takes_part && !self.view.metadata().silent {
            let metadata = NodeMetadata { silent: true, ..self.view.metadata().clone() };
            self.tell(time, metadata);
        }
    }

    /// Says something else of this speaker, under a generation that is higher than before, also over restarts.
    fn tell(&mut self, time: u64, metadata: NodeMetadata) {
        let generation = time.max(self.view.metadata().generation.saturating_add(1));
        let metadata = NodeMetadata { generation, ..metadata };
        self.view.set_metadata(metadata.clone());
        let meta = metadata.encode();
        self.notify(None, &PeerMessage::Metadata(metadata));
        self.commands.push_back(Command::SetMeta(meta));
    }

    /// Nodes that the API does not know any more, or not as ready for a minute, or without a speaker's pod.
    fn consider_gone(&mut self, now: Instant, time: u64, snapshot: &Snapshot) {
        self.listed = false;
        let Judgement { gone, forgotten } =
            self.view.known_nodes().look(now, time, snapshot.nodes());
        if self.takes_part && !forgotten.is_empty() {
            self.commands.push_back(Command::Forget(forgotten));
        }
        if self.takes_part && self.gone != gone {
            self.gone.clone_from(&gone);
            self.commands.push_back(Command::Gone(gone));
        }
        self.expect();
    }

    /// Joins those that should be members, or were lately, and are not. JoinSchedule would end a departure.
    fn join(&mut self, now: Instant) {
        let [likely, others] = self.join_schedule.due(now);
        let likely = [self.view.rejoin(now), likely].concat();
        let stays = self.takes_part && !self.view.metadata().leaving;
        let mut told = BTreeSet::new();
        for mut strangers in [likely, others] {
            strangers.retain(|it| !self.living.contains(it) && told.insert(*it));
            if stays && !strangers.is_empty() {
                self.commands.push_back(Command::Join(strangers));
            }
        }
    }
}
