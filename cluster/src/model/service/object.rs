// SPDX-License-Identifier: Apache-2.0
//! A Service as it comes over the wire, and its reduction to the parts that are kept. Objects of a folder are filled
//! in here with what an API server would have given them.

use std::net::IpAddr;

use compact_str::CompactString;
use crds::address::{core_address, parse_address};
use crds::antrea;
use crds::config::Family;
use crds::labels::Labels;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::{
    FamilyPolicy, Ingress, POOL_ANNOTATION, Service, ServicePort, ServiceType, TrafficPolicy,
};
use crate::key::ObjectKey;
use crate::model::condition::{ALLOCATED_CONDITION, ANNOUNCED_CONDITION, ServiceCondition};
use crate::model::version::ResourceVersion;

/// The prefixes of the annotations that any part of ferrolb reads.
const ANNOTATION_PREFIXES: [&str; 4] =
    ["metallb.io/", "metallb.universe.tf/", "service.antrea.io/", "ferrolb.io/"];

/// The object as it comes over the wire; parsing skips the fields that are not named here.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ServiceObject {
    /// Standard metadata.
    pub metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[serde(rename = "type")]
    service_type: Option<String>,
    load_balancer_class: Option<String>,
    #[serde(rename = "loadBalancerIP")]
    load_balancer_ip: Option<String>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<String>>,
    ip_families: Option<Vec<String>>,
    ip_family_policy: Option<String>,
    external_traffic_policy: Option<String>,
    session_affinity: Option<String>,
    selector: Labels,
    ports: Option<Vec<PortObject>>,
}

