// SPDX-License-Identifier: Apache-2.0
//! Names and types: an object held against its schema, as the API server decodes and validates it. Not the rules between fields.

use std::collections::BTreeMap;

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use super::near::suggestion;
use super::{Fault, Grade};

/// A schema of OpenAPI v3, as far as the API server looks at it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Schema {
    r#type: Option<String>,
    properties: BTreeMap<String, Self>,
    additional_properties: Option<Additional>,
    items: Option<Box<Self>>,
    required: Vec<String>,
    r#enum: Vec<Value>,
    format: Option<String>,
    pattern: Option<String>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    min_length: Option<usize>,
    max_length: Option<usize>,
    min_items: Option<usize>,
    max_items: Option<usize>,
    #[serde(rename = "x-kubernetes-int-or-string")]
    int_or_string: bool,
    #[serde(skip)]
    compiled: Option<Regex>,
}

/// `additionalProperties`.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Additional {
    Any(bool),
    Schema(Box<Schema>),
}

impl Schema {
    /// Makes ready what is needed at each look: the patterns.
    pub(super) fn seal(&mut self) {
        self.compiled = self.pattern.as_deref().and_then(|pattern| Regex::new(pattern).ok());
        self.properties.values_mut().for_each(Self::seal);
        self.items.iter_mut().for_each(|items| items.seal());
        if let Some(Additional::Schema(schema)) = self.additional_properties.as_mut() {
            schema.seal();
        }
    }

    /// Any text.
    pub(super) fn text() -> Self {
        Self { r#type: Some("string".to_owned()), ..Self::default() }
    }

    /// The schema of a field.
    pub(super) fn property(&self, name: &str) -> Option<&Self> {
        self.properties.get(name)
    }

    /// Gives a field this schema.
    pub(super) fn set_property(&mut self, name: &str, schema: Self) {
        self.properties.insert(name.to_owned(), schema);
    }

    fn is_int_or_string(&self) -> bool {
        self.int_or_string || self.format.as_deref() == Some("int-or-string")
    }

    /// Whether a `null` in a map stands for an empty text, as in Kubernetes' own kinds.
    fn is_text(&self) -> bool {
        self.r#type.as_deref() == Some("string")
    }
}

/// Holds an object against its schema. Fields that are `null` or unknown are taken out of it. `custom` says that a
/// CustomResourceDefinition has the schema.
pub(super) fn walk(schema: &Schema, custom: bool, object: &mut Value, faults: &mut Vec<Fault>) {
    Walk { custom, faults }.value(schema, object, "");
}

struct Walk<'a> {
    custom: bool,
    faults: &'a mut Vec<Fault>,
}

