// SPDX-License-Identifier: Apache-2.0
//! Streams: push/pull, by which two members exchange all that they know (to join, and from time to time), and the ping over TCP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::joins::Join;
use super::timers::Timer;
use super::{Departure, Event, Output, Ring};
use crate::wire::message::{Accusation, Alive, Message, Versions};
use crate::wire::push_pull::{self, NODES, NodeState};
use crate::wire::stream::{self, StreamMessage};
use crate::{DecodeError, State};

/// The number of streams that this member opens at the same time, at most, joins excepted.
const STREAMS: usize = 16;
/// The number of members beyond which push/pulls become rarer.
const SCALED: usize = 32;
/// The reason why a stream was opened.
#[derive(Debug)]
pub(super) enum Purpose {
    /// A caller wants to be in one ring with the member at an address.
    Join(Join),
    /// A push/pull was due, or a caller wants one.
    PushPull { with: Arc<str>, began: Instant },
    /// A probed member did not answer over UDP.
    Ping { sequence: u32, octets: Vec<u8> },
}

impl Ring {
    /// Opens streams to the addresses that are to be joined, as many as are allowed.
    pub(super) fn contact(&mut self) {
        while let Some(join) = self.joins.next() {
            self.open(Purpose::Join(join), join.to, self.settings.tcp_timeout);
        }
        let news = self.joins.news();
        self.outputs.extend(news.map(|first| Output::Event(Event::Joining(first))));
    }

    /// A push/pull is due, with any member that is alive.
    pub(super) fn push_pull(&mut self, now: Instant) {
        let next = scaled(self.settings.push_pull_interval, self.order.len());
        self.timers.set(Timer::PushPull, now + next);
        if self.departure != Departure::Staying {
            return;
        }
        let chosen = self.choose(1, |record| record.state == State::Alive);
        if let Some(name) = chosen.first() {
            self.exchange_with(now, name);
        }
    }

    pub(super) fn exchange_with(&mut self, now: Instant, name: &str) {
        let Some(record) = self.records.get(name) else { return };
        let to = record.to();
        let purpose = Purpose::PushPull { with: Arc::clone(&record.name), began: now };
        if self.exchanges.len().saturating_sub(self.joins.under_way()) < STREAMS {
            self.open(purpose, to, self.settings.tcp_timeout);
        }
    }

    pub(super) fn open(&mut self, purpose: Purpose, to: SocketAddr, timeout: Duration) {
        let stream = self.next_stream;
        self.next_stream += 1;
        self.exchanges.insert(stream, purpose);
        self.outputs.push_back(Output::Open { stream, to, timeout });
    }

    /// The message for a stream of [`Output::Open`] that is open now, without label and encryption; none if the stream is wanted no more. The
    /// message is made this late because a host may take seconds to be reached, for example while it starts, and must not get an old state
    /// then.
    #[must_use]
    pub fn stream_message(&self, stream: u64) -> Option<Vec<u8>> {
        Some(match self.exchanges.get(&stream)? {
            Purpose::Join(_) => self.local_state(true),
            Purpose::PushPull { .. } => self.local_state(false),
            Purpose::Ping { octets, .. } => octets.clone(),
        })
    }

    /// Another member opened a stream, to which the caller gives a number, and sent a message; label and encryption are off.
    /// [`Output::Answer`] or [`Output::Refuse`] follows in the same turn.
    pub fn request(&mut self, now: Instant, stream: u64, octets: &[u8]) {
        let answer = match StreamMessage::decode(octets) {
            Ok(StreamMessage::PushPull(body)) => {
                // The answer is the state before the merge.
                let answer = self.local_state(joins(&body));
                if self.merge(now, &body).is_err() {
                    self.discarded += 1;
                }
                Some(answer)
            }
            Ok(StreamMessage::Ping(message)) => match Message::decode(&message) {
                Ok(Message::Ping(ping)) if ping.node.is_empty() || self.is_us(ping.node) => {
                    let ack = Message::Ack { sequence: ping.sequence }.encode();
                    Some(stream::encode(ack, self.settings.enable_compression))
                }
                _ => None,
            },
            Ok(StreamMessage::Ack { .. } | StreamMessage::Error(_) | StreamMessage::User) => None,
            Err(_) => {
                self.discarded += 1;
                None
            }
        };
        self.outputs.push_back(match answer {
            Some(octets) => Output::Answer { stream, octets },
            None => Output::Refuse { stream },
        });
    }

    /// The end of a stream of [`Output::Open`]: the answer, its label and encryption off, or the reason why there is none. To be given once
    /// for each.
    pub fn response(&mut self, now: Instant, stream: u64, result: Result<&[u8], &str>) {
        let Some(purpose) = self.exchanges.remove(&stream) else { return };
        match purpose {
            Purpose::Ping { sequence, .. } => self.answered_over_tcp(sequence, result),
            Purpose::PushPull { with: name, began } => match self.exchanged(now, result) {
                Ok(()) => {
                    if let Some(record) = self.records.get_mut(&name) {
                        record.reached = true;
                    }
                    self.outputs.push_back(Output::Event(Event::Exchanged { name, began }));
                }
                Err(_) => self.discarded += 1,
            },
            Purpose::Join(join) => {
                let error = self.exchanged(now, result).err();
                self.joins.ended(join, error.is_none());
                if error.is_none() {
                    // Otherwise the others would hear of this member only by and by.
                    let us = Arc::clone(&self.name);
                    self.tell_everyone(&us);
                }
                self.outputs.push_back(Output::Event(Event::Contacted { to: join.to, error }));
            }
        }
        self.contact();
    }

