// SPDX-License-Identifier: Apache-2.0
//! Path attributes from octets, with what RFC 7606 wants done about each error.

use std::net::{Ipv4Addr, Ipv6Addr};

use bytes::{Buf, Bytes};

use super::{
    Attribute, EXTENDED_LENGTH, MpReach, NextHop, OPTIONAL, Origin, PARTIAL, TRANSITIVE, category,
};
use crate::wire::iana::{attribute as code, error};
use crate::wire::{AfiSafi, AsPath, AttributeAction, Context, Flaw, MessageError, Prefixes};

/// The attributes that could be read, and what was wrong with the others.
#[derive(Debug, Default)]
pub(in crate::wire) struct Attributes {
    pub(in crate::wire) attributes: Vec<Attribute>,
    pub(in crate::wire) flaws: Vec<Flaw>,
    /// Whether there is an MP_REACH_NLRI with prefixes, or one of which that cannot be said.
    pub(in crate::wire) reaches: bool,
    /// Whether there is anything but MP_UNREACH_NLRI.
    others: bool,
    /// The first flaw for which more is done than to leave the attribute out, as an end of the session.
    gravest: Option<MessageError>,
}

/// An attribute as it stands in the list.
struct Encoded {
    flags: u8,
    code: u8,
    value: Bytes,
    /// Type, length and value: the data of a NOTIFICATION (RFC 4271 §6.3).
    whole: Bytes,
}

impl Attributes {
    /// Reads the whole list.
    pub(in crate::wire) fn decode(mut list: Bytes, context: Context) -> Result<Self, MessageError> {
        let mut read = Self::default();
        let mut seen = [false; 256];
        while !list.is_empty() {
            let Some(encoded) = next(&mut list) else {
                // RFC 7606 §4: the length of the whole list still tells where the prefixes are.
                read.others = true;
                let refusal =
                    withdraw(error::MALFORMED_ATTRIBUTE_LIST, "attribute reaches beyond the list");
                read.flaw(0, refusal, &[]);
                break;
            };
            let code = encoded.code;
            read.others |= code != code::MP_UNREACH_NLRI;
            let again =
                seen.get_mut(usize::from(code)).is_some_and(|seen| std::mem::replace(seen, true));
            if again {
                // RFC 7606 §3 (g).
                if matches!(code, code::MP_REACH_NLRI | code::MP_UNREACH_NLRI) {
                    return Err(MessageError::new(
                        error::UPDATE,
                        error::MALFORMED_ATTRIBUTE_LIST,
                        [],
                        "MP_REACH_NLRI or MP_UNREACH_NLRI twice",
                    ));
                }
                read.flaw(code, discard("attribute appears twice"), &encoded.whole);
                continue;
            }
            read.one(encoded, context)?;
        }
        Ok(read)
    }

    /// The end of the session that an error means in an UPDATE that brings no prefixes: then nobody can say what would have to
    /// count as withdrawn (RFC 7606 §5.2).
    pub(in crate::wire) fn reset_without_prefixes(&mut self) -> Option<MessageError> {
        self.gravest.take().filter(|_| self.others)
    }

    fn flaw(&mut self, attribute: u8, refusal: Refusal, whole: &[u8]) {
        let Refusal { action, subcode, detail } = refusal;
        if action > AttributeAction::Discard {
            let data = match subcode {
                error::MALFORMED_ATTRIBUTE_LIST | error::MALFORMED_AS_PATH => &[],
                _ => whole,
            };
            self.gravest
                .get_or_insert_with(|| MessageError::new(error::UPDATE, subcode, data, detail));
        }
        self.flaws.push(Flaw { attribute, action, detail });
    }

    fn one(&mut self, encoded: Encoded, context: Context) -> Result<(), MessageError> {
        let Encoded { flags, code, value, whole } = encoded;
        let Some(category) = category(code) else {
            if flags & OPTIONAL == 0 {
                return Err(unrecognized(&whole));
            }
            let (transitive, partial) = (flags & TRANSITIVE != 0, flags & PARTIAL != 0);
            self.attributes.push(Attribute::Unknown { transitive, partial, code, value });
            return Ok(());
        };
        // RFC 7606 §3 (c).
        if flags & (OPTIONAL | TRANSITIVE) != category {
            self.flaw(code, withdraw(error::ATTRIBUTE_FLAGS, "flags of the attribute"), &whole);
            // The prefixes in it are needed to be withdrawn.
            if !matches!(code, code::MP_REACH_NLRI | code::MP_UNREACH_NLRI) {
                return Ok(());
            }
        }
        let decoded = decode(code, value, context);
        self.reaches |= code == code::MP_REACH_NLRI
            && !matches!(&decoded, Ok(Attribute::MpReach(reach)) if reach.prefixes.is_empty());
        match decoded {
            Ok(attribute) => self.attributes.push(attribute),
            Err(refusal) => self.flaw(code, refusal, &whole),
        }
        Ok(())
    }
}

