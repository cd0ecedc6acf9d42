// SPDX-License-Identifier: Apache-2.0
//! All decisions of a speaker, as one value: inputs go in, effects and notices come out. The daemon, `ferrolb run` and the simulation drive
//! the same [`Core`], and carry its inputs and effects; they decide nothing.
//!
//! ```text
//!   memberlist, failure detector ──> Event ───────┐            ┌──> Command ───────> memberlist, failure detector
//!   l2 engine: events, links ───────────────────> │            │──> EngineCommand ─> l2 engine
//!   speakers that the API lists ────────────────> │    Core    │──> RouteChanges ──> BGP sessions
//!   Snapshot, Dirty ───────> decide, decide_routes│            │──> Fact ────────> log, events, statuses, tables
//!   time ───────────────────────────────> expire ─┘            └──> deadline
//! ```

mod by_link;
mod clock_reading;
mod conflicts;
mod decision;
mod effect;
mod flows;
mod keeping;
mod kept;
mod port;
mod queries;
mod remembered;

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::Snapshot;
use l2::{Desired, LinkReport};
use members::quorum::Fencing;
use members::{Command, Event, Member, Standing};
use ownership::election::RingPlaces;
use ownership::{Handovers, LinkCheck, Listed, Membership, NodeMetadata, Station};

pub use clock_reading::ClockReading;
pub use conflicts::RivalClaim;
pub use decision::Sessions;
pub use effect::{Effect, EngineCommand, Fact, Trouble};
pub use flows::{FlowRequest, ListedFlows};
pub use keeping::KeepTable;

use crate::announced_condition::AnnouncedCondition;
use crate::options::Options;
use crate::postponed::Postponed;
use crate::routes::RouteBooks;
use crate::speaker::Speaker;
use conflicts::Conflicts;
use decision::Layer2;
use keeping::Keeping;
use port::PortMonitor;

/// The time that MetalLB's speakers get to take over from a speaker that has left, as they do not tell when they have.
const METALLB_TAKEOVER: Duration = Duration::from_millis(300);

/// The progress of a planned stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    No,
    /// The others know of the stop; the decision that gives everything away comes next.
    Deciding,
    /// Other speakers take over the addresses that were announced here.
    HandingOver,
    /// The memberlist is being told that this speaker leaves.
    Departing,
    /// MetalLB's speakers take over until this time.
    Waiting(Instant),
    Gone,
}

/// See the module's head.
pub struct Core {
    membership: Membership,
    speaker: Speaker,
    routes: RouteBooks,
    handovers: Handovers,
    layer2: Layer2,
    /// The questions to the link, while the link has the last word.
    link_check: Option<LinkCheck>,
    /// The links when the questions began, or when they were last told of a change.
    asked_on: Arc<Vec<LinkReport>>,
    /// The addresses that the engine was told to announce, and a number that changes with them.
    announced: BTreeSet<IpAddr>,
    announced_version: u64,
    /// The addresses that the engine only answers for, since they pass to other nodes.
    passing: BTreeSet<IpAddr>,
    /// The addresses that wait for the tables of other nodes, and what these tell (`--keep-connections`).
    keeping: Option<Keeping>,
    /// The addresses of the record by which this node answers, until the cluster's objects have been read.
    remembered: Option<Desired>,
    /// True if the places of other speakers were listed.
    has_list: bool,
    /// The places of the nodes on Antrea's ring.
    places: RingPlaces,
    /// Dirty Services that L2 has still to decide.
    postponed: Postponed,
    /// True once anything was decided.
    has_decided: bool,
    /// The standing that was told last.
    standing: Standing,
    port: PortMonitor,
    conflicts: Conflicts,
    announced_condition: AnnouncedCondition,
    leaving: Leaving,
    effects: VecDeque<Effect>,
}

impl Core {
    /// Without a memberlist: every known node counts as running a speaker.
    #[must_use]
    pub fn disabled(options: Options, now: ClockReading) -> Self {
        let membership = Membership::disabled(Arc::clone(&options.node));
        Self::with(options, membership, now)
    }

    /// In a memberlist, in which this speaker has published `metadata`. With `alone` there is nobody to wait for.
    #[must_use]
    pub fn new(options: Options, metadata: NodeMetadata, alone: bool, now: ClockReading) -> Self {
        let (node, drain) = (Arc::clone(&options.node), options.drain_on_cordon);
        let mut membership = Membership::new(node, metadata, alone, drain);
        if options.fencing == Fencing::Link {
            membership.follow_departures();
        }
        Self::with(options, membership, now)
    }

