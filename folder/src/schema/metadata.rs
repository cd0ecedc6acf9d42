// SPDX-License-Identifier: Apache-2.0
//! Rules of the API server for the metadata of any object, and the forms of names.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value};

use super::Fault;

/// The most octets that all annotations of an object may have together.
const MAX_ANNOTATIONS: usize = 256 << 10;

/// A form that a name can have.
pub(super) struct Form {
    pattern: Regex,
    most: usize,
    /// In words.
    text: &'static str,
}

impl Form {
    fn new(pattern: &str, most: usize, text: &'static str) -> Self {
        #[expect(clippy::expect_used, reason = "the patterns are below, and a test uses each")]
        let pattern = Regex::new(&format!("^(?:{pattern})$")).expect("a pattern of this file");
        Self { pattern, most, text }
    }

    /// What is wrong with `name`; nothing if it has the form.
    pub(super) fn fault(&self, name: &str) -> Option<String> {
        let fits = name.len() <= self.most && self.pattern.is_match(name);
        (!fits).then(|| format!("{name:?} is not a valid name: {}", self.text))
    }
}

/// RFC 1123 label.
pub(super) static LABEL: LazyLock<Form> = LazyLock::new(|| {
    let text = "at most 63 lower-case letters, digits and -, with a letter or digit at both ends";
    Form::new("[a-z0-9]([-a-z0-9]*[a-z0-9])?", 63, text)
});

/// RFC 1035 label.
static LABEL_1035: LazyLock<Form> = LazyLock::new(|| {
    let text = "at most 63 lower-case letters, digits and -, a letter at the beginning, a letter or digit at the end";
    Form::new("[a-z]([-a-z0-9]*[a-z0-9])?", 63, text)
});

/// RFC 1123 subdomain.
pub(super) static SUBDOMAIN: LazyLock<Form> = LazyLock::new(|| {
    let text =
        "at most 253 lower-case letters, digits, - and ., with a letter or digit at both ends";
    let label = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
    Form::new(&format!("{label}(\\.{label})*"), 253, text)
});

static QUALIFIED: LazyLock<Form> = LazyLock::new(|| {
    let text = "at most 63 letters, digits, -, _ and ., with a letter or digit at both ends, and before a / possibly a domain";
    Form::new("([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]", 63, text)
});

/// Wrong with a key of a label, an annotation or a class: nothing, or what.
pub(super) fn qualified(name: &str) -> Option<String> {
    let (domain, own) = match name.split_once('/') {
        Some((domain, own)) => (Some(domain), own),
        None => (None, name),
    };
    let domain = domain.and_then(|domain| SUBDOMAIN.fault(domain));
    domain.or_else(|| QUALIFIED.fault(own))
}

/// Wrong with the value of a label: nothing, or what.
pub(super) fn label_value(value: &str) -> Option<String> {
    if value.is_empty() || QUALIFIED.fault(value).is_none() {
        return None;
    }
    let form = "at most 63 letters, digits, -, _ and ., with a letter or digit at both ends";
    Some(format!("{value:?} is not a valid value of a label: {form}"))
}

/// Judges the labels at `path`.
pub(super) fn labels(labels: &Map<String, Value>, path: &str, faults: &mut Vec<Fault>) {
    for (key, value) in labels {
        let wrong = qualified(key).or_else(|| label_value(value.as_str().unwrap_or_default()));
        faults.extend(wrong.map(|wrong| Fault::refused(format!("{path}.{key}"), wrong)));
    }
}

/// Judges the metadata of an object.
pub(super) fn judge(kind: &str, object: &Value, faults: &mut Vec<Fault>) {
    let text = |field: &str| object.pointer(field).and_then(Value::as_str).unwrap_or_default();
    let form: &Form = match kind {
        "Service" => &LABEL_1035,
        "Namespace" => &LABEL,
        _ => &SUBDOMAIN,
    };
    match text("/metadata/name") {
        "" if text("/metadata/generateName").is_empty() => {
            faults.push(Fault::refused("metadata.name", "missing"));
        }
        "" => {}
        name => {
            faults.extend(form.fault(name).map(|wrong| Fault::refused("metadata.name", wrong)));
        }
    }
    let namespace = text("/metadata/namespace");
    if !namespace.is_empty()
        && let Some(wrong) = LABEL.fault(namespace)
    {
        faults.push(Fault::refused("metadata.namespace", wrong));
    }
    let map = |pointer: &str| object.pointer(pointer).and_then(Value::as_object);
    if let Some(all) = map("/metadata/labels") {
        labels(all, "metadata.labels", faults);
    }
    let Some(annotations) = map("/metadata/annotations") else { return };
    let mut size = 0;
    for (key, value) in annotations {
        size += key.len() + value.as_str().map_or(0, str::len);
        // The API server looks at the key without regard to case.
        let wrong = qualified(&key.to_lowercase());
        let field = || format!("metadata.annotations.{key}");
        faults.extend(wrong.map(|wrong| Fault::refused(field(), wrong)));
    }
    if size > MAX_ANNOTATIONS {
        let message = format!("{size} octets are too many: at most {MAX_ANNOTATIONS} are possible");
        faults.push(Fault::refused("metadata.annotations", message));
    }
}
