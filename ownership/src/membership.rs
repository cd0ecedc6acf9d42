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

use crate::handover::{MOVING, Orders};
use crate::members::{Member, Members};
use crate::placement::{Modes, Tenure};
use crate::table::Holdings;
use crate::wire::links::NodeLinks;
use crate::wire::message::Told;
use crate::wire::metadata::{Facts, PoolLinks, PoolOrder};
pub use join_schedule::FIRST;
use join_schedule::Joining;
use known_nodes::Judgement;
pub use known_nodes::{Listed, Listing, Pod};
pub use port_check::{Blockage, Blocked};
pub use view::Attendance;

/// How long a doubt may last until the others are told: most are settled sooner, and moving an address costs more.
const DOUBT: Duration = Duration::from_millis(80);

/// Whether a node is being emptied; with `drain_on_cordon` also while it is cordoned.
#[must_use]
pub fn is_drained(node: &Node, drain_on_cordon: bool) -> bool {
    node.draining || node.cordoned && drain_on_cordon
}

/// See the module's head.
#[derive(Debug)]
pub struct Participation {
    node: Arc<str>,
    attendance: Attendance,
    /// Whether there is a ring.
    takes_part: bool,
    drain_on_cordon: bool,
    /// Where those are that are there.
    living: BTreeSet<SocketAddr>,
    joining: Joining,
    gone: BTreeSet<Arc<str>>,
    expected: BTreeSet<Arc<str>>,
    /// Those who were told what this speaker says of itself.
    greeted: BTreeSet<Arc<str>>,
    /// What was claimed and is announced since.
    claimed: BTreeSet<IpAddr>,
    /// Who holds what, if this speaker was started with `--sticky` or `--spread`.
    holdings: Option<Holdings>,
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

impl Participation {
    /// Without a ring: every known node counts as running a speaker.
    #[must_use]
    pub fn disabled(node: Arc<str>) -> Self {
        let attendance = Attendance::disabled(Arc::clone(&node));
        Self::with(node, attendance, false)
    }

    /// In a ring, where this speaker has said `facts` of itself. With `alone` there is nobody to wait for;
    /// with `drain_on_cordon` a cordon counts as being emptied.
    #[must_use]
    pub fn new(node: Arc<str>, facts: Facts, alone: bool, drain_on_cordon: bool) -> Self {
        let holdings = (facts.sticky || facts.spread).then(|| Holdings::new(facts.generation));
        let attendance = Attendance::new(Arc::clone(&node), facts, alone);
        let mut participation =
            Self { drain_on_cordon, holdings, ..Self::with(node, attendance, true) };
        if alone {
            participation.commands.push_back(Command::Resume);
        }
        participation
    }

