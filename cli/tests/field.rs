// SPDX-License-Identifier: Apache-2.0
//! The corpus of people's inputs, played on `ferrolb check` and `ferrolb plan`. The scenario `field` plays the same files on a real
//! API server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may panic"
)]

#[allow(unreachable_pub, reason = "it is a module of the rack's library as well")]
#[path = "../../e2e/src/field.rs"]
mod field;

use cli::args::{FolderOptions, Output, PlanArgs};
use cli::check;
use cli::plan;
use field::{Verdict, cases};
use folder::manifest::{Grade, Mistake};

/// Where the programs read their configuration in the corpus.
const NAMESPACE: &str = "metallb-system";

#[test]
fn check_says_of_each_document_what_the_api_server_says() {
    let mut wrong = Vec::new();
    let (mut accepted, mut refused) = (0, 0);
    for case in cases() {
        let findings = check::run(std::slice::from_ref(&case.path), Some(NAMESPACE));
        let told: Vec<&Mistake> = findings.mistakes.iter().chain(&findings.hints).collect();
        let file = case.path.file_name().unwrap().to_string_lossy().into_owned();
        let root = tempfile::tempdir().unwrap();
        for document in &case.documents {
            // By itself: documents of a table have one name.
            let row = root.path().join("row.yaml");
            std::fs::write(&row, &document.text).unwrap();
            let row = check::run(&[row], Some(NAMESPACE));
            let of_server: Vec<&Mistake> = row
                .mistakes
                .iter()
                // What ferrolb alone refuses is told by a line of the head.
                .filter(|it| {
                    let line = it.line.map(|line| line + document.line);
                    !case.check.iter().any(|own| line == Some(own.line))
                })
                .collect();
            let fits = match &document.verdict {
                Verdict::Accepts => of_server.is_empty(),
                // A group of others cannot be known: that nobody serves it is a hint.
                Verdict::Refuses(field) => of_server
                    .iter()
                    .copied()
                    .chain(&row.hints)
                    .any(|it| it.field.as_deref() == Some(field)),
                Verdict::NotSent => !of_server.is_empty() || !case.check.is_empty(),
            };
            match document.verdict {
                Verdict::Accepts => accepted += 1,
                Verdict::Refuses(_) | Verdict::NotSent => refused += 1,
            }
            if !fits {
                let line = document.line;
                wrong.push(format!(
                    "{file}:{line}: {:?}, and check says {of_server:#?}",
                    document.verdict
                ));
            }
        }
        for own in &case.check {
            let fits = told.iter().any(|it| {
                it.line == Some(own.line)
                    && it.field.as_deref().unwrap_or("-") == own.field
                    && (it.grade == Grade::Hint) == own.is_hint
                    && it.message.contains(&own.part)
            });
            if !fits {
                wrong.push(format!("{file}: {own:?} is not told; told is {told:#?}"));
            }
        }
        if case.is_clean && !findings.is_clean(true) {
            wrong.push(format!("{file}: it is said to be clean; told is {told:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(accepted > 20 && refused > 60, "{accepted} accepted, {refused} refused");
}

#[test]
fn plan_gives_what_the_corpus_says() {
    let mut played = 0;
    for case in cases().into_iter().filter(|case| !case.plan.is_empty()) {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("folder");
        std::fs::create_dir(&folder).unwrap();
        std::fs::copy(&case.path, folder.join("case.yaml")).unwrap();
        let view = FolderOptions {
            node: Some("here".to_owned()),
            folder_state: Some(root.path().join("state")),
            ..FolderOptions::default()
        };
        let printed =
            plan::run(&PlanArgs { folder, view, against: None, output: Output::Json }).unwrap();
        let json: serde_json::Value = serde_json::from_str(&printed.text).unwrap();
        for (service, address) in &case.plan {
            let planned = &json["services"][service]["addresses"][0];
            let planned = planned.as_str().unwrap_or("-");
            assert_eq!(planned, address, "{}: {service}: {}", case.path.display(), printed.text);
        }
        played += 1;
    }
    assert!(played > 3, "{played} cases say what is planned");
}