    /// An answer over TCP counts at the end of the probe, as an answer over UDP would be better.
    fn answered_over_tcp(&mut self, sequence: u32, result: Result<&[u8], &str>) {
        let Some(probe) = &mut self.probe else { return };
        let Ok(Ok(StreamMessage::Ack { sequence: answered })) = result.map(StreamMessage::decode)
        else {
            return;
        };
        if probe.sequence == sequence && answered == sequence {
            probe.contacted = true;
        }
    }

    fn exchanged(&mut self, now: Instant, result: Result<&[u8], &str>) -> Result<(), Arc<str>> {
        let octets = result.map_err(Arc::from)?;
        let text = |error: DecodeError| Arc::from(format!("the answer cannot be read: {error}"));
        match StreamMessage::decode(octets).map_err(text)? {
            StreamMessage::PushPull(body) => self.merge(now, &body),
            StreamMessage::Error(error) => Err(format!("the other side says: {error}").into()),
            StreamMessage::Ping(_) | StreamMessage::Ack { .. } | StreamMessage::User => {
                Err("the answer is of another kind".into())
            }
        }
    }

    /// The state of all members, as a message.
    fn local_state(&self, join: bool) -> Vec<u8> {
        let nodes = self.order.iter().filter_map(|name| self.records.get(name));
        let message =
            push_pull::encode(join, self.records.len(), nodes.map(super::Record::node_state));
        stream::encode(message, self.settings.enable_compression)
    }

    /// Takes over the state of another member, if all members understand all versions in use.
    fn merge(&mut self, now: Instant, body: &[u8]) -> Result<(), Arc<str>> {
        let text = |error: DecodeError| Arc::from(format!("the state cannot be read: {error}"));
        let (head, nodes) = push_pull::decode(body).map_err(text)?;
        if head.nodes > NODES {
            return Err(text(DecodeError::Length));
        }
        // An odd entry does not spoil the others; but nothing is known of a state that ends too early.
        let mut errors = nodes.clone().filter_map(Result::err);
        let whole =
            |error: &DecodeError| matches!(error, DecodeError::Truncated | DecodeError::Length);
        if let Some(error) = errors.clone().find(whole) {
            return Err(text(error));
        }
        let unreadable = errors.by_ref().count();
        self.discarded += u64::try_from(unreadable).unwrap_or(u64::MAX);
        let nodes = nodes.filter_map(Result::ok);
        self.verify(nodes.clone())?;
        for node in nodes {
            self.merge_node(now, &node);
        }
        Ok(())
    }

    fn merge_node(&mut self, now: Instant, node: &NodeState<'_>) {
        let NodeState { name, address, port, meta, incarnation, state, versions } = *node;
        if !self.is_credible(name, incarnation, state != State::Alive) {
            return;
        }
        match (state, address) {
            (State::Alive, Some(address)) if !name.is_empty() => {
                let alive = Alive { incarnation, node: name, address, port, meta, versions };
                self.alive(now, &alive);
            }
            (State::Alive, _) => self.discarded += 1,
            (State::Left, _) => self.dead(now, &Accusation { incarnation, node: name, from: name }),
            // A claim about this member itself, on which others may act.
            (State::Dead, _) if self.is_us(name) => {
                let us = Arc::clone(&self.name);
                self.dead(now, &Accusation { incarnation, node: name, from: &us });
            }
            // A member that is dead by one claim is first suspected, so that it can refute.
            (State::Dead | State::Suspect, _) => {
                let us = Arc::clone(&self.name);
                self.suspect(now, &Accusation { incarnation, node: name, from: &us });
            }
        }
    }

    /// Checks that the versions in use by all members are among those that all living members understand.
    fn verify<'a>(
        &self,
        nodes: impl Iterator<Item = NodeState<'a>> + Clone,
    ) -> Result<(), Arc<str>> {
        let living = nodes
            .clone()
            .filter(|node| node.state == State::Alive)
            .filter_map(|node| node.versions)
            .chain(
                self.records
                    .values()
                    .filter(|record| record.state == State::Alive)
                    .map(|record| record.versions),
            );
        let (mut protocol, mut delegate) = ((0, u8::MAX), (0, u8::MAX));
        for Versions { minimum, maximum, delegate_minimum, delegate_maximum, .. } in living {
            protocol = (protocol.0.max(minimum), protocol.1.min(maximum));
            delegate = (delegate.0.max(delegate_minimum), delegate.1.min(delegate_maximum));
        }
        let theirs = nodes.map(|node| (node.name, node.versions.unwrap_or_default()));
        let ours = self.records.values().map(|record| (&*record.name, record.versions));
        let check = |(name, versions): (&str, Versions)| {
            let speaks = [(versions.current, protocol), (versions.delegate_current, delegate)];
            let fits = speaks.iter().all(|(version, (from, to))| (from..=to).contains(&version));
            if fits {
                return Ok(());
            }
            Err(Arc::from(format!("{name} speaks a version that others do not understand")))
        };
        theirs.chain(ours).try_for_each(check)
    }
}

/// True if the head tells a join; an unreadable head is found out later.
fn joins(body: &[u8]) -> bool {
    push_pull::decode(body).is_ok_and(|(head, _)| head.join)
}

/// The interval in a ring of `count` members: doubled from 33 members on, tripled from 65, and so on.
fn scaled(interval: Duration, count: usize) -> Duration {
    let groups = count.div_ceil(SCALED).max(1).next_power_of_two();
    interval.saturating_mul(groups.ilog2() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn push_pulls_become_rarer_in_larger_rings() {
        let times = [0, 1, 32, 33, 64, 65, 128, 129]
            .map(|count| scaled(Duration::from_secs(1), count).as_secs());
        assert_eq!(times, [1, 1, 1, 2, 2, 3, 3, 4]);
    }
}
