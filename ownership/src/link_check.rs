// SPDX-License-Identifier: Apache-2.0
//! The questions to the link while the count of a majority does not let this node answer (`--fencing=link`): for each address that this node
//! would own, whether another station answers (Address Conflict Detection, RFC 5227 section 2.1; RFC 4862 section 5.4). A synchronous value.
//!
//! ```text
//!              six probes, 100 ms apart, and no answer
//!   Asking ──────────────────────────────────────────────> Announced (probed again every 2 s)
//!     ^  ^                                                     │
//!     │  └──────────── another station answers ────────────────┘
//!     └─ another station answers: asked again after 400 ms
//! ```
//!
//! A station that answers for a control address as well, which nobody has, is a proxy: it answers for everything, and counts as nobody.
//! Nobody is asked on a link without carrier (`carrier`).

mod carrier;
mod proxies;
mod question;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use l2::{MacAddress, Precedence, Scope};

pub use carrier::Carriers;
use proxies::Proxies;
use question::Question;

/// The time between two probes for one address.
pub(crate) const PROBE_INTERVAL: Duration = Duration::from_millis(100);
/// The probes without an answer after which this node announces an address: two rounds of three.
pub(crate) const PROBES: u8 = 6;
/// The time after which an address is asked for again that another station has answered for.
pub(crate) const ANSWERED_INTERVAL: Duration = Duration::from_millis(400);
/// The probes that a node sends in a second, at most, all links together.
pub(crate) const PROBES_PER_SECOND: u32 = 500;
/// The time between two probes for an address that is announced against the count, for up to 200 addresses.
pub(crate) const WATCH_INTERVAL: Duration = Duration::from_secs(2);
/// The probes in a second for addresses that are announced, at most. Of more than 200 addresses each is probed less often.
const WATCH_PROBES_PER_SECOND: u32 = 100;
/// The announced addresses, at most, that are probed out of turn when one more link has carrier: with more, that would take the probes of others.
const OUT_OF_TURN: usize = 200;
/// The time that the probe of an announced address waits, at most, while many others are being asked for.
const WATCH_DELAY: Duration = Duration::from_secs(1);
/// The time between two looks at what is due.
const TURN: Duration = Duration::from_millis(20);
/// The addresses that are asked for at the same time, at most, on one link: their probes are all that may be sent.
const AT_ONCE: u32 = PROBES_PER_SECOND / 10;
/// The time that a station has to answer for an address before that is told: a proxy is known by then.
const TELLING_TIME: Duration = Duration::from_millis(250);

/// A station on a link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Station {
    /// The name of the link.
    pub interface: Arc<str>,
    /// The station's hardware address.
    pub hardware_address: MacAddress,
}

/// The last word of the link about an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkWord {
    /// No other station answers: this node announces the address against the count.
    Unanswered,
    /// This station answers: this node is silent for the address.
    AnsweredBy(Station),
}

/// An action, to be carried out in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkAction {
    /// Report every other station that claims these addresses on these links; without a scope no more.
    Watch(Vec<(IpAddr, Option<Scope>)>),
    /// Send one probe for each of these addresses, with this precedence.
    Probe {
        /// The addresses, watched before.
        addresses: Vec<IpAddr>,
        /// The precedence that the probes carry.
        precedence: Precedence,
    },
    /// Announce and answer for these addresses from now; without a scope no more.
    Change(Vec<(IpAddr, Option<Scope>)>),
    /// The link has spoken about an address.
    Tell {
        /// The address.
        address: IpAddr,
        /// The word.
        word: LinkWord,
    },
}

/// The questions that are open. See the module's head.
#[derive(Debug)]
pub struct LinkCheck {
    /// The number that decides the order in which addresses are asked for.
    seed: u64,
    precedence: Precedence,
    questions: BTreeMap<IpAddr, Question>,
    /// The addresses that wait for their first probe, in their order: the ones lately owned here first, the others at random.
    waiting: BTreeSet<(bool, u64, IpAddr)>,
    /// The addresses by the time of their next probe.
    due: BTreeSet<(Instant, IpAddr)>,
    /// The number of addresses that are being asked for, weighted by their links.
    asking: u32,
    proxies: Proxies,
    /// The control addresses that are watched.
    controls: BTreeSet<IpAddr>,
    next_control: Instant,
    next_turn: Instant,
    /// The number of probes that may be sent in this turn, in thousandths.
    budget: u32,
    actions: Vec<LinkAction>,
}

impl LinkCheck {
    /// No address is asked for yet.
    #[must_use]
    pub fn new(now: Instant, seed: u64, precedence: Precedence) -> Self {
        Self {
            seed,
            precedence,
            questions: BTreeMap::new(),
            waiting: BTreeSet::new(),
            due: BTreeSet::new(),
            asking: 0,
            proxies: Proxies::default(),
            controls: BTreeSet::new(),
            next_control: now,
            next_turn: now,
            budget: 0,
            actions: Vec::new(),
        }
    }

