// SPDX-License-Identifier: Apache-2.0
//! Datagrams to the ring's port that are nonsense: at random, and with the first octets that a heartbeat or a message
//! of the memberlist has; every other one in the name of another member.

use super::orders::{Orders, PORT};
use super::pace::{Noise, pace};
use super::packets::{UDP, datagram, packet, send, socket};

/// How they begin: a heartbeat, sealed and in the clear; an encrypted packet of either version; a ping, a suspicion,
/// several messages at once, a compressed one, one with a checksum; a label; at random.
const BEGINNINGS: [&[u8]; 11] = [
    &[0xf7, 1, 1],
    &[0xf7, 1, 0],
    &[1],
    &[0],
    &[0, 0x82, 0xa5],
    &[3, 0x83, 0xab],
    &[7, 255],
    &[9, 0x82, 0xa4],
    &[12, 0, 0, 0, 0],
    &[244, 4],
    &[],
];
/// The longest one.
const LONGEST: u64 = 600;

pub(super) fn play(orders: &Orders) -> anyhow::Result<()> {
    let socket = socket()?;
    let mut noise = Noise(2);
    let mut octets = Vec::new();
    pace(orders.amount, orders.time, |number| {
        let names = if number % 2 == 0 { &orders.sources } else { &orders.members };
        let from = noise.choose(names).unwrap_or(std::net::Ipv4Addr::LOCALHOST);
        let others: Vec<_> = orders.members.iter().copied().filter(|to| *to != from).collect();
        let Some(to) = noise.choose(&others) else { return Ok(()) };
        octets.clear();
        octets.extend(noise.choose(&BEGINNINGS).unwrap_or_default());
        let length = octets.len() + usize::try_from(noise.next() % LONGEST).unwrap_or_default();
        noise.fill(&mut octets, length);
        send(&socket, to, &packet(UDP, from, to, &datagram(PORT, PORT, &octets)))
    })
}
