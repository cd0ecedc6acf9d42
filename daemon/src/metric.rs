// SPDX-License-Identifier: Apache-2.0
//! A metric as a constant: its name, help, kind and labels, each stated once. Its series come to a scrape in one of three ways: a registry
//! keeps them ([`Metric::register`]), a collector makes them at each scrape ([`Metric::family`]), or they are written as text from books
//! that a program keeps anyway ([`Metric::write`]), where a registry would hold a kilobyte for each.
//!
//! The constants are where the values are known: [`crate::metrics`] has those of all programs.

use std::fmt::{self, Display, Write};

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

impl Kind {
    /// The kind as the text format names it.
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// A metric with that many labels.
#[derive(Clone, Copy, Debug)]
pub struct Metric<const LABELS: usize> {
    prefix: &'static str,
    name: &'static str,
    help: &'static str,
    kind: Kind,
    labels: [&'static str; LABELS],
}

impl<const LABELS: usize> Metric<LABELS> {
    /// A metric whose values never fall while the program runs.
    #[must_use]
    pub const fn counter(
        name: &'static str,
        help: &'static str,
        labels: [&'static str; LABELS],
    ) -> Self {
        Self { prefix: "", name, help, kind: Kind::Counter, labels }
    }

    /// A metric whose values rise and fall.
    #[must_use]
    pub const fn gauge(
        name: &'static str,
        help: &'static str,
        labels: [&'static str; LABELS],
    ) -> Self {
        Self { prefix: "", name, help, kind: Kind::Gauge, labels }
    }

    /// The metric whose name is this one's behind `prefix`, in place of an earlier prefix.
    #[must_use]
    pub const fn under(self, prefix: &'static str) -> Self {
        Self { prefix, ..self }
    }

    /// The metric of the same name with other labels.
    #[must_use]
    pub const fn labelled<const OTHERS: usize>(
        self,
        labels: [&'static str; OTHERS],
    ) -> Metric<OTHERS> {
        let Self { prefix, name, help, kind, labels: _ } = self;
        Metric { prefix, name, help, kind, labels }
    }

    /// The series that a registry keeps. A metric without labels is there with 0 at once, any other has no series yet.
    ///
    /// # Errors
    /// The name is taken in `registry`, or is none.
    pub fn register(&self, registry: &Registry) -> prometheus::Result<Series<LABELS>> {
        let series = self.series()?;
        registry.register(series.collector())?;
        if LABELS == 0 {
            series.set([""; LABELS], 0);
        }
        Ok(series)
    }

    /// The family for a collector, from the values of the labels and the value of each series; nothing where there is no series. Of several
    /// series with equal labels the last one counts, of a counter the highest.
    pub fn family<'a>(
        &self,
        series: impl IntoIterator<Item = ([&'a str; LABELS], u64)>,
    ) -> Vec<MetricFamily> {
        let Ok(made) = self.series() else { return Vec::new() };
        for (labels, value) in series {
            made.set(labels, value);
        }
        let mut families = made.collector().collect();
        families.retain(|family| !family.get_metric().is_empty());
        families
    }

    /// Appends the family to a scrape's text, from the values of the labels and the value of each series; nothing where there is no series.
    /// No two series may have equal labels. The text is as a registry would have it if the labels of the metric are in the order of the
    /// alphabet.
    pub fn write<'a>(
        &self,
        series: impl IntoIterator<Item = ([&'a dyn Display; LABELS], u64)>,
        text: &mut String,
    ) {
        let Self { prefix, name, help, kind, labels } = self;
        for (index, (values, value)) in series.into_iter().enumerate() {
            // Writing to a String cannot fail.
            if index == 0 {
                let kind = kind.name();
                let _ =
                    writeln!(text, "# HELP {prefix}{name} {help}\n# TYPE {prefix}{name} {kind}");
            }
            let _ = write!(text, "{prefix}{name}");
            for (index, (label, label_value)) in labels.iter().zip(values).enumerate() {
                let separator = if index == 0 { '{' } else { ',' };
                let _ = write!(text, "{separator}{label}=\"");
                let _ = write!(Escaped(text), "{label_value}");
                text.push('"');
            }
            let end = if LABELS == 0 { "" } else { "}" };
            let _ = writeln!(text, "{end} {value}");
        }
    }

    fn series(&self) -> prometheus::Result<Series<LABELS>> {
        let Self { prefix, name, help, kind, labels } = self;
        let options = Opts::new(format!("{prefix}{name}"), *help);
        Ok(match kind {
            Kind::Counter => Series::Counters(IntCounterVec::new(options, labels)?),
            Kind::Gauge => Series::Gauges(IntGaugeVec::new(options, labels)?),
        })
    }
}

/// The series of a registered metric.
#[derive(Clone, Debug)]
pub enum Series<const LABELS: usize> {
    /// Those of a counter.
    Counters(IntCounterVec),
    /// Those of a gauge.
    Gauges(IntGaugeVec),
}

impl<const LABELS: usize> Series<LABELS> {
    /// Gives the series with these labels this value, `i64::MAX` at most for a gauge. A counter keeps a value that is higher.
    pub fn set(&self, labels: [&str; LABELS], value: u64) {
        // As many labels as the metric has are never refused.
        match self {
            Self::Counters(counters) => {
                if let Ok(counter) = counters.get_metric_with_label_values(&labels) {
                    counter.inc_by(value.saturating_sub(counter.get()));
                }
            }
            Self::Gauges(gauges) => {
                if let Ok(gauge) = gauges.get_metric_with_label_values(&labels) {
                    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
                }
            }
        }
    }

    /// Adds 1 to the series with these labels.
    pub fn increment(&self, labels: [&str; LABELS]) {
        match self {
            Self::Counters(counters) => {
                if let Ok(counter) = counters.get_metric_with_label_values(&labels) {
                    counter.inc();
                }
            }
            Self::Gauges(gauges) => {
                if let Ok(gauge) = gauges.get_metric_with_label_values(&labels) {
                    gauge.inc();
                }
            }
        }
    }

    /// Removes the series with these labels, if there is one.
    pub fn remove(&self, labels: [&str; LABELS]) {
        // Only a series that was never there cannot be removed.
        let _ = match self {
            Self::Counters(counters) => counters.remove_label_values(&labels),
            Self::Gauges(gauges) => gauges.remove_label_values(&labels),
        };
    }

    /// Removes all series.
    pub fn clear(&self) {
        match self {
            Self::Counters(counters) => counters.reset(),
            Self::Gauges(gauges) => gauges.reset(),
        }
    }

    fn collector(&self) -> Box<dyn Collector> {
        match self {
            Self::Counters(counters) => Box::new(counters.clone()),
            Self::Gauges(gauges) => Box::new(gauges.clone()),
        }
    }
}

/// Writes the value of a label as the text format wants it.
struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        for letter in part.chars() {
            match letter {
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                '"' => self.0.push_str("\\\""),
                other => self.0.push(other),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_precision_loss,
        reason = "a test may panic"
    )]

    use prometheus::TextEncoder;

    use super::*;

    const ALONE: Metric<0> = Metric::gauge("alone", "One value.", []);
    const SEEN: Metric<2> = Metric::counter("seen_total", "What was seen.", ["by", "what"]);

    fn encoded(families: &[MetricFamily]) -> String {
        TextEncoder::new().encode_to_string(families).unwrap()
    }

    /// The judge is the library's own encoder.
    #[test]
    fn registered_made_and_written_a_metric_looks_the_same() {
        let values = [(["a", "1\"\\\n2"], 3), (["b", "x"], u64::from(u32::MAX))];
        let alone = 7;
        let registry = Registry::new();
        let seen = SEEN.under("our_").register(&registry).unwrap();
        for (labels, value) in values {
            seen.set(labels, value);
        }
        ALONE.register(&registry).unwrap().set([], alone);
        let registered = encoded(&registry.gather());
        let mut made = encoded(&ALONE.family([([], alone)]));
        made += &encoded(&SEEN.under("our_").family(values));
        let mut written = String::new();
        ALONE.write([([], alone)], &mut written);
        let series = values.iter().map(|([by, what], value)| ([by as &dyn Display, what], *value));
        SEEN.under("our_").write(series, &mut written);
        assert_eq!(registered, made);
        assert_eq!(registered, written);
        assert_eq!(
            registered,
            "# HELP alone One value.\n# TYPE alone gauge\nalone 7\n\
             # HELP our_seen_total What was seen.\n# TYPE our_seen_total counter\n\
             our_seen_total{by=\"a\",what=\"1\\\"\\\\\\n2\"} 3\nour_seen_total{by=\"b\",what=\"x\"} 4294967295\n"
        );
    }

    #[test]
    fn a_family_without_series_has_no_head_but_one_without_labels_starts_at_0() {
        let mut text = String::new();
        SEEN.write([], &mut text);
        assert_eq!(text, "");
        assert_eq!(SEEN.family([]), []);
        let registry = Registry::new();
        let _seen = SEEN.register(&registry).unwrap();
        let _alone = ALONE.register(&registry).unwrap();
        assert!(encoded(&registry.gather()).ends_with("\nalone 0\n"));
        assert!(SEEN.labelled(["other"]).register(&registry).is_err(), "the name is taken");
    }

    #[test]
    fn a_counter_never_falls_and_what_is_removed_is_gone() {
        let registry = Registry::new();
        let seen = SEEN.labelled(["by"]).register(&registry).unwrap();
        seen.set(["a"], 5);
        seen.set(["a"], 4);
        seen.increment(["a"]);
        seen.set(["b"], 1);
        seen.remove(["b"]);
        seen.remove(["never"]);
        assert!(encoded(&registry.gather()).ends_with("\nseen_total{by=\"a\"} 6\n"));
        seen.clear();
        assert_eq!(encoded(&registry.gather()), "");
        let level = Metric::gauge("level", "Its height.", []).register(&registry).unwrap();
        level.set([], u64::MAX);
        let most = level.collector().collect()[0].get_metric()[0].get_gauge().get_value();
        assert!((most - i64::MAX as f64).abs() < 1.0, "{most}");
        level.set([], 1);
        level.increment([]);
        assert!(encoded(&registry.gather()).ends_with("\nlevel 2\n"));
    }
}
