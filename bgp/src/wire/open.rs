// SPDX-License-Identifier: Apache-2.0
//! OPEN (RFC 4271 §4.2, errors §6.2) with capabilities (RFC 5492), long optional parameters (RFC 9072), AS numbers of four
//! octets (RFC 6793) and the identifiers that RFC 6286 allows. Who may open a session with whom is not decided here.

use std::net::Ipv4Addr;

use bytes::{Buf, Bytes};

use super::iana::{AS_TRANS, error, parameter};
use super::{Capability, MessageError, MessageType, write_message};
use crate::HoldTime;

const VERSION: u8 = 4;
/// The largest value of the one-octet length, which also announces a length of two octets (RFC 9072 §2).
const EXTENDED: u8 = 255;
/// What fits into an OPEN besides header and fixed part, with the lengths of RFC 9072.
const LONGEST_CAPABILITIES: usize = 4096 - 29 - 6;

/// The first message of each side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// My Autonomous System; [`AS_TRANS`] if the number does not fit.
    pub my_as: u16,
    /// Hold Time that is proposed.
    pub hold_time: HoldTime,
    /// BGP Identifier, not zero.
    pub identifier: Ipv4Addr,
    /// All capabilities, in order.
    pub capabilities: Vec<Capability>,
}

impl Open {
    /// With My Autonomous System from the number; the capability for longer ones is the caller's to add.
    #[must_use]
    pub fn new(
        asn: u32,
        hold_time: HoldTime,
        identifier: Ipv4Addr,
        capabilities: Vec<Capability>,
    ) -> Self {
        let my_as = u16::try_from(asn).unwrap_or(AS_TRANS);
        Self { my_as, hold_time, identifier, capabilities }
    }

    /// The AS number from the capability if it is there (RFC 6793 §4.1).
    #[must_use]
    pub fn asn(&self) -> u32 {
        self.four_octet_asn().unwrap_or_else(|| u32::from(self.my_as))
    }

    /// The AS number of the capability.
    #[must_use]
    pub fn four_octet_asn(&self) -> Option<u32> {
        self.capabilities.iter().find_map(|capability| {
            if let Capability::FourOctetAsn(asn) = capability { Some(*asn) } else { None }
        })
    }

    /// Reads what follows the header.
    pub fn decode(mut body: Bytes) -> Result<Self, MessageError> {
        let fixed = (|| {
            Some((
                body.try_get_u8().ok()?,
                body.try_get_u16().ok()?,
                body.try_get_u16().ok()?,
                body.try_get_u32().ok()?,
                body.try_get_u8().ok()?,
            ))
        })();
        let Some((version, my_as, hold_time, identifier, length)) = fixed else {
            return Err(malformed("OPEN is too short"));
        };
        if version != VERSION {
            let ours = [0, VERSION];
            return Err(refused(error::UNSUPPORTED_VERSION, ours, "version is not 4"));
        }
        let capabilities = capabilities(length, body)?;
        let hold_time = HoldTime::from_seconds(hold_time).ok_or_else(|| {
            refused(error::UNACCEPTABLE_HOLD_TIME, [], "Hold Time is one or two seconds")
        })?;
        let open = Self { my_as, hold_time, identifier: Ipv4Addr::from(identifier), capabilities };
        // RFC 7607 §2.
        if open.my_as == 0 || open.asn() == 0 {
            return Err(refused(error::BAD_PEER_AS, [], "AS number is zero"));
        }
        // RFC 6286 §2.2.
        if open.identifier.is_unspecified() {
            return Err(refused(error::BAD_IDENTIFIER, [], "BGP Identifier is zero"));
        }
        Ok(open)
    }

    /// Appends the message: one optional parameter with all capabilities, none if there is none. Capabilities beyond the length
    /// of a message are left out.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut capabilities = Vec::new();
        for capability in &self.capabilities {
            let before = capabilities.len();
            capability.encode(&mut capabilities);
            if capabilities.len() > LONGEST_CAPABILITIES {
                capabilities.truncate(before);
                break;
            }
        }
        let mut body = vec![VERSION];
        body.extend(self.my_as.to_be_bytes());
        body.extend(self.hold_time.seconds().to_be_bytes());
        body.extend(self.identifier.octets());
        if capabilities.is_empty() {
            body.push(0);
        } else if let (Ok(outer @ 0..=254), Ok(inner)) =
            (u8::try_from(capabilities.len() + 2), u8::try_from(capabilities.len()))
        {
            body.extend([outer, parameter::CAPABILITIES, inner]);
        } else {
            let inner = u16::try_from(capabilities.len()).unwrap_or(u16::MAX);
            body.extend([EXTENDED, parameter::EXTENDED_LENGTH]);
            body.extend(inner.saturating_add(3).to_be_bytes());
            body.push(parameter::CAPABILITIES);
            body.extend(inner.to_be_bytes());
        }
        body.extend(capabilities);
        write_message(out, MessageType::Open, &body);
    }
}

/// The capabilities of all optional parameters.
fn capabilities(length: u8, mut rest: Bytes) -> Result<Vec<Capability>, MessageError> {
    // RFC 9072 §2: the type of the first parameter decides, the length of one octet only must not be zero.
    let extended = length != 0 && rest.first() == Some(&parameter::EXTENDED_LENGTH);
    let length = if extended {
        rest.advance(1);
        rest.try_get_u16().map_err(|_| malformed("optional parameters end early"))?
    } else {
        u16::from(length)
    };
    if usize::from(length) != rest.len() {
        return Err(malformed("length of the optional parameters"));
    }
    let mut capabilities = Vec::new();
    while !rest.is_empty() {
        let kind = rest.get_u8();
        let length = if extended {
            rest.try_get_u16().map(usize::from)
        } else {
            rest.try_get_u8().map(usize::from)
        };
        let length = length
            .ok()
            .filter(|length| *length <= rest.len())
            .ok_or_else(|| malformed("optional parameter ends early"))?;
        let mut value = rest.split_to(length);
        if kind != parameter::CAPABILITIES {
            return Err(refused(
                error::UNSUPPORTED_OPTIONAL_PARAMETER,
                [],
                "optional parameter other than capabilities",
            ));
        }
        while !value.is_empty() {
            let code = value.get_u8();
            let length = value
                .try_get_u8()
                .map(usize::from)
                .ok()
                .filter(|length| *length <= value.len())
                .ok_or_else(|| malformed("capability ends early"))?;
            capabilities.push(Capability::decode(code, value.split_to(length)));
        }
    }
    Ok(capabilities)
}

fn refused(subcode: u8, data: impl Into<Vec<u8>>, detail: &'static str) -> MessageError {
    MessageError::new(error::OPEN, subcode, data, detail)
}

fn malformed(detail: &'static str) -> MessageError {
    refused(error::UNSPECIFIC, [], detail)
}

#[cfg(test)]
mod tests;
