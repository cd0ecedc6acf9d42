// SPDX-License-Identifier: Apache-2.0
//! Addresses about which the caller asks the link before it answers for them itself (RFC 5227 §2.1, RFC 4862 §5.4):
//! probes go out, and the stations that claim the address are told. Not the moments of the probes, which the caller has
//! to know, and no answer or announcement: these come from the owned addresses alone.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::{Engine, Transmit};
use crate::frame::arp::Arp;
use crate::frame::ndp::Ndp;
use crate::{Event, MacAddress, Precedence, Protocol, Scope};

/// So many stations of one address are told between two probes: more tell the caller nothing new.
const STATIONS: usize = 4;
/// Room for so many addresses stays in any case.
const FEW: usize = 64;

/// All watched addresses, and what is to be asked about them.
#[derive(Debug, Default)]
pub(super) struct Watch {
    addresses: HashMap<IpAddr, Watched>,
    precedence: Option<Precedence>,
    /// Probes that were not sent yet. Their frames are made when they go out, with the links of that moment.
    probes: VecDeque<Probe>,
}

#[derive(Debug)]
struct Watched {
    scope: Scope,
    links: Arc<[u32]>,
    /// The stations that were told since the last probe, at most [`STATIONS`], each with true if it was told for its probe.
    told: Vec<(MacAddress, bool)>,
}

/// A probe that waits for its turn.
#[derive(Clone, Copy, Debug)]
struct Probe {
    address: IpAddr,
    link: u32,
    precedence: Option<Precedence>,
}

impl Watch {
    /// Every watched address with its links.
    pub(super) fn links(&self) -> impl Iterator<Item = (&IpAddr, &Arc<[u32]>)> {
        self.addresses.iter().map(|(address, watched)| (address, &watched.links))
    }

    /// Every watched address with its scope.
    pub(super) fn scopes(&self) -> impl Iterator<Item = (&IpAddr, &Scope)> {
        self.addresses.iter().map(|(address, watched)| (address, &watched.scope))
    }

    fn has(&self, address: IpAddr, link: u32) -> bool {
        self.addresses.get(&address).is_some_and(|watched| watched.links.contains(&link))
    }
}

impl Engine {
    /// From now another station that claims this address on a link inside the scope is told by [`Event::Answered`],
    /// whether the address is owned or not; with `None` no more. Watching answers and announces nothing.
    pub fn watch(&mut self, now: Instant, address: IpAddr, scope: Option<&Scope>) {
        match (scope, self.watch.addresses.get(&address)) {
            (Some(scope), Some(watched)) if watched.scope == *scope => {}
            (Some(scope), Some(_)) => self.rewatch(now, address, scope),
            (Some(scope), None) => {
                let links = self.targets_of(scope, Protocol::of(address));
                self.pass(now, address, &[], &links);
                self.enter_group(address);
                let watched = Watched { scope: scope.clone(), links, told: Vec::new() };
                self.watch.addresses.insert(address, watched);
            }
            (None, Some(_)) => {
                let Some(watched) = self.watch.addresses.remove(&address) else { return };
                self.pass(now, address, &watched.links, &[]);
                self.quit_group(address);
                let addresses = &mut self.watch.addresses;
                if addresses.len() < addresses.capacity() / 4 {
                    addresses.shrink_to(FEW.max(2 * addresses.len()));
                }
            }
            (None, None) => {}
        }
    }

    /// One probe for each of these addresses that is watched goes out on each of its links, and the stations that were
    /// told for the address are forgotten: those that claim it still are told again. A probe of an address that is not
    /// watched does nothing.
    pub fn probe(&mut self, addresses: &[IpAddr]) {
        let Watch { addresses: watched, precedence, probes } = &mut self.watch;
        for address in addresses {
            let Some(watched) = watched.get_mut(address) else { continue };
            watched.told.clear();
            let probe =
                |link: &u32| Probe { address: *address, link: *link, precedence: *precedence };
            probes.extend(watched.links.iter().map(probe));
        }
    }

