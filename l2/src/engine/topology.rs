// SPDX-License-Identifier: Apache-2.0
//! What a change of links leads to: sockets, groups, announcements, the report. Facts are collected first
//! ([`Engine::upsert_link`], [`Engine::remove_link`]) and acted on once ([`Engine::settle`]), so that a burst of netlink messages
//! costs one pass.

use std::sync::Arc;
use std::time::Instant;

use super::{Engine, Link, Membership, SocketChange};
use crate::{Event, LinkFacts, LinkReport, Protocol, Scope};

impl Engine {
    /// What is now known of a link, new or changed.
    pub fn upsert_link(&mut self, facts: LinkFacts) {
        let index = facts.index;
        let verdict = facts.verdict(&self.options);
        match self.links.get_mut(&index) {
            Some(link) if link.facts == facts && !link.gone => return,
            Some(link) => {
                link.facts = facts;
                link.verdict = verdict;
                link.gone = false;
            }
            None => {
                self.links.insert(index, Link { facts, verdict, settled: None, gone: false });
            }
        }
        self.changed_links.push(index);
    }

    /// The link is no more.
    pub fn remove_link(&mut self, index: u32) {
        if let Some(link) = self.links.get_mut(&index) {
            link.gone = true;
            self.changed_links.push(index);
        }
    }

    /// The links as they are known, by index.
    #[must_use]
    pub fn links(&self) -> Arc<Vec<LinkReport>> {
        Arc::clone(&self.report)
    }

    /// Acts on what changed since the last time.
    pub fn settle(&mut self, now: Instant) {
        let mut changed = std::mem::take(&mut self.changed_links);
        if changed.is_empty() {
            return;
        }
        changed.sort_unstable();
        changed.dedup();
        let mut retarget = false;
        let mut opened = Vec::new();
        for index in &changed {
            retarget |= self.settle_ports(*index, &mut opened);
        }
        self.own = self
            .links
            .values()
            .filter(|link| !link.gone)
            .filter_map(|link| link.facts.hardware_address)
            .collect();
        if retarget {
            self.retarget(now);
        }
        for port in opened {
            self.plan_filter(now, port);
            if port.1 == Protocol::Ndp {
                let join = |group| Membership { link: port.0, group, join: true };
                self.memberships.extend(self.groups.keys().copied().map(join));
            }
        }
        for index in changed {
            self.settle_announcements(now, index);
        }
        self.links.retain(|_, link| !link.gone);
        let report: Vec<LinkReport> =
            self.links.values().map(|link| link.facts.report(&link.verdict)).collect();
        if report != *self.report {
            self.report = Arc::new(report);
            self.events.push_back(Event::LinksChanged);
        }
    }

    /// The links, among those with a responder of the protocol, that the scope allows.
    pub(super) fn targets_of(&mut self, scope: &Scope, protocol: Protocol) -> Arc<[u32]> {
        if let Some(known) = self.targets.get(&(scope.clone(), protocol)) {
            return Arc::clone(known);
        }
        let found: Arc<[u32]> = self
            .links
            .values()
            .filter(|link| {
                !link.gone && link.verdict.has(protocol) && scope.allows(&link.facts.name)
            })
            .map(|link| link.facts.index)
            .collect();
        self.targets.insert((scope.clone(), protocol), Arc::clone(&found));
        found
    }

    /// Opens and closes the sockets of a link; returns whether addresses may belong on other links than before.
    fn settle_ports(&mut self, index: u32, opened: &mut Vec<(u32, Protocol)>) -> bool {
        let Some(link) = self.links.get(&index) else { return false };
        let name = Arc::clone(&link.facts.name);
        let renamed = link.settled.as_ref().is_some_and(|(facts, _)| facts.name != name);
        let mut retarget = renamed;
        for protocol in [Protocol::Arp, Protocol::Ndp] {
            let before = link.settled.as_ref().is_some_and(|(_, verdict)| verdict.has(protocol));
            let after = !link.gone && link.verdict.has(protocol);
            if before == after {
                continue;
            }
            retarget = true;
            let interface = Arc::clone(&name);
            if after {
                opened.push((index, protocol));
                self.ports.push_back(SocketChange::Open {
                    link: index,
                    interface: Arc::clone(&interface),
                    protocol,
                });
                self.events.push_back(Event::ResponderCreated { interface, protocol });
            } else {
                self.filters.remove(&(index, protocol));
                self.ports.push_back(SocketChange::Close { link: index, protocol });
                self.events.push_back(Event::ResponderClosed { interface, protocol });
                if protocol == Protocol::Ndp {
                    let leave = |group| Membership { link: index, group, join: false };
                    self.memberships.extend(self.groups.keys().copied().map(leave));
                }
            }
        }
        retarget
    }

    /// Finds the links of every address anew.
    fn retarget(&mut self, now: Instant) {
        self.targets.clear();
        let watched: Vec<_> = self.watch.scopes().map(|(a, scope)| (*a, scope.clone())).collect();
        for (address, scope) in watched {
            self.rewatch(now, address, &scope);
        }
        let owned: Vec<_> =
            self.owned.iter().map(|(address, owned)| (*address, owned.scope.clone())).collect();
        for (address, scope) in owned {
            let protocol = Protocol::of(address);
            let links = self.targets_of(&scope, protocol);
            let Some(owned) = self.owned.get_mut(&address) else { continue };
            if owned.links == links {
                continue;
            }
            let before = std::mem::replace(&mut owned.links, Arc::clone(&links));
            self.pass(now, address, &before, &links);
            self.outbox
                .retain(|transmit| transmit.address != address || links.contains(&transmit.link));
            self.announcer.own(now, address, links);
        }
    }

    /// Announces anew on a link with another hardware address or a carrier that came back.
    fn settle_announcements(&mut self, now: Instant, index: u32) {
        let Some(link) = self.links.get_mut(&index) else { return };
        let after = (link.facts.clone(), link.verdict.clone());
        let before = link.settled.replace(after);
        let Some((before, _)) = before else { return };
        let moved = before.hardware_address != link.facts.hardware_address;
        let plugged = link.facts.carrier && !before.carrier;
        if (moved || plugged) && !link.gone {
            self.outbox.retain(|transmit| transmit.link != index);
            self.announcer.rearm(now, index, |_| true);
        }
    }
}
