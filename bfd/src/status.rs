// SPDX-License-Identifier: Apache-2.0
//! What is told of a session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::{Delay, Diagnostic, State};

/// A session at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Our state.
    pub state: State,
    /// The state that the peer told last; Down before it was heard.
    pub remote_state: State,
    /// Why our state changed the last time.
    pub diagnostic: Diagnostic,
    /// Why the peer's did.
    pub remote_diagnostic: Diagnostic,
    /// When our state changed the last time; when the session was made, before.
    pub since: Instant,
    /// My Discriminator; not zero, not equal to that of another session.
    pub local_discriminator: u32,
    /// The peer's; zero while it is not known.
    pub remote_discriminator: u32,
    /// The time between two of our packets, before jitter; `None` while nothing is sent periodically.
    pub transmit_interval: Option<Duration>,
    /// The time between two of the peer's packets at most; `None` before it was heard.
    pub receive_interval: Option<Duration>,
    /// The time after which the session goes down without a packet; `None` before the peer was heard.
    pub detection_time: Option<Duration>,
    /// The time between two Echo packets, before jitter; `None` while the Echo function is not active.
    pub echo_interval: Option<Duration>,
    /// What was counted since the session was made.
    pub counters: Counters,
    /// How late packets were sent.
    pub transmit_delay: Delay,
    /// What keeps the session from working on this host (a port that another process holds, an address that is not there).
    pub problem: Option<Arc<str>>,
}

/// Counted since the session was made; changes of the state or of the profile do not reset it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Control packets received and not discarded.
    pub control_packet_input: u64,
    /// Control packets sent.
    pub control_packet_output: u64,
    /// Own Echo packets that came back.
    pub echo_packet_input: u64,
    /// Echo packets sent.
    pub echo_packet_output: u64,
    /// Times the session came up.
    pub session_up_events: u64,
    /// Times the session, once up, went down.
    pub session_down_events: u64,
}
