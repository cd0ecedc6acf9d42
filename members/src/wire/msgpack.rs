// SPDX-License-Identifier: Apache-2.0
//! MessagePack as the library's codec writes it (the old specification: one raw type for strings and octets, without an 8-bit
//! length), read leniently: also the types of the new specification, integers of any width, and what is unknown is skipped.

use super::error::DecodeError;

/// Values that a skipped field may consist of. The messages have a dozen.
pub(super) const SKIPPED: usize = 4096;

/// Reads values one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

/// How a value begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Nil,
    Boolean(bool),
    Unsigned(u64),
    Negative,
    /// Octets to pass over: floats, and extensions with their type.
    Opaque(usize),
    Raw(usize),
    Array(usize),
    Map(usize),
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets }
    }

    /// What has not been read.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn number(&mut self, width: usize) -> Result<u64, DecodeError> {
        let octets = self.take(width)?;
        Ok(octets.iter().fold(0, |number, octet| number << 8 | u64::from(*octet)))
    }

    fn length(&mut self, width: usize) -> Result<usize, DecodeError> {
        usize::try_from(self.number(width)?).map_err(|_| DecodeError::Length)
    }

    /// An integer of that width that may be negative.
    fn signed(&mut self, width: usize) -> Result<Head, DecodeError> {
        let number = self.number(width)?;
        let negative = number >> (8 * width - 1) & 1 == 1;
        Ok(if negative { Head::Negative } else { Head::Unsigned(number) })
    }

    pub(super) fn head(&mut self) -> Result<Head, DecodeError> {
        let [first] = *self.take(1)? else { return Err(DecodeError::Truncated) };
        Ok(match first {
            0x00..=0x7f => Head::Unsigned(first.into()),
            0x80..=0x8f => Head::Map((first & 0x0f).into()),
            0x90..=0x9f => Head::Array((first & 0x0f).into()),
            0xa0..=0xbf => Head::Raw((first & 0x1f).into()),
            0xc0 => Head::Nil,
            0xc1 => return Err(DecodeError::Type),
            0xc2 => Head::Boolean(false),
            0xc3 => Head::Boolean(true),
            0xc4 | 0xd9 => Head::Raw(self.length(1)?),
            0xc5 | 0xda => Head::Raw(self.length(2)?),
            0xc6 | 0xdb => Head::Raw(self.length(4)?),
            0xc7 => Head::Opaque(self.length(1)?.saturating_add(1)),
            0xc8 => Head::Opaque(self.length(2)?.saturating_add(1)),
            0xc9 => Head::Opaque(self.length(4)?.saturating_add(1)),
            0xca => Head::Opaque(4),
            0xcb => Head::Opaque(8),
            0xcc => Head::Unsigned(self.number(1)?),
            0xcd => Head::Unsigned(self.number(2)?),
            0xce => Head::Unsigned(self.number(4)?),
            0xcf => Head::Unsigned(self.number(8)?),
            0xd0 => self.signed(1)?,
            0xd1 => self.signed(2)?,
            0xd2 => self.signed(4)?,
            0xd3 => self.signed(8)?,
            0xd4 => Head::Opaque(2),
            0xd5 => Head::Opaque(3),
            0xd6 => Head::Opaque(5),
            0xd7 => Head::Opaque(9),
            0xd8 => Head::Opaque(17),
            0xdc => Head::Array(self.length(2)?),
            0xdd => Head::Array(self.length(4)?),
            0xde => Head::Map(self.length(2)?),
            0xdf => Head::Map(self.length(4)?),
            0xe0..=0xff => Head::Negative,
        })
    }

    /// A string or octets; nothing is an empty one.
    pub(crate) fn raw(&mut self) -> Result<&'a [u8], DecodeError> {
        match self.head()? {
            Head::Raw(length) => self.take(length),
            Head::Nil => Ok(&[]),
            Head::Boolean(_)
            | Head::Unsigned(_)
            | Head::Negative
            | Head::Opaque(_)
            | Head::Array(_)
            | Head::Map(_) => Err(DecodeError::Type),
        }
    }

    /// A string.
    pub(crate) fn text(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.raw()?).map_err(|_| DecodeError::Value)
    }

    /// An integer that is not negative; nothing is zero.
    pub(crate) fn unsigned<T: TryFrom<u64>>(&mut self) -> Result<T, DecodeError> {
        let number = match self.head()? {
            Head::Unsigned(number) => number,
            Head::Nil => 0,
            Head::Negative => return Err(DecodeError::Value),
            Head::Boolean(_) | Head::Opaque(_) | Head::Raw(_) | Head::Array(_) | Head::Map(_) => {
                return Err(DecodeError::Type);
            }
        };
        T::try_from(number).map_err(|_| DecodeError::Value)
    }

    /// A truth value; nothing is false.
    pub(crate) fn boolean(&mut self) -> Result<bool, DecodeError> {
        match self.head()? {
            Head::Boolean(value) => Ok(value),
            Head::Nil => Ok(false),
            Head::Unsigned(_)
            | Head::Negative
            | Head::Opaque(_)
            | Head::Raw(_)
            | Head::Array(_)
            | Head::Map(_) => Err(DecodeError::Type),
        }
    }

    /// A map whose keys are names of fields. The function takes the values that it knows and answers whether it did.
    pub(crate) fn fields(
        &mut self,
        mut field: impl FnMut(&'a [u8], &mut Self) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let Head::Map(count) = self.head()? else { return Err(DecodeError::Type) };
        for _ in 0..count {
            let name = self.raw()?;
            if !field(name, self)? {
                self.skip()?;
            }
        }
        Ok(())
    }

    /// Passes over one value, whatever it is.
    pub(crate) fn skip(&mut self) -> Result<(), DecodeError> {
        let mut wanted = 1_usize;
        for _ in 0..SKIPPED {
            match self.head()? {
                Head::Nil | Head::Boolean(_) | Head::Unsigned(_) | Head::Negative => {}
                Head::Opaque(length) | Head::Raw(length) => drop(self.take(length)?),
                Head::Array(count) => wanted = wanted.saturating_add(count),
                Head::Map(count) => wanted = wanted.saturating_add(count.saturating_mul(2)),
            }
            wanted -= 1;
            if wanted == 0 {
                return Ok(());
            }
        }
        Err(DecodeError::Length)
    }
}

