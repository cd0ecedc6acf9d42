// SPDX-License-Identifier: Apache-2.0
//! A station that answers every ARP request for others: a router with proxy ARP over a whole prefix.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

use crate::packet::{ARP, socket};

/// The hardware address of the proxy.
pub const STATION: [u8; 6] = [0x02, 0xfb, 0, 0, 0, 0x77];
/// The first 14 octets of an Ethernet frame; an ARP request for IPv4 is 28 octets more (RFC 826).
const HEADER: usize = 14;

/// Answers every ARP request on `link` for another address than those from `first` to `last`, until the process is killed.
///
/// # Errors
/// When the socket cannot be had, or breaks.
pub fn answer(link: &str, first: Ipv4Addr, last: Ipv4Addr) -> anyhow::Result<()> {
    let mut socket = socket(link, ARP)?;
    let mut octets = [0; 128];
    println!("answering");
    loop {
        let length = std::io::Read::read(&mut socket, &mut octets)?;
        let frame = octets.get(..length).unwrap_or_default();
        if let Some(reply) = reply(frame, first..=last) {
            socket.send(&reply)?;
        }
    }
}

/// The reply to a request, if it is one for an address that the proxy answers for.
fn reply(frame: &[u8], spared: RangeInclusive<Ipv4Addr>) -> Option<Vec<u8>> {
    let arp = frame.get(HEADER..HEADER + 28)?;
    let (head, rest) = arp.split_at_checked(8)?;
    let (sender, target) = (rest.get(..6)?, rest.get(16..20)?);
    let asks = head == [0, 1, 8, 0, 6, 4, 0, 1];
    let sender_address = rest.get(6..10)?;
    let asked = Ipv4Addr::from(<[u8; 4]>::try_from(target).ok()?);
    if !asks || spared.contains(&asked) || sender == STATION || sender_address == target {
        return None;
    }
    let mut reply = sender.to_vec();
    reply.extend(STATION);
    reply.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 2]);
    reply.extend(STATION);
    reply.extend(target);
    reply.extend(sender);
    reply.extend(sender_address);
    reply.resize(60, 0);
    Some(reply)
}
