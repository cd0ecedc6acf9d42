// SPDX-License-Identifier: Apache-2.0
//! The condition `ferrolb.io/Announced` of a Service, the speaker that writes it, and the warning while nobody announces the Service. A
//! synchronous value.
//!
//! The node that announces an address by L2 says so. Where no node does, the alive speaker with the smallest node name says that the Service
//! is advertised by BGP, or why nobody announces it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::model::ServiceCondition;
use cluster::{ObjectKey, Snapshot};

use crate::advertise::{Advertisers, advertisers};
use crate::announce::Spreading;
use crate::reason::{Concern, Withhold};
use crate::speaker::Speaker;
use ownership::{LinkWord, RingSpeakers, Station};

/// The time that a word has to last before it is told: endpoints come a moment after their Service, and owners change.
const DEBOUNCE_TIME: Duration = Duration::from_secs(3);

/// The words about all Services.
#[derive(Debug, Default)]
pub struct AnnouncedCondition {
    /// The words that have not lasted long enough, and since when they hold.
    waiting: BTreeMap<ObjectKey, (Instant, ServiceCondition)>,
    /// The fingerprints of the words that were told: with thousands of Services the texts would take most of the memory.
    said: BTreeMap<ObjectKey, u64>,
    /// The words that were told and are warnings.
    warnings: BTreeMap<ObjectKey, ServiceCondition>,
    /// Services about which this speaker has told a word, and another speaker has the word now.
    retracted: BTreeSet<ObjectKey>,
}

impl AnnouncedCondition {
    /// The word about a Service now; none if the word is another speaker's.
    pub fn consider(&mut self, now: Instant, service: &ObjectKey, word: Option<ServiceCondition>) {
        if let Some(word) = &word {
            let waits = self.waiting.get(service).is_some_and(|(_, waiting)| waiting == word);
            if waits || self.said.get(service) == Some(&word.fingerprint()) {
                return;
            }
        }
        self.waiting.remove(service);
        let was_said = self.said.remove(service).is_some() || self.retracted.contains(service);
        self.warnings.remove(service);
        match word {
            Some(word) => {
                self.waiting.insert(service.clone(), (now, word));
            }
            None if was_said => {
                self.retracted.insert(service.clone());
            }
            None => {}
        }
    }

    /// Hands out the Services whose last word is to be taken back.
    pub fn take_retracted(&mut self) -> BTreeSet<ObjectKey> {
        std::mem::take(&mut self.retracted)
    }

    /// The words that have lasted long enough and were not told yet.
    pub fn due(&mut self, now: Instant) -> Vec<(ObjectKey, ServiceCondition)> {
        let due = self.waiting.extract_if(.., |_, (since, _)| now >= *since + DEBOUNCE_TIME);
        let due: Vec<_> = due.map(|(service, (_, word))| (service, word)).collect();
        for (service, word) in &due {
            self.said.insert(service.clone(), word.fingerprint());
            self.retracted.remove(service);
            if !word.met {
                self.warnings.insert(service.clone(), word.clone());
            }
        }
        due
    }

    /// The time at which [`Self::due`] has something to return.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.values().map(|(since, _)| *since + DEBOUNCE_TIME).min()
    }

    /// The words that were told and are warnings: they are told again from time to time, since events expire.
    pub fn warnings(&self) -> impl Iterator<Item = (&ObjectKey, &ServiceCondition)> {
        self.warnings.iter()
    }
}

