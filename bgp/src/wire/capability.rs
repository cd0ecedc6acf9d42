// SPDX-License-Identifier: Apache-2.0
//! Capabilities in OPEN (RFC 5492 §4). What is unknown or not formed as its RFC says is kept as it came, and has no effect.

use bytes::{Buf, Bytes};

use super::iana::{SAFI_UNICAST, afi, capability as code};
use crate::Family;

/// An address family on the wire, of which this speaker uses two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AfiSafi {
    /// Address family.
    pub afi: u16,
    /// What kind of routes.
    pub safi: u8,
}

impl AfiSafi {
    /// One that we speak.
    #[must_use]
    pub const fn family(self) -> Option<Family> {
        match (self.afi, self.safi) {
            (afi::IPV4, SAFI_UNICAST) => Some(Family::Ipv4),
            (afi::IPV6, SAFI_UNICAST) => Some(Family::Ipv6),
            (_, _) => None,
        }
    }
}

impl From<Family> for AfiSafi {
    fn from(family: Family) -> Self {
        let afi = match family {
            Family::Ipv4 => afi::IPV4,
            Family::Ipv6 => afi::IPV6,
        };
        Self { afi, safi: SAFI_UNICAST }
    }
}

/// A family in the graceful restart capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartFamily {
    /// Which.
    pub family: AfiSafi,
    /// F bit: its forwarding state was kept.
    pub forwarding: bool,
}

/// A family in the long-lived graceful restart capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaleFamily {
    /// Which.
    pub family: AfiSafi,
    /// F bit: its forwarding state was kept.
    pub forwarding: bool,
    /// How long stale routes are kept, in seconds; 24 bits.
    pub stale_time: u32,
}

/// A capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Routes of this family (RFC 4760 §8).
    Multiprotocol(AfiSafi),
    /// Route refresh (RFC 2918).
    RouteRefresh,
    /// Families of prefixes and of next hops they may have (RFC 8950 §4).
    ExtendedNextHop(Vec<(AfiSafi, u16)>),
    /// Messages of up to 65535 octets (RFC 8654).
    ExtendedMessage,
    /// Role, as its number (RFC 9234 §4.1).
    Role(u8),
    /// Graceful restart (RFC 4724 §3).
    GracefulRestart {
        /// R bit: restarted.
        restarted: bool,
        /// N bit: also over NOTIFICATIONs (RFC 8538 §2).
        notification: bool,
        /// Restart time in seconds; 12 bits.
        restart_time: u16,
        /// The families.
        families: Vec<RestartFamily>,
    },
    /// Four-octet AS numbers, and ours (RFC 6793 §3).
    FourOctetAsn(u32),
    /// Enhanced route refresh (RFC 7313).
    EnhancedRouteRefresh,
    /// Long-lived graceful restart (RFC 9494 §3).
    LongLivedGracefulRestart(Vec<StaleFamily>),
    /// Host and domain name (draft-walton-bgp-hostname-capability).
    Fqdn {
        /// Host name.
        host: Bytes,
        /// Domain name.
        domain: Bytes,
    },
    /// Another, or one that is not well formed.
    Unknown {
        /// Its code.
        code: u8,
        /// Its value.
        value: Bytes,
    },
}

const RESTARTED: u16 = 0x8000;
const NOTIFICATION: u16 = 0x4000;
const RESTART_TIME: u16 = 0x0fff;
const FORWARDING: u8 = 0x80;
const STALE_TIME: u32 = 0x00ff_ffff;

impl Capability {
    /// Its code.
    #[must_use]
    pub const fn code(&self) -> u8 {
        match self {
            Self::Multiprotocol(_) => code::MULTIPROTOCOL,
            Self::RouteRefresh => code::ROUTE_REFRESH,
            Self::ExtendedNextHop(_) => code::EXTENDED_NEXT_HOP,
            Self::ExtendedMessage => code::EXTENDED_MESSAGE,
            Self::Role(_) => code::ROLE,
            Self::GracefulRestart { .. } => code::GRACEFUL_RESTART,
            Self::FourOctetAsn(_) => code::FOUR_OCTET_ASN,
            Self::EnhancedRouteRefresh => code::ENHANCED_ROUTE_REFRESH,
            Self::LongLivedGracefulRestart(_) => code::LONG_LIVED_GRACEFUL_RESTART,
            Self::Fqdn { .. } => code::FQDN,
            Self::Unknown { code, .. } => *code,
        }
    }

