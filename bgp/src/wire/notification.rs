// SPDX-License-Identifier: Apache-2.0
//! NOTIFICATION (RFC 4271 §4.5), shutdown communication (RFC 9003) and Hard Reset (RFC 8538 §3.1).

use bytes::{Buf, Bytes};

use super::iana::error;
use super::{HEADER_LENGTH, LONGEST, MessageError, MessageType, write_message};

/// The most octets of a shutdown communication: its length is one octet.
const LONGEST_COMMUNICATION: usize = 255;

/// Why a session ends, on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
    /// What depends on both.
    pub data: Vec<u8>,
}

impl Notification {
    /// With data, which is cut to what a message can hold.
    #[must_use]
    pub fn new(code: u8, subcode: u8, data: impl Into<Vec<u8>>) -> Self {
        let mut data = data.into();
        data.truncate(LONGEST - HEADER_LENGTH - 2);
        Self { code, subcode, data }
    }

    /// CEASE with this subcode.
    #[must_use]
    pub fn cease(subcode: u8) -> Self {
        Self::new(error::CEASE, subcode, [])
    }

    /// CEASE/administrative shutdown with a text in UTF-8, cut to 255 octets between characters.
    #[must_use]
    pub fn shutdown(text: &str) -> Self {
        let mut end = text.len().min(LONGEST_COMMUNICATION);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let text = text.get(..end).unwrap_or_default();
        let mut data = vec![u8::try_from(end).unwrap_or(u8::MAX)];
        data.extend_from_slice(text.as_bytes());
        Self::new(error::CEASE, error::ADMINISTRATIVE_SHUTDOWN, data)
    }

    /// This one wrapped in a Hard Reset, which graceful restart does not hide (RFC 8538 §3.1).
    #[must_use]
    pub fn hard_reset(&self) -> Self {
        let data = [&[self.code, self.subcode], self.data.as_slice()].concat();
        Self::new(error::CEASE, error::HARD_RESET, data)
    }

    /// What is inside, if this is a Hard Reset.
    #[must_use]
    pub fn inside_hard_reset(&self) -> Option<Self> {
        if (self.code, self.subcode) != (error::CEASE, error::HARD_RESET) {
            return None;
        }
        let (code, subcode, data) = match self.data.as_slice() {
            [] => (error::CEASE, error::HARD_RESET, [].as_slice()),
            [code] => (*code, 0, [].as_slice()),
            [code, subcode, data @ ..] => (*code, *subcode, data),
        };
        Some(Self::new(code, subcode, data))
    }

    /// The text of a shutdown communication (RFC 9003 §2), control characters taken out; `None` if there is none or if its
    /// length is wrong.
    #[must_use]
    pub fn communication(&self) -> Option<String> {
        let may_have_one = self.code == error::CEASE
            && matches!(self.subcode, error::ADMINISTRATIVE_SHUTDOWN | error::ADMINISTRATIVE_RESET);
        let (length, text) = self.data.split_first()?;
        let text = text.get(..usize::from(*length))?;
        (may_have_one && !text.is_empty()).then(|| printable(text))
    }

    /// Reads what follows the header.
    pub fn decode(mut body: Bytes) -> Result<Self, MessageError> {
        let (Ok(code), Ok(subcode)) = (body.try_get_u8(), body.try_get_u8()) else {
            return Err(MessageError::new(
                error::MESSAGE_HEADER,
                error::BAD_MESSAGE_LENGTH,
                [],
                "NOTIFICATION without code and subcode",
            ));
        };
        Ok(Self { code, subcode, data: body.into() })
    }

    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let body = [&[self.code, self.subcode], self.data.as_slice()].concat();
        write_message(out, MessageType::Notification, &body);
    }
}

/// Foreign text made fit for a log: invalid UTF-8 replaced, control characters left out.
pub(crate) fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().filter(|character| !character.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    fn body(notification: &Notification) -> Vec<u8> {
        let mut out = Vec::new();
        notification.encode(&mut out);
        out.split_off(HEADER_LENGTH)
    }

    #[test]
    fn shutdown_communication_is_that_of_rfc_9003() {
        // Built by hand from RFC 9003 §2: length in octets, then UTF-8.
        let golden = hex!("06 02 08" "67 6f 20 68 6f 6d 65 21");
        let notification = Notification::shutdown("go home!");
        assert_eq!(body(&notification), golden);
        assert_eq!(Notification::decode(Bytes::copy_from_slice(&golden)).unwrap(), notification);
        assert_eq!(notification.communication().as_deref(), Some("go home!"));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let notification = Notification::shutdown(&"ü".repeat(200));
        assert_eq!(notification.data.len(), 255, "254 octets are 127 whole characters");
        assert_eq!(notification.communication(), Some("ü".repeat(127)));
    }

    #[test]
    fn a_foreign_text_cannot_reach_beyond_the_message_nor_control_a_terminal() {
        assert_eq!(Notification::new(6, 2, *b"\x05ab").communication(), None);
        assert_eq!(Notification::new(6, 2, [0]).communication(), None);
        assert_eq!(Notification::new(6, 3, *b"\x02ab").communication(), None);
        let text = Notification::new(6, 4, *b"\x05a\x1b[\xff\n").communication();
        assert_eq!(text.as_deref(), Some("a[\u{fffd}"));
    }

    #[test]
    fn hard_reset_holds_the_notification_that_it_hides() {
        // Built by hand from RFC 8538 §3.1.
        let golden = hex!("06 09" "06 02" "02 6f 6b");
        let inside = Notification::shutdown("ok");
        assert_eq!(body(&inside.hard_reset()), golden);
        assert_eq!(inside.hard_reset().inside_hard_reset(), Some(inside.clone()));
        assert_eq!(inside.inside_hard_reset(), None);
        assert_eq!(
            Notification::cease(9).inside_hard_reset(),
            Some(Notification::cease(9)),
            "an empty one is not an error"
        );
    }

    #[test]
    fn no_notification_is_longer_than_a_message() {
        let notification = Notification::new(7, 1, vec![1; 70_000]);
        assert_eq!(body(&notification).len() + HEADER_LENGTH, LONGEST);
        assert!(body(&notification.hard_reset()).len() + HEADER_LENGTH <= LONGEST);
    }
}
