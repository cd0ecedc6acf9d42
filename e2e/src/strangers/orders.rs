// SPDX-License-Identifier: Apache-2.0
//! What a stranger is told to do, and the words of its answer.

use std::net::Ipv4Addr;
use std::time::Duration;

use clap::ValueEnum;

/// The memberlist's port.
pub(super) const PORT: u16 = 7946;
/// The first word of the line that a stranger writes when it begins.
pub const BEGINS: &str = "begins";
/// The first word of the line that it writes in the end, before how many packets it sent in a second, or how many
/// connections it held at once and how many it opened in a second.
pub const DID: &str = "did";

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Tells each member in every other's name that its port is closed.
    Unreachable,
    /// Sends datagrams that are nonsense, also in the members' names.
    Datagrams,
    /// Holds connections and says nothing.
    Idle,
    /// Holds connections and sends plain text without end, a piece at a time.
    Slow,
    /// Opens connections and sends nonsense.
    Garbled,
}

impl Kind {
    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "forged ICMP port-unreachable",
            Self::Datagrams => "garbled datagrams",
            Self::Idle => "connections that say nothing",
            Self::Slow => "plain streams, a piece at a time",
            Self::Garbled => "connections with nonsense",
        }
    }

    /// What is counted of it.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Unreachable | Self::Datagrams => "packets/s",
            Self::Idle | Self::Slow | Self::Garbled => "connections",
        }
    }
}

/// What to do, to whom.
#[derive(Clone, Debug)]
pub struct Orders {
    /// What.
    pub kind: Kind,
    /// Packets a second, or connections that are held at a time.
    pub amount: u32,
    /// For how long.
    pub time: Duration,
    /// The members' addresses.
    pub members: Vec<Ipv4Addr>,
    /// Addresses of this namespace.
    pub sources: Vec<Ipv4Addr>,
}
