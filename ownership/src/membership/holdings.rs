// SPDX-License-Identifier: Apache-2.0
//! The owned addresses, where owners stay or are spread: the table is told who takes part and what this speaker owns,
//! and tells which Services are to be decided again. Without `--sticky` and `--spread` there is no table, and nothing
//! of this happens.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use cluster::{Dirty, Snapshot};
use members::Command;

use super::Membership;
use crate::handover::EngineOrders;
use crate::members::{RingSpeaker, RingSpeakers};
use crate::placement::{Modes, Placement};
use crate::wire::message::PeerMessage;

impl Membership {
    /// The placement of addresses, where owners stay or are spread.
    #[must_use]
    pub fn placement(&self) -> Option<Placement<'_>> {
        let members = self.view.members();
        Placement::new(&self.node, Modes::of(members), self.table.as_ref()?, members)
    }

    /// True if owners stay or are spread.
    pub(super) fn has_tenure(&self) -> bool {
        self.table.is_some() && Modes::of(self.view.members()).any()
    }

    /// Tells the table which others announce what they own: the members that take part and may answer.
    pub(super) fn attend(&mut self, now: Instant) {
        let RingSpeakers::Alive(members) = self.view.members() else { return };
        let Some(table) = &mut self.table else { return };
        let speaks = |name: &Arc<str>, member: &RingSpeaker| match member {
            RingSpeaker::Ferrolb(metadata) => {
                *name != self.node && !metadata.leaving && !metadata.silent
            }
            RingSpeaker::MetalLb => false,
        };
        let others = members.iter().filter(|(name, member)| speaks(name, member));
        table.retain(|name| members.contains_key(name));
        table.attend(now, others.map(|(name, _)| name));
    }

    /// Tells one speaker, or all, the list of addresses that this one owns.
    pub(super) fn list(&mut self, to: Option<&Arc<str>>) {
        if let Some(table) = &self.table {
            let (mark, list) = (table.mark(), table.list());
            self.outbox.push(Command::Mark(mark));
            for part in list {
                self.outbox.notify(to, &part);
            }
        }
    }

    /// A heartbeat of another speaker carries this digest.
    pub fn handle_mark(&mut self, now: Instant, from: &Arc<str>, mark: [u8; 16]) {
        if let Some(table) = &mut self.table {
            table.handle_mark(now, from, mark);
        }
    }

    /// Marks the Services whose addresses another speaker has gained or lost, and the ones whose addresses nobody owns: they are to be
    /// decided again.
    pub(super) fn consider_holdings(&mut self, snapshot: &Snapshot, dirty: &mut Dirty) {
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

    /// After a decision: the orders that the engine was given.
    pub fn carried_out(&mut self, orders: &EngineOrders) {
        for address in &orders.answer_only {
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
        let steps = table.change(with(true), with(false).chain(orders.answer_only.iter().copied()));
        let mark = table.mark();
        // A speaker that may not answer sends its whole list when it may.
        let standing = self.view.standing();
        if !steps.is_empty() && (standing.speaks() || standing.asks_link()) {
            self.outbox.push(Command::Mark(mark));
            for step in steps {
                self.outbox.notify(None, &step);
            }
        }
    }

    /// These addresses were given away, and nobody has claimed them in time.
    pub fn unclaimed(&mut self, now: Instant, addresses: &[IpAddr]) {
        if let Some(table) = &mut self.table {
            table.note_unclaimed(now, addresses);
        }
    }

    /// Asks for the lists that are out of date, and reports the addresses that several others own.
    pub(super) fn ask_and_report(&mut self, now: Instant) {
        if !self.has_tenure() {
            return;
        }
        let Some(table) = &mut self.table else { return };
        for name in table.questions(now) {
            self.outbox.notify(Some(&name), &PeerMessage::SyncRequest);
        }
        table.reconsider(now);
        for (name, rival) in table.disputes(now) {
            self.outbox.notify(Some(&name), &rival);
        }
    }
}
