// SPDX-License-Identifier: Apache-2.0
//! TCP segments in their order: repeated ones once, and where some are missing a new piece begins.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bgp::wire::MARKER;

use crate::piece::Piece;

/// One packet's part of a direction.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    /// SYN.
    pub(crate) begins: bool,
    pub(crate) sequence: u32,
    pub(crate) octets: Vec<u8>,
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Stream {
    /// The first sequence number.
    origin: u32,
    /// By their distance from it.
    segments: BTreeMap<u32, Vec<u8>>,
}

impl Stream {
    fn put(&mut self, sequence: u32, octets: Vec<u8>) {
        let place = sequence.wrapping_sub(self.origin);
        // What is before the beginning, such as a keepalive of TCP, is no data.
        if octets.is_empty() || place > u32::MAX / 2 {
            return;
        }
        let known = self.segments.entry(place).or_default();
        if known.len() < octets.len() {
            *known = octets;
        }
    }

    /// Octets without gaps, and how many are missing before each.
    fn runs(&self) -> Vec<(u32, Vec<u8>)> {
        let mut runs: Vec<(u32, Vec<u8>)> = Vec::new();
        let mut end = 0_u32;
        for (place, octets) in &self.segments {
            let overlap = usize::try_from(end.saturating_sub(*place)).unwrap_or(usize::MAX);
            let new = octets.get(overlap..).unwrap_or_default();
            let missing = place.saturating_sub(end);
            match runs.last_mut() {
                Some((_, run)) if missing == 0 => run.extend_from_slice(new),
                Some(_) | None => runs.push((missing, new.to_vec())),
            }
            end = end.max(place.saturating_add(u32::try_from(octets.len()).unwrap_or(u32::MAX)));
        }
        runs
    }
}

/// All connections, in the order of their first packets.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    streams: Vec<((SocketAddr, SocketAddr), Stream)>,
}

impl Streams {
    pub(crate) fn add(&mut self, ends: (SocketAddr, SocketAddr), segment: Segment) {
        let Segment { begins, sequence, octets } = segment;
        let first = if begins { sequence.wrapping_add(1) } else { sequence };
        let last = self.streams.iter_mut().rfind(|(of, _)| *of == ends).map(|(_, stream)| stream);
        match last {
            // The SYN that was sent again is that of the same connection.
            Some(stream) if !begins || stream.origin == first => stream.put(first, octets),
            _ => {
                let mut stream = Stream { origin: first, segments: BTreeMap::new() };
                stream.put(first, octets);
                self.streams.push((ends, stream));
            }
        }
    }

    pub(crate) fn pieces(&self) -> Vec<Piece> {
        let mut seen = BTreeMap::<(SocketAddr, SocketAddr), usize>::new();
        let mut pieces = Vec::new();
        for ((source, destination), stream) in &self.streams {
            // The n-th of one direction belongs to the n-th of the other.
            let number = seen.entry((*source, *destination)).or_default();
            *number += 1;
            let name = |end: &SocketAddr| format!("{end} ({number})");
            for (index, (missing, octets)) in stream.runs().into_iter().enumerate() {
                // After a gap, or in a capture that began later, nobody knows where a message begins but by its marker.
                let start = octets.windows(MARKER.len()).position(|window| window == MARKER);
                let skipped = start.unwrap_or(octets.len());
                let gap = index > 0 && missing > 0;
                let remark = (gap || skipped > 0).then(|| {
                    format!("{missing} octets are not in the capture, {skipped} without a beginning skipped")
                });
                pieces.push(Piece {
                    place: format!("{source} to {destination}"),
                    sender: name(source),
                    receiver: name(destination),
                    octets: octets.get(skipped..).unwrap_or_default().to_vec(),
                    remark,
                    ..Piece::default()
                });
            }
        }
        pieces
    }
}
