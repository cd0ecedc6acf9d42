// SPDX-License-Identifier: Apache-2.0
//! The header of every message, and messages out of a stream (RFC 4271 §4.1, §6.1; RFC 8654 for longer ones).

use bytes::{Bytes, BytesMut};

use super::MessageError;
use super::iana::{error, message};

/// Sixteen octets of ones.
pub const MARKER: [u8; 16] = [0xff; 16];
/// Octets of the header: marker, length, type.
pub const HEADER_LENGTH: usize = 19;
/// The longest message.
pub const LONGEST: usize = 4096;
/// The longest message to a side that offered to take such (RFC 8654), other than OPEN and KEEPALIVE.
pub const LONGEST_EXTENDED: usize = 65535;

/// Type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageType {
    /// 1.
    Open,
    /// 2.
    Update,
    /// 3.
    Notification,
    /// 4.
    Keepalive,
    /// 5 (RFC 2918).
    RouteRefresh,
}

impl MessageType {
    const fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            message::OPEN => Some(Self::Open),
            message::UPDATE => Some(Self::Update),
            message::NOTIFICATION => Some(Self::Notification),
            message::KEEPALIVE => Some(Self::Keepalive),
            message::ROUTE_REFRESH => Some(Self::RouteRefresh),
            _ => None,
        }
    }

    /// The type code.
    #[must_use]
    pub const fn octet(self) -> u8 {
        match self {
            Self::Open => message::OPEN,
            Self::Update => message::UPDATE,
            Self::Notification => message::NOTIFICATION,
            Self::Keepalive => message::KEEPALIVE,
            Self::RouteRefresh => message::ROUTE_REFRESH,
        }
    }

    /// The least and the most octets of such a message, header included.
    const fn lengths(self, extended: bool) -> (usize, usize) {
        let longest = if extended { LONGEST_EXTENDED } else { LONGEST };
        match self {
            Self::Open => (29, LONGEST),
            Self::Update => (23, longest),
            Self::Notification => (21, longest),
            Self::Keepalive => (HEADER_LENGTH, HEADER_LENGTH),
            Self::RouteRefresh => (23, longest),
        }
    }
}

/// Takes the next whole message out of the buffer: its type and what follows the header. `None` if more octets are needed. A
/// header is judged as soon as it is there, so that nobody makes us wait for a message that could not be.
pub fn next_message(
    buffer: &mut BytesMut,
    extended: bool,
) -> Result<Option<(MessageType, Bytes)>, MessageError> {
    let Some(header) = buffer.first_chunk::<HEADER_LENGTH>() else {
        let marker = buffer.get(..buffer.len().min(MARKER.len())).unwrap_or_default();
        return if marker.iter().all(|octet| *octet == 0xff) {
            Ok(None)
        } else {
            Err(not_synchronized())
        };
    };
    let [marker @ .., high, low, kind] = header;
    if *marker != MARKER {
        return Err(not_synchronized());
    }
    let length_field = [*high, *low];
    let length = usize::from(u16::from_be_bytes(length_field));
    let bad_length = || {
        MessageError::new(
            error::MESSAGE_HEADER,
            error::BAD_MESSAGE_LENGTH,
            length_field,
            "length of a message out of range",
        )
    };
    if length < HEADER_LENGTH || (length > LONGEST && !extended) {
        return Err(bad_length());
    }
    let Some(kind) = MessageType::from_octet(*kind) else {
        return Err(MessageError::new(
            error::MESSAGE_HEADER,
            error::BAD_MESSAGE_TYPE,
            [*kind],
            "unknown type of message",
        ));
    };
    let (least, most) = kind.lengths(extended);
    if !(least..=most).contains(&length) {
        return Err(bad_length());
    }
    if buffer.len() < length {
        return Ok(None);
    }
    let mut whole = buffer.split_to(length).freeze();
    Ok(Some((kind, whole.split_off(HEADER_LENGTH))))
}

fn not_synchronized() -> MessageError {
    MessageError::new(error::MESSAGE_HEADER, error::NOT_SYNCHRONIZED, [], "marker is not all ones")
}