    fn with(node: Arc<str>, attendance: Attendance, takes_part: bool) -> Self {
        Self {
            node,
            attendance,
            takes_part,
            drain_on_cordon: false,
            living: BTreeSet::new(),
            joining: Joining::default(),
            gone: BTreeSet::new(),
            expected: BTreeSet::new(),
            greeted: BTreeSet::new(),
            claimed: BTreeSet::new(),
            holdings: None,
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
    pub fn attendance(&self) -> &Attendance {
        &self.attendance
    }

    /// What the ring is to do next.
    pub fn poll(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Whether addresses may be moving because the members have just changed.
    #[must_use]
    pub fn just_changed(&self, now: Instant) -> bool {
        self.changed_at.is_some_and(|at| now.saturating_duration_since(at) < MOVING)
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
        if self.attendance.count(now, ring) {
            self.note_change(now);
        }
        self.attend(now);
        self.greet();
    }

    /// Who says what it holds: the others that take part and speak.
    fn attend(&mut self, now: Instant) {
        let Members::Alive(members) = self.attendance.members() else { return };
        let Some(holdings) = &mut self.holdings else { return };
        let speaks = |name: &Arc<str>, member: &Member| match member {
            Member::Ferrolb(facts) => *name != self.node && !facts.leaving && !facts.silent,
            Member::MetalLb => false,
        };
        let others = members.iter().filter(|(name, member)| speaks(name, member));
        holdings.retain(|name| members.contains_key(name));
        holdings.attend(now, others.map(|(name, _)| name));
    }

    /// Who has what, where owners stay or are spread.
    #[must_use]
    pub fn tenure(&self) -> Option<Tenure<'_>> {
        let members = self.attendance.members();
        Tenure::new(&self.node, Modes::of(members), self.holdings.as_ref()?, members)
    }

    /// Whether owners stay or are spread.
    fn has_tenure(&self) -> bool {
        self.holdings.is_some() && Modes::of(self.attendance.members()).any()
    }

    /// What the ring says of this speaker may be a second old, and whoever is new has not heard what was told since.
    fn greet(&mut self) {
        let Members::Alive(members) = self.attendance.members() else { return };
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
        let facts = Told::Facts(self.attendance.facts().clone());
        self.notify(Some(to), &facts);
        if self.attendance.standing().speaks() {
            let claims = Told::Claims(self.claimed.iter().copied().collect());
            self.notify(Some(to), &claims);
            self.list(Some(to));
        }
    }

    /// Tells one speaker, or all, everything that this one holds.
    fn list(&mut self, to: Option<&Arc<str>>) {
        if let Some(holdings) = &self.holdings {
            let (mark, list) = (holdings.mark(), holdings.list());
            self.commands.push_back(Command::Mark(mark));
            for part in list {
                self.notify(to, &part);
            }
        }
    }

    /// Another speaker's heartbeats carry this.
    pub fn handle_mark(&mut self, now: Instant, from: &Arc<str>, mark: [u8; 16]) {
        if let Some(holdings) = &mut self.holdings {
            holdings.take_mark(now, from, mark);
        }
    }

    fn notify(&mut self, to: Option<&Arc<str>>, told: &Told) {
        let notices = told.encode().into_iter();
        self.commands.extend(notices.map(|octets| Command::Notify { to: to.cloned(), octets }));
    }

    /// Whether this node may speak is another. To be told after the members as they were then.
    pub fn handle_standing(&mut self, now: Instant, time: u64, standing: Standing) {
        self.attendance.take_standing(standing);
        self.note_change(now);
        match standing {
            // It is told with the decision that follows.
            Standing::Confirmed => {
                self.untold = None;
                if let Some(holdings) = &mut self.holdings {
                    holdings.doubt(now);
                    self.notify(None, &Told::Question);
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
        match Told::decode(octets) {
            Some(Told::Facts(facts)) => {
                self.attendance.take_facts(from, facts);
                self.handle_members(now, ring);
                Vec::new()
            }
            Some(Told::Claims(addresses)) => addresses,
            Some(Told::Held(held)) => {
                if let Some(holdings) = &mut self.holdings {
                    holdings.take_list(now, &from, &held);
                }
                Vec::new()
            }
            Some(Told::Changed(changed)) => {
                if let Some(holdings) = &mut self.holdings {
                    holdings.take_change(now, &from, &changed);
                }
                Vec::new()
            }
            Some(Told::Rival { address, term, node }) => {
                if let Some(holdings) = &mut self.holdings {
                    holdings.take_rival(now, address, term, &node);
                }
                Vec::new()
            }
            Some(Told::Question) => {
                self.introduce(&from);
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    /// Whether a list of the speakers' pods would decide who counts.
    #[must_use]
    pub fn wants_list(&self, now: Instant) -> bool {
        self.takes_part && self.attendance.wants_list(now)
    }

    /// Where other speakers should be. They are joined now, first those that are likely to answer, and again and again whenever they are no
    /// members.
    pub fn find(&mut self, now: Instant, listed: &Listed) {
        let register = self.attendance.register();
        register.take_list(&listed.pods, listed.listing);
        let likely = |pod: &&Pod| {
            pod.ready && pod.node.as_ref().is_none_or(|node| !register.is_not_ready(node))
        };
        let likely = listed.pods.iter().filter(likely).filter_map(|pod| pod.address).collect();
        self.listed = true;
        if listed.pods.is_empty() {
            self.commands.push_back(Command::Alone);
        }
        self.expect();
        if self.takes_part {
            let addresses: Vec<_> = listed.pods.iter().filter_map(|pod| pod.address).collect();
            self.joining.find(now, &addresses, likely);
        }
        self.join(now);
    }

    /// Tells the ring who should be a member.
    fn expect(&mut self) {
        let expected = self.attendance.register().expected();
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
        let mut facts = self.attendance.facts().clone();
        if dirty.all || std::mem::take(&mut self.links_changed) {
            let node = snapshot.nodes().get(&self.node);
            let said = NodeLinks::of(snapshot.config(), links, node);
            facts.set_links(self.links(snapshot, links), said);
            facts.drained = node.is_some_and(|node| is_drained(node, self.drain_on_cordon));
        }
        facts.behind = self.has_tenure()
            && self.holdings.as_ref().is_some_and(|holdings| holdings.is_behind(now));
        // Whoever is not to speak says so; who starts has said so from the beginning, and is ready now.
        if self.attendance.standing().speaks() {
            facts.silent = false;
        }
        if self.takes_part && facts != *self.attendance.facts() {
            self.tell(time, facts);
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
        let Some(holdings) = &mut self.holdings else { return };
        holdings.forget(|| {
            let services = snapshot.services().values();
            services.flat_map(|service| service.ingress_addresses()).collect()
        });
        let (changed, resettled) = holdings.take_changes();
        if !active || dirty.all || changed.is_empty() && !resettled {
            return;
        }
        let holdings = &*holdings;
        for (key, service) in snapshot.services() {
            let Some(address) = service.ingress_addresses().next() else { continue };
            let held =
                || holdings.term(address).is_some() || holdings.holders(address).next().is_some();
            if changed.contains(&address) || !held() {
                dirty.services.insert(key.clone());
            }
        }
        dirty.all |= self.tenure().is_some_and(|tenure| tenure.is_overloaded(&self.node));
    }

    /// After a decision. Whether it is the first since this node may speak (again): then everything announced here is to be announced
    /// and claimed anew.
    #[must_use]
    pub fn decided(&mut self) -> bool {
        let resumes = self.attendance.take_resuming();
        if resumes {
            self.list(None);
            self.commands.push_back(Command::Resume);
            // What the others said while this node was away, they will not say again.
            self.notify(None, &Told::Question);
        }
        resumes
    }

    /// After a decision: what the engine was told to do.
    pub fn carried_out(&mut self, orders: &Orders) {
        for address in &orders.linger {
            self.claimed.remove(address);
        }
        for (address, _) in orders.change.iter().filter(|(_, scope)| scope.is_none()) {
            self.claimed.remove(address);
        }
        let Some(holdings) = &mut self.holdings else { return };
        let with = |announced: bool| {
            let changed =
                orders.change.iter().filter(move |(_, scope)| scope.is_some() == announced);
            changed.map(|(address, _)| *address)
        };
        let steps = holdings.change(with(true), with(false).chain(orders.linger.iter().copied()));
        let mark = holdings.mark();
        // Whoever is not to speak tells all of it when it may.
        if !steps.is_empty() && self.attendance.standing().speaks() {
            self.commands.push_back(Command::Mark(mark));
            for step in steps {
                self.notify(None, &step);
            }
        }
    }

    /// These were given away, and nobody has claimed them in time.
    pub fn unclaimed(&mut self, now: Instant, addresses: &[IpAddr]) {
        if let Some(holdings) = &mut self.holdings {
            holdings.note_unclaimed(now, addresses);
        }
    }

    /// Tells the others which addresses are answered for here from now.
    pub fn claim(&mut self, addresses: Vec<IpAddr>) {
        self.claimed.extend(&addresses);
        self.notify(None, &Told::Claims(addresses));
    }

    /// When [`Self::expire`] is due.
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let untold = self.untold.map(|since| since + DOUBT);
        let holdings = self.holdings.as_ref().filter(|_| self.has_tenure());
        let behind = holdings.and_then(|holdings| holdings.deadline(now));
        let joins = self.joining.deadline();
        self.attendance.deadline(now).into_iter().chain(untold).chain(behind).chain(joins).min()
    }

    /// Does what has become due.
    pub fn expire(&mut self, now: Instant, time: u64, snapshot: &Snapshot) {
        if self.untold.is_some_and(|since| now >= since + DOUBT) {
            self.tell_silence(time);
        }
        if self.has_tenure() {
            let asked = self.holdings.as_mut().map(|holdings| holdings.questions(now));
            for name in asked.unwrap_or_default() {
                self.notify(Some(&name), &Told::Question);
            }
            let disputes = self.holdings.as_mut().map(|holdings| {
                holdings.reconsider(now);
                holdings.disputes(now)
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
        if self.attendance.members().is_mixed() {
            return false;
        }
        let facts = Facts { leaving: true, ..self.attendance.facts().clone() };
        self.tell(time, facts);
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
        if self.takes_part && !self.attendance.facts().silent {
            let facts = Facts { silent: true, ..self.attendance.facts().clone() };
            self.tell(time, facts);
        }
    }

    /// Says something else of this speaker, under a generation that is higher than before, also over restarts.
    fn tell(&mut self, time: u64, facts: Facts) {
        let generation = time.max(self.attendance.facts().generation.saturating_add(1));
        let facts = Facts { generation, ..facts };
        self.attendance.set_facts(facts.clone());
        let meta = facts.encode();
        self.notify(None, &Told::Facts(facts));
        self.commands.push_back(Command::SetMeta(meta));
    }

    /// Nodes that the API does not know any more, or not as ready for a minute, or without a speaker's pod.
    fn consider_gone(&mut self, now: Instant, time: u64, snapshot: &Snapshot) {
        self.listed = false;
        let Judgement { gone, forgotten } =
            self.attendance.register().look(now, time, snapshot.nodes());
        if self.takes_part && !forgotten.is_empty() {
            self.commands.push_back(Command::Forget(forgotten));
        }
        if self.takes_part && self.gone != gone {
            self.gone.clone_from(&gone);
            self.commands.push_back(Command::Gone(gone));
        }
        self.expect();
    }

    /// Joins those that should be members, or were lately, and are not. Joining would end a departure.
    fn join(&mut self, now: Instant) {
        let [likely, others] = self.joining.due(now);
        let likely = [self.attendance.rejoin(now), likely].concat();
        let stays = self.takes_part && !self.attendance.facts().leaving;
        let mut told = BTreeSet::new();
        for mut strangers in [likely, others] {
            strangers.retain(|it| !self.living.contains(it) && told.insert(*it));
            if stays && !strangers.is_empty() {
                self.commands.push_back(Command::Join(strangers));
            }
        }
    }
}
