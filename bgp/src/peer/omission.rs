// SPDX-License-Identifier: Apache-2.0
//! Parts that the next OPEN leaves out because the peer refused them (RFC 5492 §3), and for how long.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::config::{Config, Family};
use crate::session::negotiate::{Impossible, Part, Refused, codes_left_out, families_left_out};
use crate::wire::iana::{AS_TRANS, capability_name};

/// After so long without a session everything is offered again: the peer may have changed its mind.
const LONGEST: Duration = Duration::from_mins(2);

/// AS numbers up to this one fit into an OPEN without capabilities.
const MOST_IN_TWO_OCTETS: u32 = 0xffff;

/// Parts of an OPEN that are left out.
#[derive(Debug, Default)]
pub(super) struct Omission {
    parts: BTreeSet<Part>,
    until: Option<Instant>,
    /// The peer refused what cannot be left out.
    impossible: Option<Impossible>,
}

impl Omission {
    pub(super) const fn parts(&self) -> &BTreeSet<Part> {
        &self.parts
    }

    /// An OPEN failed, and the peer refused these. Returns whether the next one has less in it; if not, the next one is whole
    /// again, as leaving out has not helped.
    pub(super) fn failed(&mut self, now: Instant, refused: Refused) -> bool {
        let less = !refused.parts.is_subset(&self.parts);
        if less {
            self.parts.extend(refused.parts);
            self.until.get_or_insert(now + LONGEST);
        } else {
            self.clear();
        }
        self.impossible = refused.impossible;
        less
    }

    /// Forgets what was refused too long ago.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.until.is_some_and(|until| until <= now) {
            self.parts.clear();
            self.until = None;
        }
    }

    /// The session is up with what is offered now.
    pub(super) const fn succeeded(&mut self) {
        self.impossible = None;
        self.until = None;
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// While no session is up: what the next OPEN is without, or why none can be; nothing if the peer refused nothing.
    pub(super) fn text(&self, config: &Config) -> Option<String> {
        let impossible = self.impossible.map(|impossible| {
            let refused = match impossible {
                Impossible::Parameters => {
                    "optional parameters, without which an OPEN cannot say IPv6"
                }
                Impossible::Family => {
                    "capability 1 (Multiprotocol) for IPv6, the only family of this session"
                }
            };
            format!("the peer refused {refused}: no session is possible while it does")
        });
        impossible.or_else(|| {
            let (refused, object) = self.refused(config)?;
            let missing = self.missing(config);
            let missing =
                missing.map_or(String::new(), |family| format!(", {family} is not carried"));
            // RFC 6793 §4.2.1.
            let shown = if self.parts.contains(&Part::Parameters)
                && config.local_asn > MOST_IN_TWO_OCTETS
            {
                format!(", AS {AS_TRANS} is shown for {}", config.local_asn)
            } else {
                String::new()
            };
            Some(format!(
                "the peer refused {refused}: the next OPEN leaves {object} out{missing}{shown}"
            ))
        })
    }

    /// While a session is up: the family that it does not carry because the peer refused it.
    pub(super) fn not_carried(&self, config: &Config) -> Option<String> {
        let (refused, _) = self.refused(config)?;
        Some(format!("the peer refused {refused}: {} is not carried", self.missing(config)?))
    }

    /// The one family of several that an OPEN without the parts does not offer: some family always stays.
    fn missing(&self, config: &Config) -> Option<Family> {
        families_left_out(config, &self.parts).iter().next()
    }

    /// The refused parts in words, and the pronoun for them.
    fn refused(&self, config: &Config) -> Option<(String, &'static str)> {
        if self.parts.contains(&Part::Parameters) {
            return Some(("optional parameters".to_owned(), "them"));
        }
        let codes = codes_left_out(config, &self.parts);
        let names: Vec<String> =
            codes.iter().map(|code| format!("{code} ({})", capability_name(*code))).collect();
        let (noun, object) =
            if names.len() > 1 { ("capabilities", "them") } else { ("capability", "it") };
        (!names.is_empty()).then(|| (format!("{noun} {}", names.join(", ")), object))
    }
}
