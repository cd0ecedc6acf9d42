// SPDX-License-Identifier: Apache-2.0
//! Converts Cilium's selectors of Services, which know namespaces by a label of their own.

use serde_json::{Value, json};

use super::documents::{Fields, present};
use super::notes::Notes;

/// The labels that select by namespace and by name.
const NAMESPACE: &str = "io.kubernetes.service.namespace";
const NAME: &str = "io.kubernetes.service.name";

/// A selector of Services for an advertisement, which knows no namespaces; none if the advertisement would then select
/// other Services than before.
pub(super) fn advertised(
    selector: Option<&Fields<'_>>,
    notes: &mut Notes,
) -> Option<Option<Value>> {
    let Some(selector) = selector else { return Some(None) };
    let (rest, namespaces, whole) = split(selector, notes);
    if !namespaces.is_empty() {
        notes.lost(selector.path(), "advertisements select Services by labels, not by namespace");
        return None;
    }
    whole.then_some(rest)
}

/// A selector of Services without its parts about namespaces; the namespaces; and true if nothing was lost.
pub(super) fn split(
    selector: &Fields<'_>,
    notes: &mut Notes,
) -> (Option<Value>, Vec<String>, bool) {
    let (mut namespaces, mut whole) = (Vec::new(), true);
    let mut labels =
        selector.get("matchLabels").and_then(Value::as_object).cloned().unwrap_or_default();
    if let Some(namespace) = labels.remove(NAMESPACE) {
        namespaces.extend(namespace.as_str().map(ToOwned::to_owned));
    }
    if labels.remove(NAME).is_some() {
        notes.lost(
            selector.at(&format!("matchLabels[{NAME}]")),
            "Services are selected by labels and namespace only",
        );
        whole = false;
    }
    let mut expressions = Vec::new();
    for expression in
        selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten()
    {
        let text = |key| expression.get(key).and_then(Value::as_str).unwrap_or_default();
        match (text("key"), text("operator")) {
            (NAMESPACE, "In") if namespaces.is_empty() => {
                let values =
                    expression.get("values").and_then(Value::as_array).into_iter().flatten();
                namespaces.extend(values.filter_map(Value::as_str).map(ToOwned::to_owned));
            }
            (key @ (NAMESPACE | NAME), _) => {
                notes.lost(
                    selector.at(&format!("matchExpressions[{key}]")),
                    "Services are selected by labels and a list of namespaces only",
                );
                whole = false;
            }
            _ => expressions.push(expression.clone()),
        }
    }
    selector.finish(notes);
    let rest = present([
        ("matchLabels", (!labels.is_empty()).then(|| json!(labels))),
        ("matchExpressions", (!expressions.is_empty()).then(|| json!(expressions))),
    ]);
    (rest.as_object().is_some_and(|map| !map.is_empty()).then_some(rest), namespaces, whole)
}