    /// From its code and value.
    pub(super) fn decode(code: u8, value: Bytes) -> Self {
        Self::known(code, value.clone()).unwrap_or(Self::Unknown { code, value })
    }

    fn known(code: u8, mut value: Bytes) -> Option<Self> {
        let decoded = match code {
            code::MULTIPROTOCOL => {
                let afi = value.try_get_u16().ok()?;
                let _reserved = value.try_get_u8().ok()?;
                Self::Multiprotocol(AfiSafi { afi, safi: value.try_get_u8().ok()? })
            }
            code::ROUTE_REFRESH => Self::RouteRefresh,
            code::EXTENDED_NEXT_HOP => Self::ExtendedNextHop(all(&mut value, |value| {
                let family = AfiSafi {
                    afi: value.try_get_u16().ok()?,
                    safi: u8::try_from(value.try_get_u16().ok()?).ok()?,
                };
                Some((family, value.try_get_u16().ok()?))
            })?),
            code::EXTENDED_MESSAGE => Self::ExtendedMessage,
            code::ROLE => Self::Role(value.try_get_u8().ok()?),
            code::GRACEFUL_RESTART => {
                let word = value.try_get_u16().ok()?;
                Self::GracefulRestart {
                    restarted: word & RESTARTED != 0,
                    notification: word & NOTIFICATION != 0,
                    restart_time: word & RESTART_TIME,
                    families: all(&mut value, |value| {
                        let family = afi_safi(value)?;
                        let forwarding = value.try_get_u8().ok()? & FORWARDING != 0;
                        Some(RestartFamily { family, forwarding })
                    })?,
                }
            }
            code::FOUR_OCTET_ASN => Self::FourOctetAsn(value.try_get_u32().ok()?),
            code::ENHANCED_ROUTE_REFRESH => Self::EnhancedRouteRefresh,
            code::LONG_LIVED_GRACEFUL_RESTART => {
                Self::LongLivedGracefulRestart(all(&mut value, |value| {
                    let family = afi_safi(value)?;
                    let word = value.try_get_u32().ok()?;
                    let [flags, ..] = word.to_be_bytes();
                    let forwarding = flags & FORWARDING != 0;
                    Some(StaleFamily { family, forwarding, stale_time: word & STALE_TIME })
                })?)
            }
            code::FQDN => Self::Fqdn { host: text(&mut value)?, domain: text(&mut value)? },
            _ => return None,
        };
        value.is_empty().then_some(decoded)
    }

    /// Appends code, length and value. A value of more than 255 octets, which cannot be, is left out.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut value = Vec::new();
        match self {
            Self::Multiprotocol(family) => {
                value.extend(family.afi.to_be_bytes());
                value.extend([0, family.safi]);
            }
            Self::RouteRefresh | Self::ExtendedMessage | Self::EnhancedRouteRefresh => {}
            Self::ExtendedNextHop(families) => {
                for (family, next_hop) in families {
                    value.extend(family.afi.to_be_bytes());
                    value.extend([0, family.safi]);
                    value.extend(next_hop.to_be_bytes());
                }
            }
            Self::Role(role) => value.push(*role),
            Self::GracefulRestart { restarted, notification, restart_time, families } => {
                let mut word = restart_time & RESTART_TIME;
                word |= if *restarted { RESTARTED } else { 0 };
                word |= if *notification { NOTIFICATION } else { 0 };
                value.extend(word.to_be_bytes());
                for RestartFamily { family, forwarding } in families {
                    value.extend(family.afi.to_be_bytes());
                    value.extend([family.safi, if *forwarding { FORWARDING } else { 0 }]);
                }
            }
            Self::FourOctetAsn(asn) => value.extend(asn.to_be_bytes()),
            Self::LongLivedGracefulRestart(families) => {
                for StaleFamily { family, forwarding, stale_time } in families {
                    value.extend(family.afi.to_be_bytes());
                    value.push(family.safi);
                    let flags = if *forwarding { u32::from(FORWARDING) << 24 } else { 0 };
                    value.extend((flags | (stale_time & STALE_TIME)).to_be_bytes());
                }
            }
            Self::Fqdn { host, domain } => {
                for name in [host, domain] {
                    let name = name.get(..64).unwrap_or(name);
                    value.push(u8::try_from(name.len()).unwrap_or(0));
                    value.extend_from_slice(name);
                }
            }
            Self::Unknown { value: octets, .. } => value.extend_from_slice(octets),
        }
        if let Ok(length) = u8::try_from(value.len()) {
            out.extend([self.code(), length]);
            out.extend(value);
        }
    }
}

