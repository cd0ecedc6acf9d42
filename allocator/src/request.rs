// SPDX-License-Identifier: Apache-2.0
//! The request of a Service: addresses, a pool, families, sharing (contract 2.1, 2.5, 2.7, C.1), read once for all
//! decisions.

use std::net::IpAddr;

use cluster::model::{FamilyPolicy, Service};
use crds::address::{core_address, parse_address};
use crds::config::Family;

use crate::sharing::Claim;

/// The request of a Service.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The Service itself.
    pub service: &'a Service,
    /// The families of its cluster addresses; none for a headless Service.
    pub families: Option<Families>,
    /// True if a second address is worth having but not required.
    pub prefers_dual: bool,
    /// The addresses that it asks for by name, IPv4 first; empty when it asks for none. An error when the request
    /// does not parse or is made twice.
    pub addresses: Result<Vec<IpAddr>, RequestError>,
    /// The IPAddressPool that it asks for by name.
    pub pool: Option<&'a str>,
    /// The request of a Service of Antrea's world; none for all others.
    pub external: Option<ExternalRequest<'a>>,
    /// With whom it shares an address, and the ports that it takes there.
    pub claim: Claim,
}

/// The request of a Service of Antrea's world (contract C.1).
#[derive(Clone, Debug)]
pub struct ExternalRequest<'a> {
    /// The ExternalIPPool that the annotation names.
    pub pool: &'a str,
    /// The address of `spec.loadBalancerIP`, if the field is set. An error when the field holds no address.
    pub address: Result<Option<IpAddr>, RequestError>,
}

impl<'a> Request<'a> {
    /// Reads the annotations and fields of a Service.
    #[must_use]
    pub fn of(service: &'a Service) -> Self {
        Self {
            service,
            families: Families::of_service(service),
            prefers_dual: service.family_policy == FamilyPolicy::PreferDualStack,
            addresses: requested_addresses(service),
            pool: service.annotation("address-pool").filter(|name| !name.is_empty()),
            external: service.external_pool().map(|pool| ExternalRequest {
                pool,
                address: match &*service.load_balancer_ip {
                    "" => Ok(None),
                    text => address_of_field(text).map(Some),
                },
            }),
            claim: Claim::of(service),
        }
    }

    /// True if the Service may get a second address: it has two cluster addresses, and does not ask for one address by
    /// name (Antrea's world), or prefers two (MetalLB's).
    pub(crate) fn wants_two(&self) -> bool {
        let external = self.external.is_some() && self.service.load_balancer_ip.is_empty();
        (external || self.prefers_dual) && self.service.cluster_ips.len() == 2
    }

    /// True if a Service that may keep its addresses can still get another one, or a notice: then only the decision in
    /// full says what becomes of it.
    pub(crate) fn may_change_what_is_kept(&self) -> bool {
        self.prefers_dual
            || (self.external.is_some() && self.service.cluster_ips.len() == 2)
            || self.service.annotation("loadBalancerIPs").is_some()
            || !self.service.load_balancer_ip.is_empty()
    }
}

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
    fn of_service(service: &Service) -> Option<Self> {
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
        /// The families of the Service.
        families: &'static str,
    },
}

fn requested_addresses(service: &Service) -> Result<Vec<IpAddr>, RequestError> {
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
            vec![address_of_field(text)?]
        }
        (Some(_), _) => return Err(RequestError::Both),
    };
    addresses.sort();
    Ok(addresses)
}

fn address_of_field(text: &str) -> Result<IpAddr, RequestError> {
    parse_address(text).ok_or_else(|| RequestError::Field(text.to_owned()))
}

/// Checks that requested addresses are of exactly the families of the Service; a dual-stack Service has to ask
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

/// Addresses as Go's `%q` prints a list: `["192.0.2.1" "2001:db8::1"]`. Users match on these messages.
#[must_use]
pub(crate) fn quoted(addresses: &[IpAddr]) -> String {
    let list: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    format!("[{}]", list.join(" "))
}
