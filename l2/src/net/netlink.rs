// SPDX-License-Identifier: Apache-2.0
//! Links and their addresses by rtnetlink(7): subscribe, dump, follow, and dump again when the kernel had to drop messages.
//! Everything of netlink stays in this file; out come [`LinkFacts`]. Routes and neighbours are of no interest.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

use crate::{LinkFacts, MacAddress};

/// The messages are those of rtnetlink: with another version of netlink-packet-route than its own this does not compile.
#[allow(unused_qualifications, reason = "that both names mean one type is what is asserted")]
const _: fn(rtnetlink::packet_route::RouteNetlinkMessage) -> RouteNetlinkMessage =
    |message| message;

/// Multicast group of link changes.
const RTNLGRP_LINK: u32 = 1;
/// Multicast group of changes of IPv4 addresses.
const RTNLGRP_IPV4_IFADDR: u32 = 5;
/// Multicast group of changes of IPv6 addresses.
const RTNLGRP_IPV6_IFADDR: u32 = 9;
/// The dump was disturbed by a change (NLM_F_DUMP_INTR).
const DUMP_INTERRUPTED: u16 = 0x10;
/// More than the kernel ever puts into one datagram of a dump that was asked for without a hint.
const BUFFER: usize = 32 * 1024;

/// The socket and what it has told so far.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: Socket,
    buffer: Vec<u8>,
    links: BTreeMap<u32, Known>,
    /// Usable addresses and their prefix lengths.
    addresses: BTreeMap<u32, BTreeMap<IpAddr, u8>>,
    dump: Dump,
    sequence: u32,
    /// Links of which a change was read and not handed out yet: also what was read before an error is handed out after it.
    touched: BTreeSet<u32>,
}

/// A change to hand to the engine.
#[derive(Debug)]
pub(super) enum Change {
    Upsert(LinkFacts),
    Remove(u32),
}

#[derive(Debug)]
struct Known {
    facts: LinkFacts,
    master: Option<u32>,
}

/// One dump runs at a time; what it has not named at its end is gone.
#[derive(Debug)]
enum Dump {
    Idle,
    Links { seen: BTreeSet<u32>, interrupted: bool },
    Addresses { seen: BTreeSet<(u32, IpAddr)>, interrupted: bool },
}

impl Netlink {
    /// Subscribes and asks for everything there is.
    pub(super) fn open() -> io::Result<Self> {
        let mut netlink = Self {
            socket: subscribe()?,
            buffer: Vec::with_capacity(BUFFER),
            links: BTreeMap::new(),
            addresses: BTreeMap::new(),
            dump: Dump::Idle,
            sequence: 0,
            touched: BTreeSet::new(),
        };
        netlink.resynchronize()?;
        Ok(netlink)
    }

