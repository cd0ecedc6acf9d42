// SPDX-License-Identifier: Apache-2.0
//! AS_PATH (RFC 4271 §4.3, §5.1.2) in two and four octets per AS (RFC 6793 §4), with the segments of confederations (RFC 5065 §3).

use bytes::{Buf, Bytes};

use super::iana::AS_TRANS;

/// How the AS numbers of a segment belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// AS_SET, 1.
    Set,
    /// AS_SEQUENCE, 2.
    Sequence,
    /// AS_CONFED_SEQUENCE, 3 (RFC 5065).
    ConfederationSequence,
    /// AS_CONFED_SET, 4 (RFC 5065).
    ConfederationSet,
}

impl SegmentKind {
    const fn of_confederation(self) -> bool {
        matches!(self, Self::ConfederationSequence | Self::ConfederationSet)
    }
}

/// A part of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its kind.
    pub kind: SegmentKind,
    /// One to 255 AS numbers.
    pub asns: Vec<u32>,
}

/// A path of ASes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AsPath(pub Vec<Segment>);

impl AsPath {
    /// The path of a route that an AS originates, with its number so many times; empty for none.
    #[must_use]
    pub fn sequence(asn: u32, times: usize) -> Self {
        let mut segments = Vec::new();
        let mut left = times;
        while left > 0 {
            let here = left.min(usize::from(u8::MAX));
            segments.push(Segment { kind: SegmentKind::Sequence, asns: vec![asn; here] });
            left -= here;
        }
        Self(segments)
    }

    /// Whether some number needs four octets.
    #[must_use]
    pub fn needs_four_octets(&self) -> bool {
        let mut asns = self.0.iter().flat_map(|segment| &segment.asns);
        asns.any(|asn| u16::try_from(*asn).is_err())
    }

    /// Whether it names members of a confederation. Such a path must not come from outside of it (RFC 5065 §5).
    #[must_use]
    pub fn names_confederation(&self) -> bool {
        self.0.iter().any(|segment| segment.kind.of_confederation())
    }

    /// The path without those segments, which AS4_PATH must not have (RFC 6793 §6).
    pub(super) fn without_confederation(mut self) -> Self {
        self.0.retain(|segment| !segment.kind.of_confederation());
        self
    }

    /// RFC 7606 §7.2; AS 0 by RFC 7607 §2.
    pub(super) fn decode(mut value: Bytes, four_octets: bool) -> Result<Self, &'static str> {
        let mut segments = Vec::new();
        while !value.is_empty() {
            let kind = match value.get_u8() {
                1 => SegmentKind::Set,
                2 => SegmentKind::Sequence,
                3 => SegmentKind::ConfederationSequence,
                4 => SegmentKind::ConfederationSet,
                _ => return Err("unknown segment type"),
            };
            let count = value.try_get_u8().map_err(|_| "segment ends early")?;
            if count == 0 {
                return Err("segment without AS numbers");
            }
            let width = if four_octets { 4 } else { 2 };
            if value.len() < usize::from(count) * width {
                return Err("segment reaches beyond the attribute");
            }
            let asns: Vec<u32> = (0..count)
                .map(|_| if four_octets { value.get_u32() } else { u32::from(value.get_u16()) })
                .collect();
            if asns.contains(&0) {
                return Err("AS number zero");
            }
            segments.push(Segment { kind, asns });
        }
        Ok(Self(segments))
    }

    pub(super) fn encode(&self, four_octets: bool, out: &mut Vec<u8>) {
        for segment in &self.0 {
            out.push(match segment.kind {
                SegmentKind::Set => 1,
                SegmentKind::Sequence => 2,
                SegmentKind::ConfederationSequence => 3,
                SegmentKind::ConfederationSet => 4,
            });
            out.push(u8::try_from(segment.asns.len()).unwrap_or(u8::MAX));
            for asn in segment.asns.iter().take(usize::from(u8::MAX)) {
                if four_octets {
                    out.extend(asn.to_be_bytes());
                } else {
                    out.extend(u16::try_from(*asn).unwrap_or(AS_TRANS).to_be_bytes());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_sequence_is_split_into_segments() {
        let path = AsPath::sequence(65000, 256);
        assert_eq!(path.0.iter().map(|segment| segment.asns.len()).collect::<Vec<_>>(), [255, 1]);
        assert_eq!(AsPath::sequence(65000, 0), AsPath::default());
    }

    #[test]
    fn a_number_that_does_not_fit_is_as_trans() {
        let mut out = Vec::new();
        AsPath::sequence(4_200_000_000, 1).encode(false, &mut out);
        assert_eq!(out, [2, 1, 0x5b, 0xa0]);
    }

    #[test]
    fn malformed_paths_are_refused() {
        for value in [
            &[5, 1, 0, 0, 0, 1][..],
            &[0, 1, 0, 0, 0, 1],
            &[3, 0],
            &[2, 0],
            &[2],
            &[2, 2, 0, 0, 0, 1],
            &[2, 1, 0, 0, 0, 0],
        ] {
            assert!(AsPath::decode(Bytes::copy_from_slice(value), true).is_err(), "{value:?}");
        }
    }
}
