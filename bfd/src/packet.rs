// SPDX-License-Identifier: Apache-2.0
//! The control packet: RFC 5880 section 4.1, with the rules of section 6.8.6 that need nothing but the packet. Not the
//! authentication section: packets that have one are refused.

use crate::{Diagnostic, State};

/// Octets of a packet without authentication.
pub(crate) const LENGTH: usize = 24;
/// Length at least with authentication.
const LENGTH_AUTHENTICATED: u8 = 26;

const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const CONTROL_PLANE_INDEPENDENT: u8 = 0x08;
const AUTHENTICATION_PRESENT: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

/// A control packet without authentication. Intervals are in microseconds, as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlPacket {
    /// Why the sender's state changed the last time.
    pub diagnostic: Diagnostic,
    /// The sender's state.
    pub state: State,
    /// P: the sender wants an answer.
    pub poll: bool,
    /// F: this is the answer.
    pub is_final: bool,
    /// C: the sender's BFD does not share fate with its control plane; we never say so.
    pub control_plane_independent: bool,
    /// D: Demand mode.
    pub demand: bool,
    /// Detect Mult, not zero.
    pub detect_multiplier: u8,
    /// My Discriminator, not zero.
    pub my_discriminator: u32,
    /// Your Discriminator; zero when the sender does not know it.
    pub your_discriminator: u32,
    /// Desired Min TX Interval in microseconds.
    pub desired_min_tx_interval: u32,
    /// Required Min RX Interval in microseconds; zero asks for no periodic packets at all.
    pub required_min_rx_interval: u32,
    /// Required Min Echo RX Interval in microseconds; zero asks for no Echo packets.
    pub required_min_echo_rx_interval: u32,
}

/// Why a packet is discarded, by the steps of RFC 5880 section 6.8.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not even the fixed part is there.
    #[error("shorter than a control packet")]
    Short,
    /// The version is not 1.
    #[error("version {0}")]
    Version(u8),
    /// Length is below 24, or 26 with the A bit, or beyond the payload.
    #[error("length field {0}")]
    Length(u8),
    /// Detect Mult is zero.
    #[error("Detect Mult is zero")]
    DetectMultiplier,
    /// The M bit is set.
    #[error("the Multipoint bit is set")]
    Multipoint,
    /// My Discriminator is zero.
    #[error("My Discriminator is zero")]
    MyDiscriminator,
    /// Your Discriminator is zero in a state that the sender reaches only by having heard us.
    #[error("Your Discriminator is zero in state {0}")]
    YourDiscriminator(State),
    /// The A bit is set; no session here uses authentication.
    #[error("authentication is not in use")]
    Authentication,
}

impl ControlPacket {
    /// Reads a UDP payload; what stands behind the packet's own length is not looked at.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let fixed: &[u8; LENGTH] = payload.first_chunk().ok_or(DecodeError::Short)?;
        let [first, flags, detect_multiplier, length, rest @ ..] = fixed;
        if first >> 5 != 1 {
            return Err(DecodeError::Version(first >> 5));
        }
        let authenticated = flags & AUTHENTICATION_PRESENT != 0;
        let least = if authenticated { LENGTH_AUTHENTICATED } else { 24 };
        if *length < least || usize::from(*length) > payload.len() {
            return Err(DecodeError::Length(*length));
        }
        if *detect_multiplier == 0 {
            return Err(DecodeError::DetectMultiplier);
        }
        if flags & MULTIPOINT != 0 {
            return Err(DecodeError::Multipoint);
        }
        let mut words = rest.as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word));
        let mut word = || words.next().unwrap_or(0);
        let packet = Self {
            diagnostic: Diagnostic::from_bits(*first),
            state: State::from_bits(flags >> 6),
            poll: flags & POLL != 0,
            is_final: flags & FINAL != 0,
            control_plane_independent: flags & CONTROL_PLANE_INDEPENDENT != 0,
            demand: flags & DEMAND != 0,
            detect_multiplier: *detect_multiplier,
            my_discriminator: word(),
            your_discriminator: word(),
            desired_min_tx_interval: word(),
            required_min_rx_interval: word(),
            required_min_echo_rx_interval: word(),
        };
        if packet.my_discriminator == 0 {
            return Err(DecodeError::MyDiscriminator);
        }
        if packet.your_discriminator == 0 && matches!(packet.state, State::Init | State::Up) {
            return Err(DecodeError::YourDiscriminator(packet.state));
        }
        if authenticated {
            return Err(DecodeError::Authentication);
        }
        Ok(packet)
    }

    /// The octets to send.
    #[must_use]
    pub fn encode(&self) -> [u8; LENGTH] {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = self.state.bits() << 6
            | flag(self.poll, POLL)
            | flag(self.is_final, FINAL)
            | flag(self.control_plane_independent, CONTROL_PLANE_INDEPENDENT)
            | flag(self.demand, DEMAND);
        let words = [
            u32::from_be_bytes([
                1 << 5 | self.diagnostic.bits(),
                flags,
                self.detect_multiplier,
                24,
            ]),
            self.my_discriminator,
            self.your_discriminator,
            self.desired_min_tx_interval,
            self.required_min_rx_interval,
            self.required_min_echo_rx_interval,
        ];
        let mut octets = [0; LENGTH];
        for (place, word) in octets.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *place = word.to_be_bytes();
        }
        octets
    }
}

#[cfg(test)]
mod tests;
