// SPDX-License-Identifier: Apache-2.0
//! The open connections of addresses, counted from conntrack's list, and their flows of UDP.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::attribute::Attributes;
use super::error::Error;
use super::kernel::unlisted;
use super::message::{ACKNOWLEDGE, CONNTRACK, DUMP, Message, REQUEST, Request};
use super::ruleset::Family;
use super::socket::{Listed, Socket};
use crate::flow::Flow;

/// Messages of ctnetlink.
const NEW: u16 = CONNTRACK << 8;
const GET: u16 = (CONNTRACK << 8) | 1;
const GET_STATISTICS: u16 = (CONNTRACK << 8) | 5;

const TCP: u8 = 6;
const UDP: u8 = 17;
/// The bit of a status that says that the entry is no draft any more, and the one that says that it is being removed.
const CONFIRMED: u32 = 8;
const DYING: u32 = 0x200;
/// ESTABLISHED, FIN_WAIT and CLOSE_WAIT: at least one side may still send.
const OPEN_STATES: std::ops::RangeInclusive<u8> = 3..=5;

/// The open connections of one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Connections of TCP that are established, or closed by one side only.
    pub tcp: u64,
    /// Flows of UDP that conntrack has confirmed and not forgotten.
    pub udp: u64,
}

/// One entry of conntrack, as far as it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    destination: IpAddr,
    /// The place that the first packet came from, of protocols with ports.
    client: Option<(IpAddr, u16)>,
    protocol: u8,
    status: u32,
    /// The state of a connection of TCP.
    state: Option<u8>,
}

/// The number of open connections to each of these addresses, by what the first packet was sent to; an address without any has
/// zeros. All entries of the network namespace are read, one after the other. Blocks.
///
/// # Errors
/// Where the kernel has no list of connections, or the permission `CAP_NET_ADMIN` is missing.
pub fn count(addresses: &BTreeSet<IpAddr>) -> Result<BTreeMap<IpAddr, Open>, Error> {
    let mut counts: BTreeMap<IpAddr, Open> =
        addresses.iter().map(|address| (*address, Open::default())).collect();
    list(addresses, |entry| entry.count(&mut counts))?;
    Ok(counts)
}

/// The flows of UDP to these addresses that conntrack has confirmed and not forgotten, by what the first packet was sent to; any
/// `limit` of them if there are more. All entries of the network namespace are read, one after the other. Blocks.
///
/// # Errors
/// As [`count`].
pub fn flows(addresses: &BTreeSet<IpAddr>, limit: usize) -> Result<BTreeSet<Flow>, Error> {
    let mut flows = BTreeSet::new();
    list(addresses, |entry| {
        let flow = entry.flow().filter(|flow| addresses.contains(&flow.address));
        if let Some(flow) = flow.filter(|_| flows.len() < limit) {
            flows.insert(flow);
        }
    })?;
    Ok(flows)
}

/// Reads all entries of the families of these addresses.
fn list(addresses: &BTreeSet<IpAddr>, mut read: impl FnMut(Entry)) -> Result<(), Error> {
    let mut socket = Socket::open()?;
    for family in [Family::V4, Family::V6] {
        let asked = |address: &IpAddr| address.is_ipv4() == (family == Family::V4);
        if !addresses.iter().any(asked) {
            continue;
        }
        let listed = socket.list(&request(GET, DUMP, family.number()), &mut |message| {
            if let Some(entry) = Entry::read(message) {
                read(entry);
            }
        })?;
        if let Listed::Refused(errno) = listed {
            return Err(unlisted("connections", errno));
        }
    }
    Ok(())
}

/// Looks whether the kernel has this list.
pub(super) fn check(socket: &mut Socket) -> Result<(), Error> {
    match socket.list(&request(GET_STATISTICS, ACKNOWLEDGE, 0), &mut |_| ())? {
        Listed::Refused(errno) => Err(unlisted("connections", errno)),
        Listed::All | Listed::Interrupted => Ok(()),
    }
}

fn request(kind: u16, flags: u16, family: u8) -> Request {
    let attributes = super::attribute::Writer::default();
    Request { kind, flags: REQUEST | flags, family, resource: 0, attributes }
}

impl Entry {
    fn read(message: Message<'_>) -> Option<Self> {
        if message.kind != NEW {
            return None;
        }
        let entry = message.attributes();
        let original = entry.nested(1)?;
        let protocol = original.nested(2)?.octets(1)?.first().copied()?;
        let state = entry.nested(4).and_then(|it| it.nested(1)?.octets(1)?.first().copied());
        let status = entry.be32(3)?;
        let addresses = original.nested(1)?;
        let port = original.nested(2)?.octets(2).and_then(|it| it.try_into().ok());
        let client = address(addresses, 1, 3).zip(port.map(u16::from_be_bytes));
        let destination = address(addresses, 2, 4)?;
        Some(Self { destination, client, protocol, status, state })
    }

    fn is_open(&self) -> bool {
        self.status & CONFIRMED != 0 && self.status & DYING == 0
    }

    fn flow(&self) -> Option<Flow> {
        let (client, client_port) =
            self.client.filter(|_| self.protocol == UDP && self.is_open())?;
        Some(Flow { address: self.destination, client, client_port })
    }

    fn count(&self, counts: &mut BTreeMap<IpAddr, Open>) {
        let Some(open) = counts.get_mut(&self.destination).filter(|_| self.is_open()) else {
            return;
        };
        match self.protocol {
            TCP if self.state.is_some_and(|state| OPEN_STATES.contains(&state)) => open.tcp += 1,
            UDP => open.udp += 1,
            _ => {}
        }
    }
}

/// The address in the attribute of the one kind (IPv4) or of the other one (IPv6).
fn address(addresses: Attributes<'_>, v4: u16, v6: u16) -> Option<IpAddr> {
    if let Some(address) = addresses.octets(v4) {
        return <[u8; 4]>::try_from(address).ok().map(IpAddr::from);
    }
    <[u8; 16]>::try_from(addresses.octets(v6)?).ok().map(IpAddr::from)
}

/// Reads any octets as messages of conntrack. For tests.
pub(super) fn read_any(octets: &[u8]) {
    let mut counts = BTreeMap::new();
    for entry in super::message::Messages(octets).filter_map(Entry::read) {
        counts.insert(entry.destination, Open::default());
        entry.count(&mut counts);
        let _ = entry.flow();
    }
}

#[cfg(test)]
mod tests;
