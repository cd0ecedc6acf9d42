// SPDX-License-Identifier: Apache-2.0
//! The members that the failure detector watches and counts: by the ring's events, and by the API's list.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::{FailureDetector, Neighbour};
use crate::State;
use crate::event::Event;

impl FailureDetector {
    /// Takes in the ring's event about a member.
    pub(crate) fn member_event(&mut self, now: Instant, event: &Event) {
        match event {
            Event::Joined(member) | Event::Updated(member) | Event::Refuted(member)
                if *member.name != *self.name =>
            {
                let mut members = self.members.clone();
                if matches!(member.state, State::Alive | State::Suspect) {
                    let neighbour = Neighbour {
                        name: Arc::clone(&member.name),
                        address: member.address,
                        heartbeat: (self.options.speaks)(&member.meta),
                    };
                    members.insert(Arc::clone(&member.name), neighbour);
                }
                self.set_members(now, members, &[]);
            }
            Event::Left(member) => self.remove(now, &member.name, &[Arc::clone(&member.name)]),
            Event::Dead { member, .. } => self.remove(now, &member.name, &[]),
            Event::Accused => self.accused(now),
            Event::Joining(joining) => self.set_joining(now, *joining),
            Event::Exchanged { name, began } => self.exchanged(now, name, *began),
            Event::Refuted(_) => self.detector.contradicted(now),
            Event::Joined(_)
            | Event::Updated(_)
            | Event::Suspected { .. }
            | Event::Ended(_)
            | Event::Conflict { .. }
            | Event::Contacted { .. }
            | Event::Departed
            | Event::MembersChanged
            | Event::Standing(_)
            | Event::Marked { .. }
            | Event::Notice { .. }
            | Event::Unheard(_)
            | Event::Lost(_) => {}
        }
    }

    fn remove(&mut self, now: Instant, name: &Arc<str>, left: &[Arc<str>]) {
        let mut members = self.members.clone();
        members.remove(name);
        self.set_members(now, members, left);
    }

    /// Sets the members of the ring that are not known to be dead, without this one. `left` are the members that have left in order since the
    /// last call.
    pub(super) fn set_members(
        &mut self,
        now: Instant,
        members: BTreeMap<Arc<str>, Neighbour>,
        left: &[Arc<str>],
    ) {
        for name in left {
            self.quorum.left(name);
            self.expected.remove(name);
            self.lost.note_departure(name, self.detector.session_of(name));
        }
        for (name, member) in &members {
            self.lost.note_address(name, member.address);
        }
        let first = self.members.is_empty() && !members.is_empty();
        let died = self.members.keys().filter(|name| !members.contains_key(*name)).count();
        self.held.retain(|name, _| members.contains_key(name));
        self.reached.retain(|name| members.contains_key(name));
        self.tried.retain(|name, _| members.contains_key(name));
        self.met |= !members.is_empty();
        self.members = members;
        self.admit();
        self.count_expected();
        let peers = self.members.values().filter(|member| member.heartbeat);
        let peers: Vec<_> =
            peers.map(|member| (Arc::clone(&member.name), member.address)).collect();
        let nobody = peers.is_empty();
        self.detector.set_mixed(peers.len() < self.members.len());
        self.detector.set_peers(now, peers);
        for _ in 0..died.saturating_sub(left.len()) {
            self.detector.news_of_death(now);
        }
        if first && self.starting_until.take().is_some() && !nobody {
            // The ring is met; only the others' view of this member is still unknown.
            self.suspect_self(now);
        }
        self.settle(now);
    }

    /// Sets the names that are no members any more by the API's list.
    pub(crate) fn set_gone(&mut self, now: Instant, gone: BTreeSet<Arc<str>>) {
        self.quorum.set_gone(gone);
        self.uncounted = true;
        self.settle(now);
    }

    /// Forgets everything about these names, unless they are members of the ring.
    pub(crate) fn forget(&mut self, now: Instant, names: &BTreeSet<Arc<str>>) {
        for name in names.iter().filter(|name| !self.members.contains_key(*name)) {
            self.quorum.left(name);
            self.expected.remove(name);
            self.lost.forget(name);
        }
        self.uncounted = true;
        self.settle(now);
    }

    /// Sets the names that are members by the API's list, and the addresses of the listed members. A member that has just started and meets
    /// only a part of them is not with the majority for that.
    pub(crate) fn set_expected(
        &mut self,
        now: Instant,
        expected: BTreeSet<Arc<str>>,
        listed: BTreeSet<SocketAddr>,
    ) {
        self.expected = expected;
        self.lost.set_listed(listed);
        self.count_expected();
        self.settle(now);
    }
}
