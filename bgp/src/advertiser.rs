// SPDX-License-Identifier: Apache-2.0
//! Router advertisements for unnumbered peers (RFC 4861 §4.2, §6): ours say only that we are there, with a router lifetime of
//! zero so that no host takes us for a router; the neighbour's tell its link-local address. Octets and times, no socket.

use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use crate::jitter::Jitter;

/// ICMPv6 type of a router solicitation.
pub const SOLICITATION: u8 = 133;
/// ICMPv6 type of a router advertisement.
pub const ADVERTISEMENT: u8 = 134;
/// ICMPv6 type of a neighbour solicitation.
pub const NEIGHBOR_SOLICITATION: u8 = 135;
/// ICMPv6 type of a neighbour advertisement.
pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// Hop limit of all neighbour discovery; a router in between would have lowered it.
pub const HOP_LIMIT: u8 = 255;
/// Octets of an advertisement without options.
const FIXED: usize = 16;
/// Octets of a neighbour advertisement without options.
const NEIGHBOR_FIXED: usize = 24;
/// Where its target stands.
const TARGET: std::ops::Range<usize> = 8..24;
/// A neighbour that does not answer within this time is not there any more: RETRANS_TIMER (RFC 4861 §10) three times over.
const UNANSWERED: Duration = Duration::from_secs(3);
/// MIN_DELAY_BETWEEN_RAS (RFC 4861 §10).
const LEAST_PAUSE: Duration = Duration::from_secs(3);
/// MAX_RA_DELAY_TIME (RFC 4861 §10).
const LONGEST_DELAY: Duration = Duration::from_millis(500);
/// The first advertisements come faster (RFC 4861 §6.2.4).
const INITIAL: u32 = 3;
const INITIAL_PAUSE: Duration = Duration::from_secs(4);
/// MaxRtrAdvInterval.
const PAUSE: Duration = Duration::from_secs(10);

/// What a message on the link says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Somebody wants advertisements.
    Solicitation,
    /// The neighbour is at its source address.
    Advertisement,
    /// A station is at this address: the answer to a [`neighbor_solicitation`].
    Neighbor(Ipv6Addr),
}

/// Our advertisement: lifetime zero, nothing configured, our link-layer address. The kernel fills in the checksum.
pub fn advertisement(link_layer: Option<[u8; 6]>) -> Vec<u8> {
    let mut octets = vec![0; FIXED];
    if let Some(kind) = octets.first_mut() {
        *kind = ADVERTISEMENT;
    }
    append_source(&mut octets, link_layer);
    octets
}

/// Asks for advertisements.
pub fn solicitation(link_layer: Option<[u8; 6]>) -> Vec<u8> {
    let mut octets = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    append_source(&mut octets, link_layer);
    octets
}

/// Asks whether a station is at `target` (RFC 4861 §4.3).
pub fn neighbor_solicitation(target: Ipv6Addr, link_layer: Option<[u8; 6]>) -> Vec<u8> {
    let mut octets = vec![NEIGHBOR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    octets.extend(target.octets());
    append_source(&mut octets, link_layer);
    octets
}

/// The solicited-node group of an address (RFC 4291 §2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// Source link-layer address option (RFC 4861 §4.6.1).
fn append_source(octets: &mut Vec<u8>, link_layer: Option<[u8; 6]>) {
    if let Some(address) = link_layer {
        octets.extend([1, 1]);
        octets.extend(address);
    }
}

/// Reads an ICMPv6 message by RFC 4861 §6.1.1, §6.1.2 and §7.1.2; `None` for whatever is not valid. The checksum was the kernel's.
pub fn read(octets: &[u8], source: Ipv6Addr, hop_limit: u8) -> Option<Heard> {
    let [kind, code, ..] = octets else { return None };
    let (heard, fixed) = match *kind {
        SOLICITATION => (Heard::Solicitation, 8),
        ADVERTISEMENT => (Heard::Advertisement, FIXED),
        NEIGHBOR_ADVERTISEMENT => {
            let target = <[u8; 16]>::try_from(octets.get(TARGET)?).ok()?;
            (Heard::Neighbor(target.into()), NEIGHBOR_FIXED)
        }
        _ => return None,
    };
    let from_link = source.is_unicast_link_local();
    let may_send = from_link || (heard == Heard::Solicitation && source.is_unspecified());
    let valid =
        *code == 0 && hop_limit == HOP_LIMIT && may_send && options_are_whole(octets.get(fixed..)?);
    valid.then_some(heard)
}

/// No option has length zero or reaches beyond the message.
fn options_are_whole(mut options: &[u8]) -> bool {
    while let [_, length, ..] = options {
        if *length == 0 {
            return false;
        }
        match options.get(usize::from(*length) * 8..) {
            Some(rest) => options = rest,
            None => return false,
        }
    }
    options.is_empty()
}

/// Where the one router behind an interface is, by its advertisements.
#[derive(Debug, Default)]
pub struct Neighbour {
    address: Option<Ipv6Addr>,
    /// Since another one was heard: when the one above was asked whether it is there, and did not answer yet.
    asked: Option<Instant>,
}

/// What follows from an advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing.
    Known,
    /// The neighbour is at another address than before.
    Moved,
    /// Another router says that it is there, or somebody in its name: it counts only if nobody is at this address any more.
    Ask(Ipv6Addr),
}

