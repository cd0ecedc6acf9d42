// SPDX-License-Identifier: Apache-2.0
//! The places of streams that others opened. Every stream gets in: when places run out one is evicted, first the oldest of the source that
//! has most streams without a whole request. So an attacker that wants to keep a member out has to open as many new streams as there are
//! places, in less time than the member needs to send its request. A synchronous value.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// The number of streams that others opened, at the same time, at most.
pub(super) const PLACES: usize = 512;
/// The number of streams of one source without a whole request, at the same time, at most. A node has one address in a ring.
pub(super) const OF_SOURCE: usize = 64;
/// The number of octets that have come on all of them, at most.
pub(super) const OCTETS: usize = 16 << 20;

/// One stream.
#[derive(Debug)]
struct Place<T> {
    source: IpAddr,
    /// True if a whole request has come, opened by the ring's key if there is one.
    asked: bool,
    octets: usize,
    /// The handle by which the stream is evicted.
    handle: T,
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Places<T> {
    /// The streams by number, which grows: the first is the oldest.
    places: BTreeMap<u64, Place<T>>,
    /// For each source the number of its streams without a whole request.
    waiting: BTreeMap<IpAddr, usize>,
    octets: usize,
}

/// A stream that was evicted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Evicted<T> {
    pub(super) source: IpAddr,
    pub(super) handle: T,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self { places: BTreeMap::new(), waiting: BTreeMap::new(), octets: 0 }
    }
}

impl<T> Places<T> {
    /// A stream was opened, under a number higher than all before. Returns the stream that had to go for it, if any.
    pub(super) fn enter(&mut self, number: u64, from: IpAddr, handle: T) -> Option<Evicted<T>> {
        let source = from.to_canonical();
        let crowd = self.waiting.get(&source).copied().unwrap_or(0);
        let evicted = if crowd >= OF_SOURCE {
            self.oldest_of(source)
        } else if self.places.len() >= PLACES {
            self.busiest().and_then(|busiest| self.oldest_of(busiest)).or_else(|| self.oldest())
        } else {
            None
        };
        let evicted = evicted.and_then(|number| self.evict(number));
        *self.waiting.entry(source).or_default() += 1;
        self.places.insert(number, Place { source, asked: false, octets: 0, handle });
        evicted
    }

    /// More octets have come on a stream. Returns true if the stream may go on, and the stream that had to go for it, if any: when there is
    /// no room any more, the stream with most octets goes.
    pub(super) fn add(&mut self, number: u64, octets: usize) -> (bool, Option<Evicted<T>>) {
        let Some(place) = self.places.get_mut(&number) else { return (false, None) };
        place.octets = place.octets.saturating_add(octets);
        self.octets = self.octets.saturating_add(octets);
        if self.octets <= OCTETS {
            return (true, None);
        }
        let largest = self.places.iter().max_by_key(|(_, place)| place.octets);
        match largest.map(|(number, _)| *number) {
            Some(largest) if largest != number => (true, self.evict(largest)),
            _ => (false, None),
        }
    }

    /// A whole request has come on a stream.
    pub(super) fn has_asked(&mut self, number: u64) {
        if let Some(place) = self.places.get_mut(&number).filter(|place| !place.asked) {
            place.asked = true;
            let source = place.source;
            self.waits_no_more(source);
        }
    }

    /// A stream has ended. Nothing happens if it was evicted before.
    pub(super) fn leave(&mut self, number: u64) {
        drop(self.evict(number));
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.places.len()
    }

    fn evict(&mut self, number: u64) -> Option<Evicted<T>> {
        let Place { source, asked, octets, handle } = self.places.remove(&number)?;
        self.octets = self.octets.saturating_sub(octets);
        if !asked {
            self.waits_no_more(source);
        }
        Some(Evicted { source, handle })
    }

