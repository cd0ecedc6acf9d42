// SPDX-License-Identifier: Apache-2.0
//! Reads Kubernetes manifests: YAML text in, objects and mistakes out, each mistake with its line, object
//! and field. One broken document costs only itself.
//!
//! An object is judged as an API server judges it ([`crate::schema`]); the rules of pools and advertisements among one another are
//! those of `crds::config`.

mod files;
mod object;
mod place;
mod tree;
mod words;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

pub use files::{Found, MAX_FILE, is_manifest};
use object::manifests;
pub use object::{Manifest, Payload};
pub use place::Place;
use tree::Tree;

pub use crate::schema::Grade;

/// The most values (scalars, lists, mappings) of one document: two million are a List of 10,000 Services as `kubectl` exports it.
const MAX_NODES: usize = 2_000_000;

/// Something wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Mistake {
    /// The file.
    #[serde(serialize_with = "path")]
    pub file: Arc<Path>,
    /// The line, from 1; none for the file as a whole.
    pub line: Option<u64>,
    /// `Kind namespace/name`, as far as it could be read.
    pub object: Option<String>,
    /// The field, as `spec.addresses[0]`.
    pub field: Option<String>,
    /// What is wrong.
    pub message: String,
    /// How an API server takes it.
    #[serde(skip)]
    pub grade: Grade,
}

fn path<S: serde::Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

impl Mistake {
    /// A file that as a whole has something wrong.
    #[must_use]
    pub fn of_file(file: Arc<Path>, message: String) -> Self {
        Self { file, line: None, object: None, field: None, message, grade: Grade::Refused }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(formatter, ":{line}")?;
        }
        if let Some(object) = &self.object {
            write!(formatter, ": {object}")?;
        }
        if let Some(field) = &self.field {
            write!(formatter, ": {field}")?;
        }
        write!(formatter, ": {}", self.message)
    }
}

/// What a set of files holds.
#[derive(Debug, Default)]
pub struct Manifests {
    /// The objects that ferrolb uses, in the order of files and lines.
    pub objects: Vec<Manifest>,
    /// What is left of objects that an API server would refuse, without the fields in which something is wrong; only for
    /// [`Manifests::with_fields`].
    pub refused: Vec<Manifest>,
    /// Objects of kinds that ferrolb has no use for: how many.
    pub ignored: usize,
    /// Everything wrong, of any grade.
    pub mistakes: Vec<Mistake>,
    /// Files and folders that could not be read as a whole: what they hold is not known in full.
    pub broken: BTreeSet<Arc<Path>>,
    /// Files that hold nothing at all: not even an object that is not used.
    pub blank: BTreeSet<Arc<Path>>,
    /// Whether something could not be read that may be readable in a while although nobody changes it.
    pub may_pass: bool,
    remember_fields: bool,
}

impl Manifests {
    /// For a reader who wants to know on which line each field stands: [`Manifest::take_place`].
    #[must_use]
    pub fn with_fields() -> Self {
        Self { remember_fields: true, ..Self::default() }
    }

    /// Reads one text.
    pub fn read(&mut self, file: &Arc<Path>, text: &str) {
        let held = |this: &Self| (this.objects.len(), this.ignored);
        let (mistakes, before) = (self.mistakes.len(), held(self));
        self.read_documents(file, text);
        let new = self.mistakes.get(mistakes..).unwrap_or_default();
        if new.iter().any(|mistake| mistake.grade == Grade::Refused) {
            self.broken.insert(Arc::clone(file));
        } else if held(self) == before {
            self.blank.insert(Arc::clone(file));
        }
    }