impl Walk<'_> {
    fn refuse(&mut self, path: &str, message: impl Into<String>) {
        self.faults.push(Fault::refused(path, message));
    }

    fn value(&mut self, schema: &Schema, value: &mut Value, path: &str) {
        if let Some(expected) = mismatch(schema, value) {
            let advice = advice(expected, value);
            return self.refuse(
                path,
                format!("{expected} is expected here, not {}{advice}", shown(value)),
            );
        }
        match value {
            Value::Object(_) => self.object(schema, value, path),
            Value::Array(items) => self.array(schema, items, path),
            Value::String(text) => self.text(schema, text, path),
            Value::Number(number) => {
                let number = number.as_f64().unwrap_or_default();
                self.number(schema, number, path);
            }
            Value::Bool(_) | Value::Null => {}
        }
        if !schema.r#enum.is_empty() && !schema.r#enum.contains(value) {
            let known: Vec<String> = schema.r#enum.iter().map(ToString::to_string).collect();
            self.refuse(path, format!("{} is not one of {}", shown(value), known.join(", ")));
        }
    }

    fn object(&mut self, schema: &Schema, value: &mut Value, path: &str) {
        let Value::Object(fields) = value else { return };
        // In Kubernetes' own maps `null` is an empty text; elsewhere a field that is `null` is absent.
        let in_map = |name: &str| match schema.additional_properties.as_ref() {
            Some(Additional::Schema(schema)) => {
                !schema.is_text() || self.custom && path.starts_with("spec")
            }
            _ => schema.properties.contains_key(name) || schema.properties.is_empty(),
        };
        fields.retain(|name, value| !value.is_null() || !in_map(name));
        let mut unknown = Vec::new();
        for (name, value) in fields.iter_mut() {
            let path = join(path, name);
            if let Some(property) = schema.properties.get(name) {
                self.value(property, value, &path);
                continue;
            }
            match schema.additional_properties.as_ref() {
                Some(Additional::Schema(schema)) => {
                    if value.is_null() {
                        *value = Value::String(String::new());
                    }
                    self.value(schema, value, &path);
                }
                Some(Additional::Any(true)) => {}
                None if schema.properties.is_empty() => {}
                Some(Additional::Any(false)) | None => unknown.push((name.clone(), path)),
            }
        }
        for (name, path) in unknown {
            let near = suggestion(&name, schema.properties.keys().map(String::as_str));
            fields.remove(&name);
            self.faults.push(Fault {
                field: path,
                message: format!("there is no such field{near}"),
                grade: Grade::LeftOut,
            });
        }
        // Kubernetes' own kinds have no required fields but those that the rules name.
        let required = if self.custom { schema.required.as_slice() } else { &[] };
        for name in required {
            if !fields.contains_key(name) {
                self.refuse(&join(path, name), "missing");
            }
        }
    }

    fn array(&mut self, schema: &Schema, items: &mut [Value], path: &str) {
        if let Some(schema) = schema.items.as_deref() {
            for (index, item) in items.iter_mut().enumerate() {
                self.value(schema, item, &format!("{path}[{index}]"));
            }
        }
        if schema.min_items.is_some_and(|least| items.len() < least) {
            self.refuse(
                path,
                format!("at least {} entries are needed", schema.min_items.unwrap_or(0)),
            );
        }
        if schema.max_items.is_some_and(|most| items.len() > most) {
            self.refuse(
                path,
                format!("at most {} entries are possible", schema.max_items.unwrap_or(0)),
            );
        }
    }

    fn text(&mut self, schema: &Schema, text: &str, path: &str) {
        let length = text.chars().count();
        if let Some(least) = schema.min_length.filter(|least| length < *least) {
            self.refuse(
                path,
                match least {
                    1 => "must not be empty".to_owned(),
                    least => format!("at least {least} characters are needed"),
                },
            );
        }
        if let Some(most) = schema.max_length.filter(|most| length > *most) {
            self.refuse(path, format!("at most {most} characters are possible"));
        }
        if let Some(pattern) = schema.compiled.as_ref().filter(|pattern| !pattern.is_match(text)) {
            self.refuse(path, format!("{text:?} does not have the form {}", pattern.as_str()));
        }
        if schema.format.as_deref() == Some("date-time") && !text.is_empty() && !is_time(text) {
            self.refuse(path, format!("{text:?} is not a time such as 2006-01-02T15:04:05Z"));
        }
    }

    fn number(&mut self, schema: &Schema, number: f64, path: &str) {
        if let Some(least) = schema.minimum.filter(|least| number < *least) {
            self.refuse(path, format!("{number} is too small: at least {least} is needed"));
        }
        if let Some(most) = schema.maximum.filter(|most| number > *most) {
            self.refuse(path, format!("{number} is too large: at most {most} is possible"));
        }
        let whole = i64::from(i32::MIN)..=i64::from(i32::MAX);
        #[expect(clippy::cast_precision_loss, reason = "both bounds are exact")]
        let fits = (*whole.start() as f64..=*whole.end() as f64).contains(&number);
        if schema.format.as_deref() == Some("int32") && !fits {
            self.refuse(path, format!("{number} does not fit into 32 bits"));
        }
    }
}

/// What the schema wants, where the value is something else.
fn mismatch(schema: &Schema, value: &Value) -> Option<&'static str> {
    if schema.is_int_or_string() {
        let fits = value.is_string() || value.is_i64() || value.is_u64();
        return (!fits).then_some("a whole number or text");
    }
    if schema.format.as_deref() == Some("quantity") && value.is_number() {
        return None;
    }
    let (fits, expected) = match schema.r#type.as_deref()? {
        "object" => (value.is_object(), "a mapping"),
        "array" => (value.is_array(), "a list"),
        "string" => (value.is_string(), "text"),
        "integer" => (value.is_i64() || value.is_u64(), "a whole number"),
        "number" => (value.is_number(), "a number"),
        "boolean" => (value.is_boolean(), "true or false"),
        _ => return None,
    };
    (!fits).then_some(expected)
}

/// The way from a value to what is expected, where quotes are all that stands between them.
fn advice(expected: &str, value: &Value) -> &'static str {
    match value {
        // Words such as yes, on and y are true in YAML 1.1.
        Value::Bool(_) | Value::Number(_) if expected == "text" => "; text needs quotes here",
        Value::String(text) if expected.ends_with("number") && text.parse::<f64>().is_ok() => {
            "; leave the quotes out"
        }
        Value::String(text)
            if expected == "true or false" && matches!(&**text, "true" | "false") =>
        {
            "; leave the quotes out"
        }
        _ => "",
    }
}

/// A value in a few words: its beginning at most.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing (null)".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) if text.chars().count() > 60 => {
            format!("the text {:?}…", text.chars().take(60).collect::<String>())
        }
        Value::String(text) => format!("the text {text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

/// RFC 3339, as Go's `time.Time` reads it.
fn is_time(text: &str) -> bool {
    serde_json::from_value::<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>(text.into())
        .is_ok()
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}
