// SPDX-License-Identifier: Apache-2.0
//! A check whether the memberlist's port seems to be blocked: speakers are listed, and none of them answers, or some answer over TCP only. A
//! synchronous value.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The time that listed speakers get to answer, which is as long as a start waits for the ring.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// See the module's head.
#[derive(Debug, Default)]
pub struct PortCheck {
    /// The time since which speakers are listed and none answers.
    since: Option<Instant>,
    blocked: bool,
    /// The speakers that answer over TCP only.
    unheard: BTreeSet<Arc<str>>,
    /// The addresses that are listed and use another key.
    other_key: BTreeSet<IpAddr>,
}

/// A change of the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortChange {
    /// Speakers are listed, and none answers.
    Everybody,
    /// The speakers that answer over TCP only, now; the set may be empty.
    Some(BTreeSet<Arc<str>>),
    /// The addresses that are listed and use another key, now; the set may be empty.
    OtherKey(BTreeSet<IpAddr>),
    /// Speakers answer again.
    Nobody,
}

impl PortCheck {
    /// Looks at the present state: whether this speaker may announce by its standing, how many `others` answer, whether others are `listed`,
    /// and whether the time to wait for their answers is over already (`awaited`).
    pub fn look(
        &mut self,
        now: Instant,
        speaks: bool,
        others: usize,
        listed: bool,
        awaited: bool,
    ) -> Option<PortChange> {
        if others > 0 || !listed {
            self.since = None;
            let opens = others > 0 && std::mem::take(&mut self.blocked);
            return opens.then_some(PortChange::Nobody);
        }
        let since = *self.since.get_or_insert(now);
        let late = awaited || now >= since + ANSWER_WAIT;
        if self.blocked || !speaks || !late {
            return None;
        }
        self.blocked = true;
        Some(PortChange::Everybody)
    }

    /// These speakers answer over TCP only.
    pub fn set_unheard(&mut self, names: &BTreeSet<Arc<str>>) -> Option<PortChange> {
        if self.unheard == *names {
            return None;
        }
        self.unheard.clone_from(names);
        Some(PortChange::Some(names.clone()))
    }

    /// No key of this speaker opens what these addresses send.
    pub fn set_other_key(&mut self, addresses: BTreeSet<IpAddr>) -> Option<PortChange> {
        if self.other_key == addresses {
            return None;
        }
        self.other_key.clone_from(&addresses);
        Some(PortChange::OtherKey(addresses))
    }

    /// True if addresses are listed that use another key.
    #[must_use]
    pub fn has_other_key(&self) -> bool {
        !self.other_key.is_empty()
    }

    /// True if the port seems to be blocked, for any speaker.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.blocked || !self.unheard.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods, reason = "a test's beginning of time")]
    fn beginning() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_list_that_comes_after_the_wait_is_looked_at_too() {
        let now = beginning();
        let mut port_check = PortCheck::default();
        assert_eq!(port_check.look(now, true, 0, false, true), None, "nobody is listed yet");
        assert_eq!(port_check.look(now, true, 0, true, false), None, "they get time to answer");
        let later = now + ANSWER_WAIT;
        assert_eq!(port_check.look(later, true, 0, true, false), Some(PortChange::Everybody));
        assert!(port_check.is_blocked());
        assert_eq!(port_check.look(later, true, 0, true, false), None, "it is told once");
        assert_eq!(port_check.look(later, true, 1, true, false), Some(PortChange::Nobody));
        assert!(!port_check.is_blocked());
        assert_eq!(port_check.look(later, true, 0, true, false), None, "they get time again");
    }

    #[test]
    fn at_the_end_of_the_wait_it_is_told_at_once_and_never_of_one_that_is_silent() {
        let now = beginning();
        let mut port_check = PortCheck::default();
        assert_eq!(port_check.look(now, false, 0, true, true), None);
        assert_eq!(port_check.look(now, true, 0, true, true), Some(PortChange::Everybody));
    }

    #[test]
    fn those_that_have_another_key_are_told_when_they_are_others() {
        let mut port_check = PortCheck::default();
        let some: BTreeSet<IpAddr> = ["192.0.2.1".parse().unwrap()].into();
        assert_eq!(port_check.set_other_key(BTreeSet::new()), None);
        assert_eq!(
            port_check.set_other_key(some.clone()),
            Some(PortChange::OtherKey(some.clone()))
        );
        assert!(port_check.has_other_key() && !port_check.is_blocked());
        assert_eq!(port_check.set_other_key(some), None);
        let nobody = BTreeSet::new();
        assert_eq!(port_check.set_other_key(nobody.clone()), Some(PortChange::OtherKey(nobody)));
    }

    #[test]
    fn those_that_answer_over_tcp_only_are_told_when_they_are_others() {
        let mut port_check = PortCheck::default();
        let some: BTreeSet<Arc<str>> = ["b".into()].into();
        assert_eq!(port_check.set_unheard(&BTreeSet::new()), None);
        assert_eq!(port_check.set_unheard(&some), Some(PortChange::Some(some.clone())));
        assert!(port_check.is_blocked());
        assert_eq!(port_check.set_unheard(&some), None);
        assert_eq!(
            port_check.set_unheard(&BTreeSet::new()),
            Some(PortChange::Some(BTreeSet::new()))
        );
        assert!(!port_check.is_blocked());
    }
}