    /// Sets the precedence of the probes from now.
    pub fn set_precedence(&mut self, precedence: Precedence) {
        self.precedence = precedence;
    }

    /// Asks for an address on these links from now, or for it no more. `links` is the number of links with carrier in the scope: without any
    /// the address waits for [`Self::relink`]. `lately` is true if this node has owned the address lately.
    pub fn want(&mut self, address: IpAddr, scope: Option<Scope>, links: u32, lately: bool) {
        let known = self.questions.get(&address).map(|question| &question.scope);
        if known == scope.as_ref() {
            return;
        }
        let announced = self.forget(address);
        let mut changes = Vec::new();
        if announced {
            changes.push((address, None));
        }
        if !changes.is_empty() {
            self.actions.push(LinkAction::Change(changes));
        }
        self.actions.push(LinkAction::Watch(vec![(address, scope.clone())]));
        if let Some(scope) = scope {
            let order = question::mixed(self.seed, address);
            self.questions.insert(address, Question::new(scope, links, lately, order));
            if links > 0 {
                self.waiting.insert((!lately, order, address));
            }
        }
    }

    /// This node announces the address already, and goes on unless another station answers; it is probed from now. `links` as in
    /// [`Self::want`], at least 1.
    pub fn keep(&mut self, now: Instant, address: IpAddr, scope: Scope, links: u32) {
        self.want(address, Some(scope), links, true);
        if let Some(question) = self.questions.get_mut(&address)
            && self.waiting.remove(&(false, question.order, address))
        {
            question.keep(now);
            self.due.insert((now, address));
        }
    }

    /// Another station claims a watched address; with `by_probe` it only probes for the address, as this node does.
    pub fn answered(&mut self, now: Instant, address: IpAddr, station: Station, by_probe: bool) {
        if self.controls.contains(&address) {
            // Another speaker may have the same control address.
            if !by_probe && self.proxies.note(now, station.clone()) {
                self.unanswer(now, &station);
            }
            return;
        }
        if self.proxies.contains(now, &station) {
            return;
        }
        let Some(question) = self.questions.get_mut(&address) else { return };
        if question.links == 0 {
            return;
        }
        let announced = question.is_announced();
        self.asking -= question.weight();
        let before = question.due();
        question.answer(now, station);
        if let Some(before) = before {
            self.due.remove(&(before, address));
        }
        self.waiting.remove(&(!question.lately, question.order, address));
        self.due.insert((now + ANSWERED_INTERVAL, address));
        if announced {
            self.actions.push(LinkAction::Change(vec![(address, None)]));
        }
    }

    /// Does everything that has become due.
    pub fn expire(&mut self, now: Instant) {
        if now < self.next_turn || self.questions.is_empty() {
            return;
        }
        let passed = now.saturating_duration_since(self.next_turn) + TURN;
        let earned = u32::try_from(passed.as_millis()).unwrap_or(u32::MAX);
        let earned = earned.saturating_mul(PROBES_PER_SECOND);
        self.budget = self.budget.saturating_add(earned).min(AT_ONCE * 1_000);
        self.next_turn = now + TURN;
        let mut probes = self.control(now);
        self.continue_questions(now, &mut probes);
        self.begin_questions(now, &mut probes);
        if !probes.is_empty() {
            let precedence = self.precedence;
            self.actions.push(LinkAction::Probe { addresses: probes, precedence });
        }
        self.tell(now);
    }

