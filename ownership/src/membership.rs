// SPDX-License-Identifier: Apache-2.0
//! The conclusions that a speaker draws from its ring: which nodes take part, what the others are told, when everything is to be decided
//! again, and when this node may answer. A synchronous value; its driver carries out the [`Command`]s.

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

/// The time that a doubt may last before the others are told. Most doubts are settled sooner, and moving an address costs more.
const DOUBT_TIME: Duration = Duration::from_millis(80);

/// Whether a node is drained; with `drain_on_cordon` a cordoned node counts as drained.
#[must_use]
pub fn is_drained(node: &Node, drain_on_cordon: bool) -> bool {
    node.draining || node.cordoned && drain_on_cordon
}

/// See the module's head.
#[derive(Debug)]
pub struct Membership {
    node: Arc<str>,
    view: MembershipView,
    /// True if there is a ring.
    takes_part: bool,
    drain_on_cordon: bool,
    /// The network addresses of the members that are alive.
    living: BTreeSet<SocketAddr>,
    join_schedule: JoinSchedule,
    gone: BTreeSet<Arc<str>>,
    expected: BTreeSet<Arc<str>>,
    /// The speakers that were sent this speaker's metadata.
    greeted: BTreeSet<Arc<str>>,
    /// The addresses that this speaker has claimed and still announces.
    claimed: BTreeSet<IpAddr>,
    /// The table of owned addresses, if this speaker was started with `--sticky` or `--spread`.
    table: Option<OwnershipTable>,
    /// The members or their metadata have changed since the last decision.
    changed: bool,
    changed_at: Option<Instant>,
    links_changed: bool,
    /// The time at which this node lost the right to answer, if the others have not been told yet.
    untold: Option<Instant>,
    /// The snapshot's readiness when it was last considered; none before the cluster's objects have been read.
    readiness: Option<u64>,
    /// A list of the pods has come that was not considered yet.
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

    /// In a ring, where this speaker has published `metadata`. With `alone` there is nobody to wait for; with `drain_on_cordon` a cordoned
    /// node counts as drained.
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

    /// True if there is a ring.
    #[must_use]
    pub fn takes_part(&self) -> bool {
        self.takes_part
    }

    /// The nodes that take part, and the standing of this one.
    #[must_use]
    pub fn view(&self) -> &MembershipView {
        &self.view
    }

    /// The next command for the ring.
    pub fn poll(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// True if addresses may be moving because the members have just changed.
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

    /// Tells the table which others announce what they own: the members that take part and may answer.
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

    /// The placement of addresses, where owners stay or are spread.
    #[must_use]
    pub fn placement(&self) -> Option<Placement<'_>> {
        let members = self.view.members();
        Placement::new(&self.node, Modes::of(members), self.table.as_ref()?, members)
    }

    /// True if owners stay or are spread.
    fn has_tenure(&self) -> bool {
        self.table.is_some() && Modes::of(self.view.members()).any()
    }

    /// Greets the members that are new. The metadata in the ring may be a second old, and a new member has not heard what was told since.
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

    /// Tells one speaker everything that there is to know about this one.
    fn introduce(&mut self, to: &Arc<str>) {
        let metadata = PeerMessage::Metadata(self.view.metadata().clone());
        self.notify(Some(to), &metadata);
        if self.view.standing().speaks() {
            let claims = PeerMessage::TookOver(self.claimed.iter().copied().collect());
            self.notify(Some(to), &claims);
            self.list(Some(to));
        }
    }

    /// Tells one speaker, or all, the list of addresses that this one owns.
    fn list(&mut self, to: Option<&Arc<str>>) {
        if let Some(table) = &self.table {
            let (mark, list) = (table.mark(), table.list());
            self.commands.push_back(Command::Mark(mark));
            for part in list {
                self.notify(to, &part);
            }
        }
    }

    /// A heartbeat of another speaker carries this digest.
    pub fn handle_mark(&mut self, now: Instant, from: &Arc<str>, mark: [u8; 16]) {
        if let Some(table) = &mut self.table {
            table.handle_mark(now, from, mark);
        }
    }

    fn notify(&mut self, to: Option<&Arc<str>>, told: &PeerMessage) {
        let notices = told.encode().into_iter();
        self.commands.extend(notices.map(|octets| Command::Notify { to: to.cloned(), octets }));
    }

