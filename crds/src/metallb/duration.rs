// SPDX-License-Identifier: Apache-2.0
//! Durations as Go writes them, which is how Kubernetes stores them: `1m30s`, `250ms`, `-1.5h`.
//!
//! `kube::core::Duration` reads the same syntax but panics on some input (`1s-3s`, numbers beyond its
//! range), and objects come from outside; so this has its own reader, which is total.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A signed duration in nanoseconds, of the range that Go has (about 292 years).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration(i64);

/// The text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid duration {0:?}")]
pub struct GoDurationError(String);

const SECOND: i64 = 1_000_000_000;

const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
];

impl GoDuration {
    /// A number of whole seconds; beyond the range, the end of the range.
    #[must_use]
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(SECOND))
    }

    /// A number of nanoseconds.
    #[must_use]
    pub const fn from_nanos(nanoseconds: i64) -> Self {
        Self(nanoseconds)
    }

    /// Whether it is exactly zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Nanoseconds.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds, truncated towards zero.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0 / SECOND
    }

    /// As a standard duration; `None` when it is negative.
    #[must_use]
    pub fn to_std(self) -> Option<Duration> {
        u64::try_from(self.0).ok().map(Duration::from_nanos)
    }
}

/// Takes the decimal digits off the front: their value, how many, and the rest.
fn digits(text: &str) -> Option<(i64, u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(end)?;
    let value = number
        .bytes()
        .try_fold(0_i64, |sum, byte| sum.checked_mul(10)?.checked_add(i64::from(byte - b'0')))?;
    Some((value, u32::try_from(end).ok()?, rest))
}

/// One number with its unit off the front: its nanoseconds and the rest.
fn component(text: &str) -> Option<(i64, &str)> {
    let (whole, whole_digits, rest) = digits(text)?;
    let (fraction, rest) = match rest.strip_prefix('.') {
        None => ("", rest),
        Some(after) => after
            .split_at_checked(after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len()))?,
    };
    if whole_digits == 0 && fraction.is_empty() {
        return None;
    }
    let unit_end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at_checked(unit_end)?;
    let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
    // Digits below a nanosecond are dropped, one by one so that nothing can overflow.
    let (part, _) = fraction.bytes().fold((0_i64, *scale), |(sum, place), byte| {
        // `place` is ten times the worth of this digit; the remainder of the division is what a
        // digit of a minute or an hour never has.
        (sum + i64::from(byte - b'0') * place / 10, place / 10)
    });
    Some((whole.checked_mul(*scale)?.checked_add(part)?, rest))
}

impl FromStr for GoDuration {
    type Err = GoDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || GoDurationError(text.to_owned());
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, text.get(1..).unwrap_or_default()),
            Some(b'+') => (false, text.get(1..).unwrap_or_default()),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self(0));
        }
        if rest.is_empty() {
            return Err(error());
        }
        let mut total = 0_i64;
        while !rest.is_empty() {
            let (nanoseconds, after) = component(rest).ok_or_else(error)?;
            total = total.checked_add(nanoseconds).ok_or_else(error)?;
            rest = after;
        }
        Ok(Self(if negative { -total } else { total }))
    }
}

impl fmt::Display for GoDuration {
    /// As Go prints it: `1m30s`, `1.5s`, `250ms`, `0s`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = self.0.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        let decimal = |value: u64, unit: u64, width: usize| {
            let (whole, part) = (value / unit, value % unit);
            if part == 0 {
                whole.to_string()
            } else {
                format!("{whole}.{}", format!("{part:0width$}").trim_end_matches('0'))
            }
        };
        formatter.write_str(sign)?;
        match nanoseconds {
            0 => formatter.write_str("0s"),
            1..1_000 => write!(formatter, "{nanoseconds}ns"),
            1_000..1_000_000 => write!(formatter, "{}\u{b5}s", decimal(nanoseconds, 1_000, 3)),
            1_000_000..1_000_000_000 => {
                write!(formatter, "{}ms", decimal(nanoseconds, 1_000_000, 6))
            }
            _ => {
                let (minutes, below) = (nanoseconds / 60_000_000_000, nanoseconds % 60_000_000_000);
                let seconds = decimal(below, 1_000_000_000, 9);
                match (minutes / 60, minutes % 60) {
                    (0, 0) => write!(formatter, "{seconds}s"),
                    (0, minutes) => write!(formatter, "{minutes}m{seconds}s"),
                    (hours, minutes) => write!(formatter, "{hours}h{minutes}m{seconds}s"),
                }
            }
        }
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for GoDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanoseconds) in [
            ("0", 0),
            ("-0", 0),
            ("0s", 0),
            ("5s", 5 * SECOND),
            ("1m30s", 90 * SECOND),
            ("1h", 3_600 * SECOND),
            ("1.5h", 5_400 * SECOND),
            (".5s", SECOND / 2),
            ("1.s", SECOND),
            ("-1.5s", -3 * SECOND / 2),
            ("+5s", 5 * SECOND),
            ("250ms", SECOND / 4),
            ("3us", 3_000),
            ("3\u{b5}s", 3_000),
            ("3\u{3bc}s4ns", 3_004),
            ("0.1234567891234s", 123_456_789),
        ] {
            assert_eq!(
                text.parse::<GoDuration>().map(GoDuration::as_nanos),
                Ok(nanoseconds),
                "{text}"
            );
        }
        for text in [
            "",
            "5",
            "s",
            ".s",
            "-",
            "5x",
            "1s-3s",
            "--5s",
            "1e3s",
            " 5s",
            "NaNs",
            "5 s",
            "99999999999999999999h",
            "9999999999h",
        ] {
            assert!(text.parse::<GoDuration>().is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for text in [
            "0s",
            "1m30s",
            "1h0m0s",
            "1.5s",
            "250ms",
            "1.25ms",
            "3\u{b5}s",
            "7ns",
            "-1m0s",
            "65535h0m0s",
        ] {
            assert_eq!(
                text.parse::<GoDuration>().map(|duration| duration.to_string()),
                Ok(text.into())
            );
        }
    }

    proptest! {
        #[test]
        fn a_written_duration_is_read_back(nanoseconds in -i64::MAX..i64::MAX) {
            let duration = GoDuration(nanoseconds);
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }

        #[test]
        fn arbitrary_text_never_panics(text in "[-+.0-9nsumhµe \u{3bc}]{0,24}") {
            let _ = text.parse::<GoDuration>();
        }
    }
}
