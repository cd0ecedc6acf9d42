// SPDX-License-Identifier: Apache-2.0
//! The node that announces each Service by L2, as the speakers report it in ServiceL2Status objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use crate::key::ObjectKey;

/// A ServiceL2Status as it comes over the wire.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct AnnouncerObject {
    /// Standard metadata.
    pub metadata: ObjectMeta,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    node: Option<String>,
    service_name: Option<String>,
    service_namespace: Option<String>,
}

/// The report of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Report {
    /// The time of creation in seconds since the epoch, then the version: while an address moves, the newest of several
    /// objects counts.
    age: (i64, u64),
    node: Arc<str>,
}

/// All reports, by Service and by the object's name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Announcers {
    services: BTreeMap<ObjectKey, BTreeMap<Box<str>, Report>>,
    names: BTreeMap<Box<str>, ObjectKey>,
}

impl Announcers {
    /// The node that announces a Service.
    pub(crate) fn of(&self, service: &ObjectKey) -> Option<&Arc<str>> {
        let reports = self.services.get(service)?.values();
        reports.max_by_key(|report| report.age).map(|report| &report.node)
    }

    /// The names of the objects.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(|name| &**name)
    }

    /// Takes in an object; returns the Service if another node announces it now.
    pub(crate) fn apply(&mut self, object: AnnouncerObject) -> Option<ObjectKey> {
        let AnnouncerObject { metadata, status } = object;
        let name: Box<str> = metadata.name?.into();
        let (Some(node), Some(service), Some(namespace)) =
            (status.node, status.service_name, status.service_namespace)
        else {
            // A speaker makes the object before it writes its status.
            return self.delete(&name);
        };
        let service = ObjectKey::new(&namespace, &service);
        let created = metadata.creation_timestamp.map_or(0, |time| time.0.as_second());
        let version = metadata.resource_version.and_then(|text| text.parse().ok()).unwrap_or(0);
        let report = Report { age: (created, version), node: node.into() };
        let before = self.of(&service).cloned();
        self.services.entry(service.clone()).or_default().insert(name.clone(), report);
        self.names.insert(name, service.clone());
        (self.of(&service) != before.as_ref()).then_some(service)
    }

    /// Removes an object; returns the Service if another node announces it now, or none does.
    pub(crate) fn delete(&mut self, name: &str) -> Option<ObjectKey> {
        let service = self.names.remove(name)?;
        let before = self.of(&service).cloned();
        if let Some(reports) = self.services.get_mut(&service) {
            reports.remove(name);
            if reports.is_empty() {
                self.services.remove(&service);
            }
        }
        (self.of(&service) != before.as_ref()).then_some(service)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str, node: &str, version: u64) -> AnnouncerObject {
        serde_json::from_value(json!({
            "metadata": {
                "name": name, "creationTimestamp": "2026-01-01T00:00:00Z",
                "resourceVersion": version.to_string(),
            },
            "status": { "node": node, "serviceName": "web", "serviceNamespace": "default" },
        }))
        .unwrap()
    }

    #[test]
    fn while_an_address_moves_the_newest_report_counts() {
        let web = ObjectKey::new("default", "web");
        let mut all = Announcers::default();
        assert_eq!(all.apply(object("a", "n1", 5)), Some(web.clone()));
        assert_eq!(all.apply(object("b", "n2", 7)), Some(web.clone()));
        assert_eq!(all.of(&web).map(|node| &**node), Some("n2"));
        assert_eq!(all.apply(object("a", "n1", 6)), None, "an older object that changes late");
        assert_eq!(all.delete("a"), None);
        assert_eq!(all.delete("b"), Some(web.clone()));
        assert_eq!(all.of(&web), None);
        assert_eq!(all.names().count(), 0);
    }
}
