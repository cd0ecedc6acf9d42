// SPDX-License-Identifier: Apache-2.0
//! The question to the link about one address.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use l2::Scope;

use super::{ANSWERED_INTERVAL, LinkWord, PROBE_INTERVAL, PROBES, Station};

/// The progress of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No probe was sent yet: it is not this question's turn, or no link of the scope has carrier.
    Waiting,
    /// So many probes were sent since the last answer; the next step is at this time.
    Asking { sent: u8, next: Instant },
    /// Another station answered; the address is asked for again at this time.
    Answered { next: Instant },
    /// This node announces the address, and probes it again at this time.
    Announced { next: Instant },
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) scope: Scope,
    /// The number of links with carrier, on which each probe goes out; none while nobody can be asked.
    pub(super) links: u32,
    /// True if this node owned the address lately.
    pub(super) lately: bool,
    /// The place of the address among the others.
    pub(super) order: u64,
    state: State,
    /// The number of probes that follow one another without a pause although the address is announced: nobody was asked before.
    unasked: u8,
    /// The station that answered last, since this node announced the address, and the time since when it is this one.
    answered: Option<(Station, Instant)>,
    told: Option<LinkWord>,
}

impl Question {
    pub(super) fn new(scope: Scope, links: u32, lately: bool, order: u64) -> Self {
        Self {
            scope,
            links,
            lately,
            order,
            state: State::Waiting,
            unasked: 0,
            answered: None,
            told: None,
        }
    }

    /// The time of the next step; none while the first probe waits for its turn.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.state {
            State::Waiting => None,
            State::Asking { next, .. } | State::Answered { next } | State::Announced { next } => {
                Some(next)
            }
        }
    }

    pub(super) fn is_announced(&self) -> bool {
        matches!(self.state, State::Announced { .. })
    }

    /// True if enough probes were sent since the last answer: at the time of the next step nobody has answered them.
    pub(super) fn is_free(&self) -> bool {
        matches!(self.state, State::Asking { sent, .. } if sent >= PROBES)
    }

    /// The number of links on which the question is being asked at the moment.
    pub(super) fn weight(&self) -> u32 {
        if matches!(self.state, State::Asking { .. }) { self.links } else { 0 }
    }

    pub(super) fn is_answered_by(&self, station: &Station) -> bool {
        self.answered.as_ref().is_some_and(|(other, _)| other == station)
    }

    /// A probe goes out now; the next one for an address that is announced after `watch`.
    pub(super) fn probe(&mut self, now: Instant, watch: Duration) {
        let next = now + PROBE_INTERVAL;
        self.state = match self.state {
            State::Announced { .. } if self.unasked > 0 => {
                self.unasked -= 1;
                State::Announced { next }
            }
            State::Announced { .. } => State::Announced { next: now + watch },
            State::Asking { sent, .. } => State::Asking { sent: sent.saturating_add(1), next },
            State::Waiting | State::Answered { .. } => State::Asking { sent: 1, next },
        };
    }

    /// Another station answers.
    pub(super) fn answer(&mut self, now: Instant, station: Station) {
        self.state = State::Answered { next: now + ANSWERED_INTERVAL };
        if !self.is_answered_by(&station) {
            self.answered = Some((station, now));
        }
    }

    /// This node announces the address from now.
    pub(super) fn announce(&mut self, next: Instant) {
        self.state = State::Announced { next };
        self.answered = None;
    }

    /// This node announces the address already, and asks from now.
    pub(super) fn keep(&mut self, now: Instant) {
        self.announce(now);
        self.unasked = PROBES;
    }

    /// The answers so far do not count; the question begins anew.
    pub(super) fn wait(&mut self) {
        self.state = State::Waiting;
        self.answered = None;
    }

    /// No link has carrier any more: neither an answer nor silence counts, and the next word is told anew.
    pub(super) fn unplug(&mut self) {
        self.links = 0;
        self.told = None;
        self.wait();
    }

    /// The next probe of an announced address goes out now, if it is not due already.
    pub(super) fn hurry(&mut self, now: Instant) {
        if let State::Announced { next } = &mut self.state {
            *next = now.min(*next);
        }
    }

    /// The last word of the link.
    pub(super) fn word(&self) -> Option<LinkWord> {
        match &self.answered {
            _ if self.is_announced() => Some(LinkWord::Unanswered),
            Some((station, _)) => Some(LinkWord::AnsweredBy(station.clone())),
            None => None,
        }
    }

    /// True if the last word was not told.
    pub(super) fn is_untold(&self) -> bool {
        self.word().is_some_and(|word| self.told.as_ref() != Some(&word))
    }

    /// The last word, if it was not told and a station has answered for so long.
    pub(super) fn tell(&mut self, now: Instant, after: Duration) -> Option<LinkWord> {
        let lasts = self.answered.as_ref().is_none_or(|(_, since)| now >= *since + after);
        let word = self.word().filter(|word| lasts && self.told.as_ref() != Some(word))?;
        self.told = Some(word.clone());
        Some(word)
    }
}

/// A number that puts addresses into an order of their own on each node.
pub(super) fn mixed(seed: u64, address: IpAddr) -> u64 {
    let mut hasher = DefaultHasher::new();
    (seed, address).hash(&mut hasher);
    hasher.finish()
}

/// The number as a fraction, from zero up to one.
pub(super) fn fraction(number: u64) -> f64 {
    f64::from(u32::try_from(number >> 32).unwrap_or(0)) / 4_294_967_296.0
}
