// SPDX-License-Identifier: Apache-2.0
//! Several messages in one: their number in one octet, their lengths in two octets each, the messages.

use super::error::DecodeError;
use super::kind;

/// Messages that one compound holds at most.
pub(crate) const MESSAGES: usize = 255;
/// Octets of the head.
pub(crate) const HEAD: usize = 2;
/// Octets that each message takes besides its own.
pub(crate) const EACH: usize = 2;

/// The first 255 messages as one; one alone stays as it is. Messages of 64 KiB and more are left out.
pub(crate) fn compound(messages: &[Vec<u8>]) -> Vec<u8> {
    if let [message] = messages {
        return message.clone();
    }
    let messages = || {
        let messages = messages.iter().take(MESSAGES);
        messages.filter_map(|message| Some((u16::try_from(message.len()).ok()?, message)))
    };
    let mut octets = vec![kind::COMPOUND, u8::try_from(messages().count()).unwrap_or(u8::MAX)];
    octets.extend(messages().flat_map(|(length, _)| length.to_be_bytes()));
    octets.extend(messages().flat_map(|(_, message)| message));
    octets
}

/// The messages of a compound that follow its kind. Those behind a truncated one are lost, as in the library.
pub(crate) fn parts(body: &[u8]) -> Result<impl Iterator<Item = &[u8]>, DecodeError> {
    let (count, rest) = body.split_first().ok_or(DecodeError::Truncated)?;
    let lengths = usize::from(*count) * 2;
    let (lengths, mut rest) = rest.split_at_checked(lengths).ok_or(DecodeError::Truncated)?;
    Ok(lengths.chunks_exact(2).map_while(move |length| {
        let length = length.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
        let (part, behind) = rest.split_at_checked(length)?;
        rest = behind;
        Some(part)
    }))
}
