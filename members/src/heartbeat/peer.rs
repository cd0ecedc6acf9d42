// SPDX-License-Identifier: Apache-2.0
//! What is known of one other member: whether a datagram of it is news or a replay, when it was last heard, what is being done about
//! its silence.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::wire::{Mark, Stamp, View};
use crate::quorum::Side;

/// How many ids of notices are remembered, so that a copy is not handed on twice.
const REMEMBERED_NOTICES: usize = 64;
/// How many askers wait for news of one member; each watcher asks, so that there are few.
const ASKERS: usize = 8;

/// Whoever was not heard for so long since it is a member is not reached by datagrams; as long as a start waits for the ring.
pub(crate) const ACQUAINTANCE: Duration = Duration::from_secs(2);
/// How often a new member is greeted; more often would be noise for one that doesn't speak after all.
const GREETINGS: u8 = 50;

/// The newest that was got from a peer, and the 64 counters before it (as RFC 4303 section 3.4.3 does it).
#[derive(Clone, Copy, Debug)]
struct Window {
    newest: Stamp,
    seen: u64,
}

/// An effort to hear a silent peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probing {
    /// When it began.
    pub(crate) since: Instant,
    /// When the next probes go out.
    pub(crate) next: Instant,
    /// When the kernel said that nobody listens there.
    pub(crate) closed: Option<Instant>,
}

/// One other member.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    window: Option<Window>,
    /// The highest counter of our own that it has echoed.
    echoed: u64,
    /// What was sent before it was first heard: an echo of anything later shows that it has heard us.
    introduced_by: Option<u64>,
    /// When it last echoed something new: until then it heard us.
    hears: Instant,
    /// The newest stamp of it, proven or not; it is what we echo.
    stamp: Option<Stamp>,
    /// Since when it is a member.
    pub(crate) since: Instant,
    /// When it was last heard itself.
    pub(crate) heard: Option<Instant>,
    /// Since when nothing spoke for its life: heard by us or by somebody who told us.
    pub(crate) evidence: Instant,
    /// Whether anybody is known to have heard it since it joined, or shortly before. Silence says nothing of a peer that never spoke.
    pub(crate) spoke: bool,
    /// What it thought of us when it was last heard, and which of our datagrams it had got then.
    pub(crate) view: View,
    pub(crate) mark: Mark,
    /// On which side it says it is.
    pub(crate) side: Side,
    /// We watch it.
    pub(crate) watched: bool,
    /// It watches us.
    pub(crate) watcher: bool,
    /// Until when it gets heartbeats because it sends some.
    pub(crate) partner_until: Option<Instant>,
    pub(crate) probing: Option<Probing>,
    /// It did not answer when all were called; or it was found dead.
    pub(crate) unconfirmed: bool,
    /// It was found dead; told once.
    pub(crate) condemned: bool,
    askers: VecDeque<(Arc<str>, Instant)>,
    notices: VecDeque<u32>,
    /// How often it still is greeted until it speaks.
    pub(crate) greetings: u8,
    /// When a datagram that proved nothing was last answered.
    pub(crate) introduced: Option<Instant>,
}

impl Peer {
    /// One that was not heard yet. `sent` is how many datagrams of ours there have been, to anybody: only an echo of a later one proves that
    /// the peer is there now.
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
            view: View::Unknown,
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

    /// The highest counter of ours that it is known to have got.
    pub(crate) fn echoed(&self) -> u64 {
        self.echoed
    }

    pub(crate) fn echo(&self) -> Option<Stamp> {
        self.stamp
    }

    /// Whether a datagram is news: of the session that is known, with a counter that was not seen; or of a new session that proves to
    /// be after ours began, by echoing something of ours that no earlier datagram echoed.
    /// `ours` is the stamp of the last datagram that was sent to anybody.
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
                    self.view = View::Unknown;
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

    /// Whether nothing of it that was sent later has come.
    pub(crate) fn is_newest(&self, stamp: Stamp) -> bool {
        self.window.is_some_and(|window| window.newest == stamp)
    }

    /// It lives. `sent` is how many datagrams of ours there have been, to anybody.
    pub(crate) fn is_heard(&mut self, now: Instant, sent: u64) {
        self.introduced_by.get_or_insert(sent);
        self.heard = Some(now);
        self.evidence = now;
        self.spoke = true;
        self.probing = None;
        self.unconfirmed = false;
        self.condemned = false;
    }

    /// It echoes something of ours that it had not got before, or says that it has heard us lately: then it hears us.
    pub(crate) fn hears_us(&mut self, now: Instant, view: View, echoed_before: u64) -> bool {
        let newly = self.echoed > echoed_before;
        if newly {
            self.hears = now;
        }
        newly || matches!(view, View::Alive | View::Unknown)
    }

    /// It speaks, but says that it hears nothing of us: what it said since it last heard us speaks for its life no more. What others
    /// hear of it still does, as its ears may be closed to us alone.
    pub(crate) fn is_deaf(&mut self) {
        self.evidence = self.evidence.min(self.hears);
        self.heard = self.heard.map(|heard| heard.min(self.hears));
    }

    /// Whether it has heard us since it was heard itself, and counts us.
    pub(crate) fn is_acquainted(&self) -> bool {
        self.view.counts() && self.introduced_by.is_some_and(|sent| self.echoed > sent)
    }

    /// Whether it was a member long enough by then to be heard, and never was: nothing of what it thinks of us can be known.
    pub(crate) fn is_stranger(&self, at: Instant) -> bool {
        self.heard.is_none() && at >= self.since + ACQUAINTANCE
    }

    /// Whether it gets heartbeats.
    pub(crate) fn is_partner(&self, now: Instant) -> bool {
        self.watched || self.watcher || self.partner_until.is_some_and(|until| now < until)
    }

    /// How long it has not been heard itself.
    pub(crate) fn silent_for(&self, now: Instant) -> Option<Duration> {
        self.heard.map(|heard| now.saturating_duration_since(heard))
    }

    /// Remembers who wants to know when this peer is heard.
    pub(crate) fn asked_by(&mut self, asker: &Arc<str>, until: Instant) {
        self.askers.retain(|(name, _)| name != asker);
        if self.askers.len() == ASKERS {
            self.askers.pop_front();
        }
        self.askers.push_back((Arc::clone(asker), until));
    }

    /// Those who still want to know.
    pub(crate) fn take_askers(&mut self, now: Instant) -> Vec<Arc<str>> {
        let askers = std::mem::take(&mut self.askers);
        askers.into_iter().filter(|(_, until)| now < *until).map(|(name, _)| name).collect()
    }

    /// Whether a notice of it is no copy.
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
