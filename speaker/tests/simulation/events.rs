// SPDX-License-Identifier: Apache-2.0
//! Chance, and what can come to a node and when.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use l2::Precedence;
use members::heartbeat::wire::Message;
use serde_json::Value;
use speaker::{FlowRequest, KeepTable};

/// SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }

    pub(crate) fn micros(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_micros(from + self.below(to - from))
    }
}

pub(crate) enum Arrival {
    Packet(usize, Vec<u8>),
    Beat(usize, Message),
    /// From whom, the stream's number there.
    Request(usize, u64, Vec<u8>),
    Response(u64, Result<Vec<u8>, String>),
    Closed(SocketAddr),
    /// A connection that is tried again: to whom, the stream, the attempt, when it ends.
    Connect(usize, u64, usize, Duration),
    ThreadWake,
    Commands,
    Task,
    TaskWake,
    /// The engine has done everything.
    Engine,
    /// The permit may have run out.
    Check,
    /// The API could not be read for a while after the start of a process.
    Remember,
    /// The API's objects, at the start of a process.
    Sync,
    /// Where the others are by the API.
    Discover(u64),
    Object(Value),
    /// A frame of the l2 engine of another node, which has this address.
    Frame(usize, IpAddr),
    /// A node asks the link for an address.
    Probe {
        from: usize,
        address: IpAddr,
        precedence: Precedence,
        sent: Duration,
    },
    /// A station answers such a question.
    Answer(usize, IpAddr),
    /// The kernel follows this table.
    Kept(KeepTable),
    /// Conntrack has been asked for flows.
    Listed(FlowRequest),
    /// The end of a planned stop.
    End,
}

/// When, in which order, to which node, in which of its lives, what.
pub(crate) struct Pending(
    pub(crate) Duration,
    pub(crate) u64,
    pub(crate) usize,
    pub(crate) u64,
    pub(crate) Arrival,
);

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }
}
impl Eq for Pending {}
impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Pending {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}
