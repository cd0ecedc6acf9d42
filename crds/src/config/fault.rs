// SPDX-License-Identifier: Apache-2.0
//! A mistake as a value: which field of an object is wrong, in what words it is told, and what else it contradicts.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::objects::ConfigKind;

/// The path of a field within an object, printed as `spec.addresses[2]`. The empty path is the object as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Step {
    Name(Cow<'static, str>),
    Index(usize),
}

impl FieldPath {
    /// The field of that name within this one.
    #[must_use]
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.0.push(Step::Name(name.into()));
        self
    }

    /// The entry of this list, counted from 0.
    #[must_use]
    pub fn index(mut self, index: usize) -> Self {
        self.0.push(Step::Index(index));
        self
    }

    /// The same path, of an object that stands at `outer`.
    #[must_use]
    pub fn within(self, mut outer: Self) -> Self {
        outer.0.extend(self.0);
        outer
    }

    /// The field or list that this one is part of; none of the object as a whole.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0.split_last().map(|(_, outer)| Self(outer.to_vec()))
    }

    /// Whether this is the object as a whole.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many names and indexes the path has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Name(name) if position == 0 => formatter.write_str(name)?,
                Step::Name(name) => write!(formatter, ".{name}")?,
                Step::Index(index) => write!(formatter, "[{index}]")?,
            }
        }
        Ok(())
    }
}

impl From<&'static str> for FieldPath {
    fn from(name: &'static str) -> Self {
        Self::default().name(name)
    }
}

/// An entry of the list of that name.
impl From<(&'static str, usize)> for FieldPath {
    fn from((list, index): (&'static str, usize)) -> Self {
        Self::from(list).index(index)
    }
}

/// Where a value does not fit its type, as far as that is known.
impl From<&serde_path_to_error::Path> for FieldPath {
    fn from(path: &serde_path_to_error::Path) -> Self {
        use serde_path_to_error::Segment;
        path.iter().fold(Self::default(), |field, segment| match segment {
            Segment::Seq { index } => field.index(*index),
            Segment::Map { key } => field.name(key.clone()),
            Segment::Enum { variant } => field.name(variant.clone()),
            Segment::Unknown => field,
        })
    }
}

/// The entry that an object contradicts: of another object, or an earlier one of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherEntry {
    /// The object's kind.
    pub kind: ConfigKind,
    /// The object's name.
    pub name: Arc<str>,
    /// The field in the version of that object that is in use.
    pub field: FieldPath,
}

/// Why an object is turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The guilty field. A parser tells it within the part that it reads; whoever knows where that part stands adds it.
    pub(crate) field: FieldPath,
    /// What is wrong, in the contract's text.
    pub(crate) message: String,
    /// What it contradicts.
    pub(crate) other: Option<OtherEntry>,
}

impl Fault {
    pub(crate) fn new(field: impl Into<FieldPath>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), other: None }
    }

    /// The same, of a part that stands at `outer`.
    pub(crate) fn within(mut self, outer: impl Into<FieldPath>) -> Self {
        self.field = self.field.within(outer.into());
        self
    }

    pub(crate) fn against(mut self, other: OtherEntry) -> Self {
        self.other = Some(other);
        self
    }

    /// The same in other words.
    pub(crate) fn reworded(mut self, words: impl FnOnce(&str) -> String) -> Self {
        self.message = words(&self.message);
        self
    }
}

/// Reads a value into its type; the fault tells the field that does not fit, in the words of the JSON reader.
pub(crate) fn read<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> Result<T, Fault> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| Fault::new(FieldPath::from(error.path()), error.inner().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_printed_as_people_write_it() {
        let namespaces = FieldPath::from(("namespaces", 2));
        let path = namespaces.within(FieldPath::from("spec").name("serviceAllocation"));
        assert_eq!(path.to_string(), "spec.serviceAllocation.namespaces[2]");
        assert_eq!(path.len(), 4);
        let outer = path.parent().and_then(|list| list.parent()).map(|outer| outer.to_string());
        assert_eq!(outer.as_deref(), Some("spec.serviceAllocation"));
        assert_eq!(FieldPath::default().to_string(), "");
        assert!(FieldPath::default().is_empty() && FieldPath::default().parent().is_none());
    }

    #[test]
    fn a_value_of_another_type_is_found_within_lists_and_maps() {
        let spec = serde_json::json!({ "nodeSelectors": [{}, { "matchLabels": { "a": 1 } }] });
        let fault = read::<crate::metallb::BgpPeerSpec>(spec.clone()).map(|_| ()).unwrap_err();
        assert_eq!(fault.field.to_string(), "nodeSelectors[1].matchLabels.a");
        let plain = serde_json::from_value::<crate::metallb::BgpPeerSpec>(spec).unwrap_err();
        assert_eq!(fault.message, plain.to_string());
    }
}
