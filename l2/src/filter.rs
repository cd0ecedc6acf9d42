// SPDX-License-Identifier: Apache-2.0
//! The kernel's own sieve: a classic BPF program that lets through only frames about owned addresses, so that foreign ones
//! never wake the process. It may let through too much, never too little; who is answered is decided by the exact set in
//! the engine. Not the attaching (`net::packet_socket`).
//!
//! The addresses are covered by ranges of 32-bit keys ([`Range`]). All starts and ends make one sorted list of boundaries;
//! a key is inside when an odd number of boundaries is at or below it. The program is a binary search over that list:
//! one comparison for each boundary, so 2,000 for 1,000 ranges, of 4,096 instructions allowed. Conditional jumps reach 255
//! instructions only; so the tree is cut into blocks of at most [`BLOCK`] comparisons with their own two returns, and the
//! nodes above the blocks go to their far side by an unconditional jump, which has 32 bits.

mod plan;
mod ranges;

pub use plan::FilterPlan;
pub use ranges::{MOST_RANGES, Range, cover};

use crate::Protocol;

/// One instruction of classic BPF, as `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when the condition holds.
    pub jump_true: u8,
    /// Instructions to skip when it does not.
    pub jump_false: u8,
    /// Operand.
    pub k: u32,
}

/// The most instructions the kernel takes (BPF_MAXINSNS).
pub const MOST_INSTRUCTIONS: usize = 4096;

/// Comparisons in a block; with its returns all jumps stay below 256.
const BLOCK: usize = 120;

const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_NOT_LESS: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Ancillary data: the kind of packet (SKF_AD_OFF + SKF_AD_PKTTYPE).
const PACKET_TYPE: u32 = 0xffff_f000 + 4;
/// Ancillary data: whether a VLAN tag was taken off (SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT).
const VLAN_TAG_PRESENT: u32 = 0xffff_f000 + 48;
/// PACKET_HOST, PACKET_BROADCAST and PACKET_MULTICAST are 0 to 2; others' frames, our own and loops are above.
const LAST_FOR_US: u32 = 2;

const ARP_OPERATION: u32 = 14 + 6;
const ARP_SENDER: u32 = 14 + 14;
const ARP_TARGET: u32 = 14 + 24;
const IPV6_NEXT_HEADER: u32 = 14 + 6;
const ICMPV6: u32 = 58;
const ICMPV6_TYPE: u32 = 14 + 40;
const NEIGHBOR_SOLICITATION: u32 = 135;
const NEIGHBOR_ADVERTISEMENT: u32 = 136;
/// The last four octets of the target address, at the same place in both messages.
const NDP_TARGET_LOW: u32 = 14 + 40 + 8 + 12;

/// Accepted frames are not cut.
const WHOLE_FRAME: u32 = 0x0004_0000;

/// The program that accepts frames of `protocol` for us whose key lies in one of the ranges. The ranges must be sorted and
/// apart, as [`cover`] makes them.
///
/// ARP requests are known by their target address, replies by their sender; NDP messages by the low bits of their target.
#[must_use]
pub fn program(protocol: Protocol, ranges: &[Range]) -> Vec<Instruction> {
    let mut program = vec![
        statement(LOAD_WORD, PACKET_TYPE),
        condition(JUMP_GREATER, LAST_FOR_US, 2, 0),
        statement(LOAD_WORD, VLAN_TAG_PRESENT),
        condition(JUMP_EQUAL, 0, 1, 0),
        statement(RETURN, 0),
    ];
    match protocol {
        Protocol::Arp => program.extend([
            statement(LOAD_HALF, ARP_OPERATION),
            condition(JUMP_EQUAL, 1, 0, 2),
            statement(LOAD_WORD, ARP_TARGET),
            statement(JUMP, 3),
            condition(JUMP_EQUAL, 2, 1, 0),
            statement(RETURN, 0),
            statement(LOAD_WORD, ARP_SENDER),
        ]),
        Protocol::Ndp => program.extend([
            statement(LOAD_BYTE, IPV6_NEXT_HEADER),
            condition(JUMP_EQUAL, ICMPV6, 0, 3),
            statement(LOAD_BYTE, ICMPV6_TYPE),
            condition(JUMP_EQUAL, NEIGHBOR_SOLICITATION, 2, 0),
            condition(JUMP_EQUAL, NEIGHBOR_ADVERTISEMENT, 1, 0),
            statement(RETURN, 0),
            statement(LOAD_WORD, NDP_TARGET_LOW),
        ]),
    }
    program.extend(search(&boundaries(ranges), false));
    program
}

fn statement(code: u16, k: u32) -> Instruction {
    Instruction { code, jump_true: 0, jump_false: 0, k }
}

fn condition(code: u16, k: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code, jump_true, jump_false, k }
}

/// The keys at which inside and outside change places.
fn boundaries(ranges: &[Range]) -> Vec<u32> {
    ranges
        .iter()
        .flat_map(|range| [Some(range.first), range.last.checked_add(1)])
        .flatten()
        .collect()
}

/// The search over these boundaries, where a key below all of them is inside as `inside` says.
fn search(boundaries: &[u32], inside: bool) -> Vec<Instruction> {
    if boundaries.len() <= BLOCK {
        return block(boundaries, inside);
    }
    let middle = boundaries.len() / 2;
    let (left, rest) = boundaries.split_at(middle);
    let [boundary, right @ ..] = rest else { return block(boundaries, inside) };
    let left_code = search(left, inside);
    let right_code = search(right, inside ^ middle.is_multiple_of(2));
    let mut code = Vec::with_capacity(left_code.len() + right_code.len() + 2);
    code.push(condition(JUMP_NOT_LESS, *boundary, 0, 1));
    code.push(statement(JUMP, u32::try_from(left_code.len()).unwrap_or(u32::MAX)));
    code.extend(left_code);
    code.extend(right_code);
    code
}

/// A block: a tree whose leaves are the two returns at its end.
fn block(boundaries: &[u32], inside: bool) -> Vec<Instruction> {
    let mut code = Vec::with_capacity(boundaries.len() + 2);
    if boundaries.is_empty() {
        code.push(statement(RETURN, if inside { WHOLE_FRAME } else { 0 }));
    } else {
        let accept = boundaries.len();
        nodes(boundaries, inside, accept, &mut code);
        code.push(statement(RETURN, WHOLE_FRAME));
        code.push(statement(RETURN, 0));
    }
    code
}

/// Emits the nodes in preorder; `accept` is the place of the accepting return, the other one follows it.
fn nodes(boundaries: &[u32], inside: bool, accept: usize, code: &mut Vec<Instruction>) {
    let middle = boundaries.len() / 2;
    let (left, rest) = boundaries.split_at(middle);
    let [boundary, right @ ..] = rest else { return };
    let here = code.len();
    let inside_right = inside ^ middle.is_multiple_of(2);
    let jump = |subtree: &[u32], at: usize, inside: bool| {
        let to = if subtree.is_empty() { accept + usize::from(!inside) } else { at };
        // In a block of at most BLOCK nodes and two returns this always fits.
        u8::try_from(to - here - 1).unwrap_or(u8::MAX)
    };
    let jump_false = jump(left, here + 1, inside);
    let jump_true = jump(right, here + 1 + left.len(), inside_right);
    code.push(condition(JUMP_NOT_LESS, *boundary, jump_true, jump_false));
    nodes(left, inside, accept, code);
    nodes(right, inside_right, accept, code);
}

#[cfg(test)]
mod tests;
