// SPDX-License-Identifier: Apache-2.0
//! The API server's rules for Services, which are code there and no schema (`ValidateService` and the allocation of families in
//! Kubernetes 1.34). What depends on a cluster, as its families and ranges, is not judged. Each rule has a row in `e2e/field`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;
use serde_json::Value;

use super::Fault;
use super::endpoints::{PROTOCOLS, endpoint_address};
use super::metadata::{LABEL, SUBDOMAIN, label_value, qualified};
use super::near::suggestion;

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
const FAMILY_POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];
const TRAFFIC_POLICIES: [&str; 2] = ["Cluster", "Local"];
const AFFINITIES: [&str; 2] = ["ClientIP", "None"];
const DISTRIBUTIONS: [&str; 3] = ["PreferClose", "PreferSameNode", "PreferSameZone"];
/// Clouds that open a firewall for a Service would open the kubelet to the world.
const KUBELET_PORT: i32 = 10250;

/// Judges a Service whose fields have the right types.
pub(super) fn judge(object: &Value, faults: &mut Vec<Fault>) {
    let Ok(service) = Service::deserialize(object) else {
        return faults.push(Fault::refused("spec", "cannot be read as a Service"));
    };
    let spec = service.spec.unwrap_or_default();
    let mut rules = Rules { spec: &spec, faults };
    rules.types();
    rules.ports();
    rules.families();
    rules.addresses();
    rules.policies();
}

/// One of a few words, with a default for an empty one: what is wrong.
pub(super) fn word(given: &str, known: &[&str]) -> Option<String> {
    if known.contains(&given) {
        return None;
    }
    let near = suggestion(given, known.iter().copied());
    Some(format!("{given:?} is not one of {}{near}", known.join(", ")))
}

fn or_default<'a>(given: Option<&'a str>, default: &'a str) -> &'a str {
    given.filter(|given| !given.is_empty()).unwrap_or(default)
}

fn is_port(port: i32) -> bool {
    (1..=65535).contains(&port)
}

struct Rules<'a> {
    spec: &'a ServiceSpec,
    faults: &'a mut Vec<Fault>,
}

impl<'a> Rules<'a> {
    fn refuse(&mut self, field: &str, message: impl Into<String>) {
        self.faults.push(Fault::refused(format!("spec.{field}"), message));
    }

    fn refuse_if(&mut self, wrong: bool, field: &str, message: &str) {
        if wrong {
            self.refuse(field, message);
        }
    }

    fn word(&mut self, field: &str, given: &str, known: &[&str]) {
        if let Some(wrong) = word(given, known) {
            self.refuse(field, wrong);
        }
    }