/// The word of this speaker about a Service; none if the word is another speaker's.
#[must_use]
pub fn word(
    service: &ObjectKey,
    snapshot: &Snapshot,
    speaker: &Speaker,
    members: &RingSpeakers,
    link: Option<&BTreeMap<IpAddr, LinkWord>>,
) -> Option<ServiceCondition> {
    let options = speaker.options();
    let object = snapshot.service(service)?;
    if let Some(announcement) = speaker.announced().get(service) {
        let mut by_l2 = format!("by L2 from node {}", options.node);
        if let Some(words) = link {
            if let Some(refusal) = refusal(&announcement.addresses, words, &options.node) {
                return Some(refusal);
            }
            by_l2.push_str(", which sees too few speakers; no other station of the link answers");
        }
        let remarks = speaker.remarks(service).iter().map(ToString::to_string);
        let parts: Vec<String> = std::iter::once(by_l2).chain(remarks).collect();
        return Some(announced(parts.join("; ")));
    }
    let (by_l2, announcer) = speaker.withheld(service)?;
    match announcer {
        // The announcer has the word, also if it lacks the interfaces.
        Some(announcer) if *announcer != options.node => return None,
        None if !is_first(members, snapshot, &options.node) => return None,
        Some(_) | None => {}
    }
    // The reasons of this particular node do not count where nobody announces the Service.
    let by_l2 = speaker.nobody(service).unwrap_or(by_l2);
    match by_l2.concern() {
        // The Service is of another class.
        Concern::Gone => return None,
        // The controller tells the reason; here only an earlier word is replaced.
        Concern::Address if object.announced.is_none() => return None,
        Concern::Address => return Some(not_announced(by_l2.name(), by_l2.to_string())),
        Concern::Selection | Concern::Leaving | Concern::Announcement => {}
    }
    let by_bgp = match advertisers(service, object, snapshot, options) {
        Ok(Advertisers { nodes, unusable }) => {
            let some: Vec<&str> = nodes.iter().take(5).map(|node| &**node).collect();
            let more = match nodes.len().saturating_sub(some.len()) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let parts = [format!("by BGP from {}{more}", some.join(", "))];
            let parts: Vec<String> = parts.into_iter().chain(unusable).collect();
            return Some(announced(parts.join("; ")));
        }
        Err(reason) => reason,
    };
    let no_l2 = matches!(by_l2, Withhold::NotAdvertised(_));
    let no_bgp = matches!(by_bgp, Withhold::NoBgpAdvertisement(_));
    let message = match (no_l2, no_bgp) {
        (true, true) => format!("{by_l2}, and no BGPAdvertisement does"),
        (true, false) => by_bgp.to_string(),
        (false, true) => by_l2.to_string(),
        (false, false) if *by_l2 == by_bgp => by_l2.to_string(),
        (false, false) => format!("by L2: {by_l2}; by BGP: {by_bgp}"),
    };
    let reason = if no_l2 && !no_bgp { by_bgp.name_by_bgp() } else { by_l2.name() };
    Some(not_announced(reason, message))
}

