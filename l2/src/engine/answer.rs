// SPDX-License-Identifier: Apache-2.0
//! What a frame that came in leads to: an answer, a conflict, or nothing. The only place where a question is answered.

use std::net::IpAddr;
use std::time::Instant;

use super::{Engine, Reply};
use crate::counters::count;
use crate::frame::arp::{Arp, Operation};
use crate::frame::ndp::{Envelope, Message, Ndp, NeighborAdvertisement, NeighborSolicitation};
use crate::{Event, MacAddress, Protocol};

impl Engine {
    /// A frame came in on a port; returns the answer, to be sent on the same port.
    pub fn handle_frame(
        &mut self,
        now: Instant,
        link: u32,
        protocol: Protocol,
        frame: &[u8],
    ) -> Option<Reply> {
        let receiver =
            self.links.get(&link).filter(|link| link.verdict.has(protocol) && !link.gone)?;
        let mac = receiver.facts.hardware_address?;
        match protocol {
            Protocol::Arp => {
                let arp = Arp::parse(frame).ok()?;
                if arp.source == mac || arp.sender_hardware == mac {
                    return None;
                }
                self.handle_arp(now, link, mac, &arp)
            }
            Protocol::Ndp => {
                let ndp = Ndp::parse(frame).ok()?;
                let to = ndp.envelope.ethernet_destination;
                if ndp.envelope.ethernet_source == mac || (to != mac && !to.is_group()) {
                    return None;
                }
                match ndp.message {
                    Message::Solicitation(asked) => {
                        let unasked = ndp.envelope.source.is_unspecified();
                        let gives_way = self.probed(link, mac, &ndp.envelope, &asked);
                        let address = self.asked(link, asked.target.into(), unasked, || {
                            self.is_ours(&ndp.envelope, &asked)
                        })?;
                        if gives_way {
                            return None;
                        }
                        // From the address itself, as a kernel answers for an address of its own: some
                        // programs (ndisc6 among them) take no answer from another source.
                        let answer = asked.answer(&ndp.envelope, mac, asked.target)?;
                        Some(Reply { address, frame: answer.emit() })
                    }
                    Message::Advertisement(advertisement) => {
                        self.handle_advertisement(now, link, mac, &ndp.envelope, &advertisement);
                        None
                    }
                }
            }
        }
    }

    /// RFC 826 "Packet Reception", without the learning.
    fn handle_arp(&mut self, now: Instant, link: u32, mac: MacAddress, arp: &Arp) -> Option<Reply> {
        let announces = arp.sender == arp.target;
        let directed = arp.destination == mac;
        match arp.operation {
            Operation::Request => {
                if arp.destination != MacAddress::BROADCAST && !directed {
                    return None;
                }
                if announces {
                    self.claimed(now, link, arp.sender.into(), arp.sender_hardware, false);
                }
                if !arp.sender_hardware.is_station() {
                    return None;
                }
                let gives_way = arp.is_probe()
                    && self.note_probe(
                        link,
                        mac,
                        arp.target.into(),
                        arp.sender_hardware,
                        arp.precedence(),
                    );
                // Another link of this node announces or probes on the same segment: that is no question.
                let unasked = announces || arp.sender.is_unspecified();
                let own = unasked && self.own.contains(&arp.sender_hardware);
                let address = self.asked(link, arp.target.into(), unasked, || own)?;
                (!gives_way).then(|| Reply { address, frame: arp.reply(mac).emit() })
            }
            Operation::Reply => {
                self.claimed(now, link, arp.sender.into(), arp.sender_hardware, directed);
                None
            }
        }
    }

    fn handle_advertisement(
        &mut self,
        now: Instant,
        link: u32,
        mac: MacAddress,
        envelope: &Envelope,
        advertisement: &NeighborAdvertisement,
    ) {
        let station = advertisement.target_link_layer.unwrap_or(envelope.ethernet_source);
        let directed = envelope.ethernet_destination == mac;
        self.claimed(now, link, advertisement.target.into(), station, directed);
    }

    /// A solicitation that probes for its target: by duplicate address detection, or with a precedence. Returns whether
    /// it is to be left without an answer.
    fn probed(
        &mut self,
        link: u32,
        mac: MacAddress,
        envelope: &Envelope,
        asked: &NeighborSolicitation,
    ) -> bool {
        let station = asked.source_link_layer.unwrap_or(envelope.ethernet_source);
        (envelope.source.is_unspecified() || asked.precedence.is_some())
            && self.note_probe(link, mac, asked.target.into(), station, asked.precedence)
    }

    /// Whether another link of this node asks only to find out whether the address is free.
    fn is_ours(&self, envelope: &Envelope, asked: &NeighborSolicitation) -> bool {
        let station = asked.source_link_layer.unwrap_or(envelope.ethernet_source);
        self.own.contains(&station) && envelope.source.is_unspecified()
    }

    /// Somebody asked for an address: returns it, counted, when it is ours to answer on this link. Whoever only looks whether the
    /// address is free (`unasked`) is not told of one that is on its way, perhaps to the one who looks.
    fn asked(
        &self,
        link: u32,
        address: IpAddr,
        unasked: bool,
        own: impl FnOnce() -> bool,
    ) -> Option<IpAddr> {
        let owned = self.owned.get(&address).filter(|owned| owned.links.contains(&link))?;
        if own() || unasked && owned.answers_only {
            return None;
        }
        let counters = owned.counters.clone().unwrap_or_else(|| self.counters.of(address));
        count(&counters.requests_received);
        Some(address)
    }

    /// A station says that it has the address; if the address is ours and the station not, that is a conflict, or what
    /// was waited for; if it is watched, the caller is told.
    fn claimed(
        &mut self,
        now: Instant,
        link: u32,
        address: IpAddr,
        station: MacAddress,
        directed: bool,
    ) {
        self.note_claim(link, address, station, false);
        let Some(owned) = self.owned.get_mut(&address).filter(|owned| owned.links.contains(&link))
        else {
            return;
        };
        if self.own.contains(&station) {
            return;
        }
        if owned.answers_only {
            if !std::mem::replace(&mut owned.claimed, true) {
                self.events.push_back(Event::Claimed(address));
            }
            return;
        }
        // What is said to us alone leads nobody else astray.
        if !directed && self.announcer.contested(now, address, link) {
            self.outbox.retain(|transmit| transmit.address != address);
        }
        count(&owned.counters(&self.counters, address).conflicts);
        let Some(found_by) = self.conflicts.heard(now, address, link, station, directed) else {
            return;
        };
        let Some(receiver) = self.links.get(&link) else { return };
        let interface = receiver.facts.name.clone();
        self.events.push_back(Event::Conflict {
            address,
            interface,
            hardware_address: station,
            found_by,
        });
    }
}
