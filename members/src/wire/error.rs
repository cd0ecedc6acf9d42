// SPDX-License-Identifier: Apache-2.0
//! Why octets from the network are not taken. The protocol answers none of these but an unreadable stream, with an error message.

/// What is wrong with a packet or a stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It ends within a value.
    #[error("it is truncated")]
    Truncated,
    /// A MessagePack value is not of the type that its field has.
    #[error("a field has a value of the wrong type")]
    Type,
    /// A name, an address or another field is of an impossible length or number.
    #[error("a field has an impossible value")]
    Value,
    /// A message of an unknown kind, or of one that does not belong here.
    #[error("a message of kind {0} has no place here")]
    Kind(u8),
    /// Compounds or compression inside one another.
    #[error("messages are nested too deep")]
    Nested,
    /// The CRC-32 is not that of the content.
    #[error("the checksum is wrong")]
    Checksum,
    /// Compression by an unknown algorithm, or what it wrote is damaged.
    #[error("the compressed content is damaged")]
    Compression,
    /// Longer than anything that a ring needs.
    #[error("it is too long")]
    Length,
    /// The label is missing, or another one.
    #[error("its label is not that of the ring")]
    Label,
    /// It was not encrypted with our key.
    #[error("it is not encrypted with the ring's key")]
    Decryption,
    /// It is encrypted, and there is no key.
    #[error("it is encrypted, and there is no key")]
    NoKey,
    /// It is not encrypted, and should be.
    #[error("it is not encrypted")]
    Plaintext,
}
