// SPDX-License-Identifier: Apache-2.0
//! Reception of a control packet that belongs to this session: the second half of RFC 5880 section 6.8.6, with the state machine
//! of section 6.2. The first half is [`crate::ControlPacket::decode`] and the table's.

use std::time::Instant;

use super::{Output, Remote, Session};
use crate::{ControlPacket, Diagnostic, State};

impl Session {
    pub(super) fn receive(&mut self, now: Instant, packet: &ControlPacket) {
        self.counters.control_packet_input += 1;
        self.remote = Remote {
            discriminator: packet.my_discriminator,
            state: packet.state,
            diagnostic: packet.diagnostic,
            demand: packet.demand,
            desired_min_tx: packet.desired_min_tx_interval,
            required_min_rx: packet.required_min_rx_interval,
            required_min_echo_rx: packet.required_min_echo_rx_interval,
            detect_multiplier: packet.detect_multiplier,
            heard: Some(now),
        };
        if packet.is_final {
            self.poll_answered();
        }
        self.echo_negotiated(now);
        let before = self.state;
        match next_state(before, packet.state) {
            Some((State::AdminDown, _)) | None => {}
            Some((state, diagnostic)) => self.change_state(now, state, diagnostic),
        }
        if packet.poll && before != State::AdminDown {
            // 6.8.7: at once, whatever the timer says, and with the P bit clear. It tells the new state, too.
            self.outputs.push_back(Output::Control { packet: self.packet(false, true), due: None });
        } else if self.state != before && !self.has_announced() {
            self.announce(now);
        }
    }

    /// Whether a packet with the present state waits to be sent already.
    fn has_announced(&self) -> bool {
        self.outputs.iter().any(|output| match output {
            Output::Control { packet, .. } => packet.state == self.state,
            Output::Echo { .. } | Output::Changed => false,
        })
    }
}

/// The state machine (6.2 and the end of 6.8.6): what the state becomes, `None` when it stays.
const fn next_state(state: State, remote: State) -> Option<(State, Diagnostic)> {
    match (state, remote) {
        (State::AdminDown, State::AdminDown | State::Down | State::Init | State::Up)
        | (State::Down, State::AdminDown | State::Up)
        | (State::Init, State::Down)
        | (State::Up, State::Init | State::Up) => None,
        (State::Init | State::Up, State::AdminDown) | (State::Up, State::Down) => {
            Some((State::Down, Diagnostic::NeighborSignaledSessionDown))
        }
        (State::Down, State::Down) => Some((State::Init, Diagnostic::None)),
        (State::Down, State::Init) | (State::Init, State::Init | State::Up) => {
            Some((State::Up, Diagnostic::None))
        }
    }
}