/// Adds to a word of the announcing node which nodes serve the Service; `spreads` is false if this node cannot lead connections to
/// others.
pub(crate) fn tell_spreading(word: &mut ServiceCondition, spreading: &Spreading, spreads: bool) {
    if !word.met || spreading.weights.len() < 2 {
        return;
    }
    let total: u32 = spreading.weights.values().sum();
    let share = |(node, weight): (&Arc<str>, &u32)| {
        format!("{node} {} %", (weight * 100 + total / 2) / total.max(1))
    };
    let some: Vec<String> = spreading.weights.iter().take(8).map(share).collect();
    let more = match spreading.weights.len().saturating_sub(some.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let nodes = format!("{}{more}", some.join(", "));
    word.message.push_str(&if spreads {
        format!("; its connections are spread over the nodes {nodes}")
    } else {
        format!(
            "; this node serves alone, although its connections are to be spread over the nodes {nodes}: its speaker lacks \
             --keep-connections, or what that needs"
        )
    });
}

/// The reason why the link lets this node announce not all of a Service's addresses.
fn refusal(
    addresses: &[IpAddr],
    words: &BTreeMap<IpAddr, LinkWord>,
    node: &str,
) -> Option<ServiceCondition> {
    let answered = addresses.iter().find_map(|address| match words.get(address)? {
        LinkWord::AnsweredBy(station) => Some((address, station)),
        LinkWord::Unanswered => None,
    });
    if let Some((address, Station { interface, hardware_address })) = answered {
        let message = format!(
            "node {node} sees too few speakers, and another station answers for {address}: {hardware_address} on {interface}"
        );
        return Some(not_announced("answeredElsewhere", message));
    }
    let asked = addresses.iter().find(|address| !words.contains_key(*address))?;
    let message = format!(
        "node {node} sees too few speakers, and asks the link whether another station answers for {asked}"
    );
    Some(not_announced("askingLink", message))
}

fn not_announced(reason: &str, message: String) -> ServiceCondition {
    ServiceCondition { met: false, reason: camel(reason), message }
}

fn announced(message: String) -> ServiceCondition {
    ServiceCondition { met: true, reason: "Announced".to_owned(), message }
}

/// The name in the form of a condition's reason.
fn camel(name: &str) -> String {
    name.chars().take(1).flat_map(char::to_uppercase).chain(name.chars().skip(1)).collect()
}

/// True if this node's speaker has the word where nobody announces a Service.
fn is_first(members: &RingSpeakers, snapshot: &Snapshot, node: &str) -> bool {
    match members {
        RingSpeakers::Disabled => {
            snapshot.nodes().keys().next().is_some_and(|first| **first == *node)
        }
        RingSpeakers::Alive(all) => {
            all.keys().find(|name| members.contains(name)).is_some_and(|first| **first == *node)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no(message: &str) -> ServiceCondition {
        ServiceCondition { met: false, reason: "NoEndpoints".into(), message: message.into() }
    }

    #[test]
    fn what_passes_quickly_is_not_said_and_what_lasts_is_said_once() {
        #[allow(clippy::disallowed_methods, reason = "an Instant cannot be made otherwise")]
        let now = Instant::now();
        let (mut condition, key) =
            (AnnouncedCondition::default(), ObjectKey::new("default", "web"));
        condition.consider(now, &key, Some(no("one")));
        assert!(condition.due(now).is_empty());
        let later = now + DEBOUNCE_TIME / 2;
        condition.consider(later, &key, Some(announced("by L2".into())));
        assert_eq!(condition.deadline(), Some(later + DEBOUNCE_TIME));
        assert!(condition.due(now + DEBOUNCE_TIME).is_empty(), "it has just changed");
        condition.consider(now + DEBOUNCE_TIME, &key, Some(announced("by L2".into())));
        assert_eq!(condition.due(later + DEBOUNCE_TIME).len(), 1);
        assert!(condition.due(now + DEBOUNCE_TIME * 9).is_empty());
        assert_eq!(condition.deadline(), None);
        assert_eq!(condition.warnings().count(), 0);
        condition.consider(now + DEBOUNCE_TIME * 9, &key, Some(no("two")));
        assert_eq!(condition.due(now + DEBOUNCE_TIME * 10).len(), 1);
        assert_eq!(condition.warnings().count(), 1);
        condition.consider(now + DEBOUNCE_TIME * 10, &key, None);
        assert_eq!(condition.warnings().count(), 0);
        assert_eq!(condition.take_retracted(), BTreeSet::from([key]));
    }

    #[test]
    fn the_word_names_the_nodes_that_serve_together_or_why_they_do_not() {
        let spreading = |weights: &[(&str, u32)]| Spreading {
            weights: weights.iter().map(|(node, weight)| ((*node).into(), *weight)).collect(),
            hash: steer::HashBy::Connection,
        };
        let said = |weights: &[(&str, u32)], spreads: bool| {
            let mut word = announced("by L2 from node a".into());
            tell_spreading(&mut word, &spreading(weights), spreads);
            word.message
        };
        assert_eq!(said(&[("a", 3)], true), "by L2 from node a");
        assert_eq!(
            said(&[("a", 1), ("b", 2)], true),
            "by L2 from node a; its connections are spread over the nodes a 33 %, b 67 %"
        );
        let many: Vec<String> = (0..11).map(|number| format!("n{number}")).collect();
        let many: Vec<(&str, u32)> = many.iter().map(|name| (name.as_str(), 1)).collect();
        assert!(said(&many, true).ends_with("n5 9 %, n6 9 % and 3 more"), "{}", said(&many, true));
        assert!(said(&[("a", 1), ("b", 1)], false).contains("this node serves alone"));
        let mut refused = no("none");
        tell_spreading(&mut refused, &spreading(&[("a", 1), ("b", 1)]), true);
        assert_eq!(refused, no("none"));
    }

    #[test]
    fn reasons_are_words_in_camel_case() {
        assert_eq!(camel("noLocalEndpoints"), "NoLocalEndpoints");
    }
}
