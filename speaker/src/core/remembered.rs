// SPDX-License-Identifier: Apache-2.0
//! A start without the API: the addresses that this node owned last are announced, as long as no other station of the link answers for them,
//! until the cluster's objects have been read.

use std::net::IpAddr;

use cluster::Snapshot;
use l2::Scope;
use members::{Command, Member, State};

use super::{ClockReading, Core, Effect};
use crate::owned_record::{OtherSpeaker, OwnedAddress, OwnedRecord};
use crate::service_view;

impl Core {
    /// The cluster's objects cannot be read: these addresses were owned here last. Once anything was decided this does nothing.
    pub fn remember(&mut self, now: ClockReading, record: &OwnedRecord) {
        if self.has_decided || !self.membership.takes_part() {
            return;
        }
        self.remembered = Some(record.scopes().collect());
        let listed = record.listed();
        if !self.has_list {
            self.membership.find(now.monotonic, &listed);
        }
        self.follow_standing(now);
        self.go_on();
    }

    /// True while this node answers by a record, since the cluster's objects have not been read.
    #[must_use]
    pub fn is_remembering(&self) -> bool {
        self.remembered.is_some()
    }

    /// The record of what this node owns. `members` are those of the memberlist.
    #[must_use]
    pub fn record(&self, snapshot: &Snapshot, members: &[Member]) -> OwnedRecord {
        let desired = self.speaker.desired();
        let owned = |address: &IpAddr| {
            let users: Vec<_> = self.speaker.users(*address).collect();
            let pool = users.first().and_then(|key| {
                let service = snapshot.service(key)?;
                Some(
                    service_view::pool(service, &[*address], snapshot.config())
                        .ok()?
                        .name
                        .to_string(),
                )
            });
            let interfaces = match desired.get(address)? {
                Scope::AllInterfaces => None,
                Scope::Interfaces(names) => Some(names.iter().map(ToString::to_string).collect()),
            };
            let services = users.iter().map(ToString::to_string).collect();
            Some(OwnedAddress { address: *address, interfaces, pool, services })
        };
        let node = &*self.speaker.options().node;
        let other = |member: &Member| {
            let counts = matches!(member.state, State::Alive | State::Suspect | State::Dead);
            (counts && *member.name != *node)
                .then(|| OtherSpeaker { node: member.name.to_string(), address: member.address })
        };
        let addresses = self.announced.iter().filter_map(owned).collect();
        OwnedRecord::new(node, addresses, members.iter().filter_map(other).collect())
    }

    /// A number that changes with what is announced here.
    #[must_use]
    pub fn announced_version(&self) -> u64 {
        self.announced_version
    }

    /// Asks the links for the addresses of the record, in this standing.
    pub(super) fn ask_remembered(&mut self, now: ClockReading) {
        let Some(addresses) = self.remembered.clone() else { return };
        let by_link = self.membership.view().standing().asks_link();
        if self.link_check.is_none() {
            self.begin_questions(now, addresses);
        }
        self.effects.push_back(Effect::Agent(Command::Resume { by_link }));
    }

    /// The cluster's objects have been read: the questions that the record asks end, and the decision that follows asks its own.
    pub(super) fn forget_record(&mut self) {
        if self.remembered.take().is_some() {
            self.end_questions();
        }
    }
}
