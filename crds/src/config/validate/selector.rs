// SPDX-License-Identifier: Apache-2.0
//! Lists of selectors and names, in which nothing may stand twice.

use std::collections::BTreeSet;

pub(super) use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::config::fault::Fault;
use crate::labels::{Labels, Selector};

/// Parses a list of selectors; `field` names it.
pub(super) fn parse(
    field: &'static str,
    selectors: Option<&[LabelSelector]>,
) -> Result<Vec<Selector>, Fault> {
    let selectors = selectors.unwrap_or_default();
    let normal: Vec<LabelSelector> = selectors.iter().map(normalized).collect();
    for (index, selector) in normal.iter().enumerate() {
        if normal.iter().take(index).any(|earlier| earlier == selector) {
            return Err(Fault::new((field, index), format!("duplicate definition of {field}")));
        }
    }
    selectors
        .iter()
        .enumerate()
        .map(|(index, selector)| {
            Selector::parse(selector)
                .map_err(|error| Fault::new((field, index), format!("invalid {field}: {error}")))
        })
        .collect()
}

/// As it is compared with others: the order of values does not count (contract 6.2).
fn normalized(selector: &LabelSelector) -> LabelSelector {
    let mut selector = selector.clone();
    for expression in selector.match_expressions.iter_mut().flatten() {
        if let Some(values) = &mut expression.values {
            values.sort();
        }
    }
    selector
}

/// Whether any of the selectors matches, or cannot be read, or there are none.
pub(super) fn may_select(selectors: Option<&[LabelSelector]>, labels: &Labels) -> bool {
    let selectors = selectors.unwrap_or_default();
    selectors.is_empty()
        || selectors
            .iter()
            .any(|selector| Selector::parse(selector).map_or(true, |s| s.matches(labels)))
}

/// The first text that stands in the list a second time, and where it does.
pub(super) fn repeated(texts: Option<&[String]>) -> Option<(usize, &str)> {
    let mut seen = BTreeSet::new();
    let texts = texts.unwrap_or_default().iter().map(String::as_str);
    texts.enumerate().find(|(_, text)| !seen.insert(*text))
}

/// A list of names, none of them twice; `field` names it.
pub(super) fn names<C: FromIterator<Box<str>>>(
    field: &'static str,
    texts: Option<&[String]>,
) -> Result<C, Fault> {
    match repeated(texts) {
        Some((index, name)) => {
            Err(Fault::new((field, index), format!("duplicate definition of {field} {name:?}")))
        }
        None => Ok(texts.unwrap_or_default().iter().map(|text| text.as_str().into()).collect()),
    }
}
