// SPDX-License-Identifier: Apache-2.0
//! The content of a datagram once label and encryption are off: a checksum, compression and compounds around messages.

use super::error::DecodeError;
use super::message::Message;
use super::{compound, compression, kind};

/// Octets that a decompressed packet has at most: what the library could have put into it.
const CONTENT: usize = 0xffff;
/// Compounds and compression inside one another at most; the library writes a compound in a compressed message.
const DEPTH: usize = 4;
/// Octets of the checksum with its kind.
pub(crate) const CRC: usize = 5;
/// Shorter messages do not become shorter.
const COMPRESSIBLE: usize = 64;

/// A packet of messages: a compound if there are several (at most 255), compressed if that makes it shorter, with a checksum if
/// the receiver is known to understand it.
pub(crate) fn encode(messages: &[Vec<u8>], compress: bool, with_crc: bool) -> Vec<u8> {
    let mut packet = compound::compound(messages);
    if compress && packet.len() >= COMPRESSIBLE {
        let compressed = compression::compress(&packet);
        if let Some(shorter) = compressed.filter(|compressed| compressed.len() < packet.len()) {
            packet = shorter;
        }
    }
    if with_crc {
        let mut head = vec![kind::HAS_CRC];
        head.extend(crc32fast::hash(&packet).to_be_bytes());
        packet.splice(0..0, head);
    }
    packet
}

/// Gives each message to `visit`, in order. An error of one message does not keep the others from being read; the first one is
/// returned.
pub(crate) fn decode(packet: &[u8], visit: &mut dyn FnMut(Message<'_>)) -> Result<(), DecodeError> {
    let content = match packet {
        [kind::HAS_CRC, a, b, c, d, content @ ..] => {
            if crc32fast::hash(content) != u32::from_be_bytes([*a, *b, *c, *d]) {
                return Err(DecodeError::Checksum);
            }
            content
        }
        content => content,
    };
    descend(content, DEPTH, true, visit)
}

/// `compressed` tells whether compression may occur: only once, or a small packet would cost much.
fn descend(
    octets: &[u8],
    depth: usize,
    compressed: bool,
    visit: &mut dyn FnMut(Message<'_>),
) -> Result<(), DecodeError> {
    let depth = depth.checked_sub(1).ok_or(DecodeError::Nested)?;
    match octets.split_first() {
        Some((&kind::COMPOUND, body)) => {
            let mut result = Ok(());
            for part in compound::parts(body)? {
                // Several compressed messages in one compound are nothing that the library writes.
                let of_part = descend(part, depth, false, visit);
                if result.is_ok() {
                    result = of_part;
                }
            }
            result
        }
        Some((&kind::COMPRESS, body)) if compressed => {
            descend(&compression::decompress(body, CONTENT)?, depth, false, visit)
        }
        Some((&kind::COMPRESS, _)) => Err(DecodeError::Nested),
        _ => {
            visit(Message::decode(octets)?);
            Ok(())
        }
    }
}
