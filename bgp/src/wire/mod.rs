// SPDX-License-Identifier: Apache-2.0
//! Messages of BGP-4 as octets (RFC 4271 §4), both ways. Not a session: what may come when is decided elsewhere.
//!
//! Decoding is total: it gives a value, or a [`MessageError`] that carries the NOTIFICATION to send, or, for what RFC 7606 does
//! not want a session to end for, a value with [`Flaw`]s. It reads no octet beyond the message and takes no more memory than
//! a small multiple of it.

mod as_path;
mod attribute;
mod capability;
mod error;
mod header;
pub mod iana;
mod nlri;
mod notification;
mod open;
mod route_refresh;
mod update;

use bytes::Bytes;

pub use as_path::{AsPath, Segment, SegmentKind};
pub use attribute::{Attribute, MpReach, NextHop, Origin};
pub use capability::{AfiSafi, Capability, RestartFamily, StaleFamily};
pub use error::{AttributeAction, Flaw, MessageError, TooLong};
pub use header::{
    HEADER_LENGTH, LONGEST, LONGEST_EXTENDED, MARKER, MessageType, next_message, write_message,
};
pub use nlri::Prefixes;
pub(crate) use nlri::wire_length;
pub use notification::Notification;
pub(crate) use notification::printable;
pub use open::Open;
pub use route_refresh::{RefreshKind, RouteRefresh};
pub use update::{DecodedUpdate, Update, write_update};

/// The meaning of a message depends on this besides its octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Both sides speak four-octet AS numbers (RFC 6793).
    pub four_octet_asn: bool,
    /// The peer is in our AS.
    pub internal: bool,
    /// The peer advertised enhanced route refresh (RFC 7313), so the third octet of its ROUTE-REFRESH says what it is.
    pub enhanced_route_refresh: bool,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// OPEN.
    Open(Open),
    /// UPDATE, with what was wrong with it.
    Update(DecodedUpdate),
    /// NOTIFICATION.
    Notification(Notification),
    /// KEEPALIVE.
    Keepalive,
    /// ROUTE-REFRESH; `None` for a subtype that is not known and to be ignored (RFC 7313 §5).
    RouteRefresh(Option<RouteRefresh>),
}

impl Message {
    /// Reads what follows the header.
    pub fn decode(kind: MessageType, body: Bytes, context: Context) -> Result<Self, MessageError> {
        Ok(match kind {
            MessageType::Open => Self::Open(Open::decode(body)?),
            MessageType::Update => Self::Update(Update::decode(body, context)?),
            MessageType::Notification => Self::Notification(Notification::decode(body)?),
            MessageType::Keepalive => Self::Keepalive,
            MessageType::RouteRefresh => Self::RouteRefresh(RouteRefresh::decode(body, context)?),
        })
    }
}

/// Appends a KEEPALIVE.
pub fn write_keepalive(out: &mut Vec<u8>) {
    write_message(out, MessageType::Keepalive, &[]);
}

#[cfg(test)]
mod captured;
#[cfg(test)]
mod tests;
