// SPDX-License-Identifier: Apache-2.0
//! The time in which the link has the last word ([`Standing::ByLink`](members::Standing::ByLink)): a decision says which addresses this node
//! would own, and each goes to the engine only when no other station of the link answers for it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use cluster::{Dirty, Snapshot};
use l2::{Desired, LinkReport, Precedence, Protocol, Scope};
use members::Standing;
use ownership::fnv::fnv1a;
use ownership::{Carriers, EngineOrders, LinkAction, LinkCheck, LinkWord, Station, precedence};

use super::{ClockReading, Core, Effect, EngineCommand, Fact};

/// The links on which a probe for this address reaches anybody: those of the scope that answer for it and have carrier.
fn probed_links<'a>(
    links: &'a [LinkReport],
    address: IpAddr,
    scope: &'a Scope,
) -> impl Iterator<Item = &'a LinkReport> {
    let responds = move |link: &&LinkReport| match Protocol::of(address) {
        Protocol::Arp => link.arp,
        Protocol::Ndp => link.ndp,
    };
    links.iter().filter(responds).filter(|link| link.carrier && scope.allows(&link.name))
}

/// Where an address is asked for now; `before` are the links as they were.
fn carriers(
    before: &[LinkReport],
    links: &[LinkReport],
    address: IpAddr,
    scope: &Scope,
) -> Carriers {
    let had = |link: &LinkReport| {
        probed_links(before, address, scope)
            .any(|it| (it.index, &it.name) == (link.index, &link.name))
    };
    Carriers {
        number: number(probed_links(links, address, scope)),
        gained: probed_links(links, address, scope).any(|link| !had(link)),
    }
}

fn number<'a>(links: impl Iterator<Item = &'a LinkReport>) -> u32 {
    u32::try_from(links.count()).unwrap_or(u32::MAX)
}

impl Core {
    /// The link's last word about an address that this node would own; none while it is being asked, or need not be asked.
    #[must_use]
    pub fn link_word(&self, address: IpAddr) -> Option<LinkWord> {
        self.link_check.as_ref()?.word(address)
    }

    /// The number of addresses that this node announces against the count; none while the count decides.
    #[must_use]
    pub fn announced_by_link(&self) -> Option<usize> {
        self.link_check.as_ref().map(|check| check.announced().count())
    }

    /// The standing has changed: the questions to the link end with the time in which the link has the last word.
    pub(super) fn follow_standing(&mut self, now: ClockReading) {
        let standing = self.membership.view().standing();
        let asks = standing.asks_link() || self.remembered.is_some() && standing.speaks();
        if !asks {
            return self.end_questions();
        }
        let rank = self.rank();
        if let Some(check) = &mut self.link_check {
            check.set_precedence(rank);
        }
        if self.remembered.is_some() {
            self.ask_remembered(now);
        }
    }

    /// The precedence of this node among those that answer against the count.
    fn rank(&self) -> Precedence {
        let view = self.membership.view();
        let present = match view.standing() {
            Standing::ByLink { present, .. } => present,
            _ => view.others() + 1,
        };
        precedence(&self.speaker.options().node, present, view.seen())
    }

    /// Asks the link for these addresses from now. Nothing is announced until it has agreed, except what this node announces and keeps
    /// ([`Standing::keeps_announced`]): such an address stays, and is probed.
    pub(super) fn begin_questions(&mut self, now: ClockReading, addresses: Desired) {
        let links = Arc::clone(&self.layer2.links);
        let node = &self.speaker.options().node;
        let seed = u64::from(fnv1a(node.bytes())) << 32 ^ now.wall;
        let mut check = LinkCheck::new(now.monotonic, seed, self.rank());
        let stays = self.membership.view().standing().keeps_announced();
        let mut lately = self.announced.clone();
        for (address, scope) in addresses {
            let number = number(probed_links(&links, address, &scope));
            if stays && number > 0 && lately.remove(&address) {
                check.keep(now.monotonic, address, scope, number);
            } else {
                check.want(address, Some(scope), number, lately.contains(&address));
            }
        }
        self.link_check = Some(check);
        self.asked_on = links;
        // What passes to another node may be answered for no longer without the link's word, either.
        let answered = lately.into_iter().chain(std::mem::take(&mut self.passing));
        let change = answered.map(|address| (address, None)).collect();
        self.order_engine(EngineOrders { change, ..EngineOrders::default() });
        self.carry_out_link();
    }

    /// The links have changed: nobody is asked on a link without carrier, and everybody anew on one that has carrier again.
    pub(super) fn follow_links(&mut self, now: Instant) {
        let links = Arc::clone(&self.layer2.links);
        let before = std::mem::replace(&mut self.asked_on, Arc::clone(&links));
        if let Some(check) = &mut self.link_check {
            check.relink(now, |address, scope| carriers(&before, &links, address, scope));
            self.carry_out_link();
        }
    }

