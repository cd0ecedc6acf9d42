// SPDX-License-Identifier: Apache-2.0
//! Path attributes into octets (RFC 4271 §4.3). The length has two octets only where one does not do.

use super::super::{Context, TooLong};
use super::{Attribute, EXTENDED_LENGTH, NextHop, OPTIONAL, Origin, PARTIAL, TRANSITIVE, category};
use crate::wire::capability::AfiSafi;

impl Attribute {
    /// Appends the attribute.
    pub fn encode(&self, context: Context, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let code = self.code();
        let flags = if let Self::Unknown { transitive, partial, .. } = self {
            OPTIONAL | if *transitive { TRANSITIVE } else { 0 } | if *partial { PARTIAL } else { 0 }
        } else {
            category(code).unwrap_or(OPTIONAL)
        };
        let start = out.len();
        // One octet of length is enough for most; it is made two below if not.
        out.extend([flags, code, 0]);
        self.encode_value(context, out);
        let length = out.len() - start - 3;
        if let Ok(length) = u8::try_from(length) {
            if let Some(octet) = out.get_mut(start + 2) {
                *octet = length;
            }
            return Ok(());
        }
        let [high, low] = u16::try_from(length).map_err(|_| TooLong)?.to_be_bytes();
        if let Some([flags, _, octet]) = out.get_mut(start..start + 3) {
            *flags |= EXTENDED_LENGTH;
            *octet = high;
        }
        out.insert(start + 3, low);
        Ok(())
    }

    fn encode_value(&self, context: Context, out: &mut Vec<u8>) {
        match self {
            Self::Origin(origin) => out.push(match origin {
                Origin::Igp => 0,
                Origin::Egp => 1,
                Origin::Incomplete => 2,
            }),
            Self::AsPath(path) => path.encode(context.four_octet_asn, out),
            Self::NextHop(address) | Self::OriginatorId(address) => out.extend(address.octets()),
            Self::MultiExitDisc(value) | Self::LocalPref(value) | Self::OnlyToCustomer(value) => {
                out.extend(value.to_be_bytes());
            }
            Self::AtomicAggregate => {}
            Self::Aggregator(asn, identifier) => {
                if context.four_octet_asn {
                    out.extend(asn.to_be_bytes());
                } else {
                    let asn = u16::try_from(*asn).unwrap_or(crate::wire::iana::AS_TRANS);
                    out.extend(asn.to_be_bytes());
                }
                out.extend(identifier.octets());
            }
            Self::Communities(values) | Self::ClusterList(values) => {
                out.extend(values.iter().flat_map(|value| value.to_be_bytes()));
            }
            Self::MpReach(reach) => {
                mp_reach_start(AfiSafi::from(reach.prefixes.family()), reach.next_hop, out);
                out.extend_from_slice(reach.prefixes.octets());
            }
            Self::MpUnreach(prefixes) => {
                let family = AfiSafi::from(prefixes.family());
                out.extend(family.afi.to_be_bytes());
                out.push(family.safi);
                out.extend_from_slice(prefixes.octets());
            }
            Self::ExtendedCommunities(values) => out.extend(values.iter().flatten()),
            Self::As4Path(path) => path.encode(true, out),
            Self::As4Aggregator(asn, identifier) => {
                out.extend(asn.to_be_bytes());
                out.extend(identifier.octets());
            }
            Self::LargeCommunities(values) => {
                out.extend(values.iter().flatten().flat_map(|value| value.to_be_bytes()));
            }
            Self::Unknown { value, .. } => out.extend_from_slice(value),
        }
    }
}

/// The value of MP_REACH_NLRI up to its prefixes (RFC 4760 §3).
fn mp_reach_start(family: AfiSafi, next_hop: NextHop, out: &mut Vec<u8>) {
    out.extend(family.afi.to_be_bytes());
    out.push(family.safi);
    match next_hop {
        NextHop::Ipv4(address) => {
            out.push(4);
            out.extend(address.octets());
        }
        NextHop::Ipv6 { global, link_local: None } => {
            out.push(16);
            out.extend(global.octets());
        }
        NextHop::Ipv6 { global, link_local: Some(link_local) } => {
            out.push(32);
            out.extend(global.octets());
            out.extend(link_local.octets());
        }
    }
    out.push(0);
}
