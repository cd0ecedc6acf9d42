// SPDX-License-Identifier: Apache-2.0
//! ROUTE-REFRESH (RFC 2918) with the marks of enhanced refresh (RFC 7313). Outbound route filters (RFC 5291) are not read.

use bytes::Bytes;

use super::iana::error;
use super::{AfiSafi, MessageError, MessageType, write_message};

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
    /// Reads what follows the header. `None` for an unknown subtype, which is to be ignored.
    pub fn decode(body: Bytes) -> Result<Option<Self>, MessageError> {
        let Some([afi_high, afi_low, subtype, safi]) = body.first_chunk::<4>() else {
            return Err(wrong_length(&body));
        };
        let kind = match subtype {
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

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

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
            let body = Bytes::copy_from_slice(&golden[19..]);
            assert_eq!(RouteRefresh::decode(body), Ok(Some(message)));
        }
    }

    #[test]
    fn an_unknown_subtype_is_ignored_and_a_mark_of_wrong_length_refused_with_the_message() {
        assert_eq!(RouteRefresh::decode(Bytes::from_static(&[0, 1, 255, 1])), Ok(None));
        assert!(RouteRefresh::decode(Bytes::from_static(&[0, 1, 0, 1, 1, 64])).is_ok());
        let error = RouteRefresh::decode(Bytes::from_static(&[0, 1, 1, 1, 0])).unwrap_err();
        let notification = error.notification();
        assert_eq!((notification.code, notification.subcode), (7, 1));
        assert_eq!(
            notification.data,
            hex!("ffffffffffffffffffffffffffffffff 0018 05 0001 01 01 00")
        );
    }
}
