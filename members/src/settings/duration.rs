// SPDX-License-Identifier: Apache-2.0
//! Durations as Go writes them: decimal numbers with units, as in `1m30s` or `1.5h`.

use std::time::Duration;

/// Longest first where one begins another.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// What Go's `time.ParseDuration` takes; a negative one, which it takes too, is zero, since nobody waits for less.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut nanoseconds = 0_u64;
    while {
        let (part, behind) = part(rest)?;
        nanoseconds = nanoseconds.checked_add(part)?;
        rest = behind;
        !rest.is_empty()
    } {}
    // Go has 63 bits.
    i64::try_from(nanoseconds).ok()?;
    Some(if negative { Duration::ZERO } else { Duration::from_nanos(nanoseconds) })
}

/// The first number with its unit, in nanoseconds.
fn part(text: &str) -> Option<(u64, &str)> {
    let (whole, rest) = digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (unit, rest) = unit(rest)?;
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut nanoseconds = whole.checked_mul(unit)?;
    let mut below = 0_u128;
    let mut scale = 1_u128;
    for digit in fraction.bytes().take(18) {
        below = below * 10 + u128::from(digit - b'0');
        scale *= 10;
    }
    nanoseconds = nanoseconds.checked_add(u64::try_from(u128::from(unit) * below / scale).ok()?)?;
    Some((nanoseconds, rest))
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at_checked(end).unwrap_or((text, ""))
}

fn unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|letter: char| letter == '.' || letter.is_ascii_digit());
    let (name, rest) = text.split_at_checked(end.unwrap_or(text.len()))?;
    UNITS.iter().find(|(unit, _)| *unit == name).map(|(_, nanoseconds)| (*nanoseconds, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let of = |text| parse(text).map(|duration| duration.as_nanos());
        for (text, nanoseconds) in [
            ("0", 0),
            ("+0", 0),
            ("30s", 30_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5ms", 500_000),
            ("1.us", 1_000),
            ("2\u{b5}s", 2_000),
            ("1ns", 1),
            ("0.3333333333333333333h", 1_199_999_999_999),
            ("-5s", 0),
        ] {
            assert_eq!(of(text), Some(nanoseconds), "{text}");
        }
        for text in ["", "5", "s", "1 s", "1x", ".s", "-", "1s5", "9223372037s", "1e3s", "1\u{b5}"]
        {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
