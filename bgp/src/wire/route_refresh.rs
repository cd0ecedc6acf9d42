// SPDX-License-Identifier: Apache-2.0
//! ROUTE-REFRESH (RFC 2918) with the marks of enhanced refresh (RFC 7313). Outbound route filters (RFC 5291) are not read.

use bytes::Bytes;

use super::iana::error;
use super::{AfiSafi, Context, HEADER_LENGTH, MessageError, MessageType, write_message};

/// What a ROUTE-REFRESH says (RFC 7313 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshKind {
    /// 0: send everything again.
    Request,
    /// 1, BoRR: everything follows.
    Begin,
    /// 2, EoRR: that was everything.
    End,
}

/// A ROUTE-REFRESH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteRefresh {
    /// Of which family.
    pub family: AfiSafi,
    /// What it says.
    pub kind: RefreshKind,
}

impl RouteRefresh {
    /// Reads what follows the header. `None` for an unknown subtype, which is to be ignored. Only a peer with enhanced refresh
    /// says subtypes and is told errors in the words of RFC 7313 (§5 there); of others the octet is reserved (RFC 2918 §3).
    pub fn decode(body: Bytes, context: Context) -> Result<Option<Self>, MessageError> {
        let enhanced = context.enhanced_route_refresh;
        let Some([afi_high, afi_low, subtype, safi]) = body.first_chunk::<4>() else {
            return Err(if enhanced { wrong_length(&body) } else { too_short(&body) });
        };
        let kind = match subtype {
            _ if !enhanced => RefreshKind::Request,
            0 => RefreshKind::Request,
            1 => RefreshKind::Begin,
            2 => RefreshKind::End,
            _ => return Ok(None),
        };
        // A request may be followed by filters.
        if kind != RefreshKind::Request && body.len() != 4 {
            return Err(wrong_length(&body));
        }
        let afi = u16::from_be_bytes([*afi_high, *afi_low]);
        Ok(Some(Self { family: AfiSafi { afi, safi: *safi }, kind }))
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let [high, low] = self.family.afi.to_be_bytes();
        let subtype = match self.kind {
            RefreshKind::Request => 0,
            RefreshKind::Begin => 1,
            RefreshKind::End => 2,
        };
        write_message(out, MessageType::RouteRefresh, &[high, low, subtype, self.family.safi]);
    }
}

/// RFC 7313 §5: the data is the whole message.
fn wrong_length(body: &[u8]) -> MessageError {
    let mut data = Vec::new();
    write_message(&mut data, MessageType::RouteRefresh, body);
    MessageError::new(
        error::ROUTE_REFRESH,
        error::ROUTE_REFRESH_LENGTH,
        data,
        "length of a ROUTE-REFRESH",
    )
}

/// RFC 4271 §6.1: the data is the length of the message.
fn too_short(body: &[u8]) -> MessageError {
    let length = u16::try_from(HEADER_LENGTH + body.len()).unwrap_or(u16::MAX);
    MessageError::new(
        error::MESSAGE_HEADER,
        error::BAD_MESSAGE_LENGTH,
        length.to_be_bytes(),
        "ROUTE-REFRESH is too short",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    const ENHANCED: Context =
        Context { four_octet_asn: true, internal: false, enhanced_route_refresh: true };
    const PLAIN: Context = Context { enhanced_route_refresh: false, ..ENHANCED };

    fn decode(body: &[u8], context: Context) -> Result<Option<RouteRefresh>, MessageError> {
        RouteRefresh::decode(Bytes::copy_from_slice(body), context)
    }

    #[test]
    fn request_and_marks_are_the_bytes_of_rfc_2918_and_7313() {
        // Built by hand from RFC 2918 §3 and RFC 7313 §3.2: IPv6 unicast.
        for (kind, golden) in [
            (RefreshKind::Request, hex!("ffffffffffffffffffffffffffffffff 0017 05 0002 00 01")),
            (RefreshKind::Begin, hex!("ffffffffffffffffffffffffffffffff 0017 05 0002 01 01")),
            (RefreshKind::End, hex!("ffffffffffffffffffffffffffffffff 0017 05 0002 02 01")),
        ] {
            let message = RouteRefresh { family: AfiSafi { afi: 2, safi: 1 }, kind };
            let mut out = Vec::new();
            message.encode(&mut out);
            assert_eq!(out, golden);
            assert_eq!(decode(&golden[19..], ENHANCED), Ok(Some(message)));
        }
    }

    #[test]
    fn an_unknown_subtype_is_ignored_and_a_mark_of_wrong_length_refused_with_the_message() {
        assert_eq!(decode(&[0, 1, 255, 1], ENHANCED), Ok(None));
        assert_eq!(decode(&[0, 1, 255, 1, 7], ENHANCED), Ok(None), "whatever its length");
        assert!(decode(&[0, 1, 0, 1, 1, 64], ENHANCED).is_ok());
        let error = decode(&[0, 1, 1, 1, 0], ENHANCED).unwrap_err();
        let notification = error.notification();
        assert_eq!((notification.code, notification.subcode), (7, 1));
        assert_eq!(
            notification.data,
            hex!("ffffffffffffffffffffffffffffffff 0018 05 0001 01 01 00")
        );
    }

    #[test]
    fn without_enhanced_refresh_the_third_octet_is_reserved_and_every_message_a_request() {
        let request =
            RouteRefresh { family: AfiSafi { afi: 1, safi: 1 }, kind: RefreshKind::Request };
        for reserved in [0, 1, 2, 3, 255] {
            assert_eq!(decode(&[0, 1, reserved, 1], PLAIN), Ok(Some(request)), "RFC 2918 §3");
            assert_eq!(decode(&[0, 1, reserved, 1, 0], PLAIN), Ok(Some(request)), "one more");
        }
        let error = decode(&[0, 1, 1], PLAIN).unwrap_err();
        let notification = error.notification();
        let told = (notification.code, notification.subcode, notification.data.as_slice());
        assert_eq!(told, (1, 2, &[0, 22][..]), "no code of RFC 7313 for who does not know it");
    }
}
