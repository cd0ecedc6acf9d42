// SPDX-License-Identifier: Apache-2.0
//! An object without the fields in which something is wrong, so that the rest of it can be judged as well.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// An object of which fields were taken out. Paths are those of the object as it was written, whatever is gone before an entry of a
/// list.
#[derive(Clone, Debug, Default)]
pub struct Trimmed {
    value: Value,
    /// Of lists, by their path: the entries that are gone.
    entries: BTreeMap<String, BTreeSet<usize>>,
    fields: BTreeSet<String>,
}

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
}

impl Trimmed {
    /// A whole object.
    #[must_use]
    pub fn new(value: Value) -> Self {
        Self { value, ..Self::default() }
    }

    /// What is left.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    pub(super) fn value_mut(&mut self) -> &mut Value {
        &mut self.value
    }

    /// Takes out what stands at `path` of the object as it was written; whether anything stood there.
    pub fn take(&mut self, path: &str) -> bool {
        let Self { value, entries, fields } = self;
        let (mut node, mut at) = (value, String::new());
        let steps = steps(node, path, entries);
        let Some((last, before)) = steps.split_last() else { return false };
        for step in before {
            let Some(next) = child(node, step, &at, entries) else { return false };
            node = next;
            at = join(&at, step);
        }
        let taken = match (node, last) {
            (Value::Object(map), Step::Name(name)) => map.remove(name).is_some(),
            (Value::Array(list), Step::Index(index)) => match now(&at, *index, entries) {
                Some(now) if now < list.len() => {
                    list.remove(now);
                    entries.entry(at.clone()).or_default().insert(*index)
                }
                _ => false,
            },
            _ => false,
        };
        if taken {
            fields.insert(join(&at, last));
        }
        taken
    }

    /// The path in the object as it was written of what now stands at `path`.
    #[must_use]
    pub fn original(&self, path: &str) -> String {
        let mut at = String::new();
        for step in steps(&self.value, path, &BTreeMap::new()) {
            let step = match step {
                Step::Index(now) => Step::Index(self.then(&at, now)),
                name @ Step::Name(_) => name,
            };
            at = join(&at, &step);
        }
        at
    }

    /// Whether something was taken out at `path`, above or below.
    #[must_use]
    pub fn is_touched(&self, path: &str) -> bool {
        let within = |inner: &str, outer: &str| {
            inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.fields.iter().any(|field| within(field, path) || within(path, field))
    }

    /// The index that the entry had when nothing was gone.
    fn then(&self, list: &str, now: usize) -> usize {
        let mut index = now;
        for gone in self.entries.get(list).into_iter().flatten() {
            if *gone <= index {
                index += 1;
            }
        }
        index
    }
}

/// Where the entry with this index stands now; nowhere if it is gone.
fn now(list: &str, index: usize, entries: &BTreeMap<String, BTreeSet<usize>>) -> Option<usize> {
    let gone = entries.get(list);
    if gone.is_some_and(|gone| gone.contains(&index)) {
        return None;
    }
    Some(index - gone.map_or(0, |gone| gone.range(..index).count()))
}

fn child<'a>(
    node: &'a mut Value,
    step: &Step,
    at: &str,
    entries: &BTreeMap<String, BTreeSet<usize>>,
) -> Option<&'a mut Value> {
    match step {
        Step::Name(name) => node.get_mut(name),
        Step::Index(index) => node.get_mut(now(at, *index, entries)?),
    }
}

/// The steps of a path. A key may hold dots itself, as annotations do: the object says where one ends.
fn steps(value: &Value, path: &str, entries: &BTreeMap<String, BTreeSet<usize>>) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut parts = path.split(['.', '[']).filter(|part| !part.is_empty());
    let (mut node, mut at) = (Some(value), String::new());
    while let Some(part) = parts.next() {
        let index = part.strip_suffix(']').and_then(|index| index.parse().ok());
        let step = match (index, node) {
            (Some(index), _) => Step::Index(index),
            (None, Some(Value::Object(map))) => {
                let mut names = vec![part.to_owned()];
                names.extend(parts.clone().scan(part.to_owned(), |name, more| {
                    *name = format!("{name}.{more}");
                    Some(name.clone())
                }));
                match names.iter().rposition(|name| map.contains_key(name)) {
                    Some(more) => {
                        parts.by_ref().take(more).for_each(drop);
                        Step::Name(names.swap_remove(more))
                    }
                    None => Step::Name(part.to_owned()),
                }
            }
            (None, _) => Step::Name(part.to_owned()),
        };
        node = match (&step, node) {
            (Step::Name(name), Some(node)) => node.get(name),
            (Step::Index(index), Some(node)) => {
                now(&at, *index, entries).and_then(|index| node.get(index))
            }
            (_, None) => None,
        };
        at = join(&at, &step);
        steps.push(step);
    }
    steps
}

fn join(at: &str, step: &Step) -> String {
    match step {
        Step::Index(index) => format!("{at}[{index}]"),
        Step::Name(name) if at.is_empty() => name.clone(),
        Step::Name(name) => format!("{at}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_are_those_of_the_object_as_it_was_written() {
        let mut object = Trimmed::new(
            json!({ "spec": { "addresses": ["a", "b", "c", "d"], "x": [{ "y": [1, 2, 3] }, { "y": [4, 5] }] } }),
        );
        assert!(object.take("spec.addresses[1]"));
        assert!(!object.take("spec.addresses[1]"));
        assert!(object.take("spec.addresses[0]"));
        assert_eq!(object.value()["spec"]["addresses"], json!(["c", "d"]));
        assert_eq!(object.original("spec.addresses[0]"), "spec.addresses[2]");
        assert!(object.take("spec.addresses[3]"));
        assert_eq!(object.value()["spec"]["addresses"], json!(["c"]));
        assert!(object.take("spec.x[0]"));
        assert!(object.take("spec.x[1].y[0]"));
        assert_eq!(object.value()["spec"]["x"], json!([{ "y": [5] }]));
        assert_eq!(object.original("spec.x[0].y[0]"), "spec.x[1].y[1]");
        assert!(object.is_touched("spec.addresses") && object.is_touched("spec.x[0].y"));
        assert!(!object.is_touched("spec.addresses[2]") && !object.is_touched("spec.add"));
    }

    #[test]
    fn a_key_may_hold_dots() {
        let mut object =
            Trimmed::new(json!({ "metadata": { "annotations": { "a.b/c": "d", "a": "e" } } }));
        assert_eq!(object.original("metadata.annotations.a.b/c"), "metadata.annotations.a.b/c");
        assert!(object.take("metadata.annotations.a.b/c"));
        assert_eq!(object.value()["metadata"]["annotations"], json!({ "a": "e" }));
        assert!(!object.take("metadata.annotations.a.b/c"));
        assert!(!object.take("metadata.none.x"));
    }
}
