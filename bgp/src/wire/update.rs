// SPDX-License-Identifier: Apache-2.0
//! UPDATE (RFC 4271 §4.3, errors §6.3 as revised by RFC 7606) and End-of-RIB (RFC 4724 §2).

use bytes::{Buf, Bytes};

use super::attribute::Attribute;
use super::header::write_header;
use super::iana::{attribute as code, error};
use super::{
    AttributeAction, Context, Flaw, HEADER_LENGTH, MessageError, MessageType, Prefixes, TooLong,
};
use crate::Family;

/// Prefixes that come and go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// IPv4 prefixes that go.
    pub withdrawn: Prefixes,
    /// Attributes, among them the prefixes of other families.
    pub attributes: Vec<Attribute>,
    /// IPv4 prefixes that come.
    pub announced: Prefixes,
}

/// An UPDATE and what was wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedUpdate {
    /// What could be read.
    pub update: Update,
    /// What could not.
    pub flaws: Vec<Flaw>,
}

impl DecodedUpdate {
    /// The strongest of the actions that its flaws ask for (RFC 7606 §3 (h)).
    #[must_use]
    pub fn action(&self) -> Option<AttributeAction> {
        self.flaws.iter().map(|flaw| flaw.action).max()
    }
}

impl Update {
    /// That everything of the family has been sent (RFC 4724 §2).
    #[must_use]
    pub fn end_of_rib(family: Family) -> Self {
        let attributes = match family {
            Family::Ipv4 => Vec::new(),
            Family::Ipv6 => vec![Attribute::MpUnreach(Prefixes::none(family))],
        };
        Self {
            withdrawn: Prefixes::none(Family::Ipv4),
            attributes,
            announced: Prefixes::none(Family::Ipv4),
        }
    }

    /// The family whose End-of-RIB this is.
    #[must_use]
    pub fn ends_rib_of(&self) -> Option<Family> {
        if !self.withdrawn.is_empty() || !self.announced.is_empty() {
            return None;
        }
        match self.attributes.as_slice() {
            [] => Some(Family::Ipv4),
            [Attribute::MpUnreach(prefixes)] if prefixes.is_empty() => Some(prefixes.family()),
            _ => None,
        }
    }

    /// Reads what follows the header.
    pub fn decode(mut body: Bytes, context: Context) -> Result<DecodedUpdate, MessageError> {
        let withdrawn = section(&mut body)?;
        let list = section(&mut body)?;
        let network =
            |detail| MessageError::new(error::UPDATE, error::INVALID_NETWORK_FIELD, [], detail);
        let withdrawn = Prefixes::decode(Family::Ipv4, withdrawn).map_err(network)?;
        let announced = Prefixes::decode(Family::Ipv4, body).map_err(network)?;
        let mut read = super::attribute::Attributes::decode(list, context)?;
        if announced.is_empty()
            && !read.reaches
            && let Some(error) = read.reset_without_prefixes()
        {
            return Err(error);
        }
        let update = Self { withdrawn, attributes: read.attributes, announced };
        let mut flaws = read.flaws;
        flaws.extend(update.missing(context, &flaws));
        Ok(DecodedUpdate { update, flaws })
    }

    /// Well-known attributes that an announcement must have (RFC 7606 §3 (d)), unless they are there and flawed.
    fn missing(&self, context: Context, flaws: &[Flaw]) -> Option<Flaw> {
        let has = |wanted: u8| {
            self.attributes.iter().any(|attribute| attribute.code() == wanted)
                || flaws.iter().any(|flaw| flaw.attribute == wanted)
        };
        let reaches =
            self.attributes.iter().any(|attribute| matches!(attribute, Attribute::MpReach(_)));
        if self.announced.is_empty() && !reaches {
            return None;
        }
        let mandatory = [
            (code::ORIGIN, true),
            (code::AS_PATH, true),
            (code::NEXT_HOP, !self.announced.is_empty()),
            (code::LOCAL_PREF, context.internal),
        ];
        let missing = mandatory.into_iter().find(|(code, needed)| *needed && !has(*code));
        missing.map(|(attribute, _)| Flaw {
            attribute,
            action: AttributeAction::TreatAsWithdraw,
            detail: "well-known attribute is missing",
        })
    }

    /// Appends the message, of at most `longest` octets.
    pub fn encode(
        &self,
        context: Context,
        longest: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), TooLong> {
        let mut attributes = Vec::new();
        for attribute in &self.attributes {
            attribute.encode(context, &mut attributes)?;
        }
        let (withdrawn, announced) = (self.withdrawn.octets(), self.announced.octets());
        if HEADER_LENGTH + 4 + withdrawn.len() + attributes.len() + announced.len() > longest {
            return Err(TooLong);
        }
        write_update(out, withdrawn, &attributes, announced);
        Ok(())
    }
}

/// Appends an UPDATE from its three parts as octets, which together must fit into a message.
pub fn write_update(out: &mut Vec<u8>, withdrawn: &[u8], attributes: &[u8], announced: &[u8]) {
    let length = |part: &[u8]| u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes();
    let body = 4 + withdrawn.len() + attributes.len() + announced.len();
    out.reserve(HEADER_LENGTH + body);
    write_header(out, MessageType::Update, body);
    out.extend(length(withdrawn));
    out.extend_from_slice(withdrawn);
    out.extend(length(attributes));
    out.extend_from_slice(attributes);
    out.extend_from_slice(announced);
}

/// Two octets of length and so many octets.
fn section(body: &mut Bytes) -> Result<Bytes, MessageError> {
    let length = body.try_get_u16().map(usize::from).ok();
    length.filter(|length| *length <= body.len()).map(|length| body.split_to(length)).ok_or_else(
        || {
            MessageError::new(
                error::UPDATE,
                error::MALFORMED_ATTRIBUTE_LIST,
                [],
                "lengths in UPDATE reach beyond the message",
            )
        },
    )
}

#[cfg(test)]
mod tests;
