// SPDX-License-Identifier: Apache-2.0
//! The datagrams that come in: what each shows of its sender, and the answer that it gets.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Detector, Output};
use crate::heartbeat::wire::{Body, Message, Opinion, Stamp};

/// The time that a sender of heartbeats gets some in return, whatever the monitoring topology says.
const PARTNERSHIP: Duration = Duration::from_secs(1);
/// The least time between two answers to datagrams that prove nothing.
const INTRODUCTION: Duration = Duration::from_millis(10);

impl Detector {
    /// A datagram has come; the caller has opened its seal.
    pub fn handle(&mut self, now: Instant, from: SocketAddr, message: Message) {
        self.forgive(now);
        let Message { from: name, stamp, echo, view, side, mark, body } = message;
        let ours = Stamp { session: self.session, counter: self.sent };
        let Some(peer) = self.peers.get_mut(&name) else {
            self.answer_stranger(now, from, stamp);
            return;
        };
        let echoed = peer.echoed();
        if !peer.is_news(stamp, echo, ours) {
            // A new session cannot prove itself before it has heard this member.
            let unknown = peer.echo() == Some(stamp);
            let due = peer.introduced.is_none_or(|last| now >= last + INTRODUCTION);
            if unknown && due {
                peer.introduced = Some(now);
                self.send(&name, Body::Answer);
            }
            return;
        }
        let acquainted = peer.is_acquainted();
        // A late datagram shows that its sender lives and hears this member; the rest of its content is old.
        let (view_said, side, mark) = match peer.is_newest(stamp) {
            true => (view, side, mark),
            false => (peer.view, peer.side, peer.mark),
        };
        let counted_us = std::mem::replace(&mut peer.view, view_said).counts();
        // The datagram is not old: its sender has got a datagram of this member meanwhile.
        let forgotten = counted_us && view_said == Opinion::Unknown && peer.echoed() > echoed;
        let hears = peer.hears_us(now, view, echoed);
        let back = hears && (peer.unconfirmed || peer.condemned);
        let turned = std::mem::replace(&mut peer.side, side) != side;
        let mut presence =
            turned || hears && (back || peer.probing.is_some() || peer.heard.is_none());
        if hears {
            peer.is_heard(now, ours.counter);
        } else {
            peer.is_deaf();
        }
        presence |= peer.is_acquainted() != acquainted;
        let remarked = std::mem::replace(&mut peer.mark, mark) != mark;
        if matches!(body, Body::Heartbeat) {
            peer.partner_until = Some(now + PARTNERSHIP);
        }
        let askers = if hears { peer.take_askers(now) } else { Vec::new() };
        if presence {
            self.note_presence();
        }
        if forgotten {
            self.outputs.push_back(Output::Forgotten);
        }
        if back {
            self.outputs.push_back(Output::Back { name: Arc::clone(&name) });
        }
        if remarked {
            self.outputs.push_back(Output::Marked { name: Arc::clone(&name), mark });
        }
        for asker in askers {
            self.send(&asker, Body::Report { about: Arc::clone(&name), silent_for: Some(0) });
        }
        match body {
            Body::Heartbeat | Body::Answer => {}
            // Two copies, as an answer that is lost may cost a life.
            Body::Probe => {
                self.send(&name, Body::Answer);
                self.send(&name, Body::Answer);
            }
            Body::PingAll => {
                self.send(&name, Body::Answer);
                self.send(&name, Body::Answer);
                self.handle_ping_all(now);
            }
            Body::Ask { about } => self.handle_ask(now, &name, &about),
            Body::Report { about, silent_for } => self.handle_report(now, &about, silent_for),
            Body::Notice { id, bytes } => {
                self.send(&name, Body::NoticeReceived { id });
                let new = self.peers.get_mut(&name).is_some_and(|peer| peer.is_new_notice(id));
                if new && !bytes.is_empty() {
                    self.outputs.push_back(Output::Notice { from: Arc::clone(&name), bytes });
                }
            }
            Body::NoticeReceived { id } => self.notices.confirm(id, &name),
        }
        self.settle_self_suspicion(now);
    }

    /// Answers a sender that is no member here, or counts as dead, so that it knows; at a rate that bounds the datagrams that strangers can
    /// cause.
    fn answer_stranger(&mut self, now: Instant, to: SocketAddr, stamp: Stamp) {
        if self.last_stranger.is_some_and(|last| now < last + INTRODUCTION) {
            return;
        }
        self.last_stranger = Some(now);
        self.send_to_stranger(to, Some(stamp), Body::Answer);
    }
}
