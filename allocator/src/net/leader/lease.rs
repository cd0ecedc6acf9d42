// SPDX-License-Identifier: Apache-2.0
//! The Lease as JSON: the parts that are read, and the parts that are written. All other parts stay.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::candidate::Seen;

/// The annotation of a Lease whose holder does not renew it: `false`.
const RENEWED: &str = "ferrolb.io/renewed";
/// The annotation with the identity of a standby controller while another one holds the Lease.
const STANDS_BY: &str = "ferrolb.io/stands-by";
/// The annotation of a Lease that was taken by force from a holder that may still write: `true`.
const FORCED: &str = "ferrolb.io/forced";
/// The annotation with the holder's Pod, as `name/uid`, if the API has it.
const POD: &str = "ferrolb.io/holder-pod";

/// The controller that writes the Lease, with its settings.
#[derive(Clone, Debug)]
pub(super) struct Holder<'a> {
    pub(super) identity: &'a str,
    pub(super) pod: Option<&'a str>,
    pub(super) renews: bool,
    pub(super) duration: Duration,
    pub(super) forced: bool,
}

/// The parts of a Lease that a candidate looks at.
pub(super) fn seen(lease: &Value) -> Seen {
    let text = |pointer| lease.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let seconds = lease.pointer("/spec/leaseDurationSeconds").and_then(Value::as_u64);
    Seen {
        holder: text("/spec/holderIdentity").to_owned(),
        version: text("/metadata/resourceVersion").to_owned(),
        renewed: annotation(lease, RENEWED) != Some("false"),
        duration: Duration::from_secs(seconds.unwrap_or_default()),
        stands_by: annotation(lease, STANDS_BY).map(str::to_owned),
        forced: annotation(lease, FORCED) == Some("true"),
    }
}

/// The holder's Pod: name and uid.
pub(super) fn pod(lease: &Value) -> Option<(&str, &str)> {
    annotation(lease, POD)?.split_once('/')
}

fn annotation<'a>(lease: &'a Value, key: &str) -> Option<&'a str> {
    lease.get("metadata")?.get("annotations")?.get(key)?.as_str()
}

/// The Lease of this holder: the one that is there, or a new one.
pub(super) fn held(there: Option<Value>, name: &str, holder: &Holder<'_>) -> Value {
    let mut lease = there.unwrap_or_else(|| {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": name },
        })
    });
    let before = lease.pointer("/spec/holderIdentity").and_then(Value::as_str);
    let is_taken = before != Some(holder.identity);
    let transitions = lease.pointer("/spec/leaseTransitions").and_then(Value::as_u64);
    let acquired = lease.pointer("/spec/acquireTime").filter(|_| !is_taken).cloned();
    let now = json!(jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string());
    // A fraction of a second counts as a whole one: others wait longer, never shorter.
    let seconds = holder.duration.as_secs() + u64::from(holder.duration.subsec_nanos() > 0);
    let spec = json!({
        "holderIdentity": holder.identity,
        "leaseDurationSeconds": seconds,
        "acquireTime": acquired.unwrap_or_else(|| now.clone()),
        "renewTime": now,
        "leaseTransitions": transitions.unwrap_or_default() + u64::from(is_taken && before.is_some()),
    });
    if let Some(lease) = lease.as_object_mut() {
        lease.insert("spec".into(), spec);
    }
    annotate(&mut lease, STANDS_BY, None);
    annotate(&mut lease, RENEWED, (!holder.renews).then_some("false"));
    annotate(&mut lease, FORCED, holder.forced.then_some("true"));
    annotate(&mut lease, POD, holder.pod);
    lease
}

/// The Lease when its holder gives it back.
pub(super) fn released(mut lease: Value) -> Value {
    if let Some(spec) = lease.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("holderIdentity".into(), "".into());
    }
    lease
}

/// The Lease with the mark of a standby controller.
pub(super) fn marked(mut lease: Value, identity: &str) -> Value {
    annotate(&mut lease, STANDS_BY, Some(identity));
    lease
}

fn annotate(lease: &mut Value, key: &str, value: Option<&str>) {
    let Some(metadata) = lease.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let annotations = metadata.entry("annotations").or_insert(Value::Null);
    if annotations.is_null() {
        *annotations = Value::Object(Map::new());
    }
    let Some(annotations) = annotations.as_object_mut() else { return };
    match value {
        Some(value) => drop(annotations.insert(key.to_owned(), value.into())),
        None => drop(annotations.remove(key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_the_rest_stays() {
        let alone = Holder {
            identity: "a",
            pod: Some("controller-1/u"),
            renews: false,
            duration: Duration::from_millis(1_500),
            forced: true,
        };
        let mut lease = held(None, "l", &alone);
        lease["metadata"]["resourceVersion"] = "7".into();
        lease["metadata"]["labels"] = json!({ "kept": "yes" });
        let known = seen(&lease);
        assert_eq!((&*known.holder, &*known.version), ("a", "7"));
        assert_eq!((known.renewed, known.duration), (false, Duration::from_secs(2)));
        assert!(known.forced && seen(&released(lease.clone())).forced);
        assert_eq!(pod(&lease), Some(("controller-1", "u")));
        let lease = marked(lease, "b");
        assert_eq!(seen(&lease).stands_by.as_deref(), Some("b"));
        let taken = held(
            Some(lease),
            "l",
            &Holder { identity: "b", pod: None, renews: true, forced: false, ..alone },
        );
        let known = seen(&taken);
        assert_eq!((&*known.holder, known.renewed, known.stands_by), ("b", true, None));
        assert!(!known.forced);
        assert_eq!(pod(&taken), None);
        assert_eq!(taken["spec"]["leaseTransitions"], 1);
        assert_eq!(taken["metadata"]["labels"], json!({ "kept": "yes" }));
        assert_eq!(seen(&released(taken)).holder, "");
    }

    #[test]
    fn a_lease_of_another_program_counts_as_one_that_is_renewed() {
        let lease = json!({ "metadata": {}, "spec": { "holderIdentity": "x", "leaseDurationSeconds": 15 } });
        assert!(seen(&lease).renewed);
        assert_eq!(seen(&lease).duration, Duration::from_secs(15));
    }
}