/// The next attribute; `None` if it is not whole.
fn next(list: &mut Bytes) -> Option<Encoded> {
    let mut whole = list.clone();
    let flags = list.try_get_u8().ok()?;
    let code = list.try_get_u8().ok()?;
    let length = if flags & EXTENDED_LENGTH == 0 {
        usize::from(list.try_get_u8().ok()?)
    } else {
        usize::from(list.try_get_u16().ok()?)
    };
    if length > list.len() {
        return None;
    }
    let value = list.split_to(length);
    whole.truncate(whole.len() - list.len());
    Some(Encoded { flags, code, value, whole })
}

/// RFC 4271 §6.3: the data is the attribute as it came.
fn unrecognized(whole: &[u8]) -> MessageError {
    MessageError::new(
        error::UPDATE,
        error::UNRECOGNIZED_WELL_KNOWN,
        whole,
        "unknown attribute that is called well-known",
    )
}

/// An error in an attribute.
#[derive(Clone, Copy)]
struct Refusal {
    action: AttributeAction,
    /// How RFC 4271 §6.3 calls it.
    subcode: u8,
    detail: &'static str,
}

const fn withdraw(subcode: u8, detail: &'static str) -> Refusal {
    Refusal { action: AttributeAction::TreatAsWithdraw, subcode, detail }
}

const fn discard(detail: &'static str) -> Refusal {
    let subcode = error::OPTIONAL_ATTRIBUTE;
    Refusal { action: AttributeAction::Discard, subcode, detail }
}

const fn disable(detail: &'static str) -> Refusal {
    let subcode = error::OPTIONAL_ATTRIBUTE;
    Refusal { action: AttributeAction::AfiSafiDisable, subcode, detail }
}

/// The length of the attribute is wrong.
const LENGTH: Refusal = withdraw(error::ATTRIBUTE_LENGTH, "length of the attribute");

/// RFC 7606 §7, one subsection per attribute.
fn decode(code: u8, value: Bytes, context: Context) -> Result<Attribute, Refusal> {
    Ok(match code {
        code::ORIGIN => Attribute::Origin(match value.as_ref() {
            [0] => Origin::Igp,
            [1] => Origin::Egp,
            [2] => Origin::Incomplete,
            [_] => return Err(withdraw(error::INVALID_ORIGIN, "unknown ORIGIN")),
            _ => return Err(LENGTH),
        }),
        code::AS_PATH => Attribute::AsPath(as_path(value, context)?),
        code::NEXT_HOP => Attribute::NextHop(address(&value).ok_or(LENGTH)?),
        code::MULTI_EXIT_DISC => Attribute::MultiExitDisc(number(&value).ok_or(LENGTH)?),
        code::LOCAL_PREF | code::ORIGINATOR_ID | code::CLUSTER_LIST if !context.internal => {
            return Err(discard("attribute of internal sessions on an external one"));
        }
        code::LOCAL_PREF => Attribute::LocalPref(number(&value).ok_or(LENGTH)?),
        code::ATOMIC_AGGREGATE if value.is_empty() => Attribute::AtomicAggregate,
        code::ATOMIC_AGGREGATE => return Err(discard(LENGTH.detail)),
        code::AGGREGATOR => {
            let (asn, identifier) =
                aggregator(value, context.four_octet_asn).ok_or(discard(LENGTH.detail))?;
            Attribute::Aggregator(asn, identifier)
        }
        code::COMMUNITIES => {
            Attribute::Communities(list(&value, u32::from_be_bytes).ok_or(LENGTH)?)
        }
        code::ORIGINATOR_ID => Attribute::OriginatorId(address(&value).ok_or(LENGTH)?),
        code::CLUSTER_LIST => {
            Attribute::ClusterList(list(&value, u32::from_be_bytes).ok_or(LENGTH)?)
        }
        code::MP_REACH_NLRI => mp_reach(value)?,
        code::MP_UNREACH_NLRI => mp_unreach(value)?,
        code::EXTENDED_COMMUNITIES => {
            Attribute::ExtendedCommunities(list(&value, |octets| octets).ok_or(LENGTH)?)
        }
        // RFC 6793 §6: neither comes from one who speaks four octets.
        code::AS4_PATH | code::AS4_AGGREGATOR if context.four_octet_asn => {
            return Err(discard("attribute of two-octet speakers"));
        }
        code::AS4_PATH => {
            let path = AsPath::decode(value, true).map_err(discard)?;
            Attribute::As4Path(path.without_confederation())
        }
        code::AS4_AGGREGATOR => {
            let (asn, identifier) = aggregator(value, true).ok_or(discard(LENGTH.detail))?;
            Attribute::As4Aggregator(asn, identifier)
        }
        code::LARGE_COMMUNITY => Attribute::LargeCommunities(list(&value, large).ok_or(LENGTH)?),
        code::ONLY_TO_CUSTOMER => Attribute::OnlyToCustomer(number(&value).ok_or(LENGTH)?),
        _ => return Err(discard("attribute without a reader")),
    })
}

