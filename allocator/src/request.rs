// SPDX-License-Identifier: Apache-2.0
//! What a Service asks for: addresses, a pool, families (contract 2.1, 2.5).

use std::net::IpAddr;

use cluster::model::{FamilyPolicy, Service};
use crds::address::{core_address, parse_address};
use crds::config::Family;

/// The families that a Service is to have, from its cluster addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// Exactly this one.
    Single(Family),
    /// Both.
    Dual,
}

impl Families {
    /// The families of a list of addresses: one, or two of different families. None for anything else.
    #[must_use]
    pub fn of(addresses: &[IpAddr]) -> Option<Self> {
        match addresses {
            [one] => Some(Self::Single(Family::of(*one))),
            [a, b] if Family::of(*a) != Family::of(*b) => Some(Self::Dual),
            _ => None,
        }
    }

    /// The families of a Service's cluster addresses; none for a headless one.
    #[must_use]
    pub fn of_service(service: &Service) -> Option<Self> {
        let addresses: Option<Vec<IpAddr>> =
            service.cluster_ips.iter().map(|text| core_address(text).map(|ip| ip.value)).collect();
        Self::of(&addresses?)
    }

    /// As MetalLB names it in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Single(Family::V4) => "ipv4",
            Self::Single(Family::V6) => "ipv6",
            Self::Dual => "dual",
        }
    }
}

/// Why a Service's request makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The annotation and the field are both set.
    #[error("service can not have both metallb.io/loadBalancerIPs and svc.Spec.LoadBalancerIP")]
    Both,
    /// The annotation holds something that is no address.
    #[error("invalid metallb.io/loadBalancerIPs: {0:?} is not an IP address")]
    Annotation(String),
    /// The field holds something that is no address.
    #[error("invalid spec.loadBalancerIP: {0:?} is not an IP address")]
    Field(String),
    /// The families differ from the Service's.
    #[error(
        "requested loadBalancer IP(s) {requested} does not match the ipFamily of the service ({families})"
    )]
    Families {
        /// The addresses.
        requested: String,
        /// What the Service is.
        families: &'static str,
    },
}

/// The addresses that a Service asks for by name, IPv4 first; empty when it asks for none.
///
/// # Errors
/// When the request does not parse or is made twice.
pub fn requested_addresses(service: &Service) -> Result<Vec<IpAddr>, RequestError> {
    let annotation = service.annotation("loadBalancerIPs");
    let mut addresses: Vec<IpAddr> = match (annotation, &*service.load_balancer_ip) {
        (None | Some(""), "") => return Ok(Vec::new()),
        (Some(text), "") => text
            .split(',')
            .map(|part| {
                let part = part.trim();
                parse_address(part).ok_or_else(|| RequestError::Annotation(part.to_owned()))
            })
            .collect::<Result<_, _>>()?,
        (None | Some(""), text) => {
            vec![parse_address(text).ok_or_else(|| RequestError::Field(text.to_owned()))?]
        }
        (Some(_), _) => return Err(RequestError::Both),
    };
    addresses.sort();
    Ok(addresses)
}

/// Whether requested addresses are of exactly the families of the Service; a dual-stack Service has to ask
/// for two (contract 2.5).
///
/// # Errors
/// When they are not.
pub(crate) fn check_families(requested: &[IpAddr], families: Families) -> Result<(), RequestError> {
    if Families::of(requested) == Some(families) {
        return Ok(());
    }
    Err(RequestError::Families { requested: quoted(requested), families: families.name() })
}

/// The pool that a Service asks for by name.
#[must_use]
pub fn requested_pool(service: &Service) -> Option<&str> {
    service.annotation("address-pool").filter(|name| !name.is_empty())
}

/// Whether a second address is worth having but not required.
#[must_use]
pub(crate) fn prefers_dual(service: &Service) -> bool {
    service.family_policy == FamilyPolicy::PreferDualStack
}

/// Addresses as Go's `%q` prints a list: `["192.0.2.1" "2001:db8::1"]`. Users match on these messages.
#[must_use]
pub(crate) fn quoted(addresses: &[IpAddr]) -> String {
    let list: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    format!("[{}]", list.join(" "))
}
