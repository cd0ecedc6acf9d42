// SPDX-License-Identifier: Apache-2.0
//! The conclusions that a speaker draws from its ring: which nodes take part, what the others are told, when everything is to be decided
//! again, and when this node may answer. A synchronous value; its driver carries out the [`Command`]s.

mod decision;
mod discovery;
mod holdings;
mod join_schedule;
mod known_nodes;
mod outbox;
mod port_check;
mod view;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::Snapshot;
use members::{Command, Standing};

use crate::handover::MOVE_TIME;
use crate::members::{RingSpeaker, RingSpeakers};
use crate::table::OwnershipTable;
use crate::wire::message::PeerMessage;
use crate::wire::metadata::NodeMetadata;
pub use decision::is_drained;
pub use join_schedule::FIRST_PAUSES;
use join_schedule::JoinSchedule;
pub use known_nodes::{Listed, Listing, Pod};
use outbox::Outbox;
pub use port_check::{PortChange, PortCheck};
pub use view::MembershipView;

/// The time for which the standing may be starting or doubtful before the others are told that this speaker is silent. Mostly the standing
/// is confirmed sooner, and moving an address costs more.
const SILENCE_DELAY: Duration = Duration::from_millis(80);

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
    /// The nodes of which the ring was last told that they do not count while silent.
    gone: BTreeSet<Arc<str>>,
    /// The names and the addresses of the members that should be there, as the ring was last told.
    expected: Option<(BTreeSet<Arc<str>>, BTreeSet<SocketAddr>)>,
    /// The places of the listed speakers, each with the node if that is known; none before the first list.
    places: Option<Vec<(Option<Arc<str>>, SocketAddr)>>,
    /// The speakers that were sent this speaker's metadata.
    greeted: BTreeSet<Arc<str>>,
    /// The addresses that this speaker has claimed and still announces.
    claimed: BTreeSet<IpAddr>,
    /// The table of owned addresses, if this speaker was started with `--sticky` or `--spread`.
    table: Option<OwnershipTable>,
    /// The members or their metadata have changed since the last decision.
    changed: bool,
    /// The time of the last such change.
    changed_at: Option<Instant>,
    /// The links of this node have changed since the last decision.
    links_changed: bool,
    /// The time at which this node lost the right to answer, if the others have not been told yet.
    untold_silence: Option<Instant>,
    /// The snapshot's readiness when it was last considered; none before the cluster's objects have been read.
    readiness: Option<u64>,
    /// A list of the pods has come that was not considered yet.
    listed: bool,
    outbox: Outbox,
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
            membership.outbox.push(Command::Resume { by_link: false });
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
            expected: None,
            places: None,
            greeted: BTreeSet::new(),
            claimed: BTreeSet::new(),
            table: None,
            changed: false,
            changed_at: None,
            links_changed: true,
            untold_silence: None,
            readiness: None,
            listed: false,
            outbox: Outbox::default(),
        }
    }

    /// From now, a speaker that has left in order and runs again counts although it is not heard, as `--fencing=link` wants it.
    pub fn follow_departures(&mut self) {
        self.view.known_nodes().follow_departures();
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
        self.outbox.pop()
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

    /// Takes in the members of the ring as they are now.
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

    /// Greets the members that are new. The metadata in the ring may be a second old, and a new member has not heard what was told since.
    fn greet(&mut self) {
        let RingSpeakers::Alive(members) = self.view.members() else { return };
        let others = members.iter().filter(|(name, member)| {
            **name != self.node && matches!(member, RingSpeaker::Ferrolb(_))
        });
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
        self.outbox.notify(Some(to), &metadata);
        if self.view.standing().speaks() {
            let claims = PeerMessage::TookOver(self.claimed.iter().copied().collect());
            self.outbox.notify(Some(to), &claims);
            self.list(Some(to));
        }
    }

    /// The standing of this node has changed. To be called after [`Self::handle_members`] with the members as they were then.
    pub fn handle_standing(&mut self, now: Instant, time: u64, standing: Standing) {
        self.view.set_standing(standing);
        self.note_change(now);
        match standing {
            // The decision that follows tells it to the others.
            Standing::Confirmed => {
                self.untold_silence = None;
                if let Some(table) = &mut self.table {
                    table.require_sync(now);
                    self.outbox.notify(None, &PeerMessage::SyncRequest);
                }
            }
            Standing::Starting | Standing::Doubtful => {
                self.untold_silence.get_or_insert(now);
            }
            Standing::Minority { .. } | Standing::ByLink { .. } => self.tell_silence(time),
        }
    }

    /// These members are not heard while the link has the last word.
    pub fn handle_lost(&mut self, now: Instant, lost: BTreeSet<Arc<str>>) {
        self.view.set_lost(lost);
        self.note_change(now);
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

    /// The time at which [`Self::expire`] is due.
    #[must_use]
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let silence = self.untold_silence.map(|since| since + SILENCE_DELAY);
        let table = self.table.as_ref().filter(|_| self.has_tenure());
        let sync = table.and_then(|table| table.deadline(now));
        let joins = self.join_schedule.deadline();
        self.view.deadline(now).into_iter().chain(silence).chain(sync).chain(joins).min()
    }

    /// Does everything that has become due.
    pub fn expire(&mut self, now: Instant, time: u64, snapshot: &Snapshot) {
        if self.untold_silence.is_some_and(|since| now >= since + SILENCE_DELAY) {
            self.tell_silence(time);
        }
        self.ask_and_report(now);
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

    fn note_change(&mut self, now: Instant) {
        self.changed = true;
        self.changed_at = Some(now);
    }

    /// Tells the others to take over this speaker's addresses, if they hear it.
    fn tell_silence(&mut self, time: u64) {
        self.untold_silence = None;
        let by_link = self.view.standing().asks_link();
        let metadata = NodeMetadata { silent: true, by_link, ..self.view.metadata().clone() };
        if self.takes_part && metadata != *self.view.metadata() {
            self.tell(time, metadata);
        }
    }

    /// Publishes other metadata of this speaker, under a generation that is higher than any before, also over restarts.
    fn tell(&mut self, time: u64, metadata: NodeMetadata) {
        let generation = time.max(self.view.metadata().generation.saturating_add(1));
        let metadata = NodeMetadata { generation, ..metadata };
        self.view.set_metadata(metadata.clone());
        let meta = metadata.encode();
        self.outbox.notify(None, &PeerMessage::Metadata(metadata));
        self.outbox.push(Command::SetMeta(meta));
    }
}
