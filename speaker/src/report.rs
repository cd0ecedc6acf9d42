// SPDX-License-Identifier: Apache-2.0
//! What this speaker says of Services, as the SpeakerReport objects that it keeps: one object for each share of the Services, so that
//! a word that changes does not write all others anew. A synchronous value; the writing is `net`'s.

use std::collections::{BTreeMap, BTreeSet};

use cluster::ObjectKey;
use cluster::model::{ANNOUNCED_CONDITION, ServiceCondition};
use crds::ferrolb::Word;

use ownership::fnv::fnv1a;

/// The number of objects among which the Services are shared out: of 10,000 Services each has about 625.
pub const SHARES: u8 = 16;
/// The most octets of names and messages that one object has: the API server takes 1.5 MiB in all.
const OCTETS: usize = 512 << 10;
/// What a Service's time takes beside its name, in octets.
const TIME: usize = 24;

/// The words of one speaker.
#[derive(Debug, Default)]
pub struct Report {
    shares: BTreeMap<u8, BTreeMap<ObjectKey, Said>>,
    changed: BTreeSet<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    word: ServiceCondition,
    /// Seconds since 1970.
    since: i64,
}

impl Report {
    /// From now on this is said of a Service, or nothing.
    pub fn say(&mut self, service: &ObjectKey, word: Option<ServiceCondition>, now: i64) {
        let share = share_of(service);
        let said = self.shares.entry(share).or_default();
        let changed = match word {
            Some(word) if said.get(service).is_some_and(|said| said.word == word) => false,
            Some(word) => {
                said.insert(service.clone(), Said { word, since: now });
                true
            }
            None => said.remove(service).is_some(),
        };
        if said.is_empty() {
            self.shares.remove(&share);
        }
        if changed {
            self.changed.insert(share);
        }
    }

    /// The objects that are to be written again, and are not any more once this has said so.
    pub fn take_changed(&mut self) -> BTreeSet<u8> {
        std::mem::take(&mut self.changed)
    }

    /// The words of one object, and the number of Services for which it has no room. An object without words is not needed.
    #[must_use]
    pub fn words(&self, share: u8) -> (Vec<Word>, usize) {
        let mut by_word: BTreeMap<(bool, &str, &str), BTreeMap<String, i64>> = BTreeMap::new();
        let (mut octets, mut left_out) = (0, 0);
        for (service, Said { word, since }) in self.shares.get(&share).into_iter().flatten() {
            let text = (word.met, &*word.reason, &*word.message);
            let of_word = if by_word.contains_key(&text) { 0 } else { 256 + word.message.len() };
            let more = service.as_str().len() + TIME + of_word;
            if octets + more > OCTETS {
                left_out += 1;
                continue;
            }
            octets += more;
            by_word.entry(text).or_default().insert(service.to_string(), *since);
        }
        let words = by_word.into_iter().map(|((met, reason, message), services)| Word {
            condition: ANNOUNCED_CONDITION.to_owned(),
            status: if met { "True" } else { "False" }.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            services,
        });
        (words.collect(), left_out)
    }
}

/// The same for every build, so that a speaker that starts again writes the same objects.
fn share_of(service: &ObjectKey) -> u8 {
    u8::try_from(fnv1a(service.as_str().bytes()) % u32::from(SHARES)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(message: &str) -> ServiceCondition {
        ServiceCondition { met: true, reason: "Announced".into(), message: message.into() }
    }

    #[test]
    fn only_the_share_of_a_changed_word_is_written_again() {
        let (mut report, web) = (Report::default(), ObjectKey::new("default", "web"));
        report.say(&web, Some(word("by L2")), 7);
        let changed = report.take_changed();
        assert_eq!(changed, BTreeSet::from([share_of(&web)]));
        report.say(&web, Some(word("by L2")), 9);
        assert!(report.take_changed().is_empty());
        let (words, _) = report.words(share_of(&web));
        assert_eq!(words.len(), 1);
        assert_eq!(words[0].services, BTreeMap::from([("default/web".to_owned(), 7)]));
        report.say(&web, None, 9);
        assert_eq!(report.take_changed().len(), 1);
        assert_eq!(report.words(share_of(&web)), (Vec::new(), 0));
        report.say(&web, None, 9);
        assert!(report.take_changed().is_empty() && report.shares.is_empty());
    }

    #[test]
    fn ten_thousand_services_are_small_objects_and_no_object_is_too_large() {
        let mut report = Report::default();
        for n in 0..10_000 {
            report.say(&ObjectKey::new("default", &format!("service-{n}")), Some(word("by L2")), n);
        }
        assert_eq!(report.take_changed().len(), usize::from(SHARES));
        for share in 0..SHARES {
            let (words, left_out) = report.words(share);
            assert_eq!((words.len(), left_out), (1, 0));
            assert!((400..900).contains(&words[0].services.len()), "{}", words[0].services.len());
        }
        // Names and messages as long as they can be.
        for n in 0..20_000 {
            let key = ObjectKey::new(&"n".repeat(63), &format!("{n:063}"));
            report.say(&key, Some(word(&format!("{n:0900}"))), n);
        }
        let (words, left_out) = report.words(3);
        assert!(left_out > 0);
        assert!(serde_json::to_vec(&words).unwrap().len() < 1 << 20);
    }
}
