// SPDX-License-Identifier: Apache-2.0
//! One other member as it is known: the check for replays among its datagrams, the time when it was last heard, and the actions on its
//! silence.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::wire::{Mark, Opinion, Stamp};
use crate::quorum::Side;

/// The number of ids of notices that are remembered, so that a copy is not handed on twice.
const REMEMBERED_NOTICES: usize = 64;
/// The number of askers that wait for news of one member, at most; only its watchers ask, so there are few.
const ASKERS: usize = 8;

/// The time after which a new member that was never heard counts as not reached by datagrams; as long as a start waits for the ring.
pub(crate) const ACQUAINTANCE: Duration = Duration::from_secs(2);
/// The number of greetings to a new member, at most; more would be noise for a member that does not use the heartbeat after all.
const GREETINGS: u8 = 50;

/// The newest stamp that came from a peer, and the 64 counters before it (as in RFC 4303 section 3.4.3).
#[derive(Clone, Copy, Debug)]
struct Window {
    newest: Stamp,
    seen: u64,
}

/// An effort to hear a silent peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probing {
    /// The time at which the probing began.
    pub(crate) since: Instant,
    /// The time at which the next probes go out.
    pub(crate) next: Instant,
    /// The time at which the kernel said that nobody listens there.
    pub(crate) closed: Option<Instant>,
}

/// One other member.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    window: Option<Window>,
    /// The highest counter of this member that the peer has echoed.
    echoed: u64,
    /// The counter of the last datagram sent before the peer was first heard: an echo of a later one shows that the peer has heard this
    /// member.
    introduced_by: Option<u64>,
    /// The time of the peer's last new echo, until which it heard this member.
    hears: Instant,
    /// The peer's newest stamp, proven or not, which is echoed.
    stamp: Option<Stamp>,
    /// The time since when the peer is a member.
    pub(crate) since: Instant,
    /// The time when the peer was last heard itself.
    pub(crate) heard: Option<Instant>,
    /// The time of the last sign of the peer's life, heard here or told by another member.
    pub(crate) evidence: Instant,
    /// True if any member is known to have heard the peer since it joined, or shortly before. The silence of a peer that was never heard
    /// means nothing.
    pub(crate) spoke: bool,
    /// The peer's view of this member when the peer was last heard.
    pub(crate) view: Opinion,
    pub(crate) mark: Mark,
    /// The side that the peer says it is on.
    pub(crate) side: Side,
    /// True if this member watches the peer.
    pub(crate) watched: bool,
    /// True if the peer watches this member.
    pub(crate) watcher: bool,
    /// The time until which the peer gets heartbeats because it sends some.
    pub(crate) partner_until: Option<Instant>,
    pub(crate) probing: Option<Probing>,
    /// True if the peer did not answer when all members were pinged, or was found dead.
    pub(crate) unconfirmed: bool,
    /// True if the peer was found dead; told once.
    pub(crate) condemned: bool,
    askers: VecDeque<(Arc<str>, Instant)>,
    notices: VecDeque<u32>,
    /// The number of greetings left until the peer is heard.
    pub(crate) greetings: u8,
    /// The time when a datagram of the peer that proved nothing was last answered.
    pub(crate) introduced: Option<Instant>,
}

impl Peer {
    /// A peer that was not heard yet. `sent` is the number of datagrams that this member has sent, to all members together: only an echo of a
    /// later one proves that the peer is there now.
    pub(crate) fn new(address: SocketAddr, now: Instant, sent: u64) -> Self {
        Self {
            address,
            window: None,
            echoed: sent,
            introduced_by: None,
            hears: now,
            stamp: None,
            since: now,
            heard: None,
            evidence: now,
            spoke: false,
            view: Opinion::Unknown,
            mark: Mark::default(),
            side: Side::default(),
            watched: false,
            watcher: false,
            partner_until: None,
            probing: None,
            unconfirmed: false,
            condemned: false,
            askers: VecDeque::new(),
            notices: VecDeque::new(),
            greetings: GREETINGS,
            introduced: None,
        }
    }

