// SPDX-License-Identifier: Apache-2.0
//! From silence to a verdict.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Cause, Detector, Output};
use crate::heartbeat::peer::{Peer, Probing};
use crate::heartbeat::wire::Body;

/// After this part of the probing a suspect no longer counts as present: whoever depends on it falls silent, as far as it
/// can, before somebody else takes over.
const DOUBTFUL: f64 = 0.4;
/// A member that was asked for, and was not heard for this time, is probed by the one who was asked.
const STALE: Duration = Duration::from_millis(50);
/// How long somebody who asked is told when the member is heard.
const CURIOSITY: Duration = Duration::from_millis(200);
/// How long a suspect is probed of which the kernel has said once that nobody listens there. It may not say so again: of such messages a
/// host sends one a second to another, after a burst of six.
const CLOSED_PROBE_TIME: Duration = Duration::from_millis(30);
/// Two port-unreachable messages within this time are about one probe and its copy.
const SAME_PROBE: Duration = Duration::from_millis(5);

impl Detector {
    /// The kernel says that nobody listens at this address.
    pub fn port_closed(&mut self, now: Instant, address: SocketAddr) {
        self.forgive(now);
        let found = self.peers.iter_mut().find(|(_, peer)| peer.address == address && peer.watched);
        let Some((name, peer)) = found else { return };
        let name = Arc::clone(name);
        if peer.condemned || !peer.spoke {
            return;
        }
        let probing = peer.probing.get_or_insert(Probing { since: now, next: now, closed: None });
        match probing.closed {
            None => {
                // From now, whatever it was suspected of before. It is asked again when what comes back will count; asked at once, it
                // would use up what may be said about it.
                let next = now + SAME_PROBE;
                *probing = Probing { since: now, next, closed: Some(now) };
            }
            Some(last) if now < last + SAME_PROBE => {}
            // It was asked again after the first message, and the same came back.
            Some(_) => self.condemn(now, &name, Cause::PortClosed),
        }
        self.suspect(now);
    }

    /// Begins, continues and ends the probing of all that are watched.
    pub(super) fn suspect(&mut self, now: Instant) {
        let due = |name: &&Arc<str>| {
            let peer = self.peers.get(*name);
            peer.and_then(|peer| self.suspicion_of(peer)).is_some_and(|due| due <= now)
        };
        let names: Vec<Arc<str>> = self.watched.iter().filter(due).cloned().collect();
        for name in names {
            self.pursue(now, &name);
        }
    }

    pub(super) fn suspicion_deadline(&self) -> Option<Instant> {
        let watched = self.watched.iter().filter_map(|name| self.peers.get(name));
        watched.filter_map(|peer| self.suspicion_of(peer)).min()
    }

    /// When something has to be done about its silence.
    fn suspicion_of(&self, peer: &Peer) -> Option<Instant> {
        match peer.probing {
            // After the verdict it is asked on with the heartbeats, which it gets as before.
            _ if peer.condemned => None,
            Some(probing) => Some(probing.next.min(self.verdict_of(&probing).0)),
            None => Some(peer.evidence + self.options.patience()),
        }
    }

    /// When the probing ends, and what a silence until then means.
    fn verdict_of(&self, probing: &Probing) -> (Instant, Cause) {
        match probing.closed {
            Some(_) => (probing.since + CLOSED_PROBE_TIME, Cause::PortClosed),
            None => (probing.since + self.options.probe_time, Cause::Silent),
        }
    }