impl Neighbour {
    /// Its link-local address, once heard.
    #[must_use]
    pub const fn address(&self) -> Option<Ipv6Addr> {
        self.address
    }

    /// An advertisement came from there. While the address is `settled`, as a session runs with it, another one replaces it
    /// only when the old one does not answer: anybody on the link can send an advertisement.
    pub fn heard(&mut self, now: Instant, source: Ipv6Addr, settled: bool) -> News {
        let Some(known) = self.address.filter(|known| settled || *known == source) else {
            *self = Self { address: Some(source), asked: None };
            return News::Moved;
        };
        if known == source {
            self.asked = None;
            return News::Known;
        }
        match self.asked {
            // Asked before, and silent since: whoever advertises now is the router.
            Some(asked) if now >= asked + UNANSWERED => {
                *self = Self { address: Some(source), asked: None };
                News::Moved
            }
            Some(_) => News::Known,
            None => {
                self.asked = Some(now);
                News::Ask(known)
            }
        }
    }

    /// A station answered from this address.
    pub fn answered(&mut self, address: Ipv6Addr) {
        if self.address == Some(address) {
            self.asked = None;
        }
    }
}

/// When to advertise on one link.
#[derive(Debug)]
pub struct Advertiser {
    jitter: Jitter,
    next: Instant,
    last: Option<Instant>,
    sent: u32,
}

impl Advertiser {
    /// The first one is due at once.
    pub const fn new(now: Instant, seed: u64) -> Self {
        Self { jitter: Jitter::new(seed), next: now, last: None, sent: 0 }
    }

    /// When the next one is due.
    pub const fn deadline(&self) -> Instant {
        self.next
    }

    /// One was sent.
    pub fn sent(&mut self, now: Instant) {
        self.sent = self.sent.saturating_add(1);
        self.last = Some(now);
        let pause = if self.sent < INITIAL { INITIAL_PAUSE } else { PAUSE };
        self.next = now + self.jitter.spread(pause);
    }

