// SPDX-License-Identifier: Apache-2.0
//! `AdmissionReview` of admission.k8s.io/v1: what is asked, and the answer.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::measure::{TREE, TooIntricate, measure};
use crate::config::ConfigKind;

/// What is about to be done with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Operation {
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// It is deleted.
    Delete,
    /// Something connects to it.
    Connect,
}

/// Why a request cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// It is not what it should be.
    #[error("this is no review: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// It would take too much to read.
    #[error("{0}")]
    Intricate(#[from] TooIntricate),
    /// It is about something else.
    #[error("{kind:?} of {group:?} is not checked here")]
    Kind {
        /// The API group.
        group: String,
        /// The kind.
        kind: String,
    },
}

/// A question.
#[derive(Debug)]
pub struct Review {
    /// To be repeated in the answer.
    pub uid: String,
    /// As which version the question came, which the answer repeats as well.
    pub api_version: String,
    /// What it is about.
    pub kind: ConfigKind,
    /// What is about to be done.
    pub operation: Operation,
    /// The object's namespace.
    pub namespace: String,
    /// The object's name; empty while the API server has yet to make one up.
    pub name: String,
    /// The object as it is to be; null when it is deleted.
    pub object: Value,
    /// The object as it is; null when it is made.
    pub old: Value,
    /// Whether nothing is stored in the end.
    pub dry_run: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    api_version: String,
    request: Request,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    kind: GroupVersionKind,
    operation: Operation,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    object: Value,
    #[serde(default)]
    old_object: Value,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Deserialize)]
struct GroupVersionKind {
    group: String,
    kind: String,
}

impl Review {
    /// Reads a question.
    ///
    /// # Errors
    /// When it is no `AdmissionReview`, or about a kind that is not checked, or takes more memory than an object may.
    pub fn parse(body: &[u8]) -> Result<Self, ReviewError> {
        // It holds an object at most twice.
        measure(body, 2 * TREE)?;
        let Envelope { api_version, request } = serde_json::from_slice(body)?;
        let GroupVersionKind { group, kind } = request.kind;
        let known = ConfigKind::from_kind(&kind).filter(|kind| kind.group() == group);
        let Some(kind) = known else { return Err(ReviewError::Kind { group, kind }) };
        // What is deleted as one of many has its name in the object only.
        let name = if request.name.is_empty() {
            let named = [&request.object, &request.old_object]
                .into_iter()
                .find_map(|object| object.pointer("/metadata/name")?.as_str());
            named.unwrap_or_default().to_owned()
        } else {
            request.name
        };
        Ok(Self {
            uid: request.uid,
            api_version,
            kind,
            operation: request.operation,
            namespace: request.namespace,
            name,
            object: request.object,
            old: request.old_object,
            dry_run: request.dry_run.unwrap_or(false),
        })
    }

    /// Whether the object is where objects of its kind count: in the configuration's namespace, or in none.
    #[must_use]
    pub fn is_at_home(&self, system: &str) -> bool {
        !self.kind.is_namespaced() || self.namespace == system
    }

    /// The answer as the API server reads it.
    #[must_use]
    pub fn answered(&self, answer: &Answer) -> Value {
        let mut response = Map::new();
        response.insert("uid".into(), self.uid.as_str().into());
        response.insert("allowed".into(), answer.is_allowed().into());
        if let Some(message) = &answer.refusal {
            let status = json!({
                "status": "Failure", "reason": "Forbidden", "code": 403, "message": message,
            });
            response.insert("status".into(), status);
        }
        if !answer.warnings.is_empty() {
            response.insert("warnings".into(), json!(answer.warnings));
        }
        json!({
            "apiVersion": self.api_version, "kind": "AdmissionReview", "response": response,
        })
    }
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Why it may not be done; nothing when it may.
    pub refusal: Option<String>,
    /// What the user is told in either case.
    pub warnings: Vec<String>,
}

impl Answer {
    /// A refusal.
    #[must_use]
    pub fn refused(message: impl Into<String>) -> Self {
        Self { refusal: Some(message.into()), warnings: Vec::new() }
    }

    /// Whether it may be done.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.refusal.is_none()
    }
}