/// Writes values one after the other.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    octets: Vec<u8>,
}

impl Writer {
    /// A message begins with its kind.
    pub(crate) fn message(kind: u8) -> Self {
        Self { octets: vec![kind] }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.octets
    }

    /// The head of a map of fewer than 16 fields.
    pub(crate) fn map(&mut self, fields: u8) {
        self.octets.push(0x80 | fields & 0x0f);
    }

    pub(crate) fn nil(&mut self) {
        self.octets.push(0xc0);
    }

    pub(crate) fn boolean(&mut self, value: bool) {
        self.octets.push(if value { 0xc3 } else { 0xc2 });
    }

    pub(crate) fn unsigned(&mut self, value: u32) {
        let [high, second, third, low] = value.to_be_bytes();
        match value {
            0..=0x7f => self.octets.push(low),
            0x80..=0xff => self.octets.extend([0xcc, low]),
            0x100..=0xffff => self.octets.extend([0xcd, third, low]),
            0x1_0000.. => self.octets.extend([0xce, high, second, third, low]),
        }
    }

    /// A string or octets. Lengths above 32 bits do not occur.
    pub(crate) fn raw(&mut self, value: &[u8]) {
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        let [high, second, third, low] = length.to_be_bytes();
        match length {
            0..=0x1f => self.octets.push(0xa0 | low),
            0x20..=0xffff => self.octets.extend([0xda, third, low]),
            0x1_0000.. => self.octets.extend([0xdb, high, second, third, low]),
        }
        self.octets.extend_from_slice(value);
    }

    /// Octets; an empty list is nothing, as the library has it.
    pub(crate) fn octets(&mut self, value: &[u8]) {
        if value.is_empty() { self.nil() } else { self.raw(value) }
    }
}
