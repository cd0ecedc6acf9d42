// SPDX-License-Identifier: Apache-2.0
//! The words about Services: each goes into this speaker's report, and is an event while nobody announces the Service. The core decides on
//! words and times.

use std::hash::{DefaultHasher, Hash, Hasher};

use cluster::ObjectKey;
use cluster::model::ServiceCondition;
use cluster::net::sink::kubernetes::{ObjectEvent, Regarding};

use super::Shell;

impl Shell {
    /// Puts a word into this speaker's report, from which the controller takes the condition. The word is an event as well while nobody
    /// announces the Service and the condition does not say so already.
    pub(super) fn tell_word(&self, service: ObjectKey, word: Option<ServiceCondition>) {
        let Some(word) = word else { return self.reports.publish(service, None) };
        let Some(object) = self.snapshot.service(&service) else { return };
        let is_new = object.announced != Some(word.fingerprint());
        if is_new && !word.met && !object.ingress.is_empty() {
            self.warn(&service, &word);
        }
        self.reports.publish(service, Some(word));
    }

    /// Tells again the Services that nobody announces, each in a minute of its own of every hour, since events expire.
    pub(in crate::net) fn remind(&self, minute: u64) {
        for (service, word) in self.driver.core().announced_condition().warnings() {
            let mut hasher = DefaultHasher::new();
            service.hash(&mut hasher);
            if hasher.finish() % 60 == minute % 60 {
                self.warn(service, word);
            }
        }
    }

    fn warn(&self, service: &ObjectKey, word: &ServiceCondition) {
        let uid = self.snapshot.service(service).map(|service| service.uid.clone());
        tracing::warn!(event = "notAnnounced", %service, reason = word.reason, "{}", word.message);
        self.events.publish(ObjectEvent {
            regarding: Regarding::service(service.clone(), uid.unwrap_or_default()),
            warning: true,
            reason: "notAnnounced",
            message: format!("nobody announces it: {}", word.message),
        });
    }
}
