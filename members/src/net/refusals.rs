// SPDX-License-Identifier: Apache-2.0
//! The messages that the ring's port refused: counted by cause, and by source in a table of a fixed size, so that the log can name the worst
//! sources. No input makes the table longer.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::DecodeError;

/// The least time between two lines in the log.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);
/// The number of sources that are counted at the same time, at most.
const SOURCES: usize = 32;
/// The number of sources that the log names, at most.
const NAMED: usize = 5;
/// The time for which a source is known to use another key.
const OTHER_KEY_TIME: Duration = Duration::from_secs(120);

/// Makes the causes, the list of them and their names from one table.
macro_rules! causes {
    ($($(#[$text:meta])* $cause:ident = $name:literal,)+) => {
        /// The reason of a refusal; the label `cause` of a metric.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Cause {
            $($(#[$text])* $cause,)+
        }

        impl Cause {
            /// All causes.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$cause),+];

            /// The name of the cause, for logs and metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$cause => $name,)+
                }
            }
        }
    };
}

causes! {
    /// The message is not sealed by a key that is accepted here, or is sealed where there is no key.
    Key = "key",
    /// The message is in the clear, and the ring has a key.
    Plain = "plain",
    /// The message has another label, or none where there is one.
    Label = "label",
    /// The message is nothing that a member writes.
    Malformed = "malformed",
    /// The message is longer than anything that a ring needs.
    Length = "length",
    /// A stream on which nothing came in time.
    Silent = "silent",
    /// A stream on which no whole request came in time, or whose answer was not read.
    Slow = "slow",
    /// A stream that its sender gave up before there was a whole request.
    Ended = "ended",
    /// A stream whose place another one needed.
    Crowded = "crowded",
    /// An ICMP error about a datagram that was not sent.
    Icmp = "icmp",
}

impl Cause {
    /// The cause for an error in reading.
    pub(crate) const fn of(error: &DecodeError) -> Self {
        match error {
            DecodeError::Decryption | DecodeError::NoKey => Self::Key,
            DecodeError::Plaintext => Self::Plain,
            DecodeError::Label => Self::Label,
            DecodeError::Length => Self::Length,
            DecodeError::Truncated
            | DecodeError::Type
            | DecodeError::Value
            | DecodeError::Kind(_)
            | DecodeError::Nested
            | DecodeError::Checksum
            | DecodeError::Compression => Self::Malformed,
        }
    }
}

/// The refusals since the start, for metrics and people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// The number of refusals by cause; causes without any are missing.
    pub counts: BTreeMap<Cause, u64>,
    /// The sources that lately sent under a key that this node does not have, as far as they are among the most refused sources.
    pub other_key: Vec<IpAddr>,
}

/// A source in the table.
#[derive(Clone, Copy, Debug)]
struct Source {
    /// The number of refusals since the last report; too high by the count of the source that this one replaced.
    count: u64,
    cause: Cause,
    other_key: Option<Instant>,
}

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    counts: BTreeMap<Cause, u64>,
    /// The space-saving algorithm (Metwally, Agrawal, El Abbadi 2005): a source with more than a share of 1/[`SOURCES`] is in the table for
    /// certain.
    sources: BTreeMap<IpAddr, Source>,
    /// The number of refusals since the last report.
    fresh: u64,
    reported: Option<Instant>,
}

impl Refusals {
    /// A message of this source was refused.
    pub(super) fn note(&mut self, now: Instant, from: IpAddr, cause: Cause) {
        let total = self.counts.entry(cause).or_default();
        *total = total.saturating_add(1);
        self.fresh = self.fresh.saturating_add(1);
        let from = from.to_canonical();
        let mut count = 0;
        if self.sources.len() >= SOURCES && !self.sources.contains_key(&from) {
            let least = self.sources.iter().min_by_key(|(_, source)| source.count);
            if let Some((least, source)) = least.map(|(least, source)| (*least, *source)) {
                self.sources.remove(&least);
                count = source.count;
            }
        }
        let source = self.sources.entry(from).or_insert(Source { count, cause, other_key: None });
        source.count = source.count.saturating_add(1);
        source.cause = cause;
        if cause == Cause::Key {
            source.other_key = Some(now);
        }
    }

