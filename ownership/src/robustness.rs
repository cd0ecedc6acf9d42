// SPDX-License-Identifier: Apache-2.0
//! The body of the fuzz target of what speakers tell one another, also run as a property test: arbitrary octets as notices and as marks of
//! two other speakers. It panics when a rule is broken. Not used by the daemon.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::table::Holdings;
use crate::wire::message::Told;

/// The octets are cut into pieces, each with a head: the lowest bit says who sends it, the next whether it is a mark, the others how many
/// milliseconds later; then its length in two octets.
pub fn notices(mut data: &[u8]) {
    let mut now = start();
    let mut holdings = Holdings::new(1);
    let names: [Arc<str>; 2] = ["a".into(), "b".into()];
    holdings.attend(now, names.iter());
    let mut held = 0;
    while let Some((&[head, high, low], rest)) = data.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([high, low])).min(rest.len());
        let (piece, rest) = rest.split_at(length);
        data = rest;
        now += Duration::from_millis(u64::from(head >> 2));
        let [first, second] = &names;
        let from = if head & 1 == 0 { first } else { second };
        if head & 2 != 0 {
            if let Some(mark) = piece.first_chunk() {
                holdings.take_mark(now, from, *mark);
            }
        } else if let Some(told) = Told::decode(piece) {
            held += take(&mut holdings, now, from, &told);
        }
        let (changed, _) = holdings.take_changes();
        // It takes over whatever they say of anything, which brings disputes.
        holdings.change(changed.into_iter(), std::iter::empty());
        holdings.disputes(now);
        holdings.questions(now);
        let known: usize = holdings.counts().map(|(_, count)| count).sum();
        assert!(known <= held, "{known} addresses are known of {held} that were told");
        if let Some(deadline) = holdings.deadline(now) {
            now = now.max(deadline);
        }
    }
    // Who is not there any more is forgotten.
    holdings.attend(now, [].iter());
    assert_eq!(holdings.counts().count(), 0);
}

/// Takes what was told; how many addresses it named.
fn take(holdings: &mut Holdings, now: Instant, from: &str, told: &Told) -> usize {
    for notice in told.encode() {
        let again = Told::decode(&notice);
        if !matches!(told, Told::Claims(_)) {
            assert_eq!(again.as_ref(), Some(told), "what was read cannot be written");
        }
    }
    match told {
        Told::Held(list) => {
            holdings.take_list(now, from, list);
            list.addresses.len()
        }
        Told::Changed(change) => {
            holdings.take_change(now, from, change);
            change.gained.len()
        }
        Told::Rival { address, term, node } => {
            holdings.take_rival(now, *address, *term, node);
            0
        }
        Told::Facts(_) | Told::Claims(_) | Told::Question => 0,
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made otherwise; only differences count"
)]
fn start() -> Instant {
    Instant::now()
}
