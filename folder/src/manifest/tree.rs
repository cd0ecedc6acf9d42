// SPDX-License-Identifier: Apache-2.0
//! A YAML document as a tree that knows on which line each field stands.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// A node of a document.
#[derive(Debug)]
pub(super) enum Tree {
    Scalar(Value),
    Sequence(Vec<Spanned<Self>>),
    Mapping(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl Tree {
    /// The plain value, without lines.
    pub(super) fn value(&self) -> Value {
        match self {
            Self::Scalar(value) => value.clone(),
            Self::Sequence(items) => items.iter().map(|item| item.value.value()).collect(),
            Self::Mapping(entries) => {
                let map: Map<String, Value> = entries
                    .iter()
                    .map(|(key, entry)| (key.value.clone(), entry.value.value()))
                    .collect();
                Value::Object(map)
            }
        }
    }

    /// The text of a field of the document itself.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let Self::Mapping(entries) = self else { return None };
        match &entries.iter().find(|(key, _)| key.value == name)?.1.value {
            Self::Scalar(Value::String(text)) => Some(text.clone()),
            Self::Scalar(_) | Self::Sequence(_) | Self::Mapping(_) => None,
        }
    }

    /// Whether the document itself has a field.
    pub(super) fn has(&self, name: &str) -> bool {
        matches!(self, Self::Mapping(entries) if entries.iter().any(|(key, _)| key.value == name))
    }

    /// The line on which its first field or item stands; 1 for a scalar.
    pub(super) fn first_line(&self) -> u64 {
        match self {
            Self::Scalar(_) => 1,
            Self::Sequence(items) => items.first().map_or(1, |item| item.referenced.line()),
            Self::Mapping(entries) => entries.first().map_or(1, |(key, _)| key.referenced.line()),
        }
    }

    /// The line of the field that a path like `spec.ports[1].port` leads to, as far as it leads.
    pub(super) fn line(&self, path: &str) -> Option<u64> {
        let mut steps = path.split(['.', '[']).filter(|step| !step.is_empty());
        let mut line = None;
        let mut node = self;
        while let Some(step) = steps.next() {
            match node {
                Self::Scalar(_) => return line,
                Self::Sequence(items) => {
                    let index: Option<usize> = step.trim_end_matches(']').parse().ok();
                    let Some(item) = index.and_then(|index| items.get(index)) else { return line };
                    line = Some(item.referenced.line());
                    node = &item.value;
                }
                Self::Mapping(entries) => {
                    // A key may itself hold dots, as annotations do.
                    let mut name = step.to_owned();
                    let entry = loop {
                        if let Some(entry) = entries.iter().find(|(key, _)| key.value == name) {
                            break entry;
                        }
                        let Some(more) = steps.next() else { return line };
                        name = format!("{name}.{more}");
                    };
                    line = Some(entry.0.referenced.line());
                    node = &entry.1.value;
                }
            }
        }
        line
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a YAML value")
    }

    fn visit_unit<E: Error>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_none<E: Error>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar(Number::from_f64(value).map_or(Value::Null, Value::Number)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Tree::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = access.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Mapping(entries))
    }
}
