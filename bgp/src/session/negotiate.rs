// SPDX-License-Identifier: Apache-2.0
//! What our OPEN offers and what follows from the peer's: capabilities (RFC 5492), who may speak to whom (RFC 4271 §6.2,
//! RFC 6286), roles (RFC 9234). Pure functions.

mod refused;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use crate::config::{Config, Families, Family, Role};
use crate::status::{Negotiated, PeerRestart};
use crate::wire::iana::{afi, capability as code, error};
use crate::wire::{
    AfiSafi, Capability, Context, Notification, Open, RestartFamily, StaleFamily, printable,
};
pub(crate) use refused::{Impossible, Part, Refused, codes_left_out, families_left_out, refused};

/// 12 bits of seconds.
const LONGEST_RESTART_TIME: u64 = 0x0fff;
/// 24 bits of seconds.
const LONGEST_STALE_TIME: u64 = 0x00ff_ffff;

/// An OPEN that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) notification: Notification,
    pub(crate) detail: String,
}

/// Our OPEN. `restarting` sets the R bit (RFC 4724 §4.1); what is in `omitted` is left out.
pub(crate) fn offer(config: &Config, restarting: bool, omitted: &BTreeSet<Part>) -> Open {
    let mut families = config.families;
    for family in config.families.iter().filter(|family| omitted.contains(&Part::Family(*family))) {
        families.remove(family);
    }
    let mut capabilities: Vec<Capability> =
        families.iter().map(|family| Capability::Multiprotocol(family.into())).collect();
    if families.is_empty() {
        families = Families::IPV4;
    }
    capabilities.push(Capability::RouteRefresh);
    capabilities.push(Capability::FourOctetAsn(config.local_asn));
    if config.extended_next_hop && families.ipv4 {
        let ipv4 = AfiSafi::from(Family::Ipv4);
        capabilities.push(Capability::ExtendedNextHop(vec![(ipv4, afi::IPV6)]));
    }
    if config.extended_message {
        capabilities.push(Capability::ExtendedMessage);
    }
    if let Some(policy) = config.role
        && !may_be_internal(config)
    {
        capabilities.push(Capability::Role(role_number(policy.role)));
    }
    if config.enhanced_route_refresh {
        capabilities.push(Capability::EnhancedRouteRefresh);
    }
    if let Some(restart) = config.graceful_restart {
        let seconds = restart.restart_time.as_secs().min(LONGEST_RESTART_TIME);
        capabilities.push(Capability::GracefulRestart {
            restarted: restarting,
            notification: restart.notification,
            restart_time: u16::try_from(seconds).unwrap_or(0),
            // What forwards is not this process, so its end leaves the forwarding as it was.
            families: families
                .iter()
                .map(|family| RestartFamily { family: family.into(), forwarding: true })
                .collect(),
        });
        if let Some(stale) = config.long_lived_stale_time {
            let seconds = stale.as_secs().min(LONGEST_STALE_TIME);
            let stale_time = u32::try_from(seconds).unwrap_or(0);
            capabilities.push(Capability::LongLivedGracefulRestart(
                families
                    .iter()
                    .map(|family| StaleFamily {
                        family: family.into(),
                        forwarding: true,
                        stale_time,
                    })
                    .collect(),
            ));
        }
    }
    if let Some(fqdn) = &config.fqdn {
        let name = |name: &str| Bytes::copy_from_slice(name.as_bytes());
        capabilities.push(Capability::Fqdn { host: name(&fqdn.host), domain: name(&fqdn.domain) });
    }
    refused::leave_out(&mut capabilities, omitted);
    Open::new(config.local_asn, config.hold_time, config.identifier, capabilities)
}

/// A role is for external sessions only, and must not be said before it is known to be one.
const fn may_be_internal(config: &Config) -> bool {
    config.peer_asn.accepts(config.local_asn, config.local_asn)
}

