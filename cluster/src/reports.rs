// SPDX-License-Identifier: Apache-2.0
//! The speakers' words on Services, from their SpeakerReport objects. Of several words on one Service the one that was
//! heard last counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crds::ferrolb::Word;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use crate::key::ObjectKey;
use crate::model::{ANNOUNCED_CONDITION, ServiceCondition};

/// The longest message that is taken, in octets.
const MESSAGE: usize = 2048;
/// The longest reason that is taken, in octets; the API server would take more.
const REASON: usize = 128;

/// A SpeakerReport as it comes over the wire.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ReportObject {
    /// Standard metadata.
    pub metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    words: Vec<Word>,
}

/// A word on one Service.
#[derive(Clone, Debug)]
struct Said {
    /// The number of the report in which the word was heard; zero for reports that were there at the start. Clocks of
    /// nodes may differ.
    heard: u64,
    /// The moment since which the speaker says the word, by the speaker's clock.
    since: i64,
    word: Arc<ServiceCondition>,
}

/// All words, by Service and by the object's name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reports {
    services: BTreeMap<ObjectKey, Vec<(Arc<str>, Said)>>,
    objects: BTreeMap<Arc<str>, BTreeSet<ObjectKey>>,
    heard: u64,
}

impl Reports {
    /// The word that counts for a Service.
    pub(crate) fn of(&self, service: &ObjectKey) -> Option<&ServiceCondition> {
        let said = self.services.get(service)?;
        said.iter()
            .map(|(_, said)| said)
            .max_by_key(|said| (said.heard, said.since))
            .map(|said| &*said.word)
    }

    /// The names of the objects.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.objects.keys().map(|name| &**name)
    }

    /// Takes in an object, one of the first list or a later one; returns the Services on which its word has changed.
    pub(crate) fn apply(&mut self, object: ReportObject, first: bool) -> BTreeSet<ObjectKey> {
        let name: Arc<str> = object.metadata.name.unwrap_or_default().into();
        let heard = if first {
            0
        } else {
            self.heard += 1;
            self.heard
        };
        let mut before = self.objects.remove(&name).unwrap_or_default();
        let (mut now, mut changed) = (BTreeSet::new(), BTreeSet::new());
        for entry in object.spec.words {
            let Some(word) = condition(&entry) else { continue };
            let word = Arc::new(word);
            for (service, since) in &entry.services {
                let Some(key) = ObjectKey::parse(service).filter(|key| key.as_str() == service)
                else {
                    continue;
                };
                let said = Said { heard, since: *since, word: Arc::clone(&word) };
                if self.put(&key, &name, said) {
                    changed.insert(key.clone());
                }
                before.remove(&key);
                now.insert(key);
            }
        }
        for key in before {
            self.remove(&key, &name);
            changed.insert(key);
        }
        if !now.is_empty() {
            self.objects.insert(name, now);
        }
        changed
    }

    /// Removes an object; returns the Services on which it held a word.
    pub(crate) fn delete(&mut self, name: &str) -> BTreeSet<ObjectKey> {
        let gone = self.objects.remove(name).unwrap_or_default();
        for key in &gone {
            self.remove(key, name);
        }
        gone
    }

    /// Stores a word. True if it differs from the one before.
    fn put(&mut self, service: &ObjectKey, name: &Arc<str>, said: Said) -> bool {
        let all = self.services.entry(service.clone()).or_default();
        match all.iter_mut().find(|(by, _)| by == name) {
            Some((_, known)) if known.word == said.word && known.since == said.since => false,
            Some((_, known)) => {
                *known = said;
                true
            }
            None => {
                all.push((Arc::clone(name), said));
                true
            }
        }
    }

    fn remove(&mut self, service: &ObjectKey, name: &str) {
        if let Some(all) = self.services.get_mut(service) {
            all.retain(|(by, _)| **by != *name);
            if all.is_empty() {
                self.services.remove(service);
            }
        }
    }
}

