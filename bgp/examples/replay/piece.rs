// SPDX-License-Identifier: Apache-2.0
//! A run of octets of one sender, as any kind of file gives it.

/// Octets without a gap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Where they stand, in words.
    pub(crate) place: String,
    /// The sender, and the connection.
    pub(crate) sender: String,
    /// To whom; empty if that is not known.
    pub(crate) receiver: String,
    pub(crate) octets: Vec<u8>,
    /// Whether both sides speak four-octet AS numbers, and whether they are in one AS, where the file itself says so.
    pub(crate) four_octet_asn: Option<bool>,
    pub(crate) internal: Option<bool>,
    /// A word on octets that are no message.
    pub(crate) remark: Option<String>,
}
