// SPDX-License-Identifier: Apache-2.0
//! How datagrams and connections pass between the nodes, or don't.

use std::time::Duration;

use crate::events::Arrival;
use crate::host::{Pause, Sent};
use crate::world::{MS, World, index_of};

/// When TCP repeats its first packet.
const SYN: [u64; 4] = [0, 1_000, 3_000, 7_000];

impl World {
    pub(crate) fn send(&mut self, index: usize, sent: Sent) {
        match sent {
            Sent::Packet(to, octets) => {
                let to = index_of(to);
                if let Some(delay) = self.passes(index, to) {
                    self.push(delay, to, Arrival::Packet(index, octets));
                }
            }
            Sent::Beat(to, message) => {
                let to = index_of(to);
                if let Some(delay) = self.passes(index, to) {
                    self.push(delay, to, Arrival::Beat(index, message));
                }
            }
            Sent::Open(stream, to, timeout) => {
                let end = self.now + timeout;
                self.connect(index, index_of(to), stream, 0, end);
            }
            Sent::Answer(stream, octets) => {
                let Some((to, stream)) = self.asked.remove(&(index, stream)) else { return };
                if self.cut.contains(&(index, to)) {
                    // Its timeout comes sooner than TCP gives up; what matters is that it ends.
                    self.fail_after(9_000 * MS, to, stream);
                } else {
                    let delay = self.delay();
                    self.push(delay, to, Arrival::Response(stream, Ok(octets)));
                }
            }
            Sent::Refuse(stream) => {
                if let Some((to, stream)) = self.asked.remove(&(index, stream)) {
                    self.fail(index, to, stream);
                }
            }
        }
    }

    /// A stream survives loss, and takes three ways until the message is there.
    pub(crate) fn connect(
        &mut self,
        index: usize,
        to: usize,
        stream: u64,
        attempt: usize,
        end: Duration,
    ) {
        let both = !self.cut.contains(&(index, to)) && !self.cut.contains(&(to, index));
        let host = &self.hosts[to];
        let frozen = matches!(host.paused, Some(Pause::Suspended | Pause::Machine));
        if both && host.kernel && !frozen {
            let host = &self.hosts[index];
            if host.paused.is_some() {
                // It speaks when it goes on.
                self.push(50 * MS, index, Arrival::Connect(to, stream, attempt, end));
                return;
            }
            let agent = host.process.as_ref().map(|process| &process.agent);
            let Some(octets) = agent.and_then(|agent| agent.stream_message(stream)) else { return };
            let delay = self.delay() * 3;
            self.push(delay, to, Arrival::Request(index, stream, octets));
            return;
        }
        match SYN.get(attempt + 1) {
            Some(next) => {
                let pause = (next - SYN[attempt]) * 1_000;
                let next = Arrival::Connect(to, stream, attempt + 1, end);
                self.push(Duration::from_micros(pause), index, next);
            }
            None => self.fail_after(end.saturating_sub(self.now), index, stream),
        }
    }

    pub(crate) fn fail(&mut self, from: usize, to: usize, stream: u64) {
        let delay = self.delay();
        let delay = if self.cut.contains(&(from, to)) { 9_000 * MS } else { delay };
        self.fail_after(delay, to, stream);
    }

    pub(crate) fn fail_after(&mut self, delay: Duration, to: usize, stream: u64) {
        self.push(delay, to, Arrival::Response(stream, Err("no answer".to_owned())));
    }

    pub(crate) fn delay(&mut self) -> Duration {
        self.chance.micros(50, 1_000)
    }

    /// How long a datagram takes, if it arrives.
    fn passes(&mut self, from: usize, to: usize) -> Option<Duration> {
        self.datagrams += 1;
        let lost = self.loss > 0 && self.chance.below(1_000) < self.loss;
        let delay = self.delay();
        let pair = (from, to);
        (!lost && !self.cut.contains(&pair) && !self.mute.contains(&pair)).then_some(delay)
    }
}