    /// The session of the peer's datagrams, once one has proved to be new.
    pub(crate) fn session(&self) -> Option<u64> {
        self.window.map(|window| window.newest.session)
    }

    /// The highest counter of this member that the peer is known to have got.
    pub(crate) fn echoed(&self) -> u64 {
        self.echoed
    }

    pub(crate) fn echo(&self) -> Option<Stamp> {
        self.stamp
    }

    /// Returns true if a datagram is new: of the known session, with a counter that was not seen; or of a new session that proves to be later
    /// than the start of this member's own, by echoing a datagram that no earlier one echoed. `ours` is the stamp of the last datagram that
    /// was sent to any member.
    pub(crate) fn is_news(&mut self, stamp: Stamp, echo: Option<Stamp>, ours: Stamp) -> bool {
        let echoed =
            echo.filter(|echo| echo.session == ours.session && echo.counter <= ours.counter);
        let news = match &mut self.window {
            Some(window) if window.newest.session == stamp.session => window.admit(stamp.counter),
            _ => {
                let proven = echoed.is_some_and(|echo| echo.counter > self.echoed);
                if proven {
                    self.window = Some(Window { newest: stamp, seen: 1 });
                    self.notices.clear();
                    self.introduced_by = None;
                    self.view = Opinion::Unknown;
                }
                proven
            }
        };
        let newer = self
            .stamp
            .is_none_or(|known| known.session != stamp.session || known.counter < stamp.counter);
        if newer {
            self.stamp = Some(stamp);
        }
        if news && let Some(echo) = echoed {
            self.echoed = self.echoed.max(echo.counter);
        }
        news
    }

    /// True if no datagram has come that the peer sent later.
    pub(crate) fn is_newest(&self, stamp: Stamp) -> bool {
        self.window.is_some_and(|window| window.newest == stamp)
    }

    /// The peer lives. `sent` is the number of datagrams that this member has sent, to all members together.
    pub(crate) fn is_heard(&mut self, now: Instant, sent: u64) {
        self.introduced_by.get_or_insert(sent);
        self.heard = Some(now);
        self.evidence = now;
        self.spoke = true;
        self.probing = None;
        self.unconfirmed = false;
        self.condemned = false;
    }

    /// Returns true if the peer hears this member: it echoes a datagram that it had not got before, or tells that it has heard this member
    /// lately.
    pub(crate) fn hears_us(&mut self, now: Instant, view: Opinion, echoed_before: u64) -> bool {
        let newly = self.echoed > echoed_before;
        if newly {
            self.hears = now;
        }
        newly || matches!(view, Opinion::Alive | Opinion::Unknown)
    }

    /// The peer sends, but tells that it hears nothing from this member: its datagrams since it last heard this member are no signs of life
    /// any more. The word of other members still counts, as the peer may be deaf to this member alone.
    pub(crate) fn is_deaf(&mut self) {
        self.evidence = self.evidence.min(self.hears);
        self.heard = self.heard.map(|heard| heard.min(self.hears));
    }

    /// True if the peer has heard this member since it was heard itself, and counts it.
    pub(crate) fn is_acquainted(&self) -> bool {
        self.view.counts() && self.introduced_by.is_some_and(|sent| self.echoed > sent)
    }

    /// True if the peer had been a member long enough at that time to be heard, and never was: its view of this member cannot be known.
    pub(crate) fn is_stranger(&self, at: Instant) -> bool {
        self.heard.is_none() && at >= self.since + ACQUAINTANCE
    }

    /// True if the peer gets heartbeats.
    pub(crate) fn is_partner(&self, now: Instant) -> bool {
        self.watched || self.watcher || self.partner_until.is_some_and(|until| now < until)
    }

    /// The time since the peer was heard itself; none if it never was.
    pub(crate) fn silent_for(&self, now: Instant) -> Option<Duration> {
        self.heard.map(|heard| now.saturating_duration_since(heard))
    }

