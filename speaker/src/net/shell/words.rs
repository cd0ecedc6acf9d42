// SPDX-License-Identifier: Apache-2.0
//! What is said of each Service: whether anybody announces it, in this speaker's report and in events. The [`herald`] decides what
//! is said.

use std::hash::{DefaultHasher, Hash, Hasher};

use cluster::model::ServiceCondition;
use cluster::net::sink::kubernetes::{ObjectEvent, Regarding};
use cluster::{Dirty, ObjectKey};

use super::Shell;
use crate::herald;
use crate::net::clock::now;

impl Shell {
    /// What is to be said of the Services that were decided again.
    pub(super) fn consider_words(&mut self, dirty: &Dirty) {
        let Ok(driver) = self.driver.lock() else { return };
        let members = self.membership.ring.attendance().members();
        let (snapshot, speaker, now) = (&self.snapshot, driver.speaker(), now());
        let mut consider = |service: &ObjectKey| {
            let word = herald::word(service, snapshot, speaker, members, speaker.options());
            self.herald.consider(now, service, word);
        };
        if dirty.all {
            snapshot.services().keys().for_each(&mut consider);
        }
        dirty.services.iter().for_each(consider);
    }

    /// Says what has lasted: in this speaker's report, from which the controller takes the condition, and as an event while nobody
    /// announces the Service and the condition does not say so already.
    pub(in crate::net) fn say(&mut self) {
        for service in self.herald.take_retracted() {
            self.reports.publish(service, None);
        }
        for (service, word) in self.herald.due(now()) {
            let Some(object) = self.snapshot.service(&service) else { continue };
            let is_new = object.announced != Some(word.fingerprint());
            if is_new && !word.met && !object.ingress.is_empty() {
                self.warn(&service, &word);
            }
            self.reports.publish(service, Some(word));
        }
    }

    /// Tells again which Services nobody announces, each in a minute of its own of every hour: events expire.
    pub(in crate::net) fn remind(&self, minute: u64) {
        for (service, word) in self.herald.warnings() {
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
