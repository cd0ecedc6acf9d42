// SPDX-License-Identifier: Apache-2.0
//! The members that should be there: the ring is told which nodes count, and joins those that are missing.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use cluster::Snapshot;
use members::Command;

use super::Membership;
use super::known_nodes::{Judgement, Listed, Pod};

impl Membership {
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
        let place = |pod: &Pod| Some((pod.node.clone(), pod.address?));
        self.places = Some(listed.pods.iter().filter_map(place).collect());
        if listed.pods.is_empty() {
            self.outbox.push(Command::Alone);
        }
        self.expect();
        if self.takes_part {
            let addresses: Vec<_> = listed.pods.iter().filter_map(|pod| pod.address).collect();
            self.join_schedule.find(now, &addresses, likely);
        }
        self.join(now);
    }

    /// Tells the ring which nodes should be members, and where.
    fn expect(&mut self) {
        let Some(places) = &self.places else { return };
        let names = self.view.known_nodes().expected();
        // A place without a node's name counts as well.
        let counts = |node: &Option<Arc<str>>| node.as_ref().is_none_or(|it| names.contains(it));
        let addresses = places.iter().filter(|(node, _)| counts(node));
        let addresses: BTreeSet<SocketAddr> = addresses.map(|(_, address)| *address).collect();
        let expected = (names, addresses);
        if self.expected.as_ref() != Some(&expected) {
            self.expected = Some(expected.clone());
            let (names, addresses) = expected;
            self.outbox.push(Command::Expect { names, addresses });
        }
    }

    /// Tells the ring which nodes the API does not know any more, or has not seen ready for a minute, or shows without a speaker's pod.
    pub(super) fn consider_gone(&mut self, now: Instant, time: u64, snapshot: &Snapshot) {
        self.listed = false;
        let Judgement { gone, forgotten } =
            self.view.known_nodes().look(now, time, snapshot.nodes());
        if self.takes_part && !forgotten.is_empty() {
            self.outbox.push(Command::Forget(forgotten));
        }
        if self.takes_part && self.gone != gone {
            self.gone.clone_from(&gone);
            self.outbox.push(Command::Gone(gone));
        }
        self.expect();
    }

    /// Joins the nodes that should be members, or were lately, and are not. A speaker that leaves joins nobody, as that would undo its
    /// departure.
    pub(super) fn join(&mut self, now: Instant) {
        let [likely, others] = self.join_schedule.due(now);
        let likely = [self.view.rejoin(now), likely].concat();
        let stays = self.takes_part && !self.view.metadata().leaving;
        let mut told = BTreeSet::new();
        for mut strangers in [likely, others] {
            strangers.retain(|it| !self.living.contains(it) && told.insert(*it));
            if stays && !strangers.is_empty() {
                self.outbox.push(Command::Join(strangers));
            }
        }
    }
}
