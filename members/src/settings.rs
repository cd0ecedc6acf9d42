// SPDX-License-Identifier: Apache-2.0
//! The times and numbers of a ring: the library's for local and for wide area networks, and those of MetalLB's optional file
//! `config.json` (contract section 3.4), which decides everything.

mod duration;
mod file;

use std::time::Duration;

pub use file::SettingsError;

/// All members of a ring should have the same, which the protocol does not check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long connecting, and then a message, may take on a stream.
    pub tcp_timeout: Duration,
    /// How many members are asked to ping one that did not answer us.
    pub indirect_checks: u32,
    /// A message is gossiped this often, times the logarithm of the number of members.
    pub retransmit_mult: u32,
    /// A suspicion lasts at least this many probe intervals, times the logarithm of the number of members.
    pub suspicion_mult: u32,
    /// A suspicion that nobody confirms lasts this many times longer.
    pub suspicion_max_timeout_mult: u32,
    /// Time between two push/pulls; zero for none.
    pub push_pull_interval: Duration,
    /// How long an answer to a ping may take before others are asked.
    pub probe_timeout: Duration,
    /// Time between two probes; zero for none. It must be longer than `probe_timeout` for indirect pings to be of use.
    pub probe_interval: Duration,
    /// No ping over TCP where UDP is not answered.
    pub disable_tcp_pings: bool,
    /// How many times longer a probe takes at most when we seem to be the one who is slow.
    pub awareness_max_multiplier: u32,
    /// How many members are gossiped to at once; zero for no gossip.
    pub gossip_nodes: u32,
    /// Time between two rounds of gossip; zero for no gossip.
    pub gossip_interval: Duration,
    /// For how long the dead are gossiped to, so that they can refute, and remembered.
    pub gossip_to_the_dead_time: Duration,
    /// With a key, nothing is taken that is not encrypted.
    pub gossip_verify_incoming: bool,
    /// With a key, all that leaves is encrypted.
    pub gossip_verify_outgoing: bool,
    /// Messages are compressed.
    pub enable_compression: bool,
    /// The library's queue of messages that wait to be handled. We have none; it is read, not used.
    pub handoff_queue_depth: u32,
    /// Octets of a datagram's content at most.
    pub udp_buffer_size: usize,
    /// How often the library measures a queue. Read, not used.
    pub queue_check_interval: Duration,
}

impl Settings {
    /// The library's for a local network, which MetalLB uses.
    #[must_use]
    pub const fn lan() -> Self {
        Self {
            tcp_timeout: Duration::from_secs(10),
            indirect_checks: 3,
            retransmit_mult: 4,
            suspicion_mult: 4,
            suspicion_max_timeout_mult: 6,
            push_pull_interval: Duration::from_secs(30),
            probe_timeout: Duration::from_millis(500),
            probe_interval: Duration::from_secs(1),
            disable_tcp_pings: false,
            awareness_max_multiplier: 8,
            gossip_nodes: 3,
            gossip_interval: Duration::from_millis(200),
            gossip_to_the_dead_time: Duration::from_secs(30),
            gossip_verify_incoming: true,
            gossip_verify_outgoing: true,
            enable_compression: true,
            handoff_queue_depth: 1024,
            udp_buffer_size: 1400,
            queue_check_interval: Duration::from_secs(30),
        }
    }

    /// The library's for a wide area network.
    #[must_use]
    pub const fn wan() -> Self {
        Self {
            tcp_timeout: Duration::from_secs(30),
            suspicion_mult: 6,
            push_pull_interval: Duration::from_secs(60),
            probe_timeout: Duration::from_secs(3),
            probe_interval: Duration::from_secs(5),
            gossip_nodes: 4,
            gossip_interval: Duration::from_millis(500),
            gossip_to_the_dead_time: Duration::from_secs(60),
            ..Self::lan()
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self::lan()
    }
}
