// SPDX-License-Identifier: Apache-2.0
//! Pending prefixes into full UPDATEs (RFC 4271 §4.3, §5): as many prefixes with equal attributes as one message holds.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::Egress;
use crate::config::Family;
use crate::route::{Attributes, DEFAULT_LOCAL_PREF};
use crate::wire::iana::community;
use crate::wire::{
    AsPath, Attribute, Context, HEADER_LENGTH, MpReach, NextHop, Origin, Prefixes, wire_length,
    write_update,
};

/// Flags, type, two octets of length, AFI, SAFI of MP_REACH_NLRI and MP_UNREACH_NLRI.
const MULTIPROTOCOL: usize = 7;
/// The longest prefix: 128 bits and its length.
const LONGEST_PREFIX: usize = 17;
/// Header and the two lengths of an UPDATE.
const FIXED: usize = HEADER_LENGTH + 4;

pub(super) const fn context(egress: &Egress) -> Context {
    Context {
        four_octet_asn: egress.four_octet_asn,
        internal: egress.internal,
        enhanced_route_refresh: egress.enhanced_route_refresh,
    }
}

/// Whether a message can hold these attributes and one prefix. An upper bound is enough: nobody needs the last 100 octets.
pub(super) fn fits(egress: &Egress, attributes: &Attributes) -> bool {
    let lists = attributes.communities().len() * 4
        + attributes.large_communities().len() * 12
        + attributes.extended_communities().len() * 8;
    // Four octets per AS, another four if AS4_PATH is needed.
    let path = (usize::from(attributes.as_path_prepend()) + 1) * 8;
    FIXED + MULTIPROTOCOL + 34 + LONGEST_PREFIX + 80 + lists + path <= egress.longest
}

/// Appends an UPDATE with as many of the prefixes as fit; those are taken out and returned.
pub(super) fn announce(
    egress: &Egress,
    family: Family,
    attributes: &Attributes,
    prefixes: &mut BTreeSet<IpNet>,
    out: &mut Vec<u8>,
) -> Vec<IpNet> {
    let Some(next_hop) = egress.next_hop(family) else {
        prefixes.clear();
        return Vec::new();
    };
    let mut common = Vec::new();
    let in_attribute = !matches!((family, next_hop), (Family::Ipv4, NextHop::Ipv4(_)));
    for attribute in path_attributes(egress, attributes, (!in_attribute).then_some(next_hop)) {
        // Lengths were bounded by `fits`.
        let _ = attribute.encode(context(egress), &mut common);
    }
    let next_hop_length = match next_hop {
        NextHop::Ipv4(_) => 4,
        NextHop::Ipv6 { link_local: None, .. } => 16,
        NextHop::Ipv6 { link_local: Some(_), .. } => 32,
    };
    let used =
        FIXED + common.len() + if in_attribute { MULTIPROTOCOL + 2 + next_hop_length } else { 0 };
    let sent = take(prefixes, egress.longest.saturating_sub(used), |_| true);
    let list = Prefixes::new(family, sent.iter().copied());
    if in_attribute {
        // First of all attributes (RFC 7606 §5.1).
        let mut all = Vec::new();
        let reach = Attribute::MpReach(MpReach { next_hop, prefixes: list });
        let _ = reach.encode(context(egress), &mut all);
        all.extend(common);
        write_update(out, &[], &all, &[]);
    } else {
        write_update(out, &[], &common, list.octets());
    }
    sent
}

/// Appends an UPDATE that withdraws as many of the prefixes as fit, of one family; those are taken out and returned.
pub(super) fn withdraw(
    egress: &Egress,
    prefixes: &mut BTreeSet<IpNet>,
    out: &mut Vec<u8>,
) -> Vec<IpNet> {
    let Some(family) = prefixes.first().map(Family::of) else { return Vec::new() };
    let room = egress.longest - FIXED - MULTIPROTOCOL;
    let sent = take(prefixes, room, |prefix| Family::of(prefix) == family);
    let list = Prefixes::new(family, sent.iter().copied());
    // IPv4 prefixes that came in MP_REACH_NLRI may go in either place (RFC 4760 §4); all implementations read this one.
    if family == Family::Ipv4 {
        write_update(out, list.octets(), &[], &[]);
    } else {
        let mut attributes = Vec::new();
        let _ = Attribute::MpUnreach(list).encode(context(egress), &mut attributes);
        write_update(out, &[], &attributes, &[]);
    }
    sent
}

/// Takes prefixes out, from the first, while they fit into so many octets and are wanted.
fn take(
    prefixes: &mut BTreeSet<IpNet>,
    room: usize,
    wanted: impl Fn(&IpNet) -> bool,
) -> Vec<IpNet> {
    let mut used = 0;
    let mut taken = Vec::new();
    while let Some(prefix) = prefixes.first() {
        used += wire_length(prefix);
        if used > room || !wanted(prefix) {
            break;
        }
        taken.extend(prefixes.pop_first());
    }
    taken
}

/// All attributes but MP_REACH_NLRI, in the order of their codes.
fn path_attributes(
    egress: &Egress,
    wish: &Attributes,
    next_hop: Option<NextHop>,
) -> Vec<Attribute> {
    let times = if egress.internal { 0 } else { usize::from(wish.as_path_prepend()) + 1 };
    let path = AsPath::sequence(egress.local_asn, times);
    // RFC 6793 §4.2.2.
    let as4_path = (!egress.four_octet_asn && path.needs_four_octets())
        .then(|| Attribute::As4Path(path.clone()));
    let mut all = vec![Attribute::Origin(Origin::Igp), Attribute::AsPath(path)];
    if let Some(NextHop::Ipv4(address)) = next_hop {
        all.push(Attribute::NextHop(address));
    }
    all.extend(wish.med().map(Attribute::MultiExitDisc));
    if egress.internal {
        let wanted = wish.local_pref().unwrap_or(DEFAULT_LOCAL_PREF);
        all.push(Attribute::LocalPref(if egress.drain { 0 } else { wanted }));
    }
    let mut communities = wish.communities().to_vec();
    if egress.drain
        && let Err(place) = communities.binary_search(&community::GRACEFUL_SHUTDOWN)
    {
        communities.insert(place, community::GRACEFUL_SHUTDOWN);
    }
    if !communities.is_empty() {
        all.push(Attribute::Communities(communities));
    }
    if !wish.extended_communities().is_empty() {
        all.push(Attribute::ExtendedCommunities(wish.extended_communities().to_vec()));
    }
    all.extend(as4_path);
    if !wish.large_communities().is_empty() {
        all.push(Attribute::LargeCommunities(wish.large_communities().to_vec()));
    }
    if egress.only_to_customer {
        all.push(Attribute::OnlyToCustomer(egress.local_asn));
    }
    all
}
