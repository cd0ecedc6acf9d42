// SPDX-License-Identifier: Apache-2.0
//! A NOTIFICATION 2/4 or 2/7 refuses parts of our OPEN, which the next one leaves out (RFC 5492 §3, §5).

use std::collections::BTreeSet;

use super::offered_families;
use crate::config::{Config, Families, Family};
use crate::wire::iana::{capability as code, error};
use crate::wire::{AfiSafi, Capability, Notification, Open};

/// A part of an OPEN that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// All optional parameters: the OPEN then means IPv4 (RFC 4760 §8).
    Parameters,
    /// The multiprotocol capability of a family; without any the OPEN means IPv4 too.
    Family(Family),
    /// Capabilities with this code.
    Capability(u8),
}

impl Part {
    /// The part that a capability of ours is.
    fn of(capability: &Capability) -> Option<Self> {
        match capability {
            Capability::Multiprotocol(family) => family.family().map(Self::Family),
            other => Some(Self::Capability(other.code())),
        }
    }
}

/// Why no OPEN is left that the peer may take and that carries what is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Impossible {
    /// It refuses optional parameters, and only those name IPv6.
    Parameters,
    /// It refuses the capability that names IPv6, the only family.
    Family,
}

/// A refusal by NOTIFICATION.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The next OPEN can do without these.
    pub(crate) parts: BTreeSet<Part>,
    /// It cannot do without this.
    pub(crate) impossible: Option<Impossible>,
}

/// Takes out of an OPEN what was refused.
pub(super) fn leave_out(capabilities: &mut Vec<Capability>, omitted: &BTreeSet<Part>) {
    if omitted.contains(&Part::Parameters) {
        capabilities.clear();
    }
    capabilities
        .retain(|capability| Part::of(capability).is_none_or(|part| !omitted.contains(&part)));
}

/// Which of the families that are configured an OPEN without these parts does not offer.
pub(crate) fn families_left_out(config: &Config, omitted: &BTreeSet<Part>) -> Families {
    let offered = offered_families(&super::offer(config, false, omitted));
    let mut left = Families::NONE;
    for family in config.families.iter().filter(|family| !offered.contains(*family)) {
        left.insert(family);
    }
    left
}

/// The codes of the capabilities that these parts are.
pub(crate) fn codes_left_out(config: &Config, omitted: &BTreeSet<Part>) -> BTreeSet<u8> {
    if omitted.contains(&Part::Parameters) {
        let whole = super::offer(config, false, &BTreeSet::new());
        return whole.capabilities.iter().map(Capability::code).collect();
    }
    let code = |part: &Part| match part {
        Part::Capability(code) => *code,
        Part::Family(_) | Part::Parameters => code::MULTIPROTOCOL,
    };
    omitted.iter().map(code).collect()
}

/// Reads from the peer's NOTIFICATION what it refuses of this OPEN of ours. RFC 5492 wants 2/7 to name what the peer misses, and
/// routers also name what they do not want (FRR does so with a family that is not activated); only what we offered can be left
/// out.
pub(crate) fn refused(notification: &Notification, config: &Config, ours: &Open) -> Refused {
    match (notification.code, notification.subcode) {
        (error::OPEN, error::UNSUPPORTED_OPTIONAL_PARAMETER) if ours.capabilities.is_empty() => {
            Refused::default()
        }
        (error::OPEN, error::UNSUPPORTED_OPTIONAL_PARAMETER) if config.families.ipv4 => {
            Refused { parts: [Part::Parameters].into(), impossible: None }
        }
        (error::OPEN, error::UNSUPPORTED_OPTIONAL_PARAMETER) => {
            Refused { parts: BTreeSet::new(), impossible: Some(Impossible::Parameters) }
        }
        (error::OPEN, error::UNSUPPORTED_CAPABILITY) => {
            let named = named(&notification.data, ours);
            let offered: BTreeSet<Part> = ours.capabilities.iter().filter_map(Part::of).collect();
            let mut parts = &named & &offered;
            let families = |parts: &BTreeSet<Part>| {
                parts.iter().filter(|part| matches!(part, Part::Family(_))).count()
            };
            // Without the capability of any family the OPEN means IPv4.
            let none_left = families(&parts) > 0 && families(&parts) == families(&offered);
            let impossible = (none_left && !config.families.ipv4).then_some(Impossible::Family);
            if impossible.is_some() {
                parts.retain(|part| !matches!(part, Part::Family(_)));
            }
            Refused { parts, impossible }
        }
        (_, _) => Refused::default(),
    }
}

/// The capabilities that the data of a 2/7 lists; without a list all but what cannot be done without: families and long AS
/// numbers.
fn named(data: &[u8], ours: &Open) -> BTreeSet<Part> {
    if data.is_empty() {
        let dispensable =
            |part: &Part| matches!(part, Part::Capability(code) if *code != code::FOUR_OCTET_ASN);
        return ours.capabilities.iter().filter_map(Part::of).filter(dispensable).collect();
    }
    let mut named = BTreeSet::new();
    let mut rest = data;
    while let [code, length, after @ ..] = rest {
        let (value, after) = after.split_at_checked(usize::from(*length)).unwrap_or((after, &[]));
        rest = after;
        match (*code, value) {
            (code::MULTIPROTOCOL, [high, low, _, safi]) => {
                let afi = u16::from_be_bytes([*high, *low]);
                named.extend(AfiSafi { afi, safi: *safi }.family().map(Part::Family));
            }
            // The capability as such.
            (code::MULTIPROTOCOL, _) => named.extend(Family::ALL.map(Part::Family)),
            (code, _) => {
                named.insert(Part::Capability(code));
            }
        }
    }
    named
}
