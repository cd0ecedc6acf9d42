// SPDX-License-Identifier: Apache-2.0
//! The notes on a conversion: new names, work that is left to people, and losses.

use std::collections::BTreeSet;
use std::fmt;

/// One note on a conversion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// An object has another name than it had.
    Renamed {
        /// The kind of the new object.
        kind: &'static str,
        /// The name in the source.
        from: String,
        /// The name in the result.
        to: String,
        /// The places where the old name may stand; people have to change it there.
        follow: Option<String>,
    },
    /// Work that is left to people.
    ToDo(String),
    /// A part of the source that has no equivalent and is not in the result.
    Lost {
        /// The object and field.
        what: String,
        /// The reason why the part is lost.
        why: String,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Renamed { kind, from, to, follow } => {
                write!(formatter, "renamed: {kind} {from:?} is {to:?} now")?;
                follow.iter().try_for_each(|follow| write!(formatter, ": {follow}"))
            }
            Self::ToDo(text) => write!(formatter, "to do: {text}"),
            Self::Lost { what, why } => write!(formatter, "lost: {what}: {why}"),
        }
    }
}

/// All notes of a conversion, in order.
#[derive(Debug, Default)]
pub(super) struct Notes(pub(super) Vec<Note>);

impl Notes {
    pub(super) fn task(&mut self, text: impl Into<String>) {
        self.0.push(Note::ToDo(text.into()));
    }

    pub(super) fn lost(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.0.push(Note::Lost { what: what.into(), why: why.into() });
    }

    fn renamed(&mut self, kind: &'static str, from: &str, to: &str, follow: Option<String>) {
        let (from, to) = (from.to_owned(), to.to_owned());
        self.0.push(Note::Renamed { kind, from, to, follow });
    }
}

/// The work that follows when a pool gets another name.
pub(super) fn of_pool(from: &str, to: &str) -> String {
    format!(
        "each Service whose annotation metallb.io/address-pool or metallb.universe.tf/address-pool says {from:?} must say {to:?}"
    )
}

/// The names of one kind in one namespace, each of which is given once.
#[derive(Debug)]
pub(super) struct Names {
    kind: &'static str,
    /// Names of the source that the API takes as they are: the objects that have them keep them.
    reserved: BTreeSet<String>,
    taken: BTreeSet<String>,
}

impl Names {
    /// Begins with the names in the source, `wanted`, which may be any texts.
    pub(super) fn new<'a>(kind: &'static str, wanted: impl IntoIterator<Item = &'a str>) -> Self {
        Self::keeping(kind, wanted.into_iter().filter(|name| normalized(name) == *name))
    }

    /// The same for a source with objects of the API, whose names stay.
    pub(super) fn of_objects<'a>(
        kind: &'static str,
        wanted: impl Iterator<Item = &'a str>,
    ) -> Self {
        Self::keeping(kind, wanted.filter(|name| !name.is_empty()))
    }

    fn keeping<'a>(kind: &'static str, valid: impl Iterator<Item = &'a str>) -> Self {
        Self { kind, reserved: valid.map(ToOwned::to_owned).collect(), taken: BTreeSet::new() }
    }

    /// A name for the next object, which the source calls `wanted`; `follow` names the work in the places that refer to
    /// it.
    pub(super) fn claim(
        &mut self,
        wanted: &str,
        notes: &mut Notes,
        follow: impl FnOnce(&str, &str) -> Option<String>,
    ) -> String {
        let name = self.invent(wanted);
        if name != wanted {
            notes.renamed(self.kind, wanted, &name, follow(wanted, &name));
        }
        name
    }

    /// The same for an object that had no name of its own, or to which nothing refers.
    pub(super) fn invent(&mut self, wanted: &str) -> String {
        if self.reserved.contains(wanted) && self.taken.insert(wanted.to_owned()) {
            return wanted.to_owned();
        }
        let base = match normalized(wanted) {
            empty if empty.is_empty() => self.kind.to_lowercase(),
            name => name,
        };
        let numbered = (2_u32..).map(|number| {
            let end = format!("-{number}");
            let room = LONGEST - end.len();
            let start: String = base.chars().take(room).collect();
            format!("{}{end}", start.trim_end_matches('-'))
        });
        let mut all = std::iter::once(base.clone()).chain(numbered);
        let name = all.find(|name| !self.taken.contains(name) && !self.reserved.contains(name));
        let name = name.unwrap_or(base);
        self.taken.insert(name.clone());
        name
    }
}

/// The greatest length of a name, in letters.
const LONGEST: usize = 63;

/// A name that the API takes: lower case, a hyphen for every other sign, a letter first, 63 letters at most. MetalLB's
/// own converter changes names likewise.
pub(super) fn normalized(name: &str) -> String {
    let lower: String = name
        .to_lowercase()
        .chars()
        .map(|letter| match letter {
            'a'..='z' | '0'..='9' => letter,
            _ => '-',
        })
        .collect();
    let start = lower.trim_start_matches(|letter: char| !letter.is_ascii_lowercase());
    let cut: String = start.chars().take(LONGEST).collect();
    cut.trim_end_matches('-').to_owned()
}
