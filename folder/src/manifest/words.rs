// SPDX-License-Identifier: Apache-2.0
//! What is wrong with a text that is no YAML, in the words of somebody who writes manifests.

use serde_saphyr::Error;

/// The reason, without the position: that is told beside it.
pub(super) fn of(error: &Error) -> String {
    let reason = match error.without_snippet() {
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            return format!("the field {key:?} stands twice in this mapping");
        }
        Error::DuplicateMappingKey { key: None, .. } => {
            return "a field stands twice in this mapping".to_owned();
        }
        Error::MultipleDocuments { .. } => {
            return "a second document begins here without a line ---".to_owned();
        }
        Error::UnknownAnchor { .. } => "there is no anchor (&) above for this alias (*)".to_owned(),
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "an anchor (&) stands within itself".to_owned()
        }
        Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            "its aliases (*) stand for more than is read".to_owned()
        }
        Error::Budget { .. } => {
            return "the document is too deep or too large to be read".to_owned();
        }
        other if other.to_string().contains("recursion limit") => {
            return "the document is too deep or too large to be read".to_owned();
        }
        Error::NonFiniteFloat { value, .. } => format!("{value} is no number in Kubernetes"),
        Error::MergeKeyNotAllowed { .. } | Error::MergeValueNotMapOrSeqOfMaps { .. } => {
            "only a mapping can be merged (<<)".to_owned()
        }
        other => plain(&other.to_string()),
    };
    format!("not valid YAML: {reason}")
}

/// A scanner's message without its position.
fn plain(message: &str) -> String {
    // "error: line 1 column 4: reason", with an excerpt of the source below.
    let first = message.lines().next().unwrap_or_default();
    let reason = first.split(": ").filter(|part| !part.starts_with("line ") && *part != "error");
    let reason = reason.collect::<Vec<_>>().join(": ");
    let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
    // The scanner's own words are YAML's; other ones are about the program.
    let is_code = ["Options", "from_", "struct", "enum", "deserializ", "visitor", "::", "_"];
    if reason.contains("expected string scalar") {
        return "a key must be text".to_owned();
    }
    if reason.is_empty() || is_code.iter().any(|word| reason.contains(word)) {
        return "a key, a value or the end of a list or mapping is missing here".to_owned();
    }
    reason
}