    fn with(options: Options, membership: Membership, now: ClockReading) -> Self {
        let mut core = Self {
            standing: membership.view().standing(),
            membership,
            speaker: Speaker::new(options.clone()),
            routes: RouteBooks::new(options),
            handovers: Handovers::default(),
            layer2: Layer2::default(),
            link_check: None,
            asked_on: Arc::default(),
            announced: BTreeSet::new(),
            announced_version: 0,
            passing: BTreeSet::new(),
            keeping: None,
            remembered: None,
            has_list: false,
            places: RingPlaces::default(),
            postponed: Postponed::default(),
            has_decided: false,
            port: PortMonitor::default(),
            conflicts: Conflicts::new(now.monotonic),
            announced_condition: AnnouncedCondition::default(),
            leaving: Leaving::No,
            effects: VecDeque::new(),
        };
        core.pass_commands();
        core
    }

    // Inputs.

    /// The memberlist or the failure detector has an event. `members` are those of the memberlist at this moment.
    pub fn handle_agent(&mut self, now: ClockReading, event: Event, members: &[Member]) {
        let at = now.monotonic;
        match event {
            Event::MembersChanged => self.membership.handle_members(at, members.iter()),
            Event::Standing(standing) => {
                self.membership.handle_standing(at, now.wall, standing);
                self.membership.handle_members(at, members.iter());
                self.follow_standing(now);
            }
            Event::Lost(names) => {
                self.membership.handle_lost(at, names);
                self.membership.handle_members(at, members.iter());
            }
            Event::Notice { from, octets } if self.handle_keeping(at, &from, &octets) => {}
            Event::Notice { from, octets } => {
                let sender = Arc::clone(&from);
                let claims = self.membership.handle_notice(at, from, &octets, members.iter());
                self.keep_claimed(at, &sender, &claims);
                let owned = |address| self.speaker.users(address).next().is_some();
                let released = self.handovers.claimed(at, &claims, owned);
                self.release(released);
            }
            Event::Marked { name, mark } => self.membership.handle_mark(at, &name, mark),
            Event::Unheard(names) => {
                let changed = self.port.set_unheard(&names);
                self.tell_trouble(changed);
            }
            Event::Departed => self.departed(at),
            Event::Ended(name) => self.keep_ended(at, &name),
            // The list of members shows the effect of these events.
            Event::Joined(_)
            | Event::Left(_)
            | Event::Updated(_)
            | Event::Suspected { .. }
            | Event::Refuted(_)
            | Event::Accused
            | Event::Dead { .. }
            | Event::Conflict { .. }
            | Event::Contacted { .. }
            | Event::Joining(_)
            | Event::Exchanged { .. } => return,
        }
        self.keep_members(at, members);
        self.note_standing(at);
        self.check_port(at, false);
        self.go_on();
    }

    /// The addresses that send to the memberlist's port under a key that this node does not have.
    pub fn handle_refused(&mut self, now: ClockReading, other_key: &[IpAddr]) {
        self.port.set_other_key(other_key);
        self.check_port(now.monotonic, false);
    }

    /// The API or the command line tells where speakers are.
    pub fn handle_listed(&mut self, now: ClockReading, listed: &Listed) {
        self.has_list = true;
        self.membership.find(now.monotonic, listed);
        self.port.set_listed(listed);
        self.check_port(now.monotonic, false);
        self.go_on();
    }

    /// These are the links of this node: before a decision, and before [`l2::Event::LinksChanged`].
    pub fn handle_links(&mut self, links: Arc<Vec<LinkReport>>) {
        self.layer2.links = links;
        self.keep_links();
    }

    /// The l2 engine has an event. [`l2::Event`]s about sockets and responders need no decision.
    pub fn handle_layer2(&mut self, now: ClockReading, event: &l2::Event) {
        let at = now.monotonic;
        match event {
            l2::Event::Claimed(address) => self.heard(at, *address),
            l2::Event::Conflict { address, interface, hardware_address, .. } => {
                self.heard(at, *address);
                // Two nodes announce an address for a moment while it moves.
                if !self.is_moving(at, *address) {
                    self.conflicts.claimed(at, *address, interface, *hardware_address);
                }
            }
            l2::Event::Answered { address, interface, hardware_address, by_probe } => {
                let (interface, hardware_address) = (Arc::clone(interface), *hardware_address);
                let station = Station { interface, hardware_address };
                self.handle_answer(at, *address, station, *by_probe);
            }
            l2::Event::LinksChanged => {
                self.membership.note_links();
                self.follow_links(at);
            }
            l2::Event::Done(number) => {
                let claims = self.handovers.done(*number);
                let node = Arc::clone(&self.speaker.options().node);
                self.keep_claimed(at, &node, &claims);
                self.membership.claim(claims);
            }
            l2::Event::ResponderCreated { .. }
            | l2::Event::ResponderClosed { .. }
            | l2::Event::SocketFailed { .. }
            | l2::Event::SocketRecovered { .. } => {}
        }
        self.go_on();
    }

    /// This speaker is to end: the next decision gives away all that it announces. [`Self::has_left`] tells when that is over.
    pub fn terminate(&mut self, now: ClockReading) {
        if self.leaving != Leaving::No {
            return;
        }
        self.leaving = if !self.membership.takes_part() {
            Leaving::Gone
        } else if self.membership.begin_to_leave(now.wall) {
            if self.has_decided { Leaving::Deciding } else { Leaving::HandingOver }
        } else {
            // MetalLB's speakers take over only from a speaker that has left.
            self.effects.push_back(Effect::Agent(Command::Leave));
            Leaving::Departing
        };
        self.go_on();
    }

