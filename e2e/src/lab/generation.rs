// SPDX-License-Identifier: Apache-2.0
//! The four generations of MetalLB's manifests that an image swap meets: what each gives its programs. The facts are those of
//! MetalLB's own `metallb-native.yaml` of the version named; the CRDs are ours, without the kinds that a generation does not have.

use serde_json::{Value, json};

use super::kube::SYSTEM;
use super::objects::merge;
use super::webhooks::slice_of;

/// A generation of manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Generation {
    /// v0.13.11
    V0_13,
    /// v0.14.9
    V0_14,
    /// v0.15.3
    V0_15,
    /// v0.16.1
    V0_16,
}

/// The seven kinds and the two of before: all that any generation has.
const STATUS_KINDS: [&str; 3] = ["servicel2statuses", "servicebgpstatuses", "configurationstates"];

impl Generation {
    /// All of them, the oldest first.
    pub const ALL: [Self; 4] = [Self::V0_13, Self::V0_14, Self::V0_15, Self::V0_16];

    /// Whether its API server knows this kind.
    #[must_use]
    pub fn has_kind(self, plural: &str) -> bool {
        match plural {
            "servicel2statuses" => self >= Self::V0_14,
            "servicebgpstatuses" | "configurationstates" => self >= Self::V0_15,
            "addresspools" => self == Self::V0_13,
            _ => true,
        }
    }

    /// The port of metrics, and whether it is plain HTTP.
    #[must_use]
    pub fn metrics(self) -> (u16, bool) {
        if self >= Self::V0_16 { (9120, false) } else { (7472, true) }
    }

    /// What the probes ask; the health port where metrics are not.
    #[must_use]
    pub fn probes(self) -> [String; 2] {
        if self >= Self::V0_16 {
            ["healthz", "readyz"].map(|path| format!("http://127.0.0.1:17472/{path}"))
        } else {
            ["metrics", "metrics"].map(|path| format!("http://127.0.0.1:7472/{path}"))
        }
    }

    /// The controller's arguments.
    #[must_use]
    pub fn controller_arguments(self) -> Vec<String> {
        let (port, _) = self.metrics();
        let mut arguments = vec![format!("--port={port}"), "--log-level=info".to_owned()];
        if matches!(self, Self::V0_14 | Self::V0_15) {
            arguments.push("--tls-min-version=VersionTLS12".to_owned());
        }
        arguments
    }

    /// The speaker's arguments.
    #[must_use]
    pub fn speaker_arguments(self) -> Vec<String> {
        let (port, _) = self.metrics();
        vec![format!("--port={port}"), "--log-level=info".to_owned()]
    }

    /// The controller's environment.
    #[must_use]
    pub fn controller_environment(self) -> Vec<(&'static str, String)> {
        let mut environment = vec![
            ("METALLB_ML_SECRET_NAME", "memberlist".to_owned()),
            ("METALLB_DEPLOYMENT", "controller".to_owned()),
        ];
        if self >= Self::V0_16 {
            environment.push(("METALLB_POD_NAME", "controller".to_owned()));
        }
        environment
    }

    /// The speaker's environment on a node with this address.
    #[must_use]
    pub fn speaker_environment(self, node: &str, address: &str) -> Vec<(&'static str, String)> {
        let mut environment = vec![
            ("METALLB_NODE_NAME", node.to_owned()),
            ("METALLB_HOST", address.to_owned()),
            ("METALLB_ML_BIND_ADDR", address.to_owned()),
            ("METALLB_ML_LABELS", "app=metallb,component=speaker".to_owned()),
            ("METALLB_ML_SECRET_KEY_PATH", "/etc/ml_secret_key".to_owned()),
        ];
        if self >= Self::V0_14 {
            environment.push(("METALLB_POD_NAME", format!("speaker-{node}")));
        }
        environment
    }

    /// The names of the webhooks' Secret and Service.
    #[must_use]
    pub fn webhook_names(self) -> (&'static str, &'static str) {
        match self {
            Self::V0_13 => ("webhook-server-cert", "webhook-service"),
            Self::V0_14 | Self::V0_15 | Self::V0_16 => {
                ("metallb-webhook-cert", "metallb-webhook-service")
            }
        }
    }

