// SPDX-License-Identifier: Apache-2.0
//! Netlink attributes: a length, a kind and a value, padded to four octets; values may be attributes again.
//!
//! Lengths and kinds are in the host's order, numbers in values in the network's, as nf_tables and ctnetlink have them.

/// The bit of a kind that says that the value has attributes.
const NESTED: u16 = 0x8000;
/// The bits of a kind without its flags.
const KIND: u16 = 0x3fff;
const HEADER: usize = 4;

/// The octets of attributes, written one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// An attribute. A value above 65,531 octets cannot be said and is left out: callers keep below it.
    pub(super) fn octets(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let Ok(length) = u16::try_from(HEADER + value.len()) else {
            debug_assert!(false, "an attribute of {} octets", value.len());
            return self;
        };
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.octets(kind, &value.to_be_bytes())
    }

    pub(super) fn be64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.octets(kind, &value.to_be_bytes())
    }

    /// A text with a zero at its end.
    pub(super) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let octets: Vec<u8> = value.bytes().chain([0]).collect();
        self.octets(kind, &octets)
    }

    /// An attribute whose value is attributes.
    pub(super) fn nested(&mut self, kind: u16, write: impl FnOnce(&mut Self)) -> &mut Self {
        let mut inner = Self::default();
        write(&mut inner);
        self.octets(kind | NESTED, &inner.0)
    }

    /// Puts attributes behind these that were written elsewhere.
    pub(super) fn append(&mut self, other: &Self) -> &mut Self {
        self.0.extend_from_slice(&other.0);
        self
    }

    pub(super) fn as_octets(&self) -> &[u8] {
        &self.0
    }
}

/// Attributes that came from outside. What cannot be read ends them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attributes<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.0.split_first_chunk::<2>()?;
        let (kind, _) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_ne_bytes(*length));
        let value = self.0.get(HEADER..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes(*kind) & KIND, value))
    }
}

impl<'a> Attributes<'a> {
    /// The value of the first attribute of this kind.
    pub(super) fn octets(self, kind: u16) -> Option<&'a [u8]> {
        self.into_iter().find(|(other, _)| *other == kind).map(|(_, value)| value)
    }

    pub(super) fn be32(self, kind: u16) -> Option<u32> {
        self.octets(kind)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub(super) fn be64(self, kind: u16) -> Option<u64> {
        self.octets(kind)?.try_into().ok().map(u64::from_be_bytes)
    }

    /// A text, up to its first zero.
    pub(super) fn text(self, kind: u16) -> Option<&'a str> {
        let octets = self.octets(kind)?.split(|octet| *octet == 0).next()?;
        std::str::from_utf8(octets).ok()
    }

    /// The attributes that are the value of one; none if there is no such.
    pub(super) fn nested(self, kind: u16) -> Option<Self> {
        self.octets(kind).map(Attributes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_attribute_is_padded_and_its_length_is_without_the_padding() {
        let mut writer = Writer::default();
        writer.text(1, "ferro").be32(2, 7);
        let expected: &[u8] = if cfg!(target_endian = "little") {
            b"\x0a\0\x01\0ferro\0\0\0\x08\0\x02\0\0\0\0\x07"
        } else {
            b"\0\x0a\0\x01ferro\0\0\0\0\x08\0\x02\0\0\0\x07"
        };
        assert_eq!(writer.as_octets(), expected);
    }

    #[test]
    fn a_length_below_the_header_ends_the_attributes() {
        for length in 0_u16..4 {
            let mut octets = length.to_ne_bytes().to_vec();
            octets.extend([1, 0, 9, 9, 9, 9]);
            assert_eq!(Attributes(&octets).count(), 0);
        }
    }

    proptest! {
        #[test]
        fn attributes_come_back(list in prop::collection::vec((0_u16..0x4000, prop::collection::vec(any::<u8>(), 0..40)), 0..20)) {
            let mut writer = Writer::default();
            for (kind, value) in &list {
                writer.octets(*kind, value);
            }
            let back: Vec<_> = Attributes(writer.as_octets()).map(|(kind, value)| (kind, value.to_vec())).collect();
            prop_assert_eq!(back, list);
        }

        #[test]
        fn any_octets_end(octets in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Attributes(&octets).count() <= octets.len() / 4);
        }
    }
}
