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
}

impl Attributes {
    /// Reads the whole list.
    pub(in crate::wire) fn decode(mut list: Bytes, context: Context) -> Result<Self, MessageError> {
        let mut read = Self::default();
        let mut seen = [false; 256];
        while !list.is_empty() {
            let Some((flags, code, value)) = next(&mut list) else {
                // RFC 7606 §4: the length of the whole list still tells where the prefixes are.
                read.flaw(0, AttributeAction::TreatAsWithdraw, "attribute reaches beyond the list");
                break;
            };
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
                read.flaw(code, AttributeAction::Discard, "attribute appears twice");
                continue;
            }
            read.one(flags, code, value, context)?;
        }
        Ok(read)
    }

    fn flaw(&mut self, attribute: u8, action: AttributeAction, detail: &'static str) {
        self.flaws.push(Flaw { attribute, action, detail });
    }

    fn one(
        &mut self,
        flags: u8,
        code: u8,
        value: Bytes,
        context: Context,
    ) -> Result<(), MessageError> {
        let Some(category) = category(code) else {
            if flags & OPTIONAL == 0 {
                return Err(unrecognized(flags, code, &value));
            }
            let (transitive, partial) = (flags & TRANSITIVE != 0, flags & PARTIAL != 0);
            self.attributes.push(Attribute::Unknown { transitive, partial, code, value });
            return Ok(());
        };
        // RFC 7606 §3 (c).
        if flags & (OPTIONAL | TRANSITIVE) != category {
            self.flaw(code, AttributeAction::TreatAsWithdraw, "flags of the attribute");
            return Ok(());
        }
        match decode(code, value, context) {
            Ok(attribute) => self.attributes.push(attribute),
            Err((action, detail)) => self.flaw(code, action, detail),
        }
        Ok(())
    }
}

/// Flags, type and value of the next attribute; `None` if it is not whole.
fn next(list: &mut Bytes) -> Option<(u8, u8, Bytes)> {
    let flags = list.try_get_u8().ok()?;
    let code = list.try_get_u8().ok()?;
    let length = if flags & EXTENDED_LENGTH == 0 {
        usize::from(list.try_get_u8().ok()?)
    } else {
        usize::from(list.try_get_u16().ok()?)
    };
    (length <= list.len()).then(|| (flags, code, list.split_to(length)))
}

/// RFC 4271 §6.3: the data is the attribute.
fn unrecognized(flags: u8, code: u8, value: &[u8]) -> MessageError {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes();
    let data = [&[flags | EXTENDED_LENGTH, code], &length[..], value].concat();
    MessageError::new(
        error::UPDATE,
        error::UNRECOGNIZED_WELL_KNOWN,
        data,
        "unknown attribute that is called well-known",
    )
}

type Refusal = (AttributeAction, &'static str);

const WITHDRAW: fn(&'static str) -> Refusal = |detail| (AttributeAction::TreatAsWithdraw, detail);
const DISCARD: fn(&'static str) -> Refusal = |detail| (AttributeAction::Discard, detail);
const DISABLE: fn(&'static str) -> Refusal = |detail| (AttributeAction::AfiSafiDisable, detail);

/// RFC 7606 §7, one subsection per attribute.
fn decode(code: u8, value: Bytes, context: Context) -> Result<Attribute, Refusal> {
    let wrong_length = "length of the attribute";
    Ok(match code {
        code::ORIGIN => Attribute::Origin(match value.as_ref() {
            [0] => Origin::Igp,
            [1] => Origin::Egp,
            [2] => Origin::Incomplete,
            [_] => return Err(WITHDRAW("unknown ORIGIN")),
            _ => return Err(WITHDRAW(wrong_length)),
        }),
        code::AS_PATH => {
            Attribute::AsPath(AsPath::decode(value, context.four_octet_asn).map_err(WITHDRAW)?)
        }
        code::NEXT_HOP => Attribute::NextHop(address(&value).ok_or(WITHDRAW(wrong_length))?),
        code::MULTI_EXIT_DISC => {
            Attribute::MultiExitDisc(number(&value).ok_or(WITHDRAW(wrong_length))?)
        }
        code::LOCAL_PREF | code::ORIGINATOR_ID | code::CLUSTER_LIST if !context.internal => {
            return Err(DISCARD("attribute of internal sessions on an external one"));
        }
        code::LOCAL_PREF => Attribute::LocalPref(number(&value).ok_or(WITHDRAW(wrong_length))?),
        code::ATOMIC_AGGREGATE if value.is_empty() => Attribute::AtomicAggregate,
        code::ATOMIC_AGGREGATE => return Err(DISCARD(wrong_length)),
        code::AGGREGATOR => {
            let (asn, identifier) =
                aggregator(value, context.four_octet_asn).ok_or(DISCARD(wrong_length))?;
            Attribute::Aggregator(asn, identifier)
        }
        code::COMMUNITIES => {
            Attribute::Communities(list(&value, u32::from_be_bytes).ok_or(WITHDRAW(wrong_length))?)
        }
        code::ORIGINATOR_ID => {
            Attribute::OriginatorId(address(&value).ok_or(WITHDRAW(wrong_length))?)
        }
        code::CLUSTER_LIST => {
            Attribute::ClusterList(list(&value, u32::from_be_bytes).ok_or(WITHDRAW(wrong_length))?)
        }
        code::MP_REACH_NLRI => mp_reach(value)?,
        code::MP_UNREACH_NLRI => mp_unreach(value)?,
        code::EXTENDED_COMMUNITIES => Attribute::ExtendedCommunities(
            list(&value, |octets| octets).ok_or(WITHDRAW(wrong_length))?,
        ),
        // RFC 6793 §6: neither comes from one who speaks four octets.
        code::AS4_PATH | code::AS4_AGGREGATOR if context.four_octet_asn => {
            return Err(DISCARD("attribute of two-octet speakers"));
        }
        code::AS4_PATH => Attribute::As4Path(AsPath::decode(value, true).map_err(DISCARD)?),
        code::AS4_AGGREGATOR => {
            let (asn, identifier) = aggregator(value, true).ok_or(DISCARD(wrong_length))?;
            Attribute::As4Aggregator(asn, identifier)
        }
        code::LARGE_COMMUNITY => {
            Attribute::LargeCommunities(list(&value, large).ok_or(WITHDRAW(wrong_length))?)
        }
        code::ONLY_TO_CUSTOMER => {
            Attribute::OnlyToCustomer(number(&value).ok_or(WITHDRAW(wrong_length))?)
        }
        _ => return Err(DISCARD("attribute without a reader")),
    })
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
        return Err(DISABLE("multiprotocol attribute without a family"));
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
    let early = || DISABLE("MP_REACH_NLRI ends early");
    let length = usize::from(value.try_get_u8().map_err(|_| early())?);
    if value.len() <= length {
        return Err(early());
    }
    let octets = value.split_to(length);
    let next_hop = next_hop(family, &octets).ok_or(DISABLE("length of the next hop"))?;
    value.advance(1);
    let prefixes = Prefixes::decode(family, value).map_err(DISABLE)?;
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
        Ok(family) => Attribute::MpUnreach(Prefixes::decode(family, value).map_err(DISABLE)?),
        Err(foreign) => foreign,
    })
}