/// Reads entries until the value is used up; `None` if the last one is not whole.
fn all<T>(value: &mut Bytes, mut entry: impl FnMut(&mut Bytes) -> Option<T>) -> Option<Vec<T>> {
    let mut entries = Vec::new();
    while !value.is_empty() {
        entries.push(entry(value)?);
    }
    Some(entries)
}

fn afi_safi(value: &mut Bytes) -> Option<AfiSafi> {
    Some(AfiSafi { afi: value.try_get_u16().ok()?, safi: value.try_get_u8().ok()? })
}

/// One octet of length, then so many octets.
fn text(value: &mut Bytes) -> Option<Bytes> {
    let length = usize::from(value.try_get_u8().ok()?);
    (length <= value.len()).then(|| value.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hex_literal::hex;

    const V4: AfiSafi = AfiSafi { afi: 1, safi: 1 };
    const V6: AfiSafi = AfiSafi { afi: 2, safi: 1 };

    #[test]
    fn every_capability_is_the_bytes_of_its_rfc() {
        // Each built by hand from the section that the type names.
        let goldens: [(Capability, &[u8]); 11] = [
            (Capability::Multiprotocol(V6), &hex!("01 04 0002 00 01")),
            (Capability::RouteRefresh, &hex!("02 00")),
            (Capability::ExtendedNextHop(vec![(V4, 2)]), &hex!("05 06 0001 0001 0002")),
            (Capability::ExtendedMessage, &hex!("06 00")),
            (Capability::Role(3), &hex!("09 01 03")),
            (
                Capability::GracefulRestart {
                    restarted: true,
                    notification: true,
                    restart_time: 120,
                    families: vec![
                        RestartFamily { family: V4, forwarding: true },
                        RestartFamily { family: V6, forwarding: false },
                    ],
                },
                &hex!("40 0a c078 0001 01 80 0002 01 00"),
            ),
            (Capability::FourOctetAsn(4_200_000_000), &hex!("41 04 fa56ea00")),
            (Capability::EnhancedRouteRefresh, &hex!("46 00")),
            (
                Capability::LongLivedGracefulRestart(vec![StaleFamily {
                    family: V4,
                    forwarding: true,
                    stale_time: 86_400,
                }]),
                &hex!("47 07 0001 01 80 015180"),
            ),
            (
                Capability::Fqdn { host: Bytes::from_static(b"node"), domain: Bytes::new() },
                &hex!("49 06 04 6e6f6465 00"),
            ),
            (
                Capability::Unknown { code: 69, value: Bytes::from_static(&[0, 1, 1, 3]) },
                &hex!("45 04 00010103"),
            ),
        ];
        for (capability, golden) in goldens {
            let mut out = Vec::new();
            capability.encode(&mut out);
            assert_eq!(out, golden);
            assert_eq!(out[0], capability.code());
            assert_eq!(Capability::decode(out[0], Bytes::copy_from_slice(&out[2..])), capability);
        }
    }

    #[test]
    fn what_is_not_well_formed_has_no_effect() {
        for (code, value) in [
            (1, &hex!("0002 00")[..]),
            (1, &hex!("0002 00 01 00")),
            (2, &hex!("00")),
            (5, &hex!("0001 0101 0002")),
            (6, &hex!("00")),
            (9, &hex!("")),
            (9, &hex!("0000")),
            (64, &hex!("c0")),
            (64, &hex!("c078 000101")),
            (65, &hex!("0001")),
            (71, &hex!("0001 01 80 0151")),
            (73, &hex!("05 6e6f")),
        ] {
            let value = Bytes::copy_from_slice(value);
            let capability = Capability::decode(code, value.clone());
            assert_eq!(capability, Capability::Unknown { code, value });
        }
    }
}
