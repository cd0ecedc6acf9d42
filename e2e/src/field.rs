// SPDX-License-Identifier: Apache-2.0
//! The corpus `e2e/field`: inputs of people, each with its verdict. Its README says how a case is written.

use std::path::{Path, PathBuf};

/// The folder.
pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/field");

/// A file of the corpus.
#[derive(Debug)]
pub struct Case {
    /// Where it is.
    pub path: PathBuf,
    /// Its documents, each with its verdict.
    pub documents: Vec<Document>,
    /// What `ferrolb check` says of the file; none if the head says nothing of it.
    pub check: Vec<Finding>,
    /// Whether `ferrolb check` says nothing at all.
    pub is_clean: bool,
    /// What `ferrolb plan` says: a Service and its address, or `-`.
    pub plan: Vec<(String, String)>,
}

/// A document and what an API server says of it.
#[derive(Debug)]
pub struct Document {
    /// The line of its `---`, from 1.
    pub line: u64,
    /// The lines below that.
    pub text: String,
    /// The verdict.
    pub verdict: Verdict,
}

/// What an API server says of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It takes it.
    Accepts,
    /// It refuses it, for this field.
    Refuses(String),
    /// It is no object that could be sent.
    NotSent,
}

/// A finding of `ferrolb check`.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Whether it is a hint.
    pub is_hint: bool,
    /// The line of the file.
    pub line: u64,
    /// The field; `-` for none.
    pub field: String,
    /// What the text holds.
    pub part: String,
}

/// All cases, in the order of their paths.
///
/// # Panics
/// When a file is not written as the README says.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut paths = Vec::new();
    for kind in std::fs::read_dir(FOLDER).unwrap_or_else(|error| panic!("{FOLDER}: {error}")) {
        let kind = kind.unwrap_or_else(|error| panic!("{FOLDER}: {error}")).path();
        if let Ok(files) = std::fs::read_dir(&kind) {
            paths.extend(files.filter_map(|file| Some(file.ok()?.path())));
        }
    }
    paths.sort();
    paths.iter().map(|path| case(path)).collect()
}

fn case(path: &Path) -> Case {
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut case = Case {
        path: path.to_owned(),
        documents: Vec::new(),
        check: Vec::new(),
        is_clean: false,
        plan: Vec::new(),
    };
    let wrong = |what: &str| -> ! { panic!("{}: {what}", path.display()) };
    let mut has_source = false;
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(verdict) = line.strip_prefix("--- # ") {
            let verdict = match verdict.split_once(' ') {
                None if verdict == "accepts" => Verdict::Accepts,
                Some(("not", "sent")) => Verdict::NotSent,
                Some(("refuses", field)) => Verdict::Refuses(field.trim().to_owned()),
                _ => wrong("a --- needs a verdict: accepts, refuses FIELD, or not sent"),
            };
            case.documents.push(Document { line: number, text: String::new(), verdict });
        } else if let Some(document) = case.documents.last_mut() {
            document.text.push_str(line);
            document.text.push('\n');
        } else if let Some(plan) = line.strip_prefix("# plan: ") {
            let (service, address) =
                plan.split_once(' ').unwrap_or_else(|| wrong("# plan: SERVICE ADDRESS"));
            case.plan.push((service.to_owned(), address.trim().to_owned()));
        } else if line == "# check: clean" {
            case.is_clean = true;
        } else if let Some(check) = line.strip_prefix("# check: ") {
            let parts: Vec<&str> = check.splitn(4, ' ').collect();
            let [kind, line, field, part] = parts.as_slice() else {
                wrong("# check: mistake|hint LINE FIELD TEXT")
            };
            case.check.push(Finding {
                is_hint: *kind == "hint",
                line: line.parse().unwrap_or_else(|_| wrong("a line is a number")),
                field: (*field).to_owned(),
                part: (*part).to_owned(),
            });
        } else {
            has_source |= line.starts_with("# from ");
        }
    }
    if !has_source || case.documents.is_empty() {
        wrong("a case begins with `# from PROJECT#NUMBER: words` and has a document");
    }
    case
}
