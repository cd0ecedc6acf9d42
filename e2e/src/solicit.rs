// SPDX-License-Identifier: Apache-2.0
//! Asks who has an IPv6 address, as arping does for IPv4, and prints the hardware address of everybody who
//! answers (RFC 4861 §7.2). ndisc6 does not see everybody: asked for a global address it discards answers that come
//! from a link-local one, and those count as well where nobody else may answer.

use std::io::Read;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::time::Duration;

use anyhow::Context;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};

use crate::lab::wait::now;

const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
const SOLICITED: u8 = 0x40;

/// Asks twice, waits a quarter of a second after each question.
///
/// # Errors
/// When the link is not there or the question cannot be sent.
pub fn solicit(target: Ipv6Addr, link: &str) -> anyhow::Result<()> {
    let index = if_nametoindex(link).with_context(|| format!("no link {link}"))?;
    let mac = std::fs::read_to_string(format!("/sys/class/net/{link}/address"))?;
    let mac: Vec<u8> = mac
        .trim()
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect::<Result<_, _>>()
        .context("a link with a hardware address")?;
    let mut socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.set_multicast_hops_v6(255)?;
    socket.set_multicast_if_v6(index)?;
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    // The kernel fills in the checksum.
    let mut question = vec![NEIGHBOR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    question.extend(target.octets());
    question.extend([SOURCE_LINK_LAYER_ADDRESS, 1]);
    question.extend(mac);
    for _ in 0..2 {
        socket.send_to(&question, &SocketAddrV6::new(group, 0, 0, index).into())?;
        let start = now();
        while let Some(left) = Duration::from_millis(250).checked_sub(start.elapsed()) {
            socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            let mut answer = [0; 1500];
            let Ok(length) = socket.read(&mut answer) else { break };
            let answer = answer.get(..length).unwrap_or_default();
            if let Some(answered) = answered(answer, target) {
                println!("{answered}");
            }
        }
    }
    Ok(())
}

/// The hardware address in an answer to this question.
fn answered(message: &[u8], target: Ipv6Addr) -> Option<String> {
    let (header, options) = message.split_at_checked(24)?;
    let (fixed, about) = header.split_at_checked(8)?;
    let [NEIGHBOR_ADVERTISEMENT, 0, _, _, flags, ..] = fixed else { return None };
    if about != target.octets() || flags & SOLICITED == 0 {
        return None;
    }
    let mut rest = options;
    while let [kind, units, ..] = rest {
        let (option, others) = rest.split_at_checked(usize::from(*units) * 8)?;
        if *kind == TARGET_LINK_LAYER_ADDRESS {
            let bytes = option.get(2..8)?.iter().map(|byte| format!("{byte:02x}"));
            return Some(bytes.collect::<Vec<_>>().join(":"));
        }
        if option.is_empty() {
            return None;
        }
        rest = others;
    }
    None
}