    fn pursue(&mut self, now: Instant, name: &Arc<str>) {
        let options = self.options;
        let Some(peer) = self.peers.get_mut(name) else { return };
        let probing = *peer.probing.get_or_insert(Probing { since: now, next: now, closed: None });
        let (end, cause) = self.verdict_of(&probing);
        let Some(peer) = self.peers.get_mut(name) else { return };
        if now >= end {
            if peer.spoke {
                self.condemn(now, name, cause);
            } else {
                // It never spoke, to nobody who was asked: a silence that means nothing. The memberlist judges it.
                peer.probing = None;
                peer.evidence = now;
                self.note_presence();
            }
            return;
        }
        if now >= probing.next {
            if let Some(probing) = &mut peer.probing {
                probing.next = now + options.probe_interval;
            }
            // Two copies: losing both ways of one is likelier than losing them of two.
            self.send(name, Body::Probe);
            self.send(name, Body::Probe);
            for helper in self.helpers(now, name) {
                self.send(&helper, Body::Ask { about: Arc::clone(name) });
            }
            self.maybe_call(now);
        }
    }

    /// Whom to ask about a member: its other watchers, and others if it has too few.
    fn helpers(&self, now: Instant, about: &str) -> Vec<Arc<str>> {
        let watchers = self.circle.watchers(about, self.options.watchers);
        let present = |name: &Arc<str>| {
            **name != *about
                && self.peers.get(name).is_some_and(|peer| {
                    !peer.condemned && !peer.unconfirmed && peer.probing.is_none()
                })
        };
        let mut helpers: Vec<Arc<str>> = watchers.into_iter().filter(present).collect();
        if helpers.len() < 2 {
            let others = self.partners(now).map(|(name, _)| name).filter(|name| present(name));
            let others: Vec<_> = others.filter(|name| !helpers.contains(name)).cloned().collect();
            let lacking = 2 - helpers.len();
            helpers.extend(others.into_iter().take(lacking));
        }
        helpers
    }

    fn condemn(&mut self, now: Instant, name: &Arc<str>, cause: Cause) {
        let Some(peer) = self.peers.get_mut(name) else { return };
        peer.probing = None;
        peer.condemned = true;
        peer.unconfirmed = true;
        self.note_presence();
        self.outputs.push_back(Output::Dead { name: Arc::clone(name), cause });
        self.news_of_death(now);
    }

    /// Somebody wants to know whether a member is heard here.
    pub(super) fn handle_ask(&mut self, now: Instant, asker: &Arc<str>, about: &str) {
        let Some((about, peer)) = self.peers.get_key_value(about) else { return };
        let about = Arc::clone(about);
        let silent_for = peer.silent_for(now);
        let millis = silent_for
            .map(|time| u16::try_from(time.as_millis()).unwrap_or(u16::MAX).min(u16::MAX - 1));
        self.send(asker, Body::Report { about: Arc::clone(&about), silent_for: millis });
        if silent_for.is_none_or(|time| time > STALE) {
            if let Some(peer) = self.peers.get_mut(&about) {
                peer.asked_by(asker, now + CURIOSITY);
            }
            self.send(&about, Body::Probe);
        }
    }

    /// Somebody says when it heard a member.
    pub(super) fn handle_report(&mut self, now: Instant, about: &str, silent_for: Option<u16>) {
        let interval = self.options.interval;
        let Some(peer) = self.peers.get_mut(about) else { return };
        let Some(silent_for) = silent_for else { return };
        peer.spoke = true;
        let Some(heard) = now.checked_sub(Duration::from_millis(u64::from(silent_for))) else {
            return;
        };
        match peer.probing {
            // What it sent before it fell silent to us says nothing; that was `patience` ago, more than an interval.
            // Where the port is closed even that is too old.
            Some(probing) => {
                let age = if probing.closed.is_some() { Duration::ZERO } else { interval };
                if probing.since.checked_sub(age).is_none_or(|since| heard >= since) {
                    peer.probing = None;
                    peer.evidence = heard;
                    self.note_presence();
                }
            }
            None => peer.evidence = peer.evidence.max(heard),
        }
    }

    /// See [`Detector::is_confirmed`].
    pub(super) fn counts(&self, now: Instant, peer: &Peer) -> bool {
        let doubtful = self.options.probe_time.mul_f64(DOUBTFUL);
        !peer.unconfirmed && peer.probing.is_none_or(|probing| now < probing.since + doubtful)
    }
}
