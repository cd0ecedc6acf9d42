// SPDX-License-Identifier: Apache-2.0
//! Which frames must reach the engine: the filters of its sockets and the groups of its links, for addresses that are
//! owned or watched. An address that is both counts twice, so that either may end first.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use super::{Engine, Membership, Port};
use crate::filter::FilterPlan;
use crate::owned::filter_key;
use crate::{Protocol, solicited_node};

impl Engine {
    /// Frames about this address were wanted from the links `before`, and are from the links `after`.
    pub(super) fn pass(&mut self, now: Instant, address: IpAddr, before: &[u32], after: &[u32]) {
        let protocol = Protocol::of(address);
        for link in after.iter().filter(|link| !before.contains(link)) {
            if let Some(plan) = self.filters.get_mut(&(*link, protocol)) {
                plan.add(now, filter_key(address));
            }
        }
        for link in before.iter().filter(|link| !after.contains(link)) {
            if let Some(plan) = self.filters.get_mut(&(*link, protocol)) {
                plan.remove(now);
            }
        }
    }

    /// A filter from nothing, for a socket that was just opened.
    pub(super) fn plan_filter(&mut self, now: Instant, port: Port) {
        let mut plan = FilterPlan::default();
        for key in self.keys(port) {
            plan.add(now, key);
        }
        self.filters.insert(port, plan);
    }

    /// The keys of all addresses that must pass on this port. A key may come more than once.
    pub(super) fn keys(&self, (link, protocol): Port) -> Vec<u32> {
        let owned = self.owned.iter().map(|(address, owned)| (address, &owned.links));
        owned
            .chain(self.watch.links())
            .filter(|(address, links)| Protocol::of(**address) == protocol && links.contains(&link))
            .map(|(address, _)| filter_key(*address))
            .collect()
    }

    /// One more reason to be in the group of this address.
    pub(super) fn enter_group(&mut self, address: IpAddr) {
        let IpAddr::V6(v6) = address else { return };
        let group = solicited_node(v6);
        let users = self.groups.entry(group).or_default();
        *users += 1;
        if *users == 1 {
            self.membership(group, true);
        }
    }

    /// One reason less.
    pub(super) fn quit_group(&mut self, address: IpAddr) {
        let IpAddr::V6(v6) = address else { return };
        let group = solicited_node(v6);
        let Some(users) = self.groups.get_mut(&group) else { return };
        *users -= 1;
        if *users == 0 {
            self.groups.remove(&group);
            self.membership(group, false);
        }
    }

    fn membership(&mut self, group: Ipv6Addr, join: bool) {
        let with_ndp = self.filters.keys().filter(|(_, protocol)| *protocol == Protocol::Ndp);
        self.memberships.extend(with_ndp.map(|(link, _)| Membership { link: *link, group, join }));
    }
}