    /// Remembers a member that wants to know when this peer is heard.
    pub(crate) fn asked_by(&mut self, asker: &Arc<str>, until: Instant) {
        self.askers.retain(|(name, _)| name != asker);
        if self.askers.len() == ASKERS {
            self.askers.pop_front();
        }
        self.askers.push_back((Arc::clone(asker), until));
    }

    /// Takes the members that still want to know.
    pub(crate) fn take_askers(&mut self, now: Instant) -> Vec<Arc<str>> {
        let askers = std::mem::take(&mut self.askers);
        askers.into_iter().filter(|(_, until)| now < *until).map(|(name, _)| name).collect()
    }

    /// Returns true if a notice of the peer is no copy.
    pub(crate) fn is_new_notice(&mut self, id: u32) -> bool {
        if self.notices.contains(&id) {
            return false;
        }
        if self.notices.len() == REMEMBERED_NOTICES {
            self.notices.pop_front();
        }
        self.notices.push_back(id);
        true
    }
}

impl Window {
    fn admit(&mut self, counter: u64) -> bool {
        if counter > self.newest.counter {
            let ahead = counter - self.newest.counter;
            self.seen = if ahead < 64 { self.seen << ahead | 1 } else { 1 };
            self.newest.counter = counter;
            return true;
        }
        let behind = self.newest.counter - counter;
        let bit = if behind < 64 { 1_u64 << behind } else { return false };
        let news = self.seen & bit == 0;
        self.seen |= bit;
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(session: u64, counter: u64) -> Stamp {
        Stamp { session, counter }
    }

    fn peer() -> Peer {
        #[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
        let now = Instant::now();
        Peer::new(([192, 0, 2, 1], 7946).into(), now, 10)
    }

    #[test]
    fn a_new_session_has_to_prove_itself() {
        let (mut peer, ours) = (peer(), stamp(7, 20));
        assert!(!peer.is_news(stamp(1, 1), None, ours), "nothing is echoed");
        assert!(!peer.is_news(stamp(1, 2), Some(stamp(8, 11)), ours), "another session is echoed");
        assert!(!peer.is_news(stamp(1, 2), Some(stamp(7, 21)), ours), "it was never sent");
        assert!(
            !peer.is_news(stamp(1, 2), Some(stamp(7, 10)), ours),
            "sent before it was a member"
        );
        assert!(peer.is_news(stamp(1, 2), Some(stamp(7, 11)), ours));
        assert!(peer.is_news(stamp(1, 3), None, ours), "the session is known now");
    }

    #[test]
    fn a_replay_is_no_news() {
        let (mut peer, ours) = (peer(), stamp(7, 20));
        let echo = Some(stamp(7, 15));
        assert!(peer.is_news(stamp(1, 5), echo, ours));
        assert!(!peer.is_news(stamp(1, 5), echo, ours));
        assert!(peer.is_news(stamp(1, 200), echo, ours));
        assert!(peer.is_news(stamp(1, 150), echo, ours), "out of order, not seen");
        assert!(!peer.is_news(stamp(1, 150), echo, ours));
        assert!(!peer.is_news(stamp(1, 136), echo, ours), "too old to be told from a copy");
    }

    #[test]
    fn an_old_session_cannot_come_back() {
        let (mut peer, ours) = (peer(), stamp(7, 20));
        assert!(peer.is_news(stamp(1, 1), Some(stamp(7, 11)), ours));
        assert!(peer.is_news(stamp(2, 1), Some(stamp(7, 12)), ours), "restarted");
        assert!(!peer.is_news(stamp(1, 9), Some(stamp(7, 11)), ours), "recorded before that");
        assert!(peer.is_news(stamp(2, 2), Some(stamp(7, 12)), ours));
    }

    #[test]
    fn notices_are_new_once() {
        let mut peer = peer();
        assert!(peer.is_new_notice(1) && peer.is_new_notice(2));
        assert!(!peer.is_new_notice(1));
    }
}
