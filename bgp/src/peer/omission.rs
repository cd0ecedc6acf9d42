// SPDX-License-Identifier: Apache-2.0
//! What the next OPEN leaves out because the peer refused it (RFC 5492 §3), and for how long. Never the families: an OPEN without
//! them says something else.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::wire::iana::capability_name;

/// After so long without a session everything is offered again: the peer may have changed its mind.
const LONGEST: Duration = Duration::from_mins(2);

/// Capabilities that are left out.
#[derive(Debug, Default)]
pub(super) struct Omission {
    codes: BTreeSet<u8>,
    until: Option<Instant>,
}

impl Omission {
    pub(super) const fn codes(&self) -> &BTreeSet<u8> {
        &self.codes
    }

    /// An OPEN failed, and the peer refused these. Returns whether the next one has less in it; if not, the next one is whole
    /// again, as leaving out has not helped.
    pub(super) fn failed(&mut self, now: Instant, refused: BTreeSet<u8>) -> bool {
        let less = !refused.is_subset(&self.codes);
        if less {
            self.codes.extend(refused);
            self.until.get_or_insert(now + LONGEST);
        } else {
            self.clear();
        }
        less
    }

    /// Forgets what was refused too long ago.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.until.is_some_and(|until| until <= now) {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// In words, unless nothing is left out.
    pub(super) fn text(&self) -> Option<String> {
        let names: Vec<String> =
            self.codes.iter().map(|code| format!("{code} ({})", capability_name(*code))).collect();
        let (noun, object) =
            if names.len() > 1 { ("capabilities", "them") } else { ("capability", "it") };
        (!names.is_empty()).then(|| {
            format!(
                "the peer refused {noun} {}: the next OPEN leaves {object} out",
                names.join(", ")
            )
        })
    }
}