/// What both OPENs make of the session.
pub(crate) fn negotiate(
    config: &Config,
    ours: &Open,
    theirs: &Open,
) -> Result<Negotiated, Refusal> {
    let asn = theirs.asn();
    if !config.peer_asn.accepts(config.local_asn, asn) {
        return Err(refusal(
            error::BAD_PEER_AS,
            [],
            format!("the peer shows AS {asn}, expected is {}", expected(config)),
        ));
    }
    let internal = asn == config.local_asn;
    // RFC 6286 §2.1: identifiers are unique within an AS.
    if internal && theirs.identifier == config.identifier {
        let detail = format!("the internal peer has our own BGP Identifier {}", theirs.identifier);
        return Err(refusal(error::BAD_IDENTIFIER, [], detail));
    }
    let peer_role = roles(config, ours, theirs, internal)?;
    let families = offered_families(ours).intersection(offered_families(theirs));
    if families.is_empty() {
        let mut data = Vec::new();
        for family in config.families.iter() {
            Capability::Multiprotocol(family.into()).encode(&mut data);
        }
        return Err(refusal(
            error::UNSUPPORTED_CAPABILITY,
            data,
            "the peer offers none of the families that are enabled".to_owned(),
        ));
    }
    let both = |wanted: u8| has(ours, wanted) && has(theirs, wanted);
    let hold_time = ours.hold_time.min(theirs.hold_time);
    let restart = both(code::GRACEFUL_RESTART).then(|| restart(ours, theirs)).flatten();
    Ok(Negotiated {
        hold_time,
        keepalive_time: keepalive_time(config, hold_time.duration()),
        families,
        peer_asn: asn,
        internal,
        peer_identifier: theirs.identifier,
        four_octet_asn: both(code::FOUR_OCTET_ASN),
        route_refresh: both(code::ROUTE_REFRESH),
        enhanced_route_refresh: both(code::ENHANCED_ROUTE_REFRESH),
        extended_message: both(code::EXTENDED_MESSAGE),
        extended_next_hop: extended_next_hop(ours) && extended_next_hop(theirs),
        graceful_restart: restart,
        long_lived_stale_time: stale_time(theirs)
            .filter(|_| restart.is_some() && has(ours, code::LONG_LIVED_GRACEFUL_RESTART)),
        peer_role,
        peer_host: host(theirs),
        offered_capabilities: ours.capabilities.iter().map(Capability::code).collect(),
        received_capabilities: theirs.capabilities.iter().map(Capability::code).collect(),
    })
}

/// How messages of the peer are to be read once its OPEN was accepted.
pub(crate) fn context(theirs: &Open, negotiated: &Negotiated) -> Context {
    Context {
        four_octet_asn: negotiated.four_octet_asn,
        internal: negotiated.internal,
        enhanced_route_refresh: has(theirs, code::ENHANCED_ROUTE_REFRESH),
    }
}

/// Whether whoever sent this OPEN may be sent messages of more than 4096 octets, whatever it sends itself (RFC 8654 §4).
pub(crate) fn takes_extended_messages(open: &Open) -> bool {
    has(open, code::EXTENDED_MESSAGE)
}

/// A third of the Hold Time, or less if so configured (RFC 4271 §4.4).
pub(crate) fn keepalive_time(config: &Config, hold_time: Option<Duration>) -> Option<Duration> {
    let third = hold_time? / 3;
    let wanted = config.keepalive_time.filter(|time| !time.is_zero());
    Some(wanted.map_or(third, |wanted| wanted.clamp(Duration::from_secs(1), third)))
}

fn expected(config: &Config) -> String {
    match config.peer_asn {
        crate::PeerAsn::Number(asn) => asn.to_string(),
        crate::PeerAsn::Internal => format!("{} (internal)", config.local_asn),
        crate::PeerAsn::External => format!("any but {} (external)", config.local_asn),
    }
}

fn refusal(subcode: u8, data: impl Into<Vec<u8>>, detail: String) -> Refusal {
    Refusal { notification: Notification::new(error::OPEN, subcode, data), detail }
}

fn has(open: &Open, wanted: u8) -> bool {
    open.capabilities.iter().any(|capability| {
        capability.code() == wanted && !matches!(capability, Capability::Unknown { .. })
    })
}

/// Without any multiprotocol capability a speaker does IPv4 (RFC 4760 §8).
fn offered_families(open: &Open) -> Families {
    let mut families = Families::NONE;
    let mut any = false;
    for capability in &open.capabilities {
        if let Capability::Multiprotocol(family) = capability {
            any = true;
            if let Some(family) = family.family() {
                families.insert(family);
            }
        }
    }
    if any { families } else { Families::IPV4 }
}