/// The word as a condition; none for a word that no speaker may say, or that no API server would take.
fn condition(word: &Word) -> Option<ServiceCondition> {
    let is_word = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text.len() <= REASON
            && text.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
    };
    let met = match &*word.status {
        "True" => true,
        "False" => false,
        _ => return None,
    };
    let valid = word.condition == ANNOUNCED_CONDITION && is_word(&word.reason);
    valid.then(|| {
        let end = word.message.floor_char_boundary(MESSAGE);
        let message = word.message.get(..end).unwrap_or_default().to_owned();
        ServiceCondition { met, reason: word.reason.clone(), message }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(name: &str, words: &[(&str, &str, i64)]) -> ReportObject {
        let words: Vec<_> = words
            .iter()
            .map(|(message, service, since)| {
                json!({
                    "condition": ANNOUNCED_CONDITION, "status": "True", "reason": "Announced",
                    "message": message, "services": { *service: since },
                })
            })
            .collect();
        serde_json::from_value(json!({ "metadata": { "name": name }, "spec": { "words": words } }))
            .unwrap()
    }

    fn said<'a>(reports: &'a Reports, service: &str) -> Option<&'a str> {
        reports.of(&ObjectKey::parse(service).unwrap()).map(|word| &*word.message)
    }

    #[test]
    fn of_the_first_list_the_newest_word_counts_and_then_the_one_that_was_heard_last() {
        let mut reports = Reports::default();
        let web = || BTreeSet::from([ObjectKey::new("default", "web")]);
        assert_eq!(reports.apply(report("n1.0", &[("n1", "default/web", 50)]), true), web());
        reports.apply(report("n2.0", &[("n2", "default/web", 40)]), true);
        assert_eq!(said(&reports, "default/web"), Some("n1"));
        // A clock that is behind does no harm.
        assert_eq!(reports.apply(report("n3.0", &[("n3", "default/web", 10)]), false), web());
        assert_eq!(said(&reports, "default/web"), Some("n3"));
        // A list that comes again says nothing new.
        assert!(reports.apply(report("n1.0", &[("n1", "default/web", 50)]), false).is_empty());
        assert_eq!(said(&reports, "default/web"), Some("n3"));
        assert_eq!(reports.delete("n3.0"), web());
        assert_eq!(said(&reports, "default/web"), Some("n1"));
        assert_eq!(reports.apply(report("n1.0", &[]), false), web());
        assert_eq!(said(&reports, "default/web"), Some("n2"));
        assert_eq!(reports.delete("n2.0"), web());
        assert_eq!(said(&reports, "default/web"), None);
        assert!(reports.services.is_empty() && reports.objects.is_empty());
    }

    #[test]
    fn a_word_that_is_not_a_speakers_to_say_is_not_taken() {
        let mut reports = Reports::default();
        let word = |condition: &str, status: &str, reason: &str, service: &str| {
            json!({ "condition": condition, "status": status, "reason": reason, "message": "x".repeat(9_000),
                    "services": { service: 1 } })
        };
        let words = [
            word("ferrolb.io/Allocated", "True", "Announced", "default/a"),
            word("Ready", "True", "Announced", "default/b"),
            word(ANNOUNCED_CONDITION, "Unknown", "Announced", "default/c"),
            word(ANNOUNCED_CONDITION, "True", "not a word", "default/d"),
            word(ANNOUNCED_CONDITION, "True", "Announced", "no-namespace"),
            word(ANNOUNCED_CONDITION, "False", "Announced", "default/e"),
        ];
        let object = json!({ "metadata": { "name": "n1.0" }, "spec": { "words": words } });
        let changed = reports.apply(serde_json::from_value(object).unwrap(), false);
        assert_eq!(changed, BTreeSet::from([ObjectKey::new("default", "e")]));
        assert_eq!(said(&reports, "default/e").map(str::len), Some(MESSAGE));
    }
}