    /// The time at which [`Self::expire`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let due = self.due.first().map(|(at, _)| *at);
        let waiting = (!self.waiting.is_empty()).then_some(self.next_turn);
        let untold = self.questions.values().any(Question::is_untold).then_some(self.next_turn);
        Some(due.into_iter().chain(waiting).chain(untold).min()?.max(self.next_turn))
    }

    /// Hands out the actions since the last call.
    pub fn take_actions(&mut self) -> Vec<LinkAction> {
        std::mem::take(&mut self.actions)
    }

    /// The addresses that this node announces against the count.
    pub fn announced(&self) -> impl Iterator<Item = IpAddr> {
        let announced = self.questions.iter().filter(|(_, question)| question.is_announced());
        announced.map(|(address, _)| *address)
    }

    /// The last word of the link about an address that this node would own; none while it is being asked.
    #[must_use]
    pub fn word(&self, address: IpAddr) -> Option<LinkWord> {
        self.questions.get(&address)?.word()
    }

    /// Ends all questions. Returns the addresses that are watched, the control addresses included.
    #[must_use]
    pub fn end(self) -> Vec<IpAddr> {
        self.questions.into_keys().chain(self.controls).collect()
    }

    /// Forgets an address. Returns true if it was announced.
    fn forget(&mut self, address: IpAddr) -> bool {
        let Some(question) = self.questions.remove(&address) else { return false };
        self.asking -= question.weight();
        self.waiting.remove(&(!question.lately, question.order, address));
        if let Some(at) = question.due() {
            self.due.remove(&(at, address));
        }
        question.is_announced()
    }

    /// A station has turned out to be a proxy: what it has answered does not count.
    fn unanswer(&mut self, now: Instant, station: &Station) {
        for (address, question) in &mut self.questions {
            if question.is_answered_by(station) && !question.is_announced() {
                self.asking -= question.weight();
                if let Some(before) = question.due() {
                    self.due.remove(&(before, *address));
                }
                question.wait();
                self.waiting.insert((!question.lately, question.order, *address));
            }
        }
        self.next_turn = self.next_turn.min(now + TURN);
    }

    /// The control addresses to probe now: when questions begin and go on, so that proxies are known before they count.
    fn control(&mut self, now: Instant) -> Vec<IpAddr> {
        if now < self.next_control {
            return Vec::new();
        }
        let busy = self.asking > 0 || !self.waiting.is_empty();
        self.next_control = now + if busy { PROBE_INTERVAL * 3 } else { WATCH_INTERVAL };
        let (v4, v6) = (
            self.questions.keys().any(IpAddr::is_ipv4),
            self.questions.keys().any(IpAddr::is_ipv6),
        );
        let wanted: BTreeSet<IpAddr> = Proxies::controls(self.seed)
            .into_iter()
            .filter(|control| if control.is_ipv4() { v4 } else { v6 })
            .filter(|control| !self.questions.contains_key(control))
            .collect();
        if wanted != self.controls {
            let gone = self.controls.difference(&wanted).map(|address| (*address, None));
            let new = wanted.difference(&self.controls);
            let new = new.map(|address| (*address, Some(Scope::AllInterfaces)));
            self.actions.push(LinkAction::Watch(gone.chain(new).collect()));
            self.controls.clone_from(&wanted);
        }
        wanted.into_iter().collect()
    }

    /// The next probe of every address whose time has come, as far as the budget goes.
    fn continue_questions(&mut self, now: Instant, probes: &mut Vec<IpAddr>) {
        let announced = u32::try_from(self.announced().count()).unwrap_or(u32::MAX);
        let watch =
            WATCH_INTERVAL.max(Duration::from_secs(announced.into()) / WATCH_PROBES_PER_SECOND);
        let mut free = Vec::new();
        let due: Vec<(Instant, IpAddr)> =
            self.due.iter().copied().take_while(|(at, _)| *at <= now).collect();
        for (at, address) in due {
            let Some(question) = self.questions.get_mut(&address) else { continue };
            let cost = question.links * 1_000;
            let busy = !self.waiting.is_empty() || self.asking * 2 > AT_ONCE;
            if question.is_announced() && busy && now < at + WATCH_DELAY {
                continue;
            }
            if question.is_free() {
                self.asking -= question.weight();
                question
                    .announce(now + watch.mul_f64(0.5 + 0.15 * question::fraction(question.order)));
                free.push((address, Some(question.scope.clone())));
            } else if cost > self.budget {
                break;
            } else {
                self.asking -= question.weight();
                self.budget -= cost;
                question.probe(now, watch);
                self.asking += question.weight();
                probes.push(address);
            }
            self.due.remove(&(at, address));
            if let Some(next) = question.due() {
                self.due.insert((next, address));
            }
        }
        if !free.is_empty() {
            self.actions.push(LinkAction::Change(free));
        }
    }

    /// The first probe of addresses that wait, as far as there is room.
    fn begin_questions(&mut self, now: Instant, probes: &mut Vec<IpAddr>) {
        while let Some((lately, order, address)) = self.waiting.first().copied() {
            let Some(question) = self.questions.get_mut(&address) else { return };
            let cost = question.links * 1_000;
            let full = self.asking > 0 && self.asking + question.links > AT_ONCE;
            if full || cost > self.budget {
                return;
            }
            self.budget -= cost;
            question.probe(now, WATCH_INTERVAL);
            self.asking += question.weight();
            self.waiting.remove(&(lately, order, address));
            if let Some(next) = question.due() {
                self.due.insert((next, address));
            }
            probes.push(address);
        }
    }

    /// Tells the words that have lasted.
    fn tell(&mut self, now: Instant) {
        for (address, question) in &mut self.questions {
            if let Some(word) = question.tell(now, TELLING_TIME) {
                self.actions.push(LinkAction::Tell { address: *address, word });
            }
        }
    }
}

/// The precedence of a node that sees so many speakers, among the names that it knows, itself included.
#[must_use]
pub fn precedence<'a>(
    own: &str,
    present: usize,
    known: impl Iterator<Item = &'a Arc<str>>,
) -> Precedence {
    let position = known.filter(|name| ***name < *own).count();
    let number = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
    Precedence { members: number(present), position: number(position) }
}

#[cfg(test)]
mod tests;
