// SPDX-License-Identifier: Apache-2.0
//! `ferrolb check --cluster`: what in a live cluster would keep addresses from working, or fight over them.

mod keeping;

use std::collections::BTreeSet;
use std::fmt;

use cluster::net::client::connect;
use cluster::{ConfigScope, Kind, Object, Snapshot};
use crds::config::ConfigKind;
use serde_json::Value;

use crate::survey::{Survey, addresses, is_load_balancer, key, text};

/// The objects that are listed and read for it.
const WANTED: [&str; 21] = [
    "services",
    "nodes",
    "configmaps",
    "ipaddresspools",
    "l2advertisements",
    "bgpadvertisements",
    "bgppeers",
    "bgppeers.v1beta1",
    "bfdprofiles",
    "communities",
    "configurationstates",
    "frrconfigurations",
    "addresspools",
    "webhooks",
    "daemonsets",
    "deployments",
    "allpods",
    "kube-proxy",
    "cilium",
    "antrea",
    "calico",
];
/// The label that takes a node out of load balancing.
const EXCLUDE: &str = "/metadata/labels/node.kubernetes.io~1exclude-from-external-load-balancers";
/// Ports that the speaker uses on every node.
const PORTS: [(u64, &str); 4] = [
    (7946, "the ring of the speakers"),
    (9120, "metrics"),
    (17472, "health"),
    (7472, "metrics of older manifests"),
];
/// Other programs that give or announce addresses, by a part of their image's name.
const OTHERS: [(&str, &str); 9] = [
    ("kube-vip", "kube-vip"),
    ("purelb", "PureLB"),
    ("openelb", "OpenELB"),
    ("porter", "OpenELB"),
    (
        "klipper-lb",
        "the load balancer of k3s (ServiceLB); start the servers with --disable=servicelb",
    ),
    ("kube-loxilb", "loxilb"),
    ("metallb/controller", "MetalLB"),
    ("metallb/speaker", "MetalLB"),
    ("cloud-controller-manager", "a cloud's controller, which may have load balancers of its own"),
];

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Addresses will not work as asked for: the exit code is 1.
    Error,
    /// It may be meant.
    Warning,
    /// Good to know.
    Note,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What, where, and what to do.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        write!(formatter, "{name:<8} {}", self.text)
    }
}

/// Looks at the cluster of the kubeconfig; the worst first.
///
/// # Errors
/// When it cannot be reached.
pub async fn run(namespace: &str) -> anyhow::Result<Vec<Finding>> {
    let client = connect().await?;
    Ok(findings(&Survey::take(&client, namespace, &WANTED).await?))
}

