// SPDX-License-Identifier: Apache-2.0
//! What our Echo packets hold. RFC 5881 section 4 leaves the contents to the sender, since only he reads them; the place of the
//! discriminator and the length are those of FRR, which does not loop shorter packets.

/// An Echo packet of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoPacket {
    /// The discriminator of the session that sent it.
    pub discriminator: u32,
    /// Counts the Echo packets of a session.
    pub sequence: u64,
    /// A number that only the session knows, so that a stranger cannot make up what came back.
    pub cookie: u64,
}

impl EchoPacket {
    /// Octets of every Echo packet.
    pub const LENGTH: usize = 24;

    /// Reads a UDP payload; `None` if it cannot be ours.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let payload: &[u8; Self::LENGTH] = payload.try_into().ok()?;
        let (head, rest) = payload.split_first_chunk::<4>()?;
        let (discriminator, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        (*head == HEAD).then_some(Self {
            discriminator: u32::from_be_bytes(*discriminator),
            sequence: u64::from_be_bytes(*sequence),
            cookie: u64::from_be_bytes(*rest.first_chunk()?),
        })
    }

    /// The octets to send.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut octets = [0; Self::LENGTH];
        let parts = HEAD
            .into_iter()
            .chain(self.discriminator.to_be_bytes())
            .chain(self.sequence.to_be_bytes())
            .chain(self.cookie.to_be_bytes());
        for (place, octet) in octets.iter_mut().zip(parts) {
            *place = octet;
        }
        octets
    }
}

/// Version, length and two octets without meaning.
const HEAD: [u8; 4] = [1, 24, 0, 0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let packet = EchoPacket { discriminator: 7, sequence: 1 << 40, cookie: u64::MAX };
        let octets = packet.encode();
        assert_eq!(EchoPacket::decode(&octets), Some(packet));
        assert_eq!(octets[4..8], [0, 0, 0, 7]);
        assert_eq!(EchoPacket::decode(&octets[..23]), None);
        assert_eq!(EchoPacket::decode(&[0; 24]), None);
    }
}
