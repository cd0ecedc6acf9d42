// SPDX-License-Identifier: Apache-2.0
//! The corpus of people's inputs on a real API server: of each document it says what the corpus says, by a dry run that takes
//! fields strictly. The unit tests of `ferrolb check` play the same files, so that both have one verdict.
//!
//! Topology: the control plane only.
//! Steps: each document is sent as it is written; then `ferrolb check` as a program says the same of a file of each verdict.

use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::field::{Verdict, cases};
use crate::lab::Lab;
use crate::lab::kube::{Failure, plural};

pub(super) fn run(lab: &mut Lab) -> anyhow::Result<()> {
    let mut wrong = Vec::new();
    let mut sent = 0;
    for case in cases() {
        for document in case.documents.iter().filter(|it| it.verdict != Verdict::NotSent) {
            let said = send(lab, &document.text);
            let said = said.with_context(|| format!("{}:{}", case.path.display(), document.line))?;
            sent += 1;
            let fits = match (&document.verdict, &said) {
                (Verdict::Accepts, None) => true,
                (Verdict::Refuses(field), Some(reason)) => names(reason, field),
                _ => false,
            };
            if !fits {
                let line = document.line;
                wrong.push(format!(
                    "{}:{line}: {:?}, and the API server says {said:?}",
                    case.path.display(),
                    document.verdict
                ));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    ensure!(sent > 80, "only {sent} documents were sent");
    for case in cases() {
        let refused = case.documents.iter().any(|it| it.verdict != Verdict::Accepts);
        if !case.is_clean && !refused {
            continue;
        }
        let checked = Command::new(&lab.programs.ferrolb).arg("check").arg(&case.path).output()?;
        let expected = i32::from(!case.is_clean);
        if checked.status.code() != Some(expected) {
            let said = String::from_utf8_lossy(&checked.stdout);
            bail!("check of {}: {}: {said}", case.path.display(), checked.status);
        }
    }
    Ok(())
}

/// Why the API server refuses a document; nothing if it takes it.
fn send(lab: &Lab, text: &str) -> anyhow::Result<Option<String>> {
    // Only where it goes is read here; what is sent is the text.
    let object: Value = serde_saphyr::from_str(text).context("it is no YAML: its verdict is `not sent`")?;
    let field = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let (Some(version), Some(kind)) = (field("/apiVersion"), field("/kind")) else {
        bail!("it has no apiVersion and kind: its verdict is `not sent`");
    };
    let root = if version.contains('/') { "/apis" } else { "/api" };
    let namespaced = !matches!(kind, "Node" | "Namespace" | "ExternalIPPool");
    let namespace = match field("/metadata/namespace") {
        _ if !namespaced => String::new(),
        namespace => format!("/namespaces/{}", namespace.filter(|name| !name.is_empty()).unwrap_or("default")),
    };
    let path = format!(
        "{root}/{version}{namespace}/{}?dryRun=All&fieldValidation=Strict",
        plural(kind)
    );
    match lab.kube().post_yaml(&path, text) {
        Ok(_) => Ok(None),
        Err(Failure { code: Some(400 | 404 | 422), message }) => Ok(Some(message)),
        Err(failure) => Err(failure.into()),
    }
}

/// Whether a refusal is about the field: it names the last part, or, for a type, says that it could not be decoded.
fn names(reason: &str, field: &str) -> bool {
    let last = field.rsplit('.').next().unwrap_or(field);
    let last = last.split('[').next().unwrap_or(last).to_lowercase();
    let reason = reason.to_lowercase();
    reason.contains(&last)
        // An unknown kind, or a part of a text that Go's decoder does not place.
        || reason.contains("could not find the requested resource")
        || reason.contains("404 page not found")
        // A rule of a whole `spec` in a CustomResourceDefinition has a text of its own.
        || reason.contains("spec: invalid value: \"object\"")
        || reason.contains("cannot unmarshal") || reason.contains("unmarshalerdecoder")
}