    /// Does everything that has become due.
    pub fn expire(&mut self, now: ClockReading, snapshot: &Snapshot) {
        let at = now.monotonic;
        if let Leaving::Waiting(until) = self.leaving
            && until <= at
        {
            self.leaving = Leaving::Gone;
        }
        let due = self.own_deadline(now).is_some_and(|due| due <= at);
        if due {
            let unclaimed = self.handovers.expired(at);
            self.release(unclaimed.clone());
            self.membership.unclaimed(at, &unclaimed);
            self.membership.expire(at, now.wall, snapshot);
        }
        self.expire_link(now, snapshot);
        self.expire_keeping(at);
        let (handovers, membership) = (&self.handovers, &self.membership);
        let is_moving = |address| membership.just_changed(at) || handovers.is_moving(at, address);
        for claim in self.conflicts.due(at, is_moving) {
            let users = self.speaker.users(claim.address).cloned().collect();
            self.effects.push_back(Effect::Fact(Fact::Conflict { claim, users }));
        }
        self.say(at);
        self.go_on();
    }

    /// The time at which [`Self::expire`] is due.
    #[must_use]
    pub fn deadline(&self, now: ClockReading) -> Option<Instant> {
        let waiting = match self.leaving {
            Leaving::Waiting(until) => Some(until),
            _ => None,
        };
        // A speaker that leaves decides no more, even when a preference ends meanwhile.
        let stays = self.leaving == Leaving::No;
        let wish = self.layer2.deadline(now).filter(|_| stays);
        let own = self.own_deadline(now).into_iter().chain(wish);
        let told = self.announced_condition.deadline().into_iter().chain(self.conflicts.deadline());
        let link = self.link_check.as_ref().and_then(LinkCheck::deadline);
        let told = told.chain(link).chain(self.keeping_deadline());
        own.chain(told).chain(waiting).min()
    }

    fn own_deadline(&self, now: ClockReading) -> Option<Instant> {
        let own = self.membership.deadline(now.monotonic);
        self.handovers.deadline().into_iter().chain(own).min()
    }

    /// The next effect to carry out.
    pub fn poll(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    // Steps.

    fn heard(&mut self, now: Instant, address: IpAddr) {
        let released = self.handovers.heard(now, address);
        self.release(released);
    }

    fn is_moving(&self, now: Instant, address: IpAddr) -> bool {
        self.membership.just_changed(now) || self.handovers.is_moving(now, address)
    }

    fn release(&mut self, addresses: Vec<IpAddr>) {
        if !addresses.is_empty() {
            for address in &addresses {
                self.passing.remove(address);
            }
            let change = addresses.into_iter().map(|address| (address, None)).collect();
            self.effects.push_back(Effect::Engine(EngineCommand::Change(change)));
        }
    }

    fn note_standing(&mut self, now: Instant) {
        let standing = self.membership.view().standing();
        if standing != self.standing {
            let before = std::mem::replace(&mut self.standing, standing);
            // The others do not confirm a speaker that leaves, which is no trouble.
            if self.leaving == Leaving::No {
                self.effects.push_back(Effect::Fact(Fact::Standing(standing)));
            }
            // A start has waited for the listed speakers.
            let started = before == Standing::Starting && standing.asks_link();
            if standing == Standing::Confirmed || started {
                self.check_port(now, true);
            }
        }
    }

    /// Checks whether the port seems to be blocked. `awaited` tells whether the listed speakers have had their time to answer.
    fn check_port(&mut self, now: Instant, awaited: bool) {
        let changed = self.port.check(now, self.membership.view(), awaited);
        self.tell_trouble(changed);
    }

    fn tell_trouble(&mut self, troubles: impl IntoIterator<Item = Trouble>) {
        let notices = troubles.into_iter().map(|trouble| Effect::Fact(Fact::Trouble(trouble)));
        self.effects.extend(notices);
    }

    fn departed(&mut self, now: Instant) {
        if self.leaving == Leaving::Departing {
            let mixed = self.membership.view().members().is_mixed();
            self.leaving =
                if mixed { Leaving::Waiting(now + METALLB_TAKEOVER) } else { Leaving::Gone };
        }
    }

    /// The end of every input: a speaker that hands over and has nothing left leaves, and the commands to the memberlist go out.
    fn go_on(&mut self) {
        if self.leaving == Leaving::HandingOver && self.handovers.is_settled() {
            self.leaving = Leaving::Departing;
            self.pass_commands();
            self.effects.push_back(Effect::Agent(Command::Leave));
        }
        self.pass_commands();
    }

    fn pass_commands(&mut self) {
        while let Some(command) = self.membership.poll() {
            self.effects.push_back(Effect::Agent(command));
        }
    }
}