fn extended_next_hop(open: &Open) -> bool {
    open.capabilities.iter().any(|capability| {
        if let Capability::ExtendedNextHop(families) = capability {
            families.contains(&(AfiSafi::from(Family::Ipv4), afi::IPV6))
        } else {
            false
        }
    })
}

/// The last capability with this code: the one that counts where a peer must not send several but does (RFC 4724 §3).
fn last(open: &Open, wanted: u8) -> Option<&Capability> {
    open.capabilities.iter().rfind(|capability| capability.code() == wanted)
}

fn restart(ours: &Open, theirs: &Open) -> Option<PeerRestart> {
    let Capability::GracefulRestart { notification: we_notify, .. } =
        last(ours, code::GRACEFUL_RESTART)?
    else {
        return None;
    };
    let Capability::GracefulRestart { restarted, notification, restart_time, families: named } =
        last(theirs, code::GRACEFUL_RESTART)?
    else {
        return None;
    };
    let (mut families, mut forwarding) = (Families::NONE, Families::NONE);
    for one in named {
        if let Some(family) = one.family.family() {
            families.insert(family);
            if one.forwarding {
                forwarding.insert(family);
            }
        }
    }
    Some(PeerRestart {
        restart_time: Duration::from_secs(u64::from(*restart_time)),
        restarted: *restarted,
        notification: *we_notify && *notification,
        families,
        forwarding,
    })
}

/// The R bit (RFC 4724 §3).
pub(crate) fn says_restarted(open: &Open) -> bool {
    let last = last(open, code::GRACEFUL_RESTART);
    matches!(last, Some(Capability::GracefulRestart { restarted: true, .. }))
}

/// RFC 9494 does not say which of several counts; here it is the one that does of graceful restart.
fn stale_time(open: &Open) -> Option<Duration> {
    let Capability::LongLivedGracefulRestart(families) =
        last(open, code::LONG_LIVED_GRACEFUL_RESTART)?
    else {
        return None;
    };
    let most = families.iter().map(|family| family.stale_time).max()?;
    Some(Duration::from_secs(u64::from(most)))
}

fn host(open: &Open) -> Option<String> {
    open.capabilities.iter().find_map(|capability| {
        let Capability::Fqdn { host, .. } = capability else { return None };
        (!host.is_empty()).then(|| printable(host))
    })
}

/// RFC 9234 §4.2: both roles must fit each other; in strict mode the peer must say one.
fn roles(
    config: &Config,
    ours: &Open,
    theirs: &Open,
    internal: bool,
) -> Result<Option<Role>, Refusal> {
    let mismatch = |detail: String| refusal(error::ROLE_MISMATCH, [], detail);
    let mut numbers = theirs.capabilities.iter().filter_map(|capability| {
        if let Capability::Role(number) = capability { Some(*number) } else { None }
    });
    let number = numbers.next();
    let (Some(policy), false, true) = (config.role, internal, has(ours, code::ROLE)) else {
        return Ok(number.and_then(role_of));
    };
    if numbers.any(|other| Some(other) != number) {
        return Err(mismatch("the peer says several roles".to_owned()));
    }
    let Some(number) = number else {
        return if policy.strict {
            Err(mismatch("the peer says no role, which strict mode asks for".to_owned()))
        } else {
            Ok(None)
        };
    };
    let fits = match policy.role {
        Role::Provider => Role::Customer,
        Role::Customer => Role::Provider,
        Role::RouteServer => Role::RouteServerClient,
        Role::RouteServerClient => Role::RouteServer,
        Role::Peer => Role::Peer,
    };
    let theirs = role_of(number);
    if theirs == Some(fits) {
        return Ok(theirs);
    }
    let said = theirs.map_or_else(|| number.to_string(), |role| format!("{role:?}"));
    Err(mismatch(format!("our role {:?} does not fit the peer's {said}", policy.role)))
}

const fn role_number(role: Role) -> u8 {
    match role {
        Role::Provider => 0,
        Role::RouteServer => 1,
        Role::RouteServerClient => 2,
        Role::Customer => 3,
        Role::Peer => 4,
    }
}

const fn role_of(number: u8) -> Option<Role> {
    match number {
        0 => Some(Role::Provider),
        1 => Some(Role::RouteServer),
        2 => Some(Role::RouteServerClient),
        3 => Some(Role::Customer),
        4 => Some(Role::Peer),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