/// Appends header and body. The body must leave the message within [`LONGEST_EXTENDED`]; what is beyond is cut off.
pub fn write_message(out: &mut Vec<u8>, kind: MessageType, body: &[u8]) {
    let body = body.get(..LONGEST_EXTENDED - HEADER_LENGTH).unwrap_or(body);
    write_header(out, kind, body.len());
    out.extend_from_slice(body);
}

/// Appends the header of a message whose body has so many octets.
pub(super) fn write_header(out: &mut Vec<u8>, kind: MessageType, body: usize) {
    let length = u16::try_from(HEADER_LENGTH + body).unwrap_or(u16::MAX);
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&length.to_be_bytes());
    out.push(kind.octet());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::write_keepalive;
    use hex_literal::hex;

    fn stream(octets: &[u8], extended: bool) -> Result<Option<(MessageType, Bytes)>, MessageError> {
        next_message(&mut BytesMut::from(octets), extended)
    }

    fn header(length: u16, kind: u8) -> Vec<u8> {
        [&MARKER[..], &length.to_be_bytes(), &[kind]].concat()
    }

    fn refused(octets: &[u8], extended: bool) -> (u8, u8, Vec<u8>) {
        let error = stream(octets, extended).unwrap_err();
        let notification = error.notification();
        (notification.code, notification.subcode, notification.data.clone())
    }

    #[test]
    fn keepalive_is_the_header_of_rfc_4271() {
        // Built by hand from RFC 4271 §4.1 and §4.4.
        let golden = hex!("ffffffffffffffffffffffffffffffff 0013 04");
        let mut out = vec![0xa5];
        write_keepalive(&mut out);
        assert_eq!(out[1..], golden);
        assert_eq!(
            stream(&golden, false).unwrap().unwrap(),
            (MessageType::Keepalive, Bytes::new())
        );
    }

    #[test]
    fn a_message_is_taken_once_it_is_whole_and_what_follows_stays() {
        let mut buffer = BytesMut::new();
        let update = [header(23, 2), vec![0; 4]].concat();
        for octet in &update[..22] {
            buffer.extend_from_slice(&[*octet]);
            assert_eq!(next_message(&mut buffer, false), Ok(None));
        }
        buffer.extend_from_slice(&[0, 0xff, 0xff]);
        let (kind, body) = next_message(&mut buffer, false).unwrap().unwrap();
        assert_eq!((kind, &body[..]), (MessageType::Update, &[0; 4][..]));
        assert_eq!(&buffer[..], [0xff, 0xff]);
    }

    #[test]
    fn header_errors_have_the_subcode_and_data_of_rfc_4271_section_6_1() {
        let mut marker = header(19, 4);
        marker[3] = 0xfe;
        assert_eq!(refused(&marker, false), (1, 1, vec![]));
        assert_eq!(refused(&marker[..5], false), (1, 1, vec![]), "noticed early");
        assert_eq!(refused(&header(18, 4), false), (1, 2, vec![0, 18]));
        assert_eq!(refused(&header(4097, 2), false), (1, 2, vec![0x10, 1]));
        assert_eq!(refused(&header(20, 4), false), (1, 2, vec![0, 20]));
        assert_eq!(refused(&header(28, 1), false), (1, 2, vec![0, 28]));
        assert_eq!(refused(&header(22, 2), false), (1, 2, vec![0, 22]));
        assert_eq!(refused(&header(20, 3), false), (1, 2, vec![0, 20]));
        assert_eq!(refused(&header(22, 5), false), (1, 2, vec![0, 22]));
        assert_eq!(refused(&header(19, 0), false), (1, 3, vec![0]));
        assert_eq!(refused(&header(19, 6), false), (1, 3, vec![6]));
    }

    #[test]
    fn extended_messages_are_for_all_but_open_and_keepalive() {
        assert_eq!(stream(&header(65535, 2), true), Ok(None));
        assert_eq!(stream(&header(5000, 3), true), Ok(None));
        assert_eq!(refused(&header(4097, 1), true), (1, 2, vec![0x10, 1]));
        assert_eq!(refused(&header(20, 4), true), (1, 2, vec![0, 20]));
    }
}
