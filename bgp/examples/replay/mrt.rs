// SPDX-License-Identifier: Apache-2.0
//! MRT dumps (RFC 6396): messages of BGP4MP and BGP4MP_ET. Tables and changes of state have no messages.

use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::Buf;

use crate::piece::Piece;

/// Types (RFC 6396 §4).
const BGP4MP: u16 = 16;
const BGP4MP_ET: u16 = 17;
/// All types that IANA knows.
const TYPES: [u16; 9] = [11, 12, 13, BGP4MP, BGP4MP_ET, 32, 33, 48, 49];
/// Subtypes of BGP4MP (§4.4): messages received and sent, with AS numbers of two and four octets.
const MESSAGE: u16 = 1;
const MESSAGE_AS4: u16 = 4;
const MESSAGE_LOCAL: u16 = 6;
const MESSAGE_AS4_LOCAL: u16 = 7;

/// Octets before a record.
const HEADER: usize = 12;

/// Whether it begins with a record.
pub(crate) fn is_mrt(octets: &[u8]) -> bool {
    let mut head = octets;
    head.try_get_u32().is_ok() && head.try_get_u16().is_ok_and(|kind| TYPES.contains(&kind))
}

/// One piece for each message.
pub(crate) fn pieces(mut octets: &[u8]) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut number = 0;
    while !octets.is_empty() {
        number += 1;
        let early = |_| format!("record {number}: the file ends in it");
        if octets.len() < HEADER {
            return Err(early(()));
        }
        let _time = octets.get_u32();
        let (kind, subtype) = (octets.get_u16(), octets.get_u16());
        let length = usize::try_from(octets.get_u32()).unwrap_or(usize::MAX);
        let (record, rest) = octets.split_at_checked(length).ok_or(()).map_err(early)?;
        octets = rest;
        let body = match kind {
            BGP4MP => record,
            // Microseconds.
            BGP4MP_ET => record.get(4..).unwrap_or_default(),
            _ => continue,
        };
        let (wide, sent) = match subtype {
            MESSAGE => (false, false),
            MESSAGE_AS4 => (true, false),
            MESSAGE_LOCAL => (false, true),
            MESSAGE_AS4_LOCAL => (true, true),
            _ => continue,
        };
        let piece = message(number, body, wide, sent)
            .ok_or_else(|| format!("record {number}: its addresses cannot be read"))?;
        pieces.push(piece);
    }
    Ok(pieces)
}

/// RFC 6396 §4.4.2, §4.4.3.
fn message(number: usize, mut body: &[u8], wide: bool, sent: bool) -> Option<Piece> {
    let asn = |body: &mut &[u8]| {
        if wide { body.try_get_u32().ok() } else { body.try_get_u16().ok().map(u32::from) }
    };
    let (peer_asn, local_asn) = (asn(&mut body)?, asn(&mut body)?);
    let _interface = body.try_get_u16().ok()?;
    let (peer, local) = match body.try_get_u16().ok()? {
        1 => {
            let address =
                |body: &mut &[u8]| Some(Ipv4Addr::from(body.try_get_u32().ok()?).to_string());
            (address(&mut body)?, address(&mut body)?)
        }
        2 => {
            let address =
                |body: &mut &[u8]| Some(Ipv6Addr::from(body.try_get_u128().ok()?).to_string());
            (address(&mut body)?, address(&mut body)?)
        }
        _ => return None,
    };
    let (sender, receiver) = if sent { (local, peer) } else { (peer, local) };
    Some(Piece {
        place: format!("record {number}, {sender} to {receiver}"),
        sender,
        receiver,
        octets: body.to_vec(),
        four_octet_asn: Some(wide),
        internal: Some(peer_asn == local_asn),
        remark: None,
    })
}
