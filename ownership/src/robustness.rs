// SPDX-License-Identifier: Apache-2.0
//! The body of the fuzz target for the messages between speakers, also run as a property test: arbitrary octets as notices and as marks of
//! two other speakers. The function panics when a rule is broken. The daemon does not use it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::table::OwnershipTable;
use crate::wire::message::PeerMessage;

/// The octets are cut into pieces. Each has a head: the lowest bit gives the sender, the next one tells whether the piece is a mark, the
/// others give the milliseconds since the last piece; two octets with the length follow.
pub fn notices(mut data: &[u8]) {
    let mut now = start();
    let mut table = OwnershipTable::new(1);
    let names: [Arc<str>; 2] = ["a".into(), "b".into()];
    table.attend(now, names.iter());
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
                table.handle_mark(now, from, *mark);
            }
        } else if let Some(told) = PeerMessage::decode(piece) {
            held += take(&mut table, now, from, &told);
        }
        let (changed, _) = table.take_changes();
        // The table takes over every address that changed, which brings disputes.
        table.change(changed.into_iter(), std::iter::empty());
        table.disputes(now);
        table.questions(now);
        let known: usize = table.counts().map(|(_, count)| count).sum();
        assert!(known <= held, "{known} addresses are known of {held} that were told");
        if let Some(deadline) = table.deadline(now) {
            now = now.max(deadline);
        }
    }
    // Speakers that are not there any more are forgotten.
    table.attend(now, [].iter());
    assert_eq!(table.counts().count(), 0);
}

/// Hands the message to the table; returns the number of addresses in it.
fn take(table: &mut OwnershipTable, now: Instant, from: &str, told: &PeerMessage) -> usize {
    for notice in told.encode() {
        let again = PeerMessage::decode(&notice);
        if !matches!(told, PeerMessage::TookOver(_)) {
            assert_eq!(again.as_ref(), Some(told), "what was read cannot be written");
        }
    }
    match told {
        PeerMessage::OwnedSnapshot(list) => {
            table.handle_snapshot(now, from, list);
            list.addresses.len()
        }
        PeerMessage::OwnedDelta(change) => {
            table.handle_delta(now, from, change);
            change.gained.len()
        }
        PeerMessage::ConflictReport { address, term, node } => {
            table.handle_conflict_report(now, *address, *term, node);
            0
        }
        PeerMessage::Metadata(_) | PeerMessage::TookOver(_) | PeerMessage::SyncRequest => 0,
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "an Instant cannot be made otherwise; only differences count"
)]
fn start() -> Instant {
    Instant::now()
}