/// What a survey shows; the worst first.
#[must_use]
pub fn findings(survey: &Survey) -> Vec<Finding> {
    let mut found = Findings(Vec::new());
    found.kinds(survey);
    found.conversion(survey);
    found.proxy(survey.object("kube-proxy"));
    found.0.extend(keeping::findings(survey));
    found.nodes(survey.list("nodes"));
    found.others(survey);
    found.ports(survey);
    found.configuration(survey);
    found.leftovers(survey);
    found.0.sort_by_key(|finding| finding.severity);
    found.0
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, severity: Severity, text: impl Into<String>) {
        self.0.push(Finding { severity, text: text.into() });
    }

    fn kinds(&mut self, survey: &Survey) {
        // Only who uses Antrea's pools has their kind, and only who comes from MetalLB 0.13 that of old pools.
        let needed = ConfigKind::ALL.into_iter().filter(|kind| !kind.is_optional());
        for kind in needed.map(ConfigKind::plural) {
            if let Some(why) = survey.missing().get(kind) {
                self.add(
                    Severity::Error,
                    format!("{kind}.metallb.io cannot be listed: {why}; apply the CRDs first"),
                );
            }
        }
        if survey.missing().contains_key("configurationstates") {
            self.add(
                Severity::Note,
                "configurationstates.metallb.io cannot be listed: what is wrong with the configuration is in logs, events and metrics only",
            );
        }
    }

    /// An API server says with status 500 that nobody converts; where the older version is not served at all it says 404.
    fn conversion(&mut self, survey: &Survey) {
        let why = survey.missing().get("bgppeers.v1beta1");
        if let Some(why) = why.filter(|why| why.contains("conversion webhook")) {
            self.add(
                Severity::Warning,
                format!(
                    "BGPPeers cannot be read as metallb.io/v1beta1, as the webhook that the CRD names does not convert them: {why}; if none is to answer (--webhook-mode=disabled), set spec.conversion of CRD bgppeers.metallb.io to {{strategy: None}}"
                ),
            );
        }
    }

    fn proxy(&mut self, map: Option<&Value>) {
        let Some(config) = map.map(|map| text(map, "/data/config.conf")) else {
            self.add(
                Severity::Note,
                "kube-proxy's ConfigMap is not in kube-system: if it runs in mode ipvs, strictARP must be true",
            );
            return;
        };
        let setting = |name: &str| keeping::setting(config, name);
        if setting("mode").as_deref() == Some("ipvs")
            && setting("strictARP").as_deref() != Some("true")
        {
            self.add(
                Severity::Error,
                "kube-proxy runs in mode ipvs without strictARP: every node answers ARP for every address; set ipvs.strictARP to true in ConfigMap kube-system/kube-proxy and restart kube-proxy",
            );
        }
    }

    fn nodes(&mut self, nodes: &[Value]) {
        let excluded: Vec<&str> = nodes
            .iter()
            .filter(|node| node.pointer(EXCLUDE).is_some())
            .map(|node| text(node, "/metadata/name"))
            .collect();
        if !nodes.is_empty() && excluded.len() == nodes.len() {
            self.add(
                Severity::Error,
                "every node has the label node.kubernetes.io/exclude-from-external-load-balancers, so that nothing is announced: remove the label (kubeadm puts it on control planes), or start the speakers with --ignore-exclude-lb",
            );
        } else if !excluded.is_empty() {
            self.add(
                Severity::Note,
                format!(
                    "nothing is announced from {}: the label node.kubernetes.io/exclude-from-external-load-balancers",
                    excluded.join(", ")
                ),
            );
        }
    }

    fn others(&mut self, survey: &Survey) {
        let mut named = BTreeSet::new();
        for workload in survey.list("daemonsets").iter().chain(survey.list("deployments")) {
            let own = text(workload, "/metadata/namespace") == survey.namespace;
            let containers = workload.pointer("/spec/template/spec/containers");
            for container in containers.and_then(Value::as_array).into_iter().flatten() {
                let image = text(container, "/image");
                for (part, what) in OTHERS {
                    // MetalLB's in its own namespace is what an image swap replaces.
                    if image.contains(part)
                        && !(own && part.starts_with("metallb"))
                        && named.insert((what, key(workload)))
                    {
                        self.add(
                            Severity::Warning,
                            format!(
                                "{} runs {image}: {what}; two that serve the same Services fight over them, use loadBalancerClass and --lb-class to part them",
                                key(workload)
                            ),
                        );
                    }
                }
            }
        }
        for webhook in survey.list("webhooks") {
            if text(webhook, "/metadata/name") == "crdvalidator.antrea.io" {
                self.add(
                    Severity::Note,
                    "Antrea is installed: Services with the annotation service.antrea.io/external-ip-pool are its own",
                );
            }
        }
    }

    fn ports(&mut self, survey: &Survey) {
        for pod in survey.list("allpods") {
            let own = text(pod, "/metadata/namespace") == survey.namespace
                && text(pod, "/metadata/labels/component") == "speaker"
                || text(pod, "/metadata/labels/app.kubernetes.io~1component") == "speaker";
            if own {
                continue;
            }
            let on_host =
                pod.pointer("/spec/hostNetwork").and_then(Value::as_bool).unwrap_or_default();
            let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
            let ports = containers
                .into_iter()
                .flatten()
                .filter_map(|container| container.get("ports")?.as_array())
                .flatten();
            for port in ports {
                let of = if on_host { "containerPort" } else { "hostPort" };
                let number = port.get(of).and_then(Value::as_u64);
                for (taken, what) in PORTS {
                    if number == Some(taken) {
                        self.add(
                            Severity::Error,
                            format!(
                                "Pod {} takes port {taken} on node {}: the speakers need it for {what}",
                                key(pod),
                                text(pod, "/spec/nodeName")
                            ),
                        );
                    }
                }
            }
        }
    }

    /// What the daemons would say of the objects, and Services whose addresses nobody here gave.
    fn configuration(&mut self, survey: &Survey) {
        let mut snapshot = Snapshot::new(ConfigScope::All, true);
        // Advertisements that share no node do not contradict one another.
        for node in survey.list("nodes") {
            if let Ok(node) = serde_json::from_value(node.clone()) {
                snapshot.apply(Object::Node(node));
            }
        }
        snapshot.finish(Kind::Node);
        for kind in ConfigKind::ALL {
            for object in survey.list(kind.plural()) {
                snapshot.apply(Object::Config(kind, object.clone()));
            }
            snapshot.finish(Kind::Config(kind));
        }
        snapshot.take_dirty();
        for rejection in snapshot.rejections() {
            // Secrets are not read here.
            if !rejection.is_about_a_secret() {
                self.add(Severity::Error, rejection.to_string().replace('\n', "; "));
            }
        }
        for text in crate::identifiers::findings(&snapshot) {
            self.add(Severity::Warning, text);
        }
        let config = snapshot.config();
        for pool in config.pools.values() {
            let by_l2 = config
                .l2_advertisements
                .values()
                .any(|ad| ad.pools.selects(&pool.name, &pool.labels));
            let by_bgp = config
                .bgp_advertisements
                .values()
                .any(|ad| ad.pools.selects(&pool.name, &pool.labels));
            if !by_l2 && !by_bgp {
                self.add(
                    Severity::Warning,
                    format!("no L2Advertisement and no BGPAdvertisement selects pool {:?}: its addresses are given and announced by nobody", pool.name),
                );
            }
        }
        let services = survey.list("services").iter().filter(|service| is_load_balancer(service));
        for service in services {
            let foreign: Vec<&str> = addresses(service)
                .into_iter()
                .filter(|ip| {
                    crds::address::core_address(ip).is_some_and(|ip| {
                        let ip = ip.value;
                        config.pool_of(ip).is_none() && config.external_pools.holding(ip).is_none()
                    })
                })
                .collect();
            if !foreign.is_empty() && !config.has_no_pools() {
                self.add(
                    Severity::Warning,
                    format!(
                        "Service {} has {} of no pool: another load balancer may write its status; {}",
                        key(service),
                        foreign.join(", "),
                        match text(service, "/spec/loadBalancerClass") {
                            "" => "a controller without --lb-class will give it an address of a pool".to_owned(),
                            class => format!("only a controller with --lb-class={class} would give it one of a pool"),
                        },
                    ),
                );
            }
        }
    }

    fn leftovers(&mut self, survey: &Survey) {
        let extras = survey.list("configmaps").iter().any(|map| {
            text(map, "/metadata/name") == "bgpextras"
                && !text(map, "/data/extras").trim().is_empty()
        });
        if extras {
            self.add(
                Severity::Warning,
                "ConfigMap bgpextras has extra configuration for FRR: it is ignored; the fields of BGPPeer and BGPAdvertisement beyond MetalLB's cover what it is mostly used for",
            );
        }
        for configuration in survey.list("frrconfigurations") {
            let name = text(configuration, "/metadata/name");
            if !name.starts_with("metallb-") {
                self.add(
                    Severity::Warning,
                    format!(
                        "FRRConfiguration {} is a user's: it is left to frr-k8s, and peers in it are not sessions of the speakers; a `helm upgrade` of a release that has frr-k8s as its sub-chart deletes it with its CRD (docs/migrate-from-metallb.md)",
                        key(configuration)
                    ),
                );
            }
        }
        for pool in survey.list("addresspools") {
            self.add(
                Severity::Note,
                format!(
                    "AddressPool {} is of MetalLB 0.13: `ferrolb import addresspool` makes objects of today of it",
                    text(pool, "/metadata/name")
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests;