/// Members of a confederation are named only inside of it, and an external peer is not in ours (RFC 5065 §5).
fn as_path(value: Bytes, context: Context) -> Result<AsPath, Refusal> {
    let malformed = |detail| withdraw(error::MALFORMED_AS_PATH, detail);
    let path = AsPath::decode(value, context.four_octet_asn).map_err(malformed)?;
    if path.names_confederation() && !context.internal {
        return Err(malformed("confederation segment from a peer outside of the confederation"));
    }
    Ok(path)
}

fn number(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

fn address(value: &[u8]) -> Option<Ipv4Addr> {
    number(value).map(Ipv4Addr::from)
}

fn aggregator(mut value: Bytes, four_octets: bool) -> Option<(u32, Ipv4Addr)> {
    let asn =
        if four_octets { value.try_get_u32().ok()? } else { u32::from(value.try_get_u16().ok()?) };
    Some((asn, address(&value)?))
}

/// Items of equal size, at least one, without rest.
fn list<const N: usize, T>(value: &[u8], item: impl Fn([u8; N]) -> T) -> Option<Vec<T>> {
    let (items, rest) = value.as_chunks::<N>();
    (rest.is_empty() && !items.is_empty()).then(|| items.iter().copied().map(item).collect())
}

fn large(octets: [u8; 12]) -> [u32; 3] {
    let (words, _) = octets.as_chunks::<4>();
    let mut numbers = [0; 3];
    for (number, word) in numbers.iter_mut().zip(words) {
        *number = u32::from_be_bytes(*word);
    }
    numbers
}

/// A family of ours, or the whole value as an attribute that says nothing to us.
fn family(code: u8, value: &mut Bytes) -> Result<Result<crate::Family, Attribute>, Refusal> {
    let whole = value.clone();
    let (Ok(afi), Ok(safi)) = (value.try_get_u16(), value.try_get_u8()) else {
        return Err(disable("multiprotocol attribute without a family"));
    };
    Ok(AfiSafi { afi, safi }.family().ok_or(Attribute::Unknown {
        transitive: false,
        partial: false,
        code,
        value: whole,
    }))
}

/// RFC 7606 §7.11.
fn mp_reach(mut value: Bytes) -> Result<Attribute, Refusal> {
    let family = match family(code::MP_REACH_NLRI, &mut value)? {
        Ok(family) => family,
        Err(foreign) => return Ok(foreign),
    };
    let early = || disable("MP_REACH_NLRI ends early");
    let length = usize::from(value.try_get_u8().map_err(|_| early())?);
    if value.len() <= length {
        return Err(early());
    }
    let octets = value.split_to(length);
    let next_hop = next_hop(family, &octets).ok_or(disable("length of the next hop"))?;
    value.advance(1);
    let prefixes = Prefixes::decode(family, value).map_err(disable)?;
    Ok(Attribute::MpReach(MpReach { next_hop, prefixes }))
}

fn next_hop(family: crate::Family, octets: &[u8]) -> Option<NextHop> {
    if family == crate::Family::Ipv4
        && let Some(address) = address(octets)
    {
        return Some(NextHop::Ipv4(address));
    }
    let (global, rest) = octets.split_first_chunk::<16>()?;
    let link_local = match rest {
        [] => None,
        rest => Some(Ipv6Addr::from(<[u8; 16]>::try_from(rest).ok()?)),
    };
    Some(NextHop::Ipv6 { global: Ipv6Addr::from(*global), link_local })
}

/// RFC 7606 §7.12.
fn mp_unreach(mut value: Bytes) -> Result<Attribute, Refusal> {
    Ok(match family(code::MP_UNREACH_NLRI, &mut value)? {
        Ok(family) => Attribute::MpUnreach(Prefixes::decode(family, value).map_err(disable)?),
        Err(foreign) => foreign,
    })
}