    /// Begins again with another socket, but remembers what was told: what is not named again is gone.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        self.socket = subscribe()?;
        self.resynchronize()
    }

    /// Whether all that was asked for has been told.
    pub(super) const fn is_synchronized(&self) -> bool {
        matches!(self.dump, Dump::Idle)
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Reads what is there and returns the changes, in order.
    pub(super) fn receive(&mut self) -> io::Result<Vec<Change>> {
        let mut touched = std::mem::take(&mut self.touched);
        if let Err(error) = self.read(&mut touched) {
            self.touched = touched;
            return Err(error);
        }
        Ok(touched.into_iter().map(|index| self.change(index)).collect())
    }

    fn read(&mut self, touched: &mut BTreeSet<u32>) -> io::Result<()> {
        loop {
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer, 0) {
                Ok((_, from)) if from.port_number() == 0 => {
                    let datagram = std::mem::take(&mut self.buffer);
                    let result = self.datagram(&datagram, touched);
                    self.buffer = datagram;
                    result?;
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    tracing::info!("netlink messages were lost; asking for all links again");
                    match &mut self.dump {
                        Dump::Links { interrupted, .. } | Dump::Addresses { interrupted, .. } => {
                            *interrupted = true
                        }
                        Dump::Idle => self.resynchronize()?,
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn resynchronize(&mut self) -> io::Result<()> {
        self.dump = Dump::Links { seen: BTreeSet::new(), interrupted: false };
        self.ask(RouteNetlinkMessage::GetLink(LinkMessage::default()))
    }

    fn ask(&mut self, request: RouteNetlinkMessage) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
        message.finalize();
        let mut octets = vec![0; message.buffer_len()];
        message.serialize(&mut octets);
        self.socket.send_to(&octets, &SocketAddr::new(0, 0), 0).map(drop)
    }

    fn datagram(&mut self, mut octets: &[u8], touched: &mut BTreeSet<u32>) -> io::Result<()> {
        // Each message starts with its own length, padding to four octets not included.
        while let Some(length) = octets.first_chunk::<4>().map(|length| u32::from_ne_bytes(*length))
        {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let Some(message) = octets.get(..length).filter(|message| message.len() >= 16) else {
                break;
            };
            match NetlinkMessage::<RouteNetlinkMessage>::deserialize(message) {
                Ok(message) => self.message(message, touched)?,
                // One message that cannot be read is one link that is not seen; the others go on.
                Err(error) => tracing::warn!(%error, "a netlink message could not be read"),
            }
            octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(())
    }

    fn message(
        &mut self,
        message: NetlinkMessage<RouteNetlinkMessage>,
        touched: &mut BTreeSet<u32>,
    ) -> io::Result<()> {
        let (header, payload) = message.into_parts();
        let of_dump = header.sequence_number == self.sequence;
        if of_dump && header.flags & DUMP_INTERRUPTED != 0 {
            match &mut self.dump {
                Dump::Links { interrupted, .. } | Dump::Addresses { interrupted, .. } => {
                    *interrupted = true
                }
                Dump::Idle => {}
            }
        }
        match payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                self.new_link(&link, touched)
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) => {
                self.del_link(&link, touched)
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(address)) => {
                self.new_address(&address, touched)
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(address)) => {
                self.del_address(&address, touched)
            }
            NetlinkPayload::Done(_) if of_dump => self.dumped(touched)?,
            NetlinkPayload::Error(error) if of_dump && error.code.is_some() => {
                return Err(error.to_io());
            }
            _ => {}
        }
        Ok(())
    }

    /// A dump is at its end: what it did not name is gone; the next one begins.
    fn dumped(&mut self, touched: &mut BTreeSet<u32>) -> io::Result<()> {
        match std::mem::replace(&mut self.dump, Dump::Idle) {
            Dump::Links { interrupted: true, .. } | Dump::Addresses { interrupted: true, .. } => {
                self.resynchronize()
            }
            Dump::Links { seen, .. } => {
                touched.extend(self.links.keys().filter(|index| !seen.contains(index)));
                self.links.retain(|index, _| seen.contains(index));
                self.dump = Dump::Addresses { seen: BTreeSet::new(), interrupted: false };
                self.ask(RouteNetlinkMessage::GetAddress(AddressMessage::default()))
            }
            Dump::Addresses { seen, .. } => {
                for (index, addresses) in &mut self.addresses {
                    let before = addresses.len();
                    addresses.retain(|address, _| seen.contains(&(*index, *address)));
                    if addresses.len() != before {
                        touched.insert(*index);
                    }
                }
                Ok(())
            }
            Dump::Idle => Ok(()),
        }
    }

    fn new_link(&mut self, link: &LinkMessage, touched: &mut BTreeSet<u32>) {
        // A bridge tells of its ports in messages of its own family.
        if link.header.interface_family != AddressFamily::Unspec {
            return;
        }
        let index = link.header.index;
        if let Dump::Links { seen, .. } = &mut self.dump {
            seen.insert(index);
        }
        let Some(known) = facts(link) else { return };
        let renamed =
            self.links.get(&index).is_none_or(|before| before.facts.name != known.facts.name);
        self.links.insert(index, known);
        touched.insert(index);
        if renamed {
            // Its ports tell its name.
            touched.extend(
                self.links
                    .values()
                    .filter(|port| port.master == Some(index))
                    .map(|port| port.facts.index),
            );
        }
    }

    fn del_link(&mut self, link: &LinkMessage, touched: &mut BTreeSet<u32>) {
        if link.header.interface_family != AddressFamily::Unspec {
            return;
        }
        let index = link.header.index;
        if let Dump::Links { seen, .. } = &mut self.dump {
            seen.remove(&index);
        }
        self.links.remove(&index);
        self.addresses.remove(&index);
        touched.insert(index);
    }

    fn new_address(&mut self, message: &AddressMessage, touched: &mut BTreeSet<u32>) {
        let Some((index, address)) = own_address(message) else { return };
        if let Dump::Addresses { seen, .. } = &mut self.dump {
            seen.insert((index, address));
        }
        let length = message.header.prefix_len;
        let addresses = self.addresses.entry(index).or_default();
        let changed = if is_usable(message) {
            addresses.insert(address, length) != Some(length)
        } else {
            addresses.remove(&address).is_some()
        };
        if changed {
            touched.insert(index);
        }
    }

    fn del_address(&mut self, message: &AddressMessage, touched: &mut BTreeSet<u32>) {
        let Some((index, address)) = own_address(message) else { return };
        if let Dump::Addresses { seen, .. } = &mut self.dump {
            seen.remove(&(index, address));
        }
        let addresses = self.addresses.get_mut(&index);
        if addresses.is_some_and(|addresses| addresses.remove(&address).is_some()) {
            touched.insert(index);
        }
    }

    /// All that is known of a link now.
    fn change(&self, index: u32) -> Change {
        let Some(known) = self.links.get(&index) else { return Change::Remove(index) };
        let master = known.master.map(|master| {
            self.links
                .get(&master)
                .map_or_else(|| format!("#{master}").into(), |link| Arc::clone(&link.facts.name))
        });
        let known_addresses = || self.addresses.get(&index).into_iter().flatten();
        let local = known_addresses().find_map(|(address, _)| link_local(*address));
        let addresses = known_addresses()
            .filter(|(address, _)| link_local(**address).is_none())
            .map(|(address, length)| (*address, *length))
            .collect();
        Change::Upsert(LinkFacts { master, link_local: local, addresses, ..known.facts.clone() })
    }
}

fn subscribe() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.set_non_blocking(true)?;
    socket.add_membership(RTNLGRP_LINK)?;
    socket.add_membership(RTNLGRP_IPV4_IFADDR)?;
    socket.add_membership(RTNLGRP_IPV6_IFADDR)?;
    Ok(socket)
}

/// What a message says of the link itself.
fn facts(link: &LinkMessage) -> Option<Known> {
    let (mut name, mut hardware_address, mut master) = (None, None, None);
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.as_str().into()),
            LinkAttribute::Address(octets) => hardware_address = MacAddress::from_slice(octets),
            LinkAttribute::Controller(index) if *index != 0 => master = Some(*index),
            _ => {}
        }
    }
    let flags = link.header.flags;
    let facts = LinkFacts {
        index: link.header.index,
        name: name?,
        hardware_address,
        ethernet: link.header.link_layer_type == LinkLayerType::Ether,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        broadcast: flags.contains(LinkFlags::Broadcast),
        no_arp: flags.contains(LinkFlags::Noarp),
        master: None,
        link_local: None,
        addresses: Arc::default(),
    };
    Some(Known { facts, master })
}

/// The link and its address. On a link with two ends, `Address` is the other end's and `Local` the own.
fn own_address(message: &AddressMessage) -> Option<(u32, IpAddr)> {
    let find = |local: bool| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(address) if local => Some(*address),
            AddressAttribute::Address(address) if !local => Some(*address),
            _ => None,
        })
    };
    Some((message.header.index, find(true).or_else(|| find(false))?))
}

fn link_local(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => address.is_unicast_link_local().then_some(address),
        IpAddr::V4(_) => None,
    }
}

/// Neither still being checked for duplicates nor found to be one.
fn is_usable(message: &AddressMessage) -> bool {
    let long = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Flags(flags) => Some(*flags),
        _ => None,
    });
    let short = message.header.flags;
    let failed = short.contains(AddressHeaderFlags::Dadfailed)
        || long.is_some_and(|flags| flags.contains(AddressFlags::Dadfailed));
    let tentative = short.contains(AddressHeaderFlags::Tentative)
        && !short.contains(AddressHeaderFlags::Optimistic);
    !failed && !tentative
}
