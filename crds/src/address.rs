// SPDX-License-Identifier: Apache-2.0
//! The one parser of addresses and prefixes: a text has one reading, whoever wrote it and wherever it stands.
//!
//! [`parse_address`] and [`parse_prefix`] read what is ours: pools, requests, peers, ranges, annotations and flags. They read as Go's
//! `net.ParseIP` and `net.ParseCIDR` do, by which MetalLB reads: no leading zeros in an address, which others take for octal, and no
//! zones. [`core_address`] and [`core_prefix`] read fields of Kubernetes' own kinds, where the API server still accepts leading zeros
//! (`StrictIPCIDRValidation` is off), and tell what is better written otherwise. All give an IPv4-mapped IPv6 address as the IPv4
//! address that it is. `testdata/addresses/table.json` has the verdicts of Go and of the API server.

mod fields;

use std::fmt;
use std::net::IpAddr;

pub use fields::{CoreText, Finding, core_texts};
use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

/// So many bits come before the IPv4 address in an IPv4-mapped one (RFC 4291 section 2.5.5.2).
const MAPPED: u8 = 96;

/// Why a text is no prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// It is not `address/length`.
    #[error("it is not an address, a slash and a length")]
    Syntax,
    /// It is an IPv4-mapped address with so short a length that the prefix reaches beyond IPv4.
    #[error(
        "an IPv4 address written as an IPv6 one needs a length of 96 to 128; better write it as IPv4"
    )]
    Mapped,
}

/// An address as `net.ParseIP` reads it; none when the text is not one.
#[must_use]
pub fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|address: IpAddr| address.to_canonical())
}

/// A network as `net.ParseCIDR` reads it, host bits masked away. The length may have leading zeros, which have one reading only.
///
/// # Errors
/// When the text is no prefix, or a mapped one with no reading as IPv4.
pub fn parse_prefix(text: &str) -> Result<IpNet, PrefixError> {
    interface(text).map(|interface| interface.trunc())
}

/// The same with its host bits.
fn interface(text: &str) -> Result<IpNet, PrefixError> {
    let (address, length) = text.split_once('/').ok_or(PrefixError::Syntax)?;
    let address: IpAddr = address.parse().map_err(|_| PrefixError::Syntax)?;
    if !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(PrefixError::Syntax);
    }
    let length: u8 = length.parse().map_err(|_| PrefixError::Syntax)?;
    let net = IpNet::new(address, length).map_err(|_| PrefixError::Syntax)?;
    let canonical = address.to_canonical();
    if canonical == address {
        return Ok(net);
    }
    let length = length.checked_sub(MAPPED).ok_or(PrefixError::Mapped)?;
    IpNet::new(canonical, length).map_err(|_| PrefixError::Syntax)
}

/// What a field of a core kind says, and how it had better be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Core<T> {
    /// The address or the network.
    pub value: T,
    /// Where the text is not the canonical one: why not.
    pub advice: Option<Advice>,
}

/// Why a text that the API server accepts had better be another; the API server warns of the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Leading zeros, or IPv4 written as IPv6: a later Kubernetes refuses it.
    NonStandard {
        /// The text to write instead.
        instead: String,
    },
    /// An IPv6 address that is not in the form of RFC 5952.
    NotCanonical {
        /// The text to write instead.
        instead: String,
    },
    /// A network with host bits: it may be meant as a single address.
    HostBits {
        /// The network that it is taken for.
        network: String,
        /// The single address.
        single: String,
    },
}

impl fmt::Display for Advice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NonStandard { instead } => {
                write!(formatter, "a later Kubernetes refuses this form: write {instead}")
            }
            Self::NotCanonical { instead } => {
                write!(formatter, "the canonical form is {instead} (RFC 5952)")
            }
            Self::HostBits { network, single } => {
                write!(formatter, "it is taken for {network}: write that, or {single}")
            }
        }
    }
}

/// An address in a field of a core kind, as the API server of Kubernetes 1.34 accepts it.
#[must_use]
pub fn core_address(text: &str) -> Option<Core<IpAddr>> {
    let strict: Option<IpAddr> = text.parse().ok();
    let value = strict.or_else(|| without_leading_zeros(text).parse().ok())?.to_canonical();
    let instead = || value.to_string();
    let advice = match strict {
        Some(IpAddr::V6(_)) if value.is_ipv6() => {
            (value.to_string() != text).then(|| Advice::NotCanonical { instead: instead() })
        }
        Some(IpAddr::V4(_)) => None,
        Some(IpAddr::V6(_)) | None => Some(Advice::NonStandard { instead: instead() }),
    };
    Some(Core { value, advice })
}

/// A network in a field of a core kind, likewise. A mapped prefix that reaches beyond IPv4 is none, although the API server takes
/// it for an IPv6 network.
#[must_use]
pub fn core_prefix(text: &str) -> Option<Core<IpNet>> {
    let written = interface(&without_leading_zeros(text)).ok()?;
    let value = written.trunc();
    let (address, length) = text.split_once('/')?;
    let strict: Option<IpAddr> = address.parse().ok();
    let standard = (length.len() == 1 || !length.starts_with('0'))
        && strict.is_some_and(|address| address == address.to_canonical());
    let advice = if written.addr() != value.addr() {
        let single = IpNet::from(written.addr()).to_string();
        Some(Advice::HostBits { network: value.to_string(), single })
    } else if !standard {
        Some(Advice::NonStandard { instead: value.to_string() })
    } else if value.to_string() != text {
        Some(Advice::NotCanonical { instead: value.to_string() })
    } else {
        None
    };
    Some(Core { value, advice })
}

/// The text with every number at its shortest, as if its leading zeros were not there.
fn without_leading_zeros(text: &str) -> String {
    let mut shorter = String::with_capacity(text.len());
    // A number that began with zeros, which are kept back until it is known whether anything follows them.
    let (mut inside, mut zero) = (false, false);
    for character in text.chars() {
        let digit = character.is_ascii_hexdigit();
        if digit && !inside && character == '0' {
            zero = true;
            continue;
        }
        if !digit && zero && !inside {
            shorter.push('0');
        }
        (inside, zero) = (digit, false);
        shorter.push(character);
    }
    if zero {
        shorter.push('0');
    }
    shorter
}

/// A flag's value as an address: `value_parser = crds::address::flag`.
///
/// # Errors
/// In words for whoever gave the flag.
pub fn flag(text: &str) -> Result<IpAddr, &'static str> {
    parse_address(text).ok_or("not an IP address")
}

/// Reads a field of a core kind that may lack or hold no address: `deserialize_with`.
///
/// # Errors
/// When the field is neither a string nor null.
pub fn deserialize_core<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<IpAddr>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.as_deref().and_then(core_address).map(|address| address.value))
}

#[cfg(test)]
mod tests;