    fn waits_no_more(&mut self, source: IpAddr) {
        if let Some(count) = self.waiting.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.waiting.remove(&source);
            }
        }
    }

    /// The source with most streams without a request, if any source has several.
    fn busiest(&self) -> Option<IpAddr> {
        let busiest = self.waiting.iter().max_by_key(|(_, count)| **count);
        busiest.filter(|(_, count)| **count > 1).map(|(source, _)| *source)
    }

    fn oldest_of(&self, source: IpAddr) -> Option<u64> {
        let of = |place: &Place<T>| place.source == source && !place.asked;
        self.places.iter().find(|(_, place)| of(place)).map(|(number, _)| *number)
    }

    /// The oldest stream without a request; or the oldest of all, if all have sent one.
    fn oldest(&self) -> Option<u64> {
        let waiting = self.places.iter().find(|(_, place)| !place.asked);
        waiting.or_else(|| self.places.first_key_value()).map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(number: u64) -> IpAddr {
        std::net::Ipv4Addr::from(u32::try_from(0x0a00_0000 + number).unwrap()).into()
    }

    #[test]
    fn who_opens_many_makes_room_for_the_others_oldest_first() {
        let mut places = Places::default();
        for number in 0..200 {
            let evicted = places.enter(number, from(1), number);
            let expected = (number >= 64).then(|| Evicted { source: from(1), handle: number - 64 });
            assert_eq!(evicted, expected);
        }
        assert_eq!(places.len(), OF_SOURCE, "he keeps some, for whoever shares his address");
        // Other sources, one stream each: the busiest source has to go first.
        for number in 1_000..1_000 + 448 {
            assert_eq!(places.enter(number, from(number), number), None);
        }
        let evicted = places.enter(2_000, from(2_000), 2_000);
        assert_eq!(evicted, Some(Evicted { source: from(1), handle: 136 }));
        assert_eq!(places.len(), PLACES);
    }

    #[test]
    fn among_many_sources_a_member_keeps_its_place_while_as_many_others_come_as_there_are_places() {
        let mut places = Places::default();
        for number in 0..10_000 {
            places.enter(number, from(number), number);
        }
        assert_eq!(places.enter(10_000, from(7), 10_000).unwrap().handle, 10_000 - 512);
        for number in 10_001..10_001 + 511 {
            assert_ne!(places.enter(number, from(number), number).unwrap().handle, 10_000);
        }
        places.has_asked(10_000);
        for number in 20_000..30_000 {
            assert_ne!(places.enter(number, from(number), number).unwrap().handle, 10_000);
        }
        places.leave(10_000);
        places.leave(10_000);
        assert_eq!(places.len(), PLACES - 1);
    }

    #[test]
    fn streams_that_have_asked_count_for_no_source_and_go_last() {
        let mut places = Places::default();
        for number in 0..512 {
            assert_eq!(places.enter(number, from(1), number), None);
            places.has_asked(number);
            places.has_asked(number);
        }
        assert_eq!(places.enter(512, from(2), 512).unwrap().handle, 0);
        assert_eq!(places.enter(513, from(3), 513).unwrap().handle, 512, "it has not asked");
        (0..600).for_each(|number| places.leave(number));
        assert!(places.waiting.is_empty() && places.places.is_empty());
    }

    #[test]
    fn who_takes_most_octets_makes_room() {
        let mut places = Places::default();
        for number in 0..5 {
            places.enter(number, from(number), number);
        }
        for number in 0..4 {
            assert_eq!(places.add(number, 4 << 20), (true, None));
        }
        let (may, evicted) = places.add(4, 4_096);
        assert!(may && evicted.is_some_and(|evicted| evicted.handle < 4));
        let left = (0..4).find(|number| places.places.contains_key(number)).unwrap();
        assert_eq!(places.add(left, 4 << 20), (false, None), "it is the largest itself");
        (0..5).for_each(|number| places.leave(number));
        assert_eq!(places.octets, 0);
        assert_eq!(places.add(0, 1), (false, None), "it is gone");
    }
}