    /// Every probe that [`Self::probe`] makes from now carries this precedence, or none. It also decides which of other
    /// stations' probes count: see [`Event::Answered`].
    pub fn set_precedence(&mut self, precedence: Option<Precedence>) {
        self.watch.precedence = precedence;
    }

    /// Probes that were not sent yet are dropped: this node may not speak, and when it may again their moment is over.
    pub fn drop_probes(&mut self) {
        self.watch.probes = VecDeque::new();
    }

    /// Finds the links of a watched address for this scope.
    pub(super) fn rewatch(&mut self, now: Instant, address: IpAddr, scope: &Scope) {
        let links = self.targets_of(scope, Protocol::of(address));
        let Some(watched) = self.watch.addresses.get_mut(&address) else { return };
        if watched.scope != *scope {
            watched.scope = scope.clone();
        }
        let before = std::mem::replace(&mut watched.links, Arc::clone(&links));
        self.pass(now, address, &before, &links);
    }

    /// The next probe that waits, without those whose address is not watched on their link any more.
    pub(super) fn next_probe(&mut self) -> Option<Transmit> {
        while let Some(probe) = self.watch.probes.pop_front() {
            if self.watch.has(probe.address, probe.link)
                && let Some(transmit) = self.compose_probe(probe)
            {
                return Some(transmit);
            }
        }
        crate::shrink(&mut self.watch.probes);
        None
    }

    fn compose_probe(&self, probe: Probe) -> Option<Transmit> {
        let Probe { address, link, precedence } = probe;
        let facts = &self.links.get(&link)?.facts;
        let mac = facts.hardware_address?;
        let frame = match address {
            IpAddr::V4(v4) => {
                let probe = Arp::probe(mac, v4);
                precedence.map_or(probe, |precedence| probe.with_precedence(precedence)).emit()
            }
            IpAddr::V6(v6) => {
                let probe = Ndp::probe(mac, facts.link_local?, v6);
                precedence.map_or(probe, |precedence| probe.with_precedence(precedence)).emit()
            }
        };
        let protocol = Protocol::of(address);
        Some(Transmit { link, protocol, address, announces: false, frame })
    }

    /// A station says that it has the address: the caller is told where the address is watched.
    pub(super) fn note_claim(
        &mut self,
        link: u32,
        address: IpAddr,
        station: MacAddress,
        by_probe: bool,
    ) {
        if self.own.contains(&station) {
            return;
        }
        let Some(receiver) = self.links.get(&link) else { return };
        let Some(watched) = self.watch.addresses.get_mut(&address) else { return };
        if !watched.links.contains(&link)
            || watched.told.len() >= STATIONS
            || watched.told.contains(&(station, by_probe))
        {
            return;
        }
        watched.told.push((station, by_probe));
        self.events.push_back(Event::Answered {
            address,
            interface: Arc::clone(&receiver.facts.name),
            hardware_address: station,
            by_probe,
        });
    }

    /// A station probes for the address, on the link whose hardware address is `mac`. Returns whether the probe is to
    /// be left without an answer: the address is watched, so this node answers for it against the count of a majority,
    /// and gives way to a station of higher precedence. Without a precedence of its own it gives way to every other
    /// one.
    pub(super) fn note_probe(
        &mut self,
        link: u32,
        mac: MacAddress,
        address: IpAddr,
        station: MacAddress,
        precedence: Option<Precedence>,
    ) -> bool {
        if !self.watch.has(address, link) || !station.is_station() || self.own.contains(&station) {
            return false;
        }
        let ours = self.watch.precedence;
        let is_owned = self.owned.contains_key(&address);
        let is_higher =
            precedence.map(|theirs| ours.is_none_or(|ours| theirs.is_higher(station, ours, mac)));
        // A station without precedence looks only whether the address is free: the owner's answer tells it enough.
        if is_higher.unwrap_or(!is_owned) {
            self.note_claim(link, address, station, true);
        }
        is_owned && is_higher == Some(true)
    }
}
