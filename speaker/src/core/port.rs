// SPDX-License-Identifier: Apache-2.0
//! A monitor of the memberlist's port: whether the listed speakers are reached through it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::effect::Trouble;
use ownership::Listed;
use ownership::MembershipView;
use ownership::{PortChange, PortCheck};

/// The listed speakers, and the conclusions from their silence.
#[derive(Debug, Default)]
pub(super) struct PortMonitor {
    /// The places of the speakers by the API's list.
    found: Vec<SocketAddr>,
    /// The nodes of the listed speakers, by the addresses of their pods.
    listed: BTreeMap<IpAddr, Arc<str>>,
    /// The addresses that send under a key that this node does not have.
    other_key: Vec<IpAddr>,
    port_check: PortCheck,
}

impl PortMonitor {
    pub(super) fn is_blocked(&self) -> bool {
        self.port_check.is_blocked()
    }

    pub(super) fn set_listed(&mut self, listed: &Listed) {
        self.found = listed.pods.iter().filter_map(|pod| pod.address).collect();
        let nodes = listed.pods.iter().filter_map(|pod| {
            Some((pod.address?.ip().to_canonical(), Arc::clone(pod.node.as_ref()?)))
        });
        self.listed = nodes.collect();
    }

    pub(super) fn set_unheard(&mut self, names: &BTreeSet<Arc<str>>) -> Option<Trouble> {
        self.port_check.set_unheard(names).map(|blocked| self.trouble(blocked, false))
    }

    pub(super) fn set_other_key(&mut self, other_key: &[IpAddr]) {
        self.other_key = other_key.to_vec();
    }

    /// All changes, in the order in which they are to be told.
    pub(super) fn check(
        &mut self,
        now: Instant,
        view: &MembershipView,
        awaited: bool,
    ) -> impl Iterator<Item = Trouble> + use<> {
        let theirs: BTreeSet<IpAddr> =
            self.found.iter().map(|address| address.ip().to_canonical()).collect();
        // A stranger can send nonsense in the name of a node that is in the memberlist with this one.
        let is_met = |address: &IpAddr| {
            self.listed.get(address).is_some_and(|node| view.members().contains(node))
        };
        let other_key = self.other_key.iter().copied();
        let other_key =
            other_key.filter(|address| theirs.contains(address) && !is_met(address)).collect();
        let key = self.port_check.set_other_key(other_key);
        let (standing, others) = (view.standing(), view.others());
        let by_link = standing.asks_link();
        let speaks = standing.speaks() || by_link;
        let listed = !self.found.is_empty();
        let port = self.port_check.look(now, speaks, others, listed, awaited);
        let changed: Vec<Trouble> =
            key.into_iter().chain(port).map(|blocked| self.trouble(blocked, by_link)).collect();
        changed.into_iter()
    }

    fn trouble(&self, blocked: PortChange, by_link: bool) -> Trouble {
        match blocked {
            PortChange::Everybody => Trouble::Blocked {
                speakers: self.found.clone(),
                other_key: self.port_check.has_other_key(),
                by_link,
            },
            PortChange::Nobody => Trouble::Open,
            PortChange::Some(nodes) => Trouble::OverTcpOnly(nodes),
            PortChange::OtherKey(speakers) => Trouble::OtherKey(speakers),
        }
    }
}