#[derive(Clone, Debug, Deserialize)]
struct PortObject {
    protocol: Option<String>,
    port: u16,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    load_balancer: LoadBalancer,
    conditions: Vec<ConditionObject>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ConditionObject {
    r#type: String,
    status: String,
    reason: String,
    message: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct LoadBalancer {
    ingress: Option<Vec<IngressObject>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct IngressObject {
    ip: Option<String>,
    hostname: Option<String>,
}

/// The families of the addresses that a Service asks for.
fn requested(metadata: &ObjectMeta, field: Option<&str>) -> Vec<Family> {
    let annotation = ["metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs"]
        .iter()
        .find_map(|key| metadata.annotations.as_ref()?.get(*key));
    let text = annotation.map(String::as_str).or(field).unwrap_or_default();
    let addresses = text.split(',').filter_map(|part| parse_address(part.trim()));
    addresses.map(Family::of).collect()
}

impl ServiceObject {
    /// The key; the namespace of an object without one is `default`.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(
            self.metadata.namespace.as_deref().unwrap_or("default"),
            self.metadata.name.as_deref().unwrap_or_default(),
        )
    }

    /// True if `spec.type` is `LoadBalancer`.
    #[must_use]
    pub fn is_load_balancer(&self) -> bool {
        self.spec.service_type.as_deref() == Some("LoadBalancer")
    }

    /// Gives a Service of a folder the cluster addresses that an API server would have given it. Their families are
    /// those of its `ipFamilies`, else of the addresses that it requests, else those of its policy with IPv4 first. The
    /// addresses are the unspecified ones; only their families count.
    pub fn default_cluster_ips(&mut self) {
        let spec = &mut self.spec;
        // Charts write an empty text or list, which counts as none.
        let given = spec.cluster_ip.as_deref().is_some_and(|ip| !ip.is_empty())
            || spec.cluster_ips.as_deref().is_some_and(|ips| !ips.is_empty());
        if given || spec.service_type.as_deref() != Some("LoadBalancer") {
            return;
        }
        let dual = matches!(
            spec.ip_family_policy.as_deref(),
            Some("PreferDualStack" | "RequireDualStack")
        );
        let mut families: Vec<Family> = spec
            .ip_families
            .iter()
            .flatten()
            .map(|family| if family == "IPv6" { Family::V6 } else { Family::V4 })
            .collect();
        if families.is_empty() {
            families = requested(&self.metadata, spec.load_balancer_ip.as_deref());
        }
        families.dedup();
        if families.is_empty() {
            families.push(Family::V4);
        }
        if let ([one], true) = (families.as_slice(), dual) {
            families.push(one.other());
        }
        let address = |family: &Family| match family {
            Family::V4 => "0.0.0.0".to_owned(),
            Family::V6 => "::".to_owned(),
        };
        spec.cluster_ips = Some(families.iter().map(address).collect());
    }

    /// The addresses of the Service's status, and the pool of its annotation.
    #[must_use]
    pub fn status(&self) -> (Vec<IpAddr>, Option<&str>) {
        let ingress = self.status.load_balancer.ingress.iter().flatten();
        let addresses = ingress.filter_map(|entry| core_address(entry.ip.as_deref()?));
        let annotations = self.metadata.annotations.as_ref();
        let pool = annotations.and_then(|all| {
            all.get(POOL_ANNOTATION)
                .or_else(|| all.get("metallb.universe.tf/ip-allocated-from-pool"))
        });
        (addresses.map(|address| address.value).collect(), pool.map(String::as_str))
    }

    /// Puts these addresses and this pool in the place of the object's own status and pool annotation.
    pub fn set_status(&mut self, addresses: &[IpAddr], pool: Option<&str>) {
        let ingress = addresses
            .iter()
            .map(|address| IngressObject { ip: Some(address.to_string()), hostname: None });
        self.status.load_balancer.ingress = Some(ingress.collect());
        // The controller would have written this condition; its fingerprint is that of `given`.
        if !addresses.is_empty() {
            self.status.conditions = vec![ConditionObject {
                r#type: ALLOCATED_CONDITION.to_owned(),
                status: "True".to_owned(),
                ..ConditionObject::default()
            }];
        }
        let annotations = self.metadata.annotations.get_or_insert_default();
        // Services of Antrea's world name their pool themselves.
        let external =
            annotations.get(antrea::POOL_ANNOTATION).is_some_and(|pool| !pool.is_empty());
        match pool.filter(|_| !external) {
            Some(pool) => annotations.insert(POOL_ANNOTATION.to_owned(), pool.to_owned()),
            None => annotations.remove(POOL_ANNOTATION),
        };
    }

    /// Reduces the object to the parts that are kept.
    #[must_use]
    pub fn reduce(self) -> Service {
        let Self { metadata, spec, status } = self;
        let service_type = match spec.service_type.as_deref() {
            Some("LoadBalancer") => ServiceType::LoadBalancer,
            _ => ServiceType::Other,
        };
        let mut cluster_ips: Vec<CompactString> =
            spec.cluster_ips.unwrap_or_default().into_iter().map(Into::into).collect();
        if cluster_ips.is_empty() {
            cluster_ips
                .extend(spec.cluster_ip.filter(|text| !text.is_empty()).map(CompactString::from));
        }
        let primary_family = match spec.ip_families.unwrap_or_default().first().map(String::as_str)
        {
            Some("IPv6") => Family::V6,
            _ => Family::V4,
        };
        let annotations: Labels = metadata
            .annotations
            .unwrap_or_default()
            .into_iter()
            .filter(|(key, _)| ANNOTATION_PREFIXES.iter().any(|prefix| key.starts_with(prefix)))
            .collect();
        let shares = annotations.iter().any(|(key, _)| key.ends_with("/allow-shared-ip"));
        Service {
            uid: metadata.uid.unwrap_or_default().into(),
            version: ResourceVersion::new(metadata.resource_version.as_deref().unwrap_or_default()),
            created: metadata.creation_timestamp.map(|time| time.0.as_second()),
            labels: metadata.labels.unwrap_or_default().into(),
            annotations,
            service_type,
            load_balancer_class: spec.load_balancer_class.map(String::into_boxed_str),
            load_balancer_ip: spec.load_balancer_ip.unwrap_or_default().into(),
            cluster_ips: cluster_ips.into(),
            primary_family,
            family_policy: match spec.ip_family_policy.as_deref() {
                Some("PreferDualStack") => FamilyPolicy::PreferDualStack,
                Some("RequireDualStack") => FamilyPolicy::RequireDualStack,
                _ => FamilyPolicy::SingleStack,
            },
            client_affinity: spec.session_affinity.as_deref() == Some("ClientIP"),
            traffic_policy: match spec.external_traffic_policy.as_deref() {
                Some("Local") => TrafficPolicy::Local,
                _ => TrafficPolicy::Cluster,
            },
            selector: if shares { spec.selector } else { Labels::default() },
            ports: spec
                .ports
                .unwrap_or_default()
                .into_iter()
                .map(|port| ServicePort {
                    protocol: port.protocol.as_deref().unwrap_or("TCP").into(),
                    port: port.port,
                })
                .collect(),
            ingress: status
                .load_balancer
                .ingress
                .unwrap_or_default()
                .into_iter()
                .map(|entry| Ingress {
                    ip: entry.ip.unwrap_or_default().into(),
                    hostname: entry.hostname.unwrap_or_default().into(),
                })
                .collect(),
            allocated: fingerprint(&status.conditions, ALLOCATED_CONDITION),
            announced: fingerprint(&status.conditions, ANNOUNCED_CONDITION),
        }
    }
}

/// The fingerprint of the condition of that type; none without it.
fn fingerprint(conditions: &[ConditionObject], r#type: &str) -> Option<u64> {
    let ours = conditions.iter().find(|condition| condition.r#type == r#type)?;
    let ConditionObject { status, reason, message, .. } = ours.clone();
    Some(ServiceCondition { met: status == "True", reason, message }.fingerprint())
}
