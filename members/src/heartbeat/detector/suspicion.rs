// SPDX-License-Identifier: Apache-2.0
//! The way from silence to a verdict.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Cause, Detector, Output};
use crate::heartbeat::peer::{Peer, Probing};
use crate::heartbeat::wire::Body;

/// The part of the probing after which a suspect no longer counts as present: a member that depends on it falls silent, as far as it can,
/// before another one takes over.
const PRESENT_PART: f64 = 0.4;
/// The age of the last sign of life beyond which a member that is asked about another probes that one itself.
const STALE: Duration = Duration::from_millis(50);
/// The time for which an asker is told when the member is heard.
const CURIOSITY: Duration = Duration::from_millis(200);
/// The time that a suspect is probed after the kernel has said once that nobody listens there. It may not say so again: a host sends one such
/// message a second to another host, after a burst of six.
const CLOSED_PROBE_TIME: Duration = Duration::from_millis(30);
/// The time within which two port-unreachable messages are about one probe and its copy.
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
                // The probing begins now, whatever the member was suspected of before. The next probe waits until its answer will count; sent
                // at once, it would use up the messages that its host may send.
                let next = now + SAME_PROBE;
                *probing = Probing { since: now, next, closed: Some(now) };
            }
            Some(last) if now < last + SAME_PROBE => {}
            // The member was probed again after the first message, and the same message came back.
            Some(_) => self.condemn(now, &name, Cause::PortClosed),
        }
        self.suspect(now);
    }

    /// Begins, continues and ends the probing of all watched members.
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

    /// The time at which the peer's silence needs an action.
    fn suspicion_of(&self, peer: &Peer) -> Option<Instant> {
        match peer.probing {
            // After the verdict the heartbeats go on, which the peer gets as before.
            _ if peer.condemned => None,
            Some(probing) => Some(probing.next.min(self.verdict_of(&probing).0)),
            None => Some(peer.evidence + self.options.patience()),
        }
    }

    /// The end of the probing, and the meaning of a silence until then.
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
                // No member that was asked ever heard it, so the silence means nothing. The memberlist judges it.
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
            // Two copies: to lose both ways of one is likelier than to lose them of two.
            self.send(name, Body::Probe);
            self.send(name, Body::Probe);
            for helper in self.helpers(now, name) {
                self.send(&helper, Body::Ask { about: Arc::clone(name) });
            }
            self.ping_all_if_many_are_silent(now);
        }
    }

    /// The members to ask about a member: its other watchers, and others if it has too few.
    fn helpers(&self, now: Instant, about: &str) -> Vec<Arc<str>> {
        let watchers = self.topology.watchers(about, self.options.watchers);
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

    /// Another member asks whether a member is heard here.
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

    /// Another member tells when it heard a member.
    pub(super) fn handle_report(&mut self, now: Instant, about: &str, silent_for: Option<u16>) {
        let interval = self.options.interval;
        let Some(peer) = self.peers.get_mut(about) else { return };
        let Some(silent_for) = silent_for else { return };
        peer.spoke = true;
        let Some(heard) = now.checked_sub(Duration::from_millis(u64::from(silent_for))) else {
            return;
        };
        match peer.probing {
            // Datagrams sent before the member fell silent here mean nothing; the silence began `patience` ago, more than an interval. Where
            // the port is closed even an interval is too old.
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
        let present = self.options.probe_time.mul_f64(PRESENT_PART);
        !peer.unconfirmed && peer.probing.is_none_or(|probing| now < probing.since + present)
    }
}