    /// The Secret, the Service with its way to the controller, and the webhook configuration, as they are before any controller
    /// has filled them in.
    #[must_use]
    pub fn webhook_objects(self) -> Vec<Value> {
        let (secret, service) = self.webhook_names();
        let kinds = [
            ("bgppeers", "bgppeer", "v1beta2", ["CREATE", "UPDATE"]),
            ("bfdprofile", "bfdprofile", "v1beta1", ["CREATE", "DELETE"]),
            ("bgpadvertisement", "bgpadvertisement", "v1beta1", ["CREATE", "UPDATE"]),
            ("community", "community", "v1beta1", ["CREATE", "UPDATE"]),
            ("ipaddresspool", "ipaddresspool", "v1beta1", ["CREATE", "UPDATE"]),
            ("l2advertisement", "l2advertisement", "v1beta1", ["CREATE", "UPDATE"]),
        ];
        let webhooks: Vec<Value> = kinds
            .iter()
            .map(|(name, kind, version, operations)| {
                let plural = match *kind {
                    "community" => "communities".to_owned(),
                    kind => format!("{kind}s"),
                };
                json!({
                    "name": format!("{name}validationwebhook.metallb.io"),
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "None",
                    // Objects are applied before a controller runs; with Fail they could not be.
                    "failurePolicy": "Ignore",
                    "clientConfig": {"service": {
                        "name": service, "namespace": SYSTEM,
                        "path": format!("/validate-metallb-io-{version}-{kind}"),
                    }},
                    "rules": [{
                        "apiGroups": ["metallb.io"], "apiVersions": [version],
                        "resources": [plural], "operations": operations,
                    }],
                })
            })
            .collect();
        vec![
            json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": secret, "namespace": SYSTEM},
            }),
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": service, "namespace": SYSTEM},
                "spec": {"ports": [{"port": 443, "targetPort": 9443}]},
            }),
            slice_of(service),
            json!({
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingWebhookConfiguration",
                "metadata": {"name": "metallb-webhook-configuration"},
                "webhooks": webhooks,
            }),
        ]
    }

    /// The kinds that are taken away for it.
    #[must_use]
    pub fn absent_kinds(self) -> Vec<&'static str> {
        STATUS_KINDS.into_iter().filter(|plural| !self.has_kind(plural)).collect()
    }

    /// The roles of its two service accounts; their bindings are the same in all.
    #[must_use]
    pub fn roles(self) -> Vec<Value> {
        let rule = |groups: &str, resources: &[&str], verbs: &[&str]| json!({"apiGroups": [groups], "resources": resources, "verbs": verbs});
        let named = |mut rule: Value, names: &[&str]| {
            merge(&mut rule, json!({"resourceNames": names}));
            rule
        };
        const READ: [&str; 3] = ["get", "list", "watch"];
        const ALL: [&str; 7] = ["create", "delete", "get", "list", "patch", "update", "watch"];
        let mut crds = vec![
            "bfdprofiles.metallb.io",
            "bgpadvertisements.metallb.io",
            "bgppeers.metallb.io",
            "ipaddresspools.metallb.io",
            "l2advertisements.metallb.io",
            "communities.metallb.io",
        ];
        let mut webhooks = vec!["validatingwebhookconfigurations"];
        let mut pools = vec![
            "bfdprofiles",
            "ipaddresspools",
            "bgpadvertisements",
            "l2advertisements",
            "communities",
        ];
        let mut listed = vec![
            "bfdprofiles",
            "bgppeers",
            "l2advertisements",
            "bgpadvertisements",
            "ipaddresspools",
            "communities",
        ];
        if self == Self::V0_13 {
            crds.push("addresspools.metallb.io");
            webhooks.push("mutatingwebhookconfigurations");
            pools.push("addresspools");
            listed.push("addresspools");
        }
        if self >= Self::V0_15 {
            crds.push("configurationstates.metallb.io");
        }
        let admission = "admissionregistration.k8s.io";
        let extensions = "apiextensions.k8s.io";
        let mut controller = vec![
            rule("", &["services", "namespaces"], &READ),
            rule("", &["nodes"], &["list"]),
            rule("", &["services/status"], &["update"]),
            rule("", &["events"], &["create", "patch"]),
            named(rule(admission, &webhooks, &ALL), &["metallb-webhook-configuration"]),
            rule(admission, &webhooks, &["list", "watch"]),
            named(rule(extensions, &["customresourcedefinitions"], &ALL), &crds),
            rule(extensions, &["customresourcedefinitions"], &["list", "watch"]),
        ];
        let mut speaker = vec![
            rule("", &["services", "endpoints", "nodes", "namespaces"], &READ),
            rule("discovery.k8s.io", &["endpointslices"], &READ),
            rule("", &["events"], &["create", "patch"]),
        ];
        let mut lister = vec![
            rule(
                "",
                &["pods"],
                if self == Self::V0_13 { &["list"][..] } else { &["list", "get"][..] },
            ),
            rule("", &["secrets", "configmaps"], &READ),
            rule("metallb.io", &listed, &READ),
        ];
        let mut own = vec![
            rule("", &["secrets"], &ALL),
            named(rule("", &["secrets"], &["list"]), &["memberlist"]),
            named(rule("apps", &["deployments"], &["get"]), &["controller"]),
            rule("metallb.io", &["bgppeers"], &["get", "list"]),
            rule("metallb.io", &pools, &READ),
        ];
        if self >= Self::V0_14 {
            speaker.push(rule(
                "metallb.io",
                &["servicel2statuses", "servicel2statuses/status"],
                &["*"],
            ));
        }
        if self >= Self::V0_15 {
            speaker.push(rule(
                "metallb.io",
                &["configurationstates", "configurationstates/status"],
                &["*"],
            ));
            controller.push(rule("metallb.io", &["configurationstates"], &ALL));
            controller.push(rule(
                "metallb.io",
                &["configurationstates/status"],
                &["get", "patch", "update"],
            ));
            lister.push(rule(
                "metallb.io",
                &["servicebgpstatuses", "servicebgpstatuses/status"],
                &["*"],
            ));
            own.push(rule("metallb.io", &["ipaddresspools/status"], &["update"]));
        }
        let role = |kind: &str, name: &str, rules: Vec<Value>| {
            let mut role = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
                "metadata": {"name": name}, "rules": rules,
            });
            if kind == "Role" {
                merge(&mut role, json!({"metadata": {"namespace": SYSTEM}}));
            }
            role
        };
        vec![
            role("ClusterRole", "metallb-system:controller", controller),
            role("ClusterRole", "metallb-system:speaker", speaker),
            role("Role", "pod-lister", lister),
            role("Role", "controller", own),
        ]
    }
}
