// SPDX-License-Identifier: Apache-2.0
//! Octets on their way to TCP. It always begins with a whole message, of which a part may be gone already, so that a last
//! message can be put at the next boundary instead of behind everything that waits.

use crate::wire::{HEADER_LENGTH, MessageType};

/// UPDATEs are only made while fewer octets than this wait: a peer that does not read costs no more.
const FULL: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    octets: Vec<u8>,
    written: usize,
}

impl Outbox {
    /// What has not been taken yet.
    pub(crate) fn waiting(&self) -> &[u8] {
        self.octets.get(self.written..).unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting().is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.waiting().len() >= FULL
    }

    /// To append whole messages to.
    pub(crate) const fn end(&mut self) -> &mut Vec<u8> {
        &mut self.octets
    }

    /// So many octets were taken.
    pub(crate) fn take(&mut self, count: usize) {
        self.written = self.octets.len().min(self.written + count);
        let mut whole = 0;
        while let Some(length) = self.message_at(whole)
            && whole + length <= self.written
        {
            whole += length;
        }
        self.octets.drain(..whole);
        self.written -= whole;
    }

    /// The rest of a message that was begun; everything else is forgotten.
    pub(crate) fn into_rest_of_message(self) -> Vec<u8> {
        let end = if self.written == 0 { 0 } else { self.message_at(0).unwrap_or(0) };
        self.octets.get(self.written..end).unwrap_or_default().to_vec()
    }

    /// Whether a message of this kind, or the rest of one, is among what has not been taken yet.
    pub(crate) fn holds(&self, kind: MessageType) -> bool {
        let mut start = 0;
        while let Some(length) = self.message_at(start) {
            if self.octets.get(start + HEADER_LENGTH - 1) == Some(&kind.octet()) {
                return true;
            }
            start += length;
        }
        false
    }

    fn message_at(&self, start: usize) -> Option<usize> {
        let header = self.octets.get(start..start + HEADER_LENGTH)?;
        let [.., high, low, _] = header else { return None };
        Some(usize::from(u16::from_be_bytes([*high, *low])).max(HEADER_LENGTH))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Notification, write_keepalive};

    fn outbox() -> Outbox {
        let mut outbox = Outbox::default();
        write_keepalive(outbox.end());
        Notification::cease(2).encode(outbox.end());
        write_keepalive(outbox.end());
        outbox
    }

    #[test]
    fn octets_leave_in_any_portions() {
        let whole = outbox().waiting().to_vec();
        for portion in 1..whole.len() {
            let (mut outbox, mut out) = (outbox(), Vec::new());
            while !outbox.is_empty() {
                let count = portion.min(outbox.waiting().len());
                out.extend_from_slice(&outbox.waiting()[..count]);
                outbox.take(count);
                assert!(outbox.octets.len() <= whole.len() - out.len() + 20, "kept what is gone");
            }
            assert_eq!(out, whole);
        }
    }

    #[test]
    fn a_message_is_held_until_its_last_octet_is_taken() {
        let mut outbox = outbox();
        assert!(!outbox.holds(MessageType::Update));
        for taken in 0..19 + 21 {
            assert!(outbox.holds(MessageType::Notification), "{taken} taken");
            outbox.take(1);
        }
        assert!(!outbox.holds(MessageType::Notification));
        assert!(outbox.holds(MessageType::Keepalive));
    }

    #[test]
    fn only_a_message_that_was_begun_is_finished() {
        assert_eq!(outbox().into_rest_of_message(), [] as [u8; 0]);
        for (written, rest) in [(1, 18), (18, 1), (19, 0), (20, 20), (39, 1), (40, 0), (41, 18)] {
            let mut outbox = outbox();
            outbox.take(written);
            assert_eq!(outbox.into_rest_of_message().len(), rest, "{written}");
        }
    }
}