    fn read_documents(&mut self, file: &Arc<Path>, text: &str) {
        for Document { line, text, lost } in documents(text) {
            if let Some(lost) = lost {
                self.mistakes.push(Mistake {
                    file: Arc::clone(file),
                    line: Some(line),
                    object: None,
                    field: None,
                    message: format!(
                        "{lost:?} stands on the line of the ---, and nobody reads it there"
                    ),
                    grade: Grade::Hint,
                });
            }
            match serde_saphyr::from_str_with_options::<Tree>(text, options()) {
                Ok(tree) => manifests(self, file, line, tree),
                Err(error) => self.mistakes.push(Mistake {
                    file: Arc::clone(file),
                    line: Some(error.location().map_or(0, |at| at.line()).max(1) + line),
                    object: None,
                    field: None,
                    message: words::of(&error),
                    grade: Grade::Refused,
                }),
            }
        }
    }

    /// Reads files, and folders with all `.yaml`, `.yml` and `.json` files below them, in order of their names.
    /// Hidden files are left out, and each folder counts once.
    pub fn read_paths(&mut self, paths: &[PathBuf]) {
        let mut reader = files::Reader::default();
        for (path, outcome) in Found::at(paths).files {
            let file: Arc<Path> = path.as_path().into();
            match outcome.and_then(|()| reader.read(&path)) {
                Ok(text) => self.read(&file, &text),
                Err(error) => {
                    self.may_pass |= error.may_pass();
                    self.broken.insert(Arc::clone(&file));
                    self.mistakes.push(Mistake::of_file(file, error.to_string()));
                }
            }
        }
        self.drop_duplicates();
    }

    /// Of objects with the same kind and name the first one counts.
    fn drop_duplicates(&mut self) {
        let mut seen = std::collections::HashMap::new();
        let mistakes = &mut self.mistakes;
        self.objects.retain(|object| {
            let identity = (object.kind.clone(), object.key.clone());
            let place = (Arc::clone(&object.file), object.line);
            match seen.entry(identity) {
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(place);
                    true
                }
                std::collections::hash_map::Entry::Occupied(first) => {
                    let (file, line) = first.get();
                    let message = format!(
                        "the same object stands at {}:{line} already; that one counts",
                        file.display()
                    );
                    mistakes.push(object.mistake(None, message));
                    false
                }
            }
        });
    }
}

/// Scalars as Kubernetes' own reader has them (YAML 1.1): plain `y`, `yes` and `on` are booleans, so that a label
/// with such a value is refused here as the API server refuses it; `010` is eight.
///
/// Nothing that is read may grow beyond a small multiple of the file: aliases are replayed within limits, and what
/// is written out has at most [`MAX_NODES`] values, some 90 octets of memory each. The depth is enough for the schemas of CRDs, and small enough for the
/// stack of a thread.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        legacy_octal_numbers: true,
        budget: serde_saphyr::budget! {
            max_depth: 64,
            max_nodes: MAX_NODES,
            max_events: usize::MAX,
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
        },
    }
}

/// A document of a YAML stream.
struct Document<'a> {
    /// The number of lines before it.
    line: u64,
    text: &'a str,
    /// What stands on the line of its `---` and is no comment.
    lost: Option<&'a str>,
}

/// The documents of a YAML stream. A line that begins with `---` ends a document wherever it stands, so a broken document cannot
/// swallow the next. What follows the marker on its line is left out, as `kubectl` does.
fn documents(text: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let (mut start, mut line, mut lost, mut position) = (0, 0, None, 0);
    for (number, content) in (1_u64..).zip(text.split_inclusive('\n')) {
        let end = content.trim_end();
        if end == "---" || end.starts_with("--- ") || end.starts_with("---\t") || end == "..." {
            let text = text.get(start..position).unwrap_or_default();
            documents.push(Document { line, text, lost });
            let rest = end.get(3..).unwrap_or_default().trim();
            lost = Some(rest).filter(|rest| !rest.is_empty() && !rest.starts_with('#'));
            start = position + content.len();
            line = number;
        }
        position += content.len();
    }
    documents.push(Document { line, text: text.get(start..).unwrap_or_default(), lost });
    documents.retain(|document| {
        let is_content = |line: &str| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#') && !line.starts_with('%')
        };
        document.lost.is_some() || document.text.lines().any(is_content)
    });
    documents
}

#[cfg(test)]
mod tests;
