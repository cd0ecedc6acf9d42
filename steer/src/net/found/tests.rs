// SPDX-License-Identifier: Apache-2.0
//! What was sent is found again, and no octets do harm.

use std::time::Duration;

use proptest::prelude::*;

use super::super::difference::{Difference, difference};
use super::super::keep::tests::any_table;
use super::super::message::Messages;
use super::super::operation::{batch, create};
use super::super::robustness::netfilter;
use super::super::ruleset::{TABLE, Table, Version};
use super::*;

const LINGER: Duration = Duration::from_secs(3);

/// The octets that make a table.
fn sent(table: &Table) -> Vec<u8> {
    batch(&create(table, TABLE, LINGER), Some(1), 1, true).0
}

/// The kernel lists a thing by the message that makes it, with some attributes more.
fn found(octets: &[u8]) -> Found {
    let mut found = Found::default();
    for message in Messages(octets) {
        if message.kind == nftables(NEW_TABLE) {
            let mark = comment(message.attributes().octets(6)).unwrap();
            found.format = Some(mark.strip_prefix(MARK).unwrap().parse().unwrap());
        }
        let families = [Family::V4, Family::V6, Family::Netdev];
        let family = families.into_iter().find(|it| Some(it.number()) == message.family());
        found.add(family.unwrap_or(Family::V4), TABLE, message);
    }
    found.uses = u32::try_from(found.chains.len() + found.sets.len()).unwrap();
    found
}

proptest! {
    #[test]
    fn what_was_sent_is_found_without_a_difference(table in any_table()) {
        let found = found(&sent(&table));
        prop_assert_eq!(difference(&table, Some(&found), LINGER), Some(Difference::default()));
    }

    #[test]
    fn any_octets_do_no_harm(octets in prop::collection::vec(any::<u8>(), 0..600)) {
        netfilter(&octets);
    }

    #[test]
    fn octets_that_were_changed_do_no_harm(
        table in any_table(),
        changes in prop::collection::vec((any::<usize>(), any::<u8>()), 1..20),
        end in any::<usize>(),
    ) {
        let mut octets = sent(&table);
        for (place, value) in changes {
            let place = place % octets.len();
            octets[place] = value;
        }
        octets.truncate(end % (2 * octets.len()));
        netfilter(&octets);
    }
}

#[test]
fn things_of_other_tables_and_families_are_not_ours() {
    let octets = sent(&Table::new(Version::V4, true));
    let mut other = Found::default();
    for message in Messages(&octets) {
        other.add(Family::V6, TABLE, message);
        other.add(Family::V4, "other", message);
    }
    assert_eq!(other, Found::default());
}

#[test]
fn a_rule_without_our_mark_or_with_another_comment_has_no_fingerprint() {
    for text in
        ["", "hello", "ferrolb 0123", "ferrolb 0123456789abcdeg", "ferrolb +123456789abcdef"]
    {
        let octets: Vec<u8> =
            [&[0, u8::try_from(text.len() + 1).unwrap()], text.as_bytes(), &[0]].concat();
        let mut rule = super::super::attribute::Writer::default();
        rule.text(2, "c").octets(7, &octets).nested(4, |_| {});
        let mut found = Found::default();
        found.add_rule(Attributes(rule.as_octets())).unwrap();
        assert_eq!(found.chains["c"].rules, [None], "{text}");
    }
}
