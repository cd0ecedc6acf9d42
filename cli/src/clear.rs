// SPDX-License-Identifier: Apache-2.0
//! `ferrolb clear`: takes the given addresses out of the Services, before another load balancer takes over or for good.
//! Without this command Services keep their addresses, and the next load balancer finds them. With `--node` see [`node`].

mod node;

pub use node::node;

use std::fmt::Write;

use anyhow::{Context, ensure};
use cluster::model::{ALLOCATED_CONDITION, ANNOUNCED_CONDITION, POOL_ANNOTATION};
use cluster::net::client::connect;
use cluster::net::fence::Fence;
use cluster::net::request::delete;
use cluster::net::sink::kubernetes::{Rewrite, rewrite_status};
use serde_json::Value;

use crate::args::ClearArgs;
use crate::survey::{Survey, addresses, key, text};

/// The annotation of the pool, as MetalLB before 0.13.11 wrote it.
const OLDER_ANNOTATION: &str = "metallb.universe.tf/ip-allocated-from-pool";
/// The kinds of object that the programs write about themselves, in their namespace.
const REPORTS: [(&str, &str); 4] = [
    ("metallb.io/v1beta1", "servicel2statuses"),
    ("metallb.io/v1beta1", "servicebgpstatuses"),
    ("metallb.io/v1beta1", "configurationstates"),
    ("ferrolb.io/v1alpha1", "speakerreports"),
];

/// Clears the Services; returns the text to print.
///
/// # Errors
/// The cluster cannot be reached or refuses, or a controller still runs, which would give the addresses again.
pub async fn run(args: &ClearArgs) -> anyhow::Result<String> {
    let client = connect().await?;
    let survey = Survey::take(&client, &args.namespace, &["services", "pods"]).await?;
    ensure!(survey.has("services"), "the Services cannot be listed");
    if let Some(pod) = survey.list("pods").iter().find(|pod| is_controller(pod)) {
        let namespace = &args.namespace;
        anyhow::bail!(
            "the controller still runs (Pod {}) and would give the addresses again: uninstall it first, or \
             kubectl --namespace {namespace} scale deployment --replicas=0 its Deployment",
            key(pod)
        );
    }
    let (mut printed, fence) = (String::new(), Fence::open());
    for service in survey.list("services").iter().filter(|service| was_given(service)) {
        let had = addresses(service).join(", ");
        if args.dry_run {
            let _ = writeln!(printed, "Service {}: has {had}", key(service));
            continue;
        }
        let path = format!(
            "/api/v1/namespaces/{}/services/{}",
            text(service, "/metadata/namespace"),
            text(service, "/metadata/name")
        );
        let written =
            rewrite_status(&client, &path, &fence, |object| was_given(object) && forget(object))
                .await
                .with_context(|| format!("Service {}\n{printed}", key(service)))?;
        if matches!(written, Rewrite::Written(_)) {
            let _ = writeln!(printed, "Service {}: had {had}", key(service));
        }
    }
    if printed.is_empty() {
        printed.push_str("no Service has an address of a pool\n");
    }
    if !args.dry_run {
        for (group, kind) in REPORTS {
            let path = format!("/apis/{group}/namespaces/{}/{kind}", args.namespace);
            // A kind that the cluster does not have has no objects.
            delete(&client, path).await.with_context(|| kind.to_owned())?;
        }
    }
    Ok(printed)
}

fn is_controller(pod: &Value) -> bool {
    let label = |name: &str| text(pod, &format!("/metadata/labels/{name}"));
    let is_one =
        label("component") == "controller" || label("app.kubernetes.io~1component") == "controller";
    is_one && !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// True if ferrolb or MetalLB gave the Service its addresses: no other program's addresses are touched.
fn was_given(service: &Value) -> bool {
    let annotations = service.pointer("/metadata/annotations");
    let named = [POOL_ANNOTATION, OLDER_ANNOTATION]
        .iter()
        .any(|name| annotations.is_some_and(|all| all.get(name).is_some()));
    named
        || conditions(service).any(|condition| {
            kind(condition) == ALLOCATED_CONDITION && text(condition, "/status") == "True"
        })
}

fn conditions(service: &Value) -> impl Iterator<Item = &Value> {
    service.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten()
}

fn kind(condition: &Value) -> &str {
    text(condition, "/type")
}

/// Takes out addresses, annotations and our conditions; the entries of others stay.
fn forget(service: &mut Value) -> bool {
    if let Some(annotations) =
        service.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut)
    {
        annotations.remove(POOL_ANNOTATION);
        annotations.remove(OLDER_ANNOTATION);
    }
    if let Some(balancer) =
        service.pointer_mut("/status/loadBalancer").and_then(Value::as_object_mut)
    {
        balancer.remove("ingress");
    }
    if let Some(conditions) =
        service.pointer_mut("/status/conditions").and_then(Value::as_array_mut)
    {
        let ours = [ALLOCATED_CONDITION, ANNOUNCED_CONDITION];
        conditions.retain(|condition| !ours.contains(&kind(condition)));
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_was_given_here_goes_and_what_others_wrote_stays() {
        let mut service = json!({
            "metadata": {"annotations": {POOL_ANNOTATION: "a", "other": "x"}},
            "status": {
                "loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]},
                "conditions": [{"type": ALLOCATED_CONDITION}, {"type": "example.org/Other"}],
            },
        });
        assert!(was_given(&service) && forget(&mut service));
        assert_eq!(
            service,
            json!({
                "metadata": {"annotations": {"other": "x"}},
                "status": {"loadBalancer": {}, "conditions": [{"type": "example.org/Other"}]},
            })
        );
        assert!(!was_given(&service));
        let of = |status: &str| json!({"status": {"conditions": [{"type": ALLOCATED_CONDITION, "status": status}]}});
        assert!(was_given(&of("True")), "Antrea's world has no annotation for it");
        assert!(!was_given(&of("False")), "what it shows, somebody else gave");
    }

    #[test]
    fn a_controller_runs_until_its_pod_has_ended() {
        let pod = |label: &str, phase: &str| json!({"metadata": {"labels": {label: "controller"}}, "status": {"phase": phase}});
        assert!(is_controller(&pod("component", "Running")));
        assert!(is_controller(&pod("app.kubernetes.io/component", "Pending")));
        assert!(!is_controller(&pod("component", "Succeeded")));
        assert!(!is_controller(&pod("name", "Running")));
    }
}
