// SPDX-License-Identifier: Apache-2.0
//! Where an object stands, and its fields within it.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::tree::Tree;
use super::{Grade, Mistake};

/// Where an object stands.
#[derive(Debug)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// The line on which the object begins.
    pub line: u64,
    /// `Kind namespace/name`.
    pub object: String,
    /// The fields with their lines, counted from the line before the document; only if they were asked for.
    pub(super) fields: Option<(u64, Tree)>,
}

impl Place {
    /// A mistake in the object, on the line of the field as far as that is known.
    #[must_use]
    pub fn mistake(&self, field: Option<String>, message: String) -> Mistake {
        self.found(field, message, Grade::Refused)
    }

    /// A hint at something in the object that cannot mean what it says.
    #[must_use]
    pub fn hint(&self, field: Option<String>, message: String) -> Mistake {
        self.found(field, message, Grade::Hint)
    }

    fn found(&self, field: Option<String>, message: String, grade: Grade) -> Mistake {
        let line =
            field.as_deref().zip(self.fields.as_ref()).and_then(|(field, (offset, tree))| {
                let line = tree.line(field)?;
                Some(line + offset)
            });
        Mistake {
            file: Arc::clone(&self.file),
            line: Some(line.unwrap_or(self.line)),
            object: Some(self.object.clone()),
            field,
            message,
            grade,
        }
    }

    /// The object as it was written; nothing if its fields were not asked for.
    #[must_use]
    pub fn value(&self) -> Value {
        self.fields.as_ref().map(|(_, tree)| tree.value()).unwrap_or_default()
    }
}
