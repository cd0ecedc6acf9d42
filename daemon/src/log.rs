// SPDX-License-Identifier: Apache-2.0
//! Logs: one JSON object per line on standard output with the keys of contract 7.2 in alphabetical order,
//! or plain text for people.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object.
    Json,
    /// Level, message and fields.
    Text,
}

/// Parses `json` or `text`.
///
/// # Errors
/// For any other word.
pub fn parse_format(text: &str) -> Result<Format, String> {
    match text {
        "json" => Ok(Format::Json),
        "text" => Ok(Format::Text),
        _ => Err(format!("{text:?} is neither json nor text")),
    }
}

/// The least important level that is written, by MetalLB's names: all, debug, info, warn, error, none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold(Option<Level>);

impl std::str::FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self(match text {
            "all" | "debug" => Some(Level::DEBUG),
            "info" => Some(Level::INFO),
            "warn" => Some(Level::WARN),
            "error" => Some(Level::ERROR),
            "none" => None,
            _ => return Err(format!("{text:?} is none of all, debug, info, warn, error, none")),
        }))
    }
}

/// Starts to log; a second call does nothing.
pub fn start(threshold: Threshold, format: Format) {
    let write = |line: &str| {
        // There is no other place to say that standard output is gone.
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
    };
    // It fails only where a logger is set already.
    let _ = tracing_subscriber::registry().with(Lines { threshold, format, write }).try_init();
}

/// The lines that `run` makes in this thread, instead of writing them: for tests.
pub fn lines_of(threshold: Threshold, format: Format, run: impl FnOnce()) -> Vec<String> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    let write = move |line: &str| {
        kept.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned());
    };
    let subscriber = tracing_subscriber::registry().with(Lines { threshold, format, write });
    tracing::subscriber::with_default(subscriber, run);
    std::mem::take(&mut *lines.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The addresses of a Service: `ips = %Addresses(..)` makes a list of them, as MetalLB's lines have (contract 7.2).
pub struct Addresses<'a>(pub &'a [IpAddr]);

impl Addresses<'_> {
    const FIELD: &'static str = "ips";
    /// No address has it in its text.
    const SEPARATOR: char = ',';

    /// What [`fmt::Display`] wrote.
    fn list(text: &str) -> Value {
        // Of no addresses the text is empty.
        text.split_terminator(Self::SEPARATOR).collect()
    }
}

impl fmt::Display for Addresses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|address| write!(f, "{address}{}", Self::SEPARATOR))
    }
}

struct Lines<W> {
    threshold: Threshold,
    format: Format,
    write: W,
}

impl<S: Subscriber, W: Fn(&str) + 'static> Layer<S> for Lines<W> {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        let Some(threshold) = self.threshold.0 else { return false };
        // Libraries below are of interest only when something is wrong.
        let own = [
            "allocator",
            "bfd",
            "cluster",
            "cli",
            "controller",
            "daemon",
            "l2",
            "members",
            "speaker",
            "ferrolb",
        ];
        let target = metadata.target().split("::").next().unwrap_or_default();
        let least = match target {
            _ if own.contains(&target) => threshold,
            // What its watches run into is said by those who use them.
            "kube_runtime" => return false,
            _ => threshold.min(Level::WARN),
        };
        *metadata.level() <= least
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if event.metadata().target().split("::").next() == Some("members") {
            fields.0.insert("component", json!("Memberlist"));
        }
        let line = match self.format {
            Format::Json => json_line(event.metadata(), fields),
            Format::Text => text_line(event.metadata(), &fields),
        };
        (self.write)(&line);
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

fn json_line(metadata: &Metadata<'_>, mut fields: Fields) -> String {
    let file = metadata.file().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let caller = format!("{file}:{}", metadata.line().unwrap_or_default());
    fields.0.insert("caller", json!(caller));
    fields.0.insert("level", json!(level_name(*metadata.level())));
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    fields.0.insert("ts", json!(now));
    format!("{}\n", json!(fields.0))
}

fn text_line(metadata: &Metadata<'_>, fields: &Fields) -> String {
    let message = fields.0.get("msg").and_then(Value::as_str).unwrap_or_default();
    let mut line = format!("{:<5} {message}", level_name(*metadata.level()));
    for (key, value) in fields.0.iter().filter(|(key, _)| **key != "msg") {
        match value {
            Value::String(text) if !text.contains([' ', '"']) => {
                line.push_str(&format!(" {key}={text}"));
            }
            _ => line.push_str(&format!(" {key}={value}")),
        }
    }
    line.push('\n');
    line
}

/// The fields of an event; its message is `msg`.
#[derive(Default)]
struct Fields(BTreeMap<&'static str, Value>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == Addresses::FIELD {
            self.0.insert(Addresses::FIELD, Addresses::list(&text));
        } else {
            self.record_str(field, &text);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let name = if field.name() == "message" { "msg" } else { field.name() };
        self.0.insert(name, json!(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name(), json!(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name(), json!(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name(), json!(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn addresses_are_a_list_and_nothing_else_is() {
        for texts in [&[] as &[&str], &["10.0.0.1"], &["10.0.0.1", "fd00::1", "::ffff:10.0.0.1"]] {
            let ips = addresses(texts);
            let lines = lines_of(Threshold(Some(Level::INFO)), Format::Json, || {
                tracing::info!(ips = %Addresses(&ips), others = ?["a, b", "c"], "with addresses");
            });
            let [line] = lines.as_slice() else { panic!("{lines:?}") };
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["ips"], json!(texts));
            assert_eq!(line["others"], json!(r#"["a, b", "c"]"#));
            assert_eq!(line["msg"], "with addresses");
        }
    }

    #[test]
    fn people_see_addresses_as_a_list_too() {
        let ips = addresses(&["10.0.0.1", "fd00::1"]);
        let lines = lines_of(Threshold(Some(Level::INFO)), Format::Text, || {
            tracing::info!(ips = %Addresses(&ips), "with addresses");
        });
        assert_eq!(lines, ["info  with addresses ips=[\"10.0.0.1\",\"fd00::1\"]\n"]);
    }

    #[test]
    fn lines_below_the_threshold_are_not_made() {
        let lines = lines_of(Threshold(Some(Level::INFO)), Format::Json, || {
            tracing::debug!("too much");
            tracing::warn!("enough");
        });
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert!(line.contains("\"level\":\"warn\"") && line.contains("enough"), "{line}");
    }
}
