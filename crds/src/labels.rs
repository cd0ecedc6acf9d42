// SPDX-License-Identifier: Apache-2.0
//! Labels and label selectors, as small as a process that holds thousands of them wants them.
//!
//! Semantics are those of `meta/v1` `LabelSelector`; the operator and the values are checked when a
//! selector is parsed, so that matching cannot fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::{Deserialize, Deserializer};

/// A sorted, immutable map of strings: labels, annotations or a Service's selector.
///
/// An empty map takes no heap memory; another takes one allocation, and one for each string of more than 24 octets. A clone takes none.
#[derive(Clone, Default, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Arc<[(CompactString, CompactString)]>);

impl Labels {
    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let index = self.0.binary_search_by(|(k, _)| k.as_str().cmp(key)).ok()?;
        self.0.get(index).map(|(_, value)| value.as_str())
    }

    /// Whether `key` is present, whatever its value.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Keys and values in ascending order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether no clone of it is left.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// Only the entries whose key `keep` accepts.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(key, _)| keep(key)).cloned().collect())
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Labels {
    /// Of equal keys the last one wins, as in a map.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let sorted: BTreeMap<String, String> =
            entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Self(sorted.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(map: BTreeMap<String, String>) -> Self {
        map.into_iter().collect()
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<BTreeMap<String, String>>::deserialize(deserializer)?
            .unwrap_or_default()
            .into())
    }
}

/// One expression of a selector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Requirement {
    In(Box<str>, Vec<Box<str>>),
    NotIn(Box<str>, Vec<Box<str>>),
    Exists(Box<str>),
    DoesNotExist(Box<str>),
}

/// A parsed label selector: all of its requirements must hold. Without any it matches everything.
///
/// Two selectors are equal when they mean the same after sorting their parts (contract 6.2).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector(Vec<Requirement>);

/// Why a `LabelSelector` is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// The operator is none of `In`, `NotIn`, `Exists`, `DoesNotExist`.
    #[error("invalid label selector operator {operator:?} for key {key:?}")]
    Operator {
        /// The expression's key.
        key: String,
        /// What it said.
        operator: String,
    },
    /// `In` and `NotIn` need at least one value.
    #[error("label selector operator {operator:?} for key {key:?} needs at least one value")]
    NoValues {
        /// The expression's key.
        key: String,
        /// `In` or `NotIn`.
        operator: String,
    },
    /// `Exists` and `DoesNotExist` take no values.
    #[error("label selector operator {operator:?} for key {key:?} takes no values")]
    Values {
        /// The expression's key.
        key: String,
        /// `Exists` or `DoesNotExist`.
        operator: String,
    },
    /// The key is not `[domain/]name`.
    #[error("invalid label key {0:?}")]
    Key(String),
    /// No label can have this value.
    #[error("invalid label value {value:?} for key {key:?}")]
    Value {
        /// The expression's key.
        key: String,
        /// The value.
        value: String,
    },
    /// A value stands twice in one expression.
    #[error("duplicate value {value:?} in the label selector expression for key {key:?}")]
    DuplicateValue {
        /// The expression's key.
        key: String,
        /// The value.
        value: String,
    },
}

impl Selector {
    /// Parses the API's selector.
    ///
    /// # Errors
    /// When an operator is unknown, a key or value cannot be a label's, or values are missing,
    /// superfluous or repeated.
    pub fn parse(selector: &LabelSelector) -> Result<Self, SelectorError> {
        for (key, value) in selector.match_labels.iter().flatten() {
            check(key, std::slice::from_ref(value))?;
        }
        for expression in selector.match_expressions.iter().flatten() {
            check(&expression.key, expression.values.as_deref().unwrap_or_default())?;
        }
        let mut requirements: Vec<Requirement> = selector
            .match_labels
            .iter()
            .flatten()
            .map(|(key, value)| Requirement::In(key.as_str().into(), vec![value.as_str().into()]))
            .collect();
        for expression in selector.match_expressions.iter().flatten() {
            let key = expression.key.clone();
            let operator = expression.operator.clone();
            let mut values: Vec<Box<str>> =
                expression.values.iter().flatten().map(|value| value.as_str().into()).collect();
            values.sort();
            if let Some(value) =
                values.iter().zip(values.iter().skip(1)).find_map(|(a, b)| (a == b).then_some(a))
            {
                return Err(SelectorError::DuplicateValue { key, value: value.to_string() });
            }
            let boxed: Box<str> = key.as_str().into();
            requirements.push(match operator.as_str() {
                "In" | "NotIn" if values.is_empty() => {
                    return Err(SelectorError::NoValues { key, operator });
                }
                "In" => Requirement::In(boxed, values),
                "NotIn" => Requirement::NotIn(boxed, values),
                "Exists" | "DoesNotExist" if !values.is_empty() => {
                    return Err(SelectorError::Values { key, operator });
                }
                "Exists" => Requirement::Exists(boxed),
                "DoesNotExist" => Requirement::DoesNotExist(boxed),
                _ => return Err(SelectorError::Operator { key, operator }),
            });
        }
        requirements.sort();
        Ok(Self(requirements))
    }

    /// Whether `labels` fulfil every requirement. As in Kubernetes, `NotIn` holds for an absent key.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        let among = |key: &str, values: &[Box<str>]| {
            labels.get(key).is_some_and(|have| values.iter().any(|value| &**value == have))
        };
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => among(key, values),
            Requirement::NotIn(key, values) => !among(key, values),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::DoesNotExist(key) => !labels.contains_key(key),
        })
    }
}

/// Whether the key and the values are such as labels have.
fn check(key: &str, values: &[String]) -> Result<(), SelectorError> {
    let (domain, name) = key.rsplit_once('/').map_or((None, key), |(a, b)| (Some(a), b));
    if name.is_empty() || !is_name(name) || !domain.is_none_or(is_domain) {
        return Err(SelectorError::Key(key.to_owned()));
    }
    match values.iter().find(|value| !is_name(value)) {
        Some(value) => Err(SelectorError::Value { key: key.to_owned(), value: value.clone() }),
        None => Ok(()),
    }
}

/// At most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends; or nothing.
fn is_name(text: &str) -> bool {
    let end = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && end(text.chars().next())
        && end(text.chars().next_back())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// At most 253 small letters, digits, `-` and `.`, with a letter or digit at both ends of each part.
fn is_domain(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

/// Whether any of `selectors` matches; a list of selectors is OR (contract 1).
#[must_use]
pub fn any_matches(selectors: &[Selector], labels: &Labels) -> bool {
    selectors.iter().any(|selector| selector.matches(labels))
}

#[cfg(test)]
mod tests;
