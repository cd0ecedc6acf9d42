// SPDX-License-Identifier: Apache-2.0
//! The time in which the link has the last word (`--fencing=link`): this member is with the minority, or has met nobody although others are
//! listed, and the layer above asks the link for each address. Every lost member gets a probe, and the first answer ends that time: this
//! member is silent until the others confirm it, and the count decides again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Action, FailureDetector};
use crate::event::{Event, Standing};
use crate::heartbeat::wire::Message;
use crate::quorum::{Count, Fencing};

/// The time between two probes to each lost member.
const PROBE_INTERVAL: Duration = Duration::from_millis(200);
/// The time that a lost member which has answered gets to be met: as long, this member is silent.
const MEETING_TIME: Duration = Duration::from_secs(2);

/// The lost members, and the places where members are listed.
#[derive(Debug)]
pub(super) struct Lost {
    /// The last known addresses of the members of the ring, the dead ones included.
    addresses: BTreeMap<Arc<str>, SocketAddr>,
    /// The addresses of the listed members; none before the first list.
    listed: Option<BTreeSet<SocketAddr>>,
    /// The lost members that were told.
    told: BTreeSet<Arc<str>>,
    /// The sessions of the members that have left in order: what such a process still sends while it ends tells of nobody to be met.
    departed: BTreeMap<Arc<str>, u64>,
    next_probe: Instant,
    /// The time until which a lost member that has answered is to be met.
    meeting_until: Option<Instant>,
    /// The number of datagrams sent before the last probes but one: an answer has to echo a later one.
    sent: [u64; 2],
}

impl Lost {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            addresses: BTreeMap::new(),
            listed: None,
            told: BTreeSet::new(),
            departed: BTreeMap::new(),
            next_probe: now,
            meeting_until: None,
            sent: [0; 2],
        }
    }

    pub(super) fn note_address(&mut self, name: &Arc<str>, address: SocketAddr) {
        self.addresses.insert(Arc::clone(name), address);
        self.departed.remove(name);
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.addresses.remove(name);
        self.departed.remove(name);
    }

    /// A member has left in order. `session` is that of its heartbeats, if it was heard.
    pub(super) fn note_departure(&mut self, name: &Arc<str>, session: Option<u64>) {
        self.forget(name);
        self.departed.extend(session.map(|session| (Arc::clone(name), session)));
    }

    pub(super) fn set_listed(&mut self, listed: BTreeSet<SocketAddr>) {
        self.listed = Some(listed);
    }
}

impl FailureDetector {
    /// The standing of a member whose count is not enough.
    pub(super) fn without_majority(&self, count: Count) -> Standing {
        let Count { present, known, .. } = count;
        match self.options.fencing {
            Fencing::Link => Standing::ByLink { present, known, met: true },
            _ => Standing::Minority { present, known },
        }
    }

    /// The number of members that should be there, this one included, if this member has started and met none of them.
    pub(super) fn unmet(&self) -> Option<usize> {
        if self.met || self.options.alone || self.options.fencing != Fencing::Link {
            return None;
        }
        let Some(listed) = &self.lost.listed else { return Some(1) };
        let others = listed.len().max(self.expected.len());
        (others > 0).then_some(others + 1)
    }

    /// The time until which a lost member that has answered is to be met, if that lasts.
    pub(super) fn is_meeting(&self, now: Instant) -> bool {
        self.lost.meeting_until.is_some_and(|until| now < until)
    }

    pub(super) fn by_link_deadline(&self) -> Option<Instant> {
        let probe = self.standing.asks_link().then_some(self.lost.next_probe);
        self.lost.meeting_until.into_iter().chain(probe).min()
    }

    /// The members of the ring that this one does not hear.
    fn absent(&self, now: Instant) -> BTreeSet<Arc<str>> {
        let absent = self.members.keys().filter(|name| !self.is_present(now, name));
        absent.map(Arc::clone).collect()
    }

    /// Tells which members are lost, while the link has the last word; else that none is.
    pub(super) fn tell_lost(&mut self, now: Instant) {
        let lost = match self.standing.asks_link() {
            true => self.absent(now),
            false => BTreeSet::new(),
        };
        if lost != self.lost.told {
            self.lost.told.clone_from(&lost);
            self.actions.push_back(Action::Tell(Event::Lost(lost)));
        }
    }

    /// Sends a probe to each lost member, and to each place where one is listed.
    pub(super) fn probe_lost(&mut self, now: Instant) {
        if self.lost.meeting_until.is_some_and(|until| until <= now) {
            self.lost.meeting_until = None;
        }
        if !self.standing.asks_link() || now < self.lost.next_probe {
            return;
        }
        self.lost.next_probe = now + PROBE_INTERVAL;
        let before = self.detector.sent();
        self.lost.sent = [self.lost.sent[1], before];
        for name in self.absent(now) {
            self.detector.probe(&name);
        }
        for address in self.strangers() {
            self.detector.probe_stranger(address);
        }
    }

    /// The addresses of the members that were lost so long ago that the ring has given them up, and of the listed ones that were not met.
    fn strangers(&self) -> BTreeSet<SocketAddr> {
        let living: BTreeSet<SocketAddr> =
            self.members.values().map(|member| member.address).collect();
        let former = self.lost.addresses.values().copied();
        let listed = self.lost.listed.iter().flatten().copied();
        former.chain(listed).filter(|address| !living.contains(address)).collect()
    }

    /// A member that is none of the ring any more, or was never met, may have answered a probe: then it is to be met. Returns true if the
    /// message is such an answer. A process that has left in order and is about to end answers as well, and counts as nobody.
    pub(super) fn answers_probe(
        &mut self,
        now: Instant,
        from: SocketAddr,
        message: &Message,
    ) -> bool {
        let is_answer = self.standing.asks_link()
            && !self.members.contains_key(&message.from)
            && self.lost.departed.get(&message.from) != Some(&message.stamp.session)
            && message.echo.is_some_and(|echo| self.detector.echoes(echo, self.lost.sent[0]))
            && self.strangers().contains(&from);
        if is_answer {
            self.lost.meeting_until = Some(now + MEETING_TIME);
            self.actions.push_back(Action::Join(from));
        }
        is_answer
    }

    /// This member stood still while the link had the last word: nothing that it has asked counts any more. Others hear of a time in which
    /// this member was silent.
    pub(super) fn ask_anew(&mut self) {
        if self.standing.asks_link() {
            self.standing = Standing::Doubtful;
            self.actions.push_back(Action::Tell(Event::Standing(Standing::Doubtful)));
        }
    }
}

#[cfg(test)]
mod tests;