    /// Somebody asked: the next one comes within half a second, but never sooner than three after the last.
    pub fn solicited(&mut self, now: Instant) {
        let soon = now + self.jitter.spread(LONGEST_DELAY);
        let allowed = self.last.map_or(soon, |last| soon.max(last + LEAST_PAUSE));
        self.next = self.next.min(allowed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    const LINK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

    #[test]
    fn advertisement_is_that_of_rfc_4861_with_lifetime_zero() {
        // Built by hand from RFC 4861 §4.2 and §4.6.1; the checksum is left to the kernel.
        let golden = hex!("86 00 0000 00 00 0000 00000000 00000000" "01 01 0200000000 0a");
        assert_eq!(advertisement(Some([2, 0, 0, 0, 0, 10])), golden);
        assert_eq!(advertisement(None), golden[..16]);
        assert_eq!(read(&golden, LINK, 255), Some(Heard::Advertisement));
        let golden = hex!("85 00 0000 00000000" "01 01 0200000000 0a");
        assert_eq!(solicitation(Some([2, 0, 0, 0, 0, 10])), golden);
        assert_eq!(read(&golden, LINK, 255), Some(Heard::Solicitation));
    }

    #[test]
    fn what_is_not_valid_is_not_heard() {
        let good = advertisement(Some([2, 0, 0, 0, 0, 10]));
        assert_eq!(read(&good, LINK, 254), None, "came over a router");
        assert_eq!(read(&good, Ipv6Addr::LOCALHOST, 255), None, "not link-local");
        assert_eq!(read(&good, Ipv6Addr::UNSPECIFIED, 255), None);
        assert_eq!(
            read(&solicitation(None), Ipv6Addr::UNSPECIFIED, 255),
            Some(Heard::Solicitation)
        );
        for length in 0..good.len() {
            assert_eq!(read(&good[..length], LINK, 255).is_some(), length == 16, "{length}");
        }
        for (at, value) in [(0, 137), (1, 1), (17, 0), (17, 2)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(read(&bad, LINK, 255), None);
        }
    }

    #[test]
    fn a_neighbour_moves_at_once_unless_a_session_runs_with_its_address_and_it_answers() {
        #[allow(clippy::disallowed_methods, reason = "a beginning for the virtual clock")]
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let [one, two, three] = [1, 2, 3].map(|n| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n));
        let mut neighbour = Neighbour::default();
        assert_eq!(neighbour.heard(start, one, false), News::Moved);
        assert_eq!(neighbour.heard(start, one, false), News::Known);
        assert_eq!(neighbour.heard(start, two, false), News::Moved);
        assert_eq!(neighbour.heard(start, one, false), News::Moved);
        // A stranger advertises every second, and the router answers each time that it is asked.
        for second in 0..100 {
            let news = neighbour.heard(at(second), two, true);
            assert_eq!(news, News::Ask(one), "second {second}");
            neighbour.answered(three);
            neighbour.answered(one);
        }
        // The router's own advertisement is an answer, too.
        assert_eq!(neighbour.heard(at(100), two, true), News::Ask(one));
        assert_eq!(neighbour.heard(at(101), one, true), News::Known);
        assert_eq!(neighbour.heard(at(110), two, true), News::Ask(one));
        // It is gone: who advertises after that is the router.
        assert_eq!(neighbour.heard(at(112), two, true), News::Known);
        assert_eq!(neighbour.heard(at(113), two, true), News::Moved);
        assert_eq!(neighbour.address(), Some(two));
    }

    #[test]
    fn a_neighbour_solicitation_is_that_of_rfc_4861_and_its_answer_is_heard() {
        let target = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x0211, 0x22ff, 0xfe33, 0x4455);
        // Built by hand from RFC 4861 §4.3, §4.4 and §4.6.1; the checksum is left to the kernel.
        let golden = hex!(
            "87 00 0000 00000000" "fe80 0000 0000 0000 0211 22ff fe33 4455" "01 01 0200000000 0a"
        );
        assert_eq!(neighbor_solicitation(target, Some([2, 0, 0, 0, 0, 10])), golden);
        let answer = hex!(
            "88 00 0000 60000000" "fe80 0000 0000 0000 0211 22ff fe33 4455" "02 01 0200000000 0b"
        );
        assert_eq!(read(&answer, target, 255), Some(Heard::Neighbor(target)));
        assert_eq!(read(&answer[..24], target, 255), Some(Heard::Neighbor(target)));
        assert_eq!(read(&answer, target, 254), None);
        for length in 0..24 {
            assert_eq!(read(&answer[..length], target, 255), None);
        }
        let group: Ipv6Addr = "ff02::1:ff33:4455".parse().unwrap();
        assert_eq!(solicited_node(target), group);
    }

    #[test]
    fn advertisements_come_at_the_pace_of_rfc_4861() {
        #[allow(clippy::disallowed_methods, reason = "a beginning for the virtual clock")]
        let start = Instant::now();
        let mut advertiser = Advertiser::new(start, 1);
        assert_eq!(advertiser.deadline(), start);
        let mut now = start;
        for most in [4, 4, 10, 10] {
            now = advertiser.deadline();
            advertiser.sent(now);
            let pause = advertiser.deadline() - now;
            let most = Duration::from_secs(most);
            assert!((most * 3 / 4..=most).contains(&pause), "{pause:?}");
        }
        advertiser.solicited(now + Duration::from_secs(1));
        assert_eq!(advertiser.deadline(), now + LEAST_PAUSE, "never sooner than three seconds");
        advertiser.sent(now + LEAST_PAUSE);
        let later = now + Duration::from_secs(8);
        advertiser.solicited(later);
        assert!(advertiser.deadline() <= later + LONGEST_DELAY);
    }
}