    pub(super) fn end_questions(&mut self) {
        if let Some(check) = self.link_check.take() {
            let watched = check.end().into_iter().map(|address| (address, None)).collect();
            self.effects.push_back(Effect::Engine(EngineCommand::Watch(watched)));
        }
    }

    /// Another station claims an address that the link was asked about.
    pub(super) fn handle_answer(
        &mut self,
        now: Instant,
        address: IpAddr,
        station: Station,
        by_probe: bool,
    ) {
        if let Some(check) = &mut self.link_check {
            check.answered(now, address, station, by_probe);
            self.carry_out_link();
        }
    }

    /// Carries out the orders of a decision. Where the link has the last word, what it has not agreed to is held back.
    pub(super) fn admit_by_link(&mut self, now: ClockReading, orders: EngineOrders) {
        if !self.membership.view().standing().asks_link() {
            let orders = self.hold_back(now.monotonic, orders);
            return self.order_engine(orders);
        }
        self.end_holds();
        if self.link_check.is_none() {
            return self.begin_questions(now, self.speaker.desired());
        }
        let links = Arc::clone(&self.layer2.links);
        if let Some(check) = &mut self.link_check {
            let ended = orders.answer_only.iter().map(|address| (*address, None));
            for (address, scope) in orders.change.into_iter().chain(ended) {
                let number = |scope| number(probed_links(&links, address, scope));
                let number = scope.as_ref().map_or(0, number);
                check.want(address, scope, number, false);
            }
        }
        self.carry_out_link();
    }

    /// After a decision: the engine gets everything that the link need not be asked about any more.
    pub(super) fn release_all(&mut self) {
        if self.link_check.is_some() {
            return;
        }
        let desired = self.speaker.desired();
        let former = self.announced.iter().filter(|address| !desired.contains_key(*address));
        let mut change: Vec<_> = former.map(|address| (*address, None)).collect();
        let missing = desired
            .into_iter()
            .filter(|(address, _)| !self.announced.contains(address) && !self.is_held(*address));
        change.extend(missing.map(|(address, scope)| (address, Some(scope))));
        if !change.is_empty() {
            self.order_engine(EngineOrders { change, ..EngineOrders::default() });
        }
    }

    /// Gives orders to the engine, and notes what it announces from now.
    pub(super) fn order_engine(&mut self, orders: EngineOrders) {
        if !orders.change.is_empty() || !orders.answer_only.is_empty() {
            self.announced_version += 1;
        }
        for (address, scope) in &orders.change {
            self.passing.remove(address);
            if scope.is_some() {
                self.announced.insert(*address);
            } else {
                self.announced.remove(address);
            }
        }
        for address in &orders.answer_only {
            self.announced.remove(address);
            self.passing.insert(*address);
        }
        self.membership.carried_out(&orders);
        self.command_engine(orders);
    }

    /// Asks the link what is due, and tells its words.
    pub(super) fn expire_link(&mut self, now: ClockReading, snapshot: &Snapshot) {
        let Some(check) = &mut self.link_check else { return };
        check.expire(now.monotonic);
        let spoken = self.carry_out_link();
        if !spoken.is_empty() {
            let mut dirty = Dirty::default();
            for address in spoken {
                dirty.services.extend(self.speaker.users(address).cloned());
            }
            self.consider_words(now, snapshot, &dirty);
        }
    }

    /// Carries out what the questions want. Returns the addresses about which the link has spoken.
    pub(super) fn carry_out_link(&mut self) -> Vec<IpAddr> {
        let actions = self.link_check.as_mut().map(LinkCheck::take_actions).unwrap_or_default();
        let mut spoken = Vec::new();
        for action in actions {
            match action {
                LinkAction::Watch(changes) => {
                    self.effects.push_back(Effect::Engine(EngineCommand::Watch(changes)));
                }
                LinkAction::Probe { addresses, precedence } => {
                    let probe = EngineCommand::Probe { addresses, precedence };
                    self.effects.push_back(Effect::Engine(probe));
                }
                LinkAction::Change(change) => {
                    let gained = change.iter().filter(|(_, scope)| scope.is_some());
                    let gained = gained.map(|(address, _)| *address).collect();
                    let tell = self.handovers.claim(gained);
                    self.order_engine(EngineOrders { change, tell, ..EngineOrders::default() });
                }
                LinkAction::Tell { address, word } => {
                    let users = self.speaker.users(address).cloned().collect();
                    self.effects.push_back(Effect::Fact(Fact::Link { address, word, users }));
                    spoken.push(address);
                }
            }
        }
        spoken
    }

    /// The link's words about these addresses, while it has the last word: none for an address that is being asked for.
    pub(super) fn link_words(&self) -> Option<BTreeMap<IpAddr, LinkWord>> {
        let check = self.link_check.as_ref()?;
        let words = self.speaker.desired().into_keys();
        Some(words.filter_map(|address| Some((address, check.word(address)?))).collect())
    }
}