    fn r#type(&self) -> &'a str {
        or_default(self.spec.type_.as_deref(), "ClusterIP")
    }

    fn is_type(&self, name: &str) -> bool {
        self.r#type() == name
    }

    fn is_headless(&self) -> bool {
        let first = self.spec.cluster_ips.as_deref().and_then(<[String]>::first);
        let first = first.or(self.spec.cluster_ip.as_ref());
        first.is_some_and(|first| first == "None")
    }

    /// Reached from outside, whatever the policy.
    fn is_external(&self) -> bool {
        let addresses = self.spec.external_ips.as_deref().unwrap_or_default();
        self.is_type("LoadBalancer")
            || self.is_type("NodePort")
            || self.is_type("ClusterIP") && !addresses.is_empty()
    }

    fn types(&mut self) {
        self.word("type", self.r#type(), &TYPES);
        let spec = self.spec;
        let balanced = self.is_type("LoadBalancer");
        if self.is_headless() && (balanced || self.is_type("NodePort")) {
            let message = format!("a Service of type {} cannot be headless (None)", self.r#type());
            let field = if spec.cluster_ips.is_some() { "clusterIPs[0]" } else { "clusterIP" };
            self.refuse(field, message);
        }
        if self.is_type("ExternalName") {
            let name = spec.external_name.as_deref().unwrap_or_default();
            match name.strip_suffix('.').unwrap_or(name) {
                "" => {
                    self.refuse("externalName", "missing: a Service of type ExternalName needs it")
                }
                name => {
                    if let Some(wrong) = SUBDOMAIN.fault(name) {
                        self.refuse("externalName", wrong);
                    }
                }
            }
            let forbidden = "a Service of type ExternalName must not have it";
            let addresses = spec.cluster_ip.as_deref().is_some_and(|ip| !ip.is_empty());
            self.refuse_if(addresses, "clusterIP", forbidden);
            let families = spec.ip_families.as_deref().is_some_and(|list| !list.is_empty());
            self.refuse_if(families, "ipFamilies", forbidden);
            self.refuse_if(spec.ip_family_policy.is_some(), "ipFamilyPolicy", forbidden);
        }
        if let Some(class) = spec.load_balancer_class.as_deref() {
            let only = "only a Service of type LoadBalancer can have a class";
            self.refuse_if(!balanced, "loadBalancerClass", only);
            if let Some(wrong) = qualified(class) {
                self.refuse("loadBalancerClass", wrong);
            }
        }
        let only = "only a Service of type LoadBalancer can have it";
        let ports = spec.allocate_load_balancer_node_ports.is_some();
        self.refuse_if(ports && !balanced, "allocateLoadBalancerNodePorts", only);
        let ranges = spec.load_balancer_source_ranges.as_deref().unwrap_or_default();
        self.refuse_if(!ranges.is_empty() && !balanced, "loadBalancerSourceRanges", only);
        for (key, value) in spec.selector.iter().flatten() {
            if let Some(wrong) = qualified(key).or_else(|| label_value(value)) {
                self.refuse(&format!("selector.{key}"), wrong);
            }
        }
    }

    fn ports(&mut self) {
        let ports = self.spec.ports.as_deref().unwrap_or_default();
        let needed = !self.is_headless() && !self.is_type("ExternalName");
        self.refuse_if(ports.is_empty() && needed, "ports", "missing: a Service needs a port");
        let (mut names, mut pairs, mut node_ports) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for (index, port) in ports.iter().enumerate() {
            let path = format!("ports[{index}]");
            let at = |field: &str| format!("{path}.{field}");
            let name = port.name.as_deref().unwrap_or_default();
            if name.is_empty() {
                let message = "missing: with more than one port each needs a name";
                self.refuse_if(ports.len() > 1, &at("name"), message);
            } else if let Some(wrong) = LABEL.fault(name) {
                self.refuse(&at("name"), wrong);
            } else if !names.insert(name) {
                self.refuse(&at("name"), format!("{name:?} is the name of another port already"));
            }
            self.port(port, &at);
            let protocol = or_default(port.protocol.as_deref(), "TCP");
            if !pairs.insert((protocol, port.port)) {
                let message = format!("{protocol} port {} stands in this list already", port.port);
                self.refuse(&path, message);
            }
            let node_port = port.node_port.unwrap_or(0);
            if node_port != 0 {
                let message = "a Service of type ClusterIP has no node ports";
                self.refuse_if(self.is_type("ClusterIP"), &at("nodePort"), message);
                if !node_ports.insert((protocol, node_port)) {
                    self.refuse(
                        &at("nodePort"),
                        format!("{node_port} stands in this list already"),
                    );
                }
            }
        }
    }

    fn port(&mut self, port: &ServicePort, at: &dyn Fn(&str) -> String) {
        let range = |port| format!("{port} is no port: 1 to 65535");
        if !is_port(port.port) {
            self.refuse(&at("port"), range(port.port));
        }
        if port.port == KUBELET_PORT && self.is_type("LoadBalancer") {
            let message = format!(
                "{KUBELET_PORT} is the kubelet's port, which must not be opened to the world"
            );
            self.refuse(&at("port"), message);
        }
        self.word(&at("protocol"), or_default(port.protocol.as_deref(), "TCP"), &PROTOCOLS);
        match &port.target_port {
            // The default is the port itself.
            None | Some(IntOrString::Int(0)) => {}
            Some(IntOrString::Int(target)) => {
                if !is_port(*target) {
                    self.refuse(&at("targetPort"), range(*target));
                }
            }
            Some(IntOrString::String(name)) if name.is_empty() => {}
            Some(IntOrString::String(name)) => {
                if !is_service_name(name) {
                    let message = format!(
                        "{name:?} is no name of a port: at most 15 lower-case letters, digits and -, at least one letter, no - at an end or doubled"
                    );
                    self.refuse(&at("targetPort"), message);
                }
            }
        }
        if let Some(wrong) = port.app_protocol.as_deref().and_then(qualified) {
            self.refuse(&at("appProtocol"), wrong);
        }
    }

    fn families(&mut self) {
        if self.is_type("ExternalName") {
            return;
        }
        let spec = self.spec;
        let families = spec.ip_families.as_deref().unwrap_or_default();
        let mut seen = BTreeSet::new();
        for (index, family) in families.iter().enumerate() {
            let field = format!("ipFamilies[{index}]");
            self.word(&field, family, &FAMILIES);
            if !seen.insert(family) {
                self.refuse(&field, format!("{family:?} stands in this list already"));
            }
        }
        let policy = spec.ip_family_policy.as_deref();
        if let Some(policy) = policy {
            self.word("ipFamilyPolicy", policy, &FAMILY_POLICIES);
        }
        let addresses = self.cluster_addresses();
        if matches!(policy, None | Some("SingleStack")) && !self.is_headless() {
            let message = |what: &str| {
                format!(
                    "two {what} need PreferDualStack or RequireDualStack; the default is SingleStack"
                )
            };
            if families.len() == 2 {
                self.refuse("ipFamilyPolicy", message("families"));
            }
            if addresses.len() == 2 {
                self.refuse("ipFamilyPolicy", message("cluster addresses"));
            }
        }
        for (index, (address, family)) in addresses.iter().zip(families).enumerate() {
            let is_v4 = crds::address::core_address(address).map(|address| address.value.is_ipv4());
            if is_v4.is_some_and(|is_v4| is_v4 != (family == "IPv4")) {
                let message = format!(
                    "{address:?} is not of the family {family} that ipFamilies[{index}] says"
                );
                self.refuse(&format!("clusterIPs[{index}]"), message);
            }
        }
    }

    /// The cluster addresses as the API server takes them: an empty text or list is none.
    fn cluster_addresses(&mut self) -> Vec<&'a str> {
        let spec = self.spec;
        let first = spec.cluster_ip.as_deref().unwrap_or_default();
        let list: Vec<&str> = spec.cluster_ips.iter().flatten().map(String::as_str).collect();
        let Some(head) = list.first() else {
            return if first.is_empty() { Vec::new() } else { vec![first] };
        };
        if first.is_empty() {
            self.refuse("clusterIPs", "must be empty where clusterIP is not given");
        } else if *head != first {
            self.refuse("clusterIPs", format!("its first entry must be the clusterIP, {first:?}"));
        }
        if list.len() > 2 {
            self.refuse("clusterIPs", "at most two addresses are possible");
        }
        list
    }

    fn addresses(&mut self) {
        let spec = self.spec;
        let field = if spec.cluster_ips.as_deref().is_some_and(|list| !list.is_empty()) {
            "clusterIPs"
        } else {
            "clusterIP"
        };
        let list: Vec<&str> = match field {
            "clusterIPs" => spec.cluster_ips.iter().flatten().map(String::as_str).collect(),
            _ => spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty()).into_iter().collect(),
        };
        let mut families = BTreeSet::new();
        for (index, text) in list.iter().enumerate() {
            let field =
                if field == "clusterIP" { field.to_owned() } else { format!("{field}[{index}]") };
            if *text == "None" {
                self.refuse_if(list.len() > 1, &field, "None must be the only entry");
                continue;
            }
            match crds::address::core_address(text) {
                None => self.refuse(&field, format!("{text:?} is not an IP address")),
                Some(address) if !families.insert(address.value.is_ipv4()) => {
                    self.refuse(&field, "at most one address of each family is possible");
                }
                Some(_) => {}
            }
        }
        for (index, text) in spec.external_ips.iter().flatten().enumerate() {
            if let Some(wrong) = endpoint_address(text) {
                self.refuse(&format!("externalIPs[{index}]"), wrong);
            }
        }
        for (index, text) in spec.load_balancer_source_ranges.iter().flatten().enumerate() {
            // Spaces around a range are part of the API, by an accident of its history.
            if crds::address::core_prefix(text.trim()).is_none() {
                let message = format!("{text:?} is not a range such as 192.0.2.0/24");
                self.refuse(&format!("loadBalancerSourceRanges[{index}]"), message);
            }
        }
    }

    fn policies(&mut self) {
        let spec = self.spec;
        let policy = spec.external_traffic_policy.as_deref().unwrap_or_default();
        if self.is_external() {
            self.word(
                "externalTrafficPolicy",
                or_default(Some(policy), "Cluster"),
                &TRAFFIC_POLICIES,
            );
        } else {
            let message = "only a Service that is reached from outside can have it: type LoadBalancer or NodePort, or externalIPs";
            self.refuse_if(!policy.is_empty(), "externalTrafficPolicy", message);
        }
        let health = spec.health_check_node_port.unwrap_or(0);
        if self.is_type("LoadBalancer") && policy == "Local" {
            let message = format!("{health} is no port: 1 to 65535");
            self.refuse_if(health != 0 && !is_port(health), "healthCheckNodePort", &message);
        } else {
            let message = "only with type LoadBalancer and externalTrafficPolicy Local";
            self.refuse_if(health != 0, "healthCheckNodePort", message);
        }
        if let Some(policy) = spec.internal_traffic_policy.as_deref() {
            self.word("internalTrafficPolicy", policy, &TRAFFIC_POLICIES);
        }
        if let Some(distribution) = spec.traffic_distribution.as_deref() {
            self.word("trafficDistribution", distribution, &DISTRIBUTIONS);
        }
        let affinity = or_default(spec.session_affinity.as_deref(), "None");
        self.word("sessionAffinity", affinity, &AFFINITIES);
        let config = spec.session_affinity_config.as_ref();
        // Without ClientIP the API server drops the configuration.
        let config = config.filter(|_| affinity == "ClientIP");
        let seconds = config.and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
        if let Some(seconds) = seconds.filter(|seconds| !(1..=86400).contains(seconds)) {
            let message = format!("{seconds} is out of range: 1 to 86400 seconds");
            self.refuse("sessionAffinityConfig.clientIP.timeoutSeconds", message);
        }
    }
}

/// RFC 6335 section 5.1, in lower case.
fn is_service_name(name: &str) -> bool {
    let known =
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let letters = name.bytes().any(|byte| byte.is_ascii_lowercase());
    let dashes = name.starts_with('-') || name.ends_with('-') || name.contains("--");
    name.len() <= 15 && known && letters && !dashes
}
