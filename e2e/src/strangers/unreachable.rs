// SPDX-License-Identifier: Apache-2.0
//! Forged ICMP port-unreachable messages (RFC 792): each member is told in every other's name that a datagram which it
//! sent to the ring's port found it closed. The addresses and ports of that datagram are guessed, which is easy; what
//! it said is guessed, too, and wrong.

use std::net::Ipv4Addr;

use super::orders::{Orders, PORT};
use super::pace::{Noise, pace};
use super::packets::{ICMP, UDP, checksum, datagram, packet, send, socket};

/// The first octets of a heartbeat: its kind, version and that it is sealed.
const HEARTBEAT: [u8; 3] = [0xf7, 1, 1];
/// So much of the datagram is quoted.
const QUOTED: usize = 64;

pub(super) fn play(orders: &Orders) -> anyhow::Result<()> {
    let socket = socket()?;
    let mut noise = Noise(1);
    let pairs: Vec<(Ipv4Addr, Ipv4Addr)> = orders
        .members
        .iter()
        .flat_map(|told| orders.members.iter().map(move |dead| (*told, *dead)))
        .filter(|(told, dead)| told != dead)
        .collect();
    let mut turn = pairs.iter().cycle();
    pace(orders.amount, orders.time, |_| {
        let Some((told, dead)) = turn.next() else { return Ok(()) };
        let mut guess = HEARTBEAT.to_vec();
        noise.fill(&mut guess, QUOTED);
        send(&socket, *told, &message(*told, *dead, &guess))
    })
}

/// What `dead` would say to `told` about a datagram with these octets.
fn message(told: Ipv4Addr, dead: Ipv4Addr, guess: &[u8]) -> Vec<u8> {
    let mut message = vec![3, 3, 0, 0, 0, 0, 0, 0];
    message.extend(packet(UDP, told, dead, &datagram(PORT, PORT, guess)));
    let [high, low] = checksum(&message).to_be_bytes();
    if let Some(place) = message.get_mut(2..4) {
        place.copy_from_slice(&[high, low]);
    }
    packet(ICMP, dead, told, &message)
}