    /// The line for the log, if one is due: the number of refusals since the last line, and the worst sources. Once a minute at most.
    pub(super) fn report(&mut self, now: Instant) -> Option<(u64, String)> {
        if self.fresh == 0 || self.reported.is_some_and(|last| now < last + REPORT_INTERVAL) {
            return None;
        }
        self.reported = Some(now);
        let mut worst: Vec<_> = self.sources.iter().filter(|(_, it)| it.count > 0).collect();
        worst.sort_by_key(|(_, source)| std::cmp::Reverse(source.count));
        let mut text = String::new();
        for (address, Source { count, cause, .. }) in worst.into_iter().take(NAMED) {
            let comma = if text.is_empty() { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(text, "{comma}{address}: {count} ({})", cause.name());
        }
        for source in self.sources.values_mut() {
            source.count = 0;
        }
        Some((std::mem::take(&mut self.fresh), text))
    }

    /// The number of refusals since the start.
    pub(super) fn total(&self) -> u64 {
        self.counts.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The refusals for metrics and people.
    pub(super) fn refused(&self, now: Instant) -> Refused {
        let lately = |at: Instant| now < at + OTHER_KEY_TIME;
        let other_key = self.sources.iter().filter(|(_, it)| it.other_key.is_some_and(lately));
        Refused {
            counts: self.counts.clone(),
            other_key: other_key.map(|(address, _)| *address).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(number: u32) -> IpAddr {
        std::net::Ipv4Addr::from(0x0a00_0000 + number).into()
    }

    #[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
    fn beginning() -> Instant {
        Instant::now()
    }

    #[test]
    fn it_is_told_once_a_minute_with_the_worst_sources_first() {
        let now = beginning();
        let mut refusals = Refusals::default();
        assert_eq!(refusals.report(now), None);
        refusals.note(now, from(1), Cause::Plain);
        assert_eq!(refusals.report(now), Some((1, "10.0.0.1: 1 (plain)".to_owned())));
        for _ in 0..3 {
            refusals.note(now, from(2), Cause::Icmp);
        }
        refusals.note(now, from(1), Cause::Key);
        assert_eq!(refusals.report(now + REPORT_INTERVAL / 2), None);
        let told = "10.0.0.2: 3 (icmp), 10.0.0.1: 1 (key)".to_owned();
        assert_eq!(refusals.report(now + REPORT_INTERVAL), Some((4, told)));
        assert_eq!(refusals.report(now + REPORT_INTERVAL * 2), None, "nothing since");
        let refused = refusals.refused(now);
        let counts = [(Cause::Key, 1), (Cause::Plain, 1), (Cause::Icmp, 3)];
        assert_eq!(refused.counts, counts.into());
        assert_eq!(refused.other_key, [from(1)]);
        assert!(refusals.refused(now + OTHER_KEY_TIME).other_key.is_empty());
        assert_eq!(refusals.total(), 5);
    }

    #[test]
    fn whoever_sends_most_is_found_among_many_and_the_table_stays_short() {
        let now = beginning();
        let mut refusals = Refusals::default();
        for number in 0..50_000 {
            refusals.note(now, from(1_000 + number), Cause::Key);
            if number % 10 == 0 {
                refusals.note(now, from(7), Cause::Plain);
            }
        }
        assert_eq!(refusals.sources.len(), SOURCES);
        let (count, text) = refusals.report(now).unwrap();
        assert_eq!(count, 55_000);
        assert!(text.starts_with("10.0.0.7: "), "{text}");
        assert_eq!(text.matches(": ").count(), NAMED, "{text}");
    }
}
