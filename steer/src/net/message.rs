// SPDX-License-Identifier: Apache-2.0
//! Messages of netfilter over netlink: a header of netlink, one of netfilter, attributes.

use super::attribute::{Attributes, Writer};

/// The kinds of messages that netlink has for itself.
pub(super) const ERROR: u16 = 2;
pub(super) const DONE: u16 = 3;
/// A batch of netfilter, which is one transaction.
pub(super) const BATCH_BEGIN: u16 = 16;
pub(super) const BATCH_END: u16 = 17;

pub(super) const REQUEST: u16 = 1;
pub(super) const ACKNOWLEDGE: u16 = 4;
pub(super) const DUMP: u16 = 0x300;
/// The list changed while it was read.
pub(super) const INTERRUPTED: u16 = 0x10;
pub(super) const EXCLUSIVE: u16 = 0x200;
pub(super) const CREATE: u16 = 0x400;
pub(super) const APPEND: u16 = 0x800;

/// The parts of netfilter.
pub(super) const CONNTRACK: u16 = 1;
pub(super) const NFTABLES: u16 = 10;

const HEADER: usize = 16;
const NETFILTER_HEADER: usize = 4;

/// A message that is sent.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) family: u8,
    /// The part of netfilter that a batch is for, else 0.
    pub(super) resource: u16,
    pub(super) attributes: Writer,
}

/// A message that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
    body: &'a [u8],
}

/// The messages of what one receive gave. What cannot be read ends them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

/// The kind of a message of nf_tables.
pub(super) const fn nftables(message: u16) -> u16 {
    (NFTABLES << 8) | message
}

impl Request {
    /// A message of nf_tables.
    pub(super) fn nftables(message: u16, flags: u16, family: u8) -> Self {
        let attributes = Writer::default();
        Self { kind: nftables(message), flags: REQUEST | flags, family, resource: 0, attributes }
    }

    /// The begin or the end of a batch of nf_tables.
    pub(super) fn batch(kind: u16) -> Self {
        let attributes = Writer::default();
        Self { kind, flags: REQUEST, family: 0, resource: NFTABLES, attributes }
    }

    /// Puts its octets behind those that are there.
    pub(super) fn write(&self, sequence: u32, out: &mut Vec<u8>) {
        let attributes = self.attributes.as_octets();
        let length = HEADER + NETFILTER_HEADER + attributes.len();
        out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
        out.extend_from_slice(&self.kind.to_ne_bytes());
        out.extend_from_slice(&self.flags.to_ne_bytes());
        out.extend_from_slice(&sequence.to_ne_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&[self.family, 0]);
        out.extend_from_slice(&self.resource.to_be_bytes());
        out.extend_from_slice(attributes);
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let (kind, rest) = rest.split_first_chunk::<2>()?;
        let (flags, rest) = rest.split_first_chunk::<2>()?;
        let (sequence, _) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
        let body = self.0.get(HEADER..length)?;
        let next = length.checked_next_multiple_of(4)?;
        self.0 = self.0.get(next..).unwrap_or_default();
        Some(Message {
            kind: u16::from_ne_bytes(*kind),
            flags: u16::from_ne_bytes(*flags),
            sequence: u32::from_ne_bytes(*sequence),
            body,
        })
    }
}

impl<'a> Message<'a> {
    /// The family of a message of netfilter.
    pub(super) fn family(self) -> Option<u8> {
        self.body.first().copied()
    }

    /// The attributes of a message of netfilter.
    pub(super) fn attributes(self) -> Attributes<'a> {
        Attributes(self.body.get(NETFILTER_HEADER..).unwrap_or_default())
    }

    /// The error that a message of kind [`ERROR`] or [`DONE`] tells: a positive number, or 0 for success.
    pub(super) fn errno(self) -> Option<i32> {
        let (number, _) = self.body.split_first_chunk::<4>()?;
        i32::from_ne_bytes(*number).checked_neg()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn messages_come_back(list in prop::collection::vec((any::<u16>(), any::<u16>(), any::<u8>(), any::<u32>(), "[a-z]{0,9}"), 0..9)) {
            let mut octets = Vec::new();
            for (kind, flags, family, sequence, text) in &list {
                let mut attributes = Writer::default();
                attributes.text(1, text);
                let request = Request { kind: *kind, flags: *flags, family: *family, resource: 0, attributes };
                request.write(*sequence, &mut octets);
            }
            let back: Vec<_> = Messages(&octets)
                .map(|it| {
                    let text = it.attributes().text(1).unwrap().to_owned();
                    (it.kind, it.flags, it.family().unwrap(), it.sequence, text)
                })
                .collect();
            prop_assert_eq!(back, list);
        }

        #[test]
        fn any_octets_end(octets in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Messages(&octets).count() <= octets.len() / HEADER);
        }
    }

    #[test]
    fn the_error_of_an_answer_is_positive() {
        let answer = |number: i32| {
            let mut octets = 20_u32.to_ne_bytes().to_vec();
            octets.extend(ERROR.to_ne_bytes());
            octets.extend([0; 10]);
            octets.extend(number.to_ne_bytes());
            Messages(&octets).next().and_then(Message::errno)
        };
        assert_eq!(answer(-17), Some(17));
        assert_eq!(answer(0), Some(0));
        assert_eq!(answer(i32::MIN), None);
    }
}
