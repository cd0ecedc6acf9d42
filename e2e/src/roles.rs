// SPDX-License-Identifier: Apache-2.0
//! The rights that our manifests give the programs, held against the calls that the programs made in all scenarios, by the API
//! server's audit log: no call without a right, and no right without a call.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use crate::lab::kube::{SYSTEM, documents};

/// The manifests whose roles are judged.
const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/ferrolb.yaml");
const ACCOUNTS: [&str; 2] = ["controller", "speaker"];
/// Calls that may be refused: the account (any, if empty), the group, the resource, and why they are made all the same.
const ASKED: [(&str, &str, &str, &str); 0] = [];
/// Rights that no scenario needs: the account, the group, the resource, the verb (any, if empty), and who needs them.
const KEPT: [(&str, &str, &str, &str, &str); 2] = [
    (
        "controller",
        "",
        "nodes",
        "get",
        "who looks for a leader that is silent although its Pod lives asks for its node",
    ),
    ("speaker", "ferrolb.io", "speakerreports", "create", "a PATCH that makes an object needs it"),
];

/// One right, or one call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    account: String,
    group: String,
    /// With the subresource behind a slash.
    resource: String,
    verb: String,
}

impl fmt::Display for Right {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, group, resource, verb } = self;
        let group = if group.is_empty() { "core" } else { group };
        write!(formatter, "{account}: {verb} {resource} ({group})")
    }
}

/// The file of a lane's folder that the API server writes.
pub const LOG: &str = "audit.jsonl";

/// The policy for the API server: the calls of both accounts, without their content.
#[must_use]
pub fn policy() -> String {
    let users: Vec<String> =
        ACCOUNTS.iter().map(|name| format!("system:serviceaccount:{SYSTEM}:{name}")).collect();
    serde_json::json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{ "level": "Metadata", "users": users }, { "level": "None" }],
    })
    .to_string()
}

/// The calls of a log; none where there is no log. MetalLB's own programs have a user agent, ours have none or their name.
#[must_use]
pub fn calls(log: &Path) -> BTreeSet<Right> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let mut calls = BTreeSet::new();
    // The last line may be half written.
    for event in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let text = |pointer: &str| {
            event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let agent = text("/userAgent");
        let account = text("/user/username");
        let account = account.rsplit(':').next().unwrap_or_default().to_owned();
        let resource = text("/objectRef/resource");
        if resource.is_empty() || !(agent.is_empty() || agent.starts_with("ferrolb")) {
            continue;
        }
        let subresource = text("/objectRef/subresource");
        let resource = match &*subresource {
            "" => resource,
            sub => format!("{resource}/{sub}"),
        };
        let (group, verb) = (text("/objectRef/apiGroup"), text("/verb"));
        calls.insert(Right { account, group, resource, verb });
    }
    calls
}

/// The rights that the manifests give.
fn rights() -> anyhow::Result<BTreeSet<Right>> {
    let text = std::fs::read_to_string(MANIFESTS).context(MANIFESTS)?;
    let objects = documents(&text)?;
    let list = |value: &Value, pointer: &str| -> Vec<Value> {
        value.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let text = |value: &Value, pointer: &str| {
        value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let mut rights = BTreeSet::new();
    for binding in objects.iter().filter(|object| text(object, "/kind").ends_with("RoleBinding")) {
        let (kind, name) = (text(binding, "/roleRef/kind"), text(binding, "/roleRef/name"));
        let is_bound =
            |role: &&Value| text(role, "/kind") == kind && text(role, "/metadata/name") == name;
        let role = objects.iter().find(is_bound).with_context(|| format!("no {kind} {name}"))?;
        for subject in list(binding, "/subjects") {
            let account = text(&subject, "/name");
            for rule in list(role, "/rules") {
                for (group, resource, verb) in list(&rule, "/apiGroups").iter().flat_map(|group| {
                    let (resources, verbs) = (list(&rule, "/resources"), list(&rule, "/verbs"));
                    let all = resources.into_iter().flat_map(move |resource| {
                        verbs.clone().into_iter().map(move |verb| (resource.clone(), verb))
                    });
                    all.map(move |(resource, verb)| (group.clone(), resource, verb))
                }) {
                    let of = |value: Value| value.as_str().unwrap_or_default().to_owned();
                    let (group, resource, verb) = (of(group), of(resource), of(verb));
                    rights.insert(Right { account: account.clone(), group, resource, verb });
                }
            }
        }
    }
    Ok(rights)
}

/// What is wrong: each call without a right, and each right without a call.
///
/// # Errors
/// When the manifests cannot be read.
pub fn judge(calls: &BTreeSet<Right>) -> anyhow::Result<Vec<String>> {
    let rights = rights()?;
    let is_asked = |call: &&Right| {
        ASKED.iter().any(|(account, group, resource, _)| {
            (account.is_empty() || *account == call.account)
                && *group == call.group
                && *resource == call.resource
        })
    };
    let is_kept = |right: &&Right| {
        KEPT.iter().any(|(account, group, resource, verb, _)| {
            *account == right.account
                && *group == right.group
                && *resource == right.resource
                && (verb.is_empty() || *verb == right.verb)
        })
    };
    let without_right = calls.difference(&rights).filter(|call| !is_asked(call));
    let without_call = rights.difference(calls).filter(|right| !is_kept(right));
    Ok(without_right
        .map(|call| format!("made without a right in our manifests: {call}"))
        .chain(without_call.map(|right| format!("a right that no scenario used: {right}")))
        .collect())
}
