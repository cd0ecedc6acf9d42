// SPDX-License-Identifier: Apache-2.0
//! The objects of a source, and their fields. A field that was not read is lost, and a note says so.

use std::cell::RefCell;
use std::collections::BTreeSet;

use anyhow::Context;
use serde_json::{Map, Value};

use super::notes::Notes;

/// Every object of a stream of documents, with those of Lists.
pub(super) fn read(text: &str) -> anyhow::Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).context("this is no YAML")?;
    let mut objects = Vec::new();
    for document in documents {
        match document.get("items").and_then(Value::as_array) {
            Some(items) => objects.extend(items.iter().cloned()),
            None if document.is_null() => {}
            None => objects.push(document),
        }
    }
    Ok(objects)
}

/// The kind of an object.
pub(super) fn kind(object: &Value) -> &str {
    object.get("kind").and_then(Value::as_str).unwrap_or_default()
}

/// The name of an object.
pub(super) fn name(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

/// The labels of an object; none if it has none.
pub(super) fn labels(object: &Value) -> Option<Value> {
    object.pointer("/metadata/labels").filter(|labels| labels.is_object()).cloned()
}

/// `Kind name`, as notes call an object.
pub(super) fn title(object: &Value) -> String {
    format!("{} {}", kind(object), name(object))
}

/// An object with the values that are there, under these names.
pub(super) fn present<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let there = fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    there.collect::<Map<String, Value>>().into()
}

/// A mapping that remembers which of its fields were read.
pub(super) struct Fields<'a> {
    value: Option<&'a Map<String, Value>>,
    path: String,
    read: RefCell<BTreeSet<&'a str>>,
}

impl<'a> Fields<'a> {
    fn new(value: Option<&'a Value>, path: String) -> Self {
        let value = value.and_then(Value::as_object);
        Self { value, path, read: RefCell::default() }
    }

    /// The `spec` of an object.
    pub(super) fn spec(object: &'a Value) -> Self {
        Self::new(object.get("spec"), format!("{}: spec", title(object)))
    }

    /// The place of a field, for notes.
    pub(super) fn at(&self, key: &str) -> String {
        format!("{}.{key}", self.path)
    }

    /// The place of the mapping itself.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// A field that is there and not null.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        let (key, value) = self.value?.get_key_value(key)?;
        self.read.borrow_mut().insert(key);
        Some(value).filter(|value| !value.is_null())
    }

    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        self.get(key)?.as_str().filter(|text| !text.is_empty())
    }

    pub(super) fn number(&self, key: &str) -> Option<i64> {
        self.get(key)?.as_i64()
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or_default()
    }

    /// The texts of a list.
    pub(super) fn texts(&self, key: &str) -> Vec<&'a str> {
        let list = self.get(key).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).collect()
    }

    /// The mapping in a field.
    pub(super) fn child(&self, key: &str) -> Option<Self> {
        Some(Self::new(Some(self.get(key)?), self.at(key)))
    }

    /// The mappings of a list.
    pub(super) fn list(&self, key: &str) -> Vec<Self> {
        let list = self.get(key).and_then(Value::as_array).into_iter().flatten().enumerate();
        list.map(|(index, value)| Self::new(Some(value), format!("{}[{index}]", self.at(key))))
            .collect()
    }

    /// Notes every field that was not read as lost.
    pub(super) fn finish(&self, notes: &mut Notes) {
        let read = self.read.borrow();
        for (key, value) in self.value.into_iter().flatten() {
            let says_nothing = match value {
                Value::Null | Value::Bool(false) => true,
                Value::String(text) => text.is_empty(),
                Value::Array(list) => list.is_empty(),
                Value::Object(map) => map.is_empty(),
                Value::Bool(true) | Value::Number(_) => false,
            };
            if !says_nothing && !read.contains(key.as_str()) {
                notes.lost(self.at(key), "there is nothing like it");
            }
        }
    }
}
