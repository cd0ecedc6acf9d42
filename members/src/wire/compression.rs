// SPDX-License-Identifier: Apache-2.0
//! Compressed messages: LZW with the least significant bit first and eight-bit literals, as in GIF, in a message that names the
//! algorithm. The library has no other.

use weezl::{BitOrder, LzwStatus, decode, encode};

use super::error::DecodeError;
use super::kind;
use super::msgpack::{Reader, Writer};

const LZW: u8 = 0;
const LITERAL: u8 = 8;
/// Octets by which the output grows.
const STEP: usize = 4096;

/// A message that holds `message` compressed; `None` if that is not possible.
pub(crate) fn compress(message: &[u8]) -> Option<Vec<u8>> {
    let compressed = encode::Encoder::new(BitOrder::Lsb, LITERAL).encode(message).ok()?;
    let mut writer = Writer::message(kind::COMPRESS);
    writer.map(2);
    writer.raw(b"Algo");
    writer.unsigned(LZW.into());
    writer.raw(b"Buf");
    writer.raw(&compressed);
    Some(writer.finish())
}

/// The content of a message that follows its kind; an error if it is longer than `limit`.
pub(crate) fn decompress(body: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    let (mut algorithm, mut compressed): (u8, &[u8]) = (LZW, &[]);
    Reader::new(body).fields(|name, value| {
        match name {
            b"Algo" => algorithm = value.unsigned()?,
            b"Buf" => compressed = value.raw()?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if algorithm != LZW {
        return Err(DecodeError::Compression);
    }
    let mut decoder = decode::Decoder::new(BitOrder::Lsb, LITERAL);
    let mut output = Vec::new();
    loop {
        let filled = output.len();
        if filled > limit {
            return Err(DecodeError::Length);
        }
        output.resize(filled + STEP, 0);
        let result = decoder.decode_bytes(compressed, output.get_mut(filled..).unwrap_or_default());
        output.truncate(filled + result.consumed_out);
        compressed = compressed.get(result.consumed_in..).unwrap_or_default();
        match result.status {
            Ok(LzwStatus::Ok) if result.consumed_in + result.consumed_out > 0 => {}
            Ok(LzwStatus::Done) if output.len() <= limit => return Ok(output),
            Ok(LzwStatus::Done) => return Err(DecodeError::Length),
            Ok(LzwStatus::Ok | LzwStatus::NoProgress) | Err(_) => {
                return Err(DecodeError::Compression);
            }
        }
    }
}