    /// The standing of this node has changed. To be called after [`Self::handle_members`] with the members as they were then.
    pub fn handle_standing(&mut self, now: Instant, time: u64, standing: Standing) {
        self.view.set_standing(standing);
        self.note_change(now);
        match standing {
            // The decision that follows tells it to the others.
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

    /// Another speaker sends a message. Returns the addresses that the sender answers for from now, if the message is a claim.
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

    /// True if a list of the speakers' pods would decide which nodes count.
    #[must_use]
    pub fn wants_list(&self, now: Instant) -> bool {
        self.takes_part && self.view.wants_list(now)
    }

    /// The places where other speakers should be. They are joined now, the ones that are likely to answer first, and again and again whenever
    /// they are no members.
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

    /// Tells the ring which nodes should be members.
    fn expect(&mut self) {
        let expected = self.view.known_nodes().expected();
        if self.expected != expected {
            self.expected.clone_from(&expected);
            self.commands.push_back(Command::Expect(expected));
        }
    }

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
        metadata.behind =
            self.has_tenure() && self.table.as_ref().is_some_and(|table| table.is_behind(now));
        // A speaker that loses the right to answer publishes that elsewhere. One that starts has published it from the beginning, and is
        // ready now.
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

    /// Marks the Services whose addresses another speaker has gained or lost, and the ones whose addresses nobody owns: they are to be
    /// decided again.
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

    /// After a decision. Returns true for the first one since this node may answer (again): then everything announced here is to be announced
    /// and claimed anew.
    #[must_use]
    pub fn decided(&mut self) -> bool {
        let resumes = self.view.take_resuming();
        if resumes {
            // A member that took this node for dead has forgotten the newer messages, and the metadata in the memberlist may be a second old.
            self.notify(None, &PeerMessage::Metadata(self.view.metadata().clone()));
            self.list(None);
            self.commands.push_back(Command::Resume);
            // The others do not repeat what they said while this node was away.
            self.notify(None, &PeerMessage::SyncRequest);
        }
        resumes
    }

    /// After a decision: the orders that the engine was given.
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
        // A speaker that may not answer sends its whole list when it may.
        if !steps.is_empty() && self.view.standing().speaks() {
            self.commands.push_back(Command::Mark(mark));
            for step in steps {
                self.notify(None, &step);
            }
        }
    }

    /// These addresses were given away, and nobody has claimed them in time.
    pub fn unclaimed(&mut self, now: Instant, addresses: &[IpAddr]) {
        if let Some(table) = &mut self.table {
            table.note_unclaimed(now, addresses);
        }
    }

    /// Tells the others which addresses this speaker answers for from now.
    pub fn claim(&mut self, addresses: Vec<IpAddr>) {
        self.claimed.extend(&addresses);
        self.notify(None, &PeerMessage::TookOver(addresses));
    }

    /// The time at which [`Self::expire`] is due.
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let untold = self.untold.map(|since| since + DOUBT_TIME);
        let table = self.table.as_ref().filter(|_| self.has_tenure());
        let behind = table.and_then(|table| table.deadline(now));
        let joins = self.join_schedule.deadline();
        self.view.deadline(now).into_iter().chain(untold).chain(behind).chain(joins).min()
    }

    /// Does everything that has become due.
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
        // Before the snapshot has been read no Node is known, which does not mean that the nodes are gone.
        if self.readiness.is_some() {
            self.consider_gone(now, time, snapshot);
        }
    }

    /// This speaker is about to end. Returns true if its addresses pass to others now, which claim them when they have them. MetalLB's
    /// speakers take over only from a member that has left.
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

    /// Tells the others to take over this speaker's addresses, if they hear it.
    fn tell_silence(&mut self, time: u64) {
        self.untold = None;
        if self.takes_part && !self.view.metadata().silent {
            let metadata = NodeMetadata { silent: true, ..self.view.metadata().clone() };
            self.tell(time, metadata);
        }
    }

    /// Publishes other metadata of this speaker, under a generation that is higher than any before, also over restarts.
    fn tell(&mut self, time: u64, metadata: NodeMetadata) {
        let generation = time.max(self.view.metadata().generation.saturating_add(1));
        let metadata = NodeMetadata { generation, ..metadata };
        self.view.set_metadata(metadata.clone());
        let meta = metadata.encode();
        self.notify(None, &PeerMessage::Metadata(metadata));
        self.commands.push_back(Command::SetMeta(meta));
    }

    /// Tells the ring which nodes the API does not know any more, or has not seen ready for a minute, or shows without a speaker's pod.
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

    /// Joins the nodes that should be members, or were lately, and are not. A speaker that leaves joins nobody, as that would undo its
    /// departure.
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
