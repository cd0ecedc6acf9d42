// SPDX-License-Identifier: Apache-2.0
//! What goes over the network, as HashiCorp's memberlist 0.5 writes and reads it. There is no standard; the facts are from its
//! sources (`net.go`, `util.go`, `security.go`, `label.go`) and from recordings of it. Not here: sockets, and what a message means.
//!
//! ```text
//! datagram:  [label] [encryption] [CRC-32] [compression] one message, or a compound of several
//! stream:    [label, by who connects] [encryption with a length] [compression] one message
//! ```

pub(crate) mod compound;
pub(crate) mod compression;
pub(crate) mod envelope;
pub(crate) mod error;
pub(crate) mod message;
pub(crate) mod msgpack;
pub(crate) mod packet;
pub(crate) mod push_pull;
pub(crate) mod stream;

/// Octets of a member's name at most; Kubernetes allows 253 for a node's.
pub(crate) const NAME: usize = 255;
/// Octets of a member's meta data at most.
pub const META: usize = 512;

/// The first octet of each message.
pub(crate) mod kind {
    pub(crate) const PING: u8 = 0;
    pub(crate) const INDIRECT_PING: u8 = 1;
    pub(crate) const ACK_RESPONSE: u8 = 2;
    pub(crate) const SUSPECT: u8 = 3;
    pub(crate) const ALIVE: u8 = 4;
    pub(crate) const DEAD: u8 = 5;
    pub(crate) const PUSH_PULL: u8 = 6;
    pub(crate) const COMPOUND: u8 = 7;
    pub(crate) const USER: u8 = 8;
    pub(crate) const COMPRESS: u8 = 9;
    pub(crate) const ENCRYPT: u8 = 10;
    pub(crate) const NACK_RESPONSE: u8 = 11;
    pub(crate) const HAS_CRC: u8 = 12;
    pub(crate) const ERROR: u8 = 13;
    pub(crate) const HAS_LABEL: u8 = 244;
}

#[cfg(test)]
mod tests;
