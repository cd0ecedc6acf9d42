// SPDX-License-Identifier: Apache-2.0
//! `BGPPeer`: the rules that one peer, with its profile and its Secret, can break (contract 6.2).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use super::selector;
use crate::address::parse_address;
use crate::config::fault::{Fault, FieldPath};
use crate::config::objects::Secret;
use crate::config::peer::{
    BfdProfile, Ipv6NextHop, Password, Peer, PeerAddress, PeerAsn, Role, Timers,
};
use crate::metallb::{BgpPeerSpec, GoDuration};

/// The longest key of TCP MD5 that the kernel takes, in octets.
const LONGEST_KEY: usize = 80;

/// The type that a Secret with a password has.
const SECRET_TYPE: &str = "kubernetes.io/basic-auth";

/// Where a router listens when nothing else is said.
const BGP_PORT: u16 = 179;

/// A text that is there and not empty; the API does not tell the two apart.
fn given(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

pub(super) fn parse(
    name: &Arc<str>,
    namespace: &str,
    spec: &BgpPeerSpec,
    profiles: &BTreeMap<Arc<str>, BfdProfile>,
    secrets: &BTreeMap<Box<str>, Secret>,
) -> Result<Peer, Fault> {
    let parsing = |fault: Fault| fault.reworded(|message| format!("parsing peer {name} {message}"));
    let mut peer = fields(name, spec).map_err(parsing)?;
    peer.password = password(name, namespace, spec, secrets).map_err(parsing)?;
    if let Some(profile) = given(&spec.bfd_profile) {
        peer.bfd_profile = Some(profiles.get(profile).cloned().ok_or_else(|| {
            let message = format!("peer {name} referencing non existing bfd profile {profile}");
            Fault::new("bfdProfile", message)
        })?);
    }
    Ok(peer)
}

/// Takes away what makes a peer unusable here although MetalLB's webhook takes it: a router ID of IPv6, and a password that is longer
/// than a key of TCP MD5 can be. Whoever applies such an object is told by ConfigurationState, as in MetalLB by what does not work.
pub(crate) fn forget_what_metallb_takes(spec: &mut BgpPeerSpec) {
    if given(&spec.router_id).and_then(parse_address).is_some_and(|id| id.is_ipv6()) {
        spec.router_id = None;
    }
    if given(&spec.password).is_some_and(|password| password.len() > LONGEST_KEY) {
        spec.password = None;
    }
}

/// All but what stands in other objects.
pub(super) fn fields(name: &Arc<str>, spec: &BgpPeerSpec) -> Result<Peer, Fault> {
    // Named one by one, so that a new field cannot be forgotten here.
    let BgpPeerSpec {
        my_asn,
        peer_asn: _,
        dynamic_asn: _,
        local_asn,
        peer_address,
        interface,
        source_address,
        peer_port,
        hold_time: _,
        keepalive_time: _,
        connect_time,
        router_id,
        node_selectors,
        // What other objects say is filled in by `parse`.
        password: _,
        password_secret: _,
        bfd_profile: _,
        enable_graceful_restart,
        ebgp_multi_hop,
        vrf,
        // Without effect.
        disable_mp: _,
        dual_stack_address_family,
        passive,
        listen_port,
        ttl_security,
        graceful_restart_time,
        long_lived_stale_time,
        role,
        ipv6_next_hop,
        max_prefixes,
    } = spec;
    if *my_asn == 0 {
        return Err(Fault::new("myASN", "missing local ASN"));
    }
    let peer_asn = asn(spec)?;
    let ebgp_multi_hop = ebgp_multi_hop.unwrap_or(false);
    if ebgp_multi_hop && peer_asn == PeerAsn::Number(*my_asn) {
        return Err(Fault::new(
            "ebgpMultiHop",
            "invalid ebgp-multihop parameter set for an ibgp peer",
        ));
    }
    let address = address(given(peer_address), given(interface))?;
    let router_id = given(router_id).map(self::router_id).transpose()?;
    let source_address = given(source_address).map(self::source_address).transpose()?;
    let passive = passive.unwrap_or(false);
    let set_port = |port: Option<u16>| port.filter(|port| *port != 0);
    Ok(Peer {
        name: name.clone(),
        my_asn: *my_asn,
        peer_asn,
        local_asn: local_asn.filter(|asn| *asn != 0),
        address,
        port: set_port(*peer_port).unwrap_or(BGP_PORT),
        source_address,
        timers: timers(spec).map_err(|fault| {
            fault.reworded(|message| format!("invalid BGPPeer timers: {message}"))
        })?,
        connect_time: connect_time.map(self::connect_time).transpose()?,
        router_id,
        node_selectors: selector::parse("nodeSelectors", node_selectors.as_deref())?,
        password: None,
        bfd_profile: None,
        graceful_restart: enable_graceful_restart.unwrap_or(false),
        ebgp_multi_hop,
        vrf: given(vrf).map(Into::into),
        dual_stack: dual_stack_address_family.unwrap_or(false),
        passive,
        // A peer that is waited for must be listened for.
        listen_port: set_port(*listen_port).or(passive.then_some(BGP_PORT)),
        ttl_security: ttl_security.map(hops).transpose()?,
        graceful_restart_time: seconds("gracefulRestartTime", *graceful_restart_time, 0xfff)?,
        long_lived_stale_time: seconds("longLivedStaleTime", *long_lived_stale_time, 0xff_ffff)?,
        role: given(role).map(self::role).transpose()?,
        ipv6_next_hop: given(ipv6_next_hop)
            .map_or(Ok(Ipv6NextHop::default()), self::ipv6_next_hop)?,
        max_prefixes: max_prefixes.filter(|prefixes| *prefixes != 0),
    })
}

/// Where the peer is: exactly one of both is given.
fn address(address: Option<&str>, interface: Option<&str>) -> Result<PeerAddress, Fault> {
    match (address, interface) {
        (None, None) => {
            Err(Fault::new("peerAddress", "peer has no Address or Interface specified"))
        }
        (Some(_), Some(_)) => {
            Err(Fault::new("interface", "peer has both Address and Interface specified"))
        }
        (Some(text), None) => parse_address(text)
            .map(PeerAddress::Address)
            .ok_or_else(|| Fault::new("peerAddress", format!("invalid BGPPeer address {text:?}"))),
        (None, Some(interface)) => Ok(PeerAddress::Interface(interface.into())),
    }
}

fn router_id(text: &str) -> Result<Ipv4Addr, Fault> {
    match parse_address(text) {
        Some(IpAddr::V4(id)) => Ok(id),
        Some(IpAddr::V6(_)) | None => {
            Err(Fault::new("routerID", format!("invalid router ID {text:?}")))
        }
    }
}

fn source_address(text: &str) -> Result<IpAddr, Fault> {
    parse_address(text)
        .ok_or_else(|| Fault::new("sourceAddress", format!("invalid source IP {text:?}")))
}

fn hops(hops: u8) -> Result<u8, Fault> {
    match hops {
        1..=254 => Ok(hops),
        _ => Err(Fault::new(
            "ttlSecurity",
            format!("invalid ttlSecurity {hops}, must be in 1-254 range"),
        )),
    }
}

fn asn(spec: &BgpPeerSpec) -> Result<PeerAsn, Fault> {
    match (spec.peer_asn.filter(|asn| *asn != 0), given(&spec.dynamic_asn)) {
        (None, None) => Err(Fault::new("peerASN", "missing peer ASN and dynamicASN")),
        (Some(_), Some(_)) => {
            Err(Fault::new("dynamicASN", "both peer ASN and dynamicASN specified"))
        }
        (Some(number), None) => Ok(PeerAsn::Number(number)),
        (None, Some("internal")) => Ok(PeerAsn::Internal),
        (None, Some("external")) => Ok(PeerAsn::External),
        (None, Some(other)) => Err(Fault::new("dynamicASN", format!("invalid dynamicASN {other}"))),
    }
}

/// One of the two timers stands for the other: hold time is three times keepalive time.
fn timers(spec: &BgpPeerSpec) -> Result<Option<Timers>, Fault> {
    let (hold, keepalive) = match (spec.hold_time, spec.keepalive_time) {
        (None, None) => return Ok(None),
        (Some(hold), None) => (hold, GoDuration::from_nanos(hold.as_nanos() / 3)),
        (None, Some(keepalive)) => {
            (GoDuration::from_nanos(keepalive.as_nanos().saturating_mul(3)), keepalive)
        }
        (Some(hold), Some(keepalive)) => (hold, keepalive),
    };
    // The time that is written is the guilty one.
    let of_hold = spec.hold_time.map_or("keepaliveTime", |_| "holdTime");
    let of_keepalive = spec.keepalive_time.map_or("holdTime", |_| "keepaliveTime");
    let whole = hold
        .to_std()
        .map(|hold| Duration::from_secs(hold.as_secs()))
        .filter(|hold| hold.is_zero() || *hold >= Duration::from_secs(3))
        .ok_or_else(|| {
            Fault::new(of_hold, format!("invalid hold time {hold}: must be 0, or 3s or more"))
        })?;
    let keepalive = keepalive.to_std().filter(|_| keepalive <= hold).ok_or_else(|| {
        let message = format!(
            "invalid keepaliveTime {keepalive}: must not be longer than the hold time {hold}"
        );
        Fault::new(of_keepalive, message)
    })?;
    // The message has sixteen bits for it; keepalives of a longer time are as good as none.
    let hold = whole.min(Duration::from_secs(u64::from(u16::MAX)));
    Ok(Some(Timers { hold, keepalive: keepalive.min(hold) }))
}

/// The API server checks this as well; a manifest in a folder has only us.
fn connect_time(time: GoDuration) -> Result<Duration, Fault> {
    if !(1..=65_535).contains(&time.as_secs()) {
        let message = "connect time should be between 1 seconds to 65535";
        return Err(Fault::new("connectTime", message));
    }
    match time.to_std() {
        Some(time) if time.subsec_nanos() == 0 => Ok(time),
        Some(_) | None => {
            Err(Fault::new("connectTime", "connect time should contain a whole number of seconds"))
        }
    }
}

/// A number of seconds that a field of some bits holds.
fn seconds(
    field: &'static str,
    time: Option<GoDuration>,
    most: u64,
) -> Result<Option<Duration>, Fault> {
    time.map(|time| {
        time.to_std()
            .map(|time| Duration::from_secs(time.as_secs()))
            .filter(|time| time.as_secs() <= most)
            .ok_or_else(|| {
                Fault::new(field, format!("invalid {field} {time}, must be in 0-{most} seconds"))
            })
    })
    .transpose()
}

fn role(text: &str) -> Result<Role, Fault> {
    Ok(match text {
        "provider" => Role::Provider,
        "rs" => Role::RouteServer,
        "rs-client" => Role::RouteServerClient,
        "customer" => Role::Customer,
        "peer" => Role::Peer,
        _ => return Err(Fault::new("role", format!("invalid role {text:?}"))),
    })
}

fn ipv6_next_hop(text: &str) -> Result<Ipv6NextHop, Fault> {
    Ok(match text {
        "global-and-link-local" => Ipv6NextHop::GlobalAndLinkLocal,
        "global" => Ipv6NextHop::Global,
        _ => return Err(Fault::new("ipv6NextHop", format!("invalid ipv6NextHop {text:?}"))),
    })
}

/// Where a peer names its Secret.
pub(super) fn secret_name() -> FieldPath {
    FieldPath::from("passwordSecret").name("name")
}

/// The password, from the object or from its Secret.
fn password(
    name: &str,
    namespace: &str,
    spec: &BgpPeerSpec,
    secrets: &BTreeMap<Box<str>, Secret>,
) -> Result<Option<Password>, Fault> {
    let plain = given(&spec.password);
    let Some(reference) = spec.password_secret.as_ref().and_then(|secret| given(&secret.name))
    else {
        if let Some(length) = plain.map(str::len).filter(|length| *length > LONGEST_KEY) {
            return Err(Fault::new(
                "password",
                format!(
                    "spec.password: a TCP MD5 key has at most {LONGEST_KEY} octets, this one has {length}"
                ),
            ));
        }
        return Ok(plain.map(Password::from));
    };
    if plain.is_some() {
        let message = format!(
            "can not have both password and secret ref set in peer config {namespace:?}/{name:?}"
        );
        return Err(Fault::new("passwordSecret", message));
    }
    match secrets.get(reference) {
        None => Err(format!("secret ref not found for peer config {namespace:?}/{name:?}")),
        Some(secret) if &*secret.kind != SECRET_TYPE => Err(format!(
            "secret type mismatch on {namespace:?}/{reference:?}, type {SECRET_TYPE:?} is expected"
        )),
        Some(Secret { password: None, .. }) => {
            Err(format!("password not specified in the secret {namespace:?}/{reference:?}"))
        }
        Some(Secret { password: Some(password), .. })
            if !(1..=LONGEST_KEY).contains(&password.as_bytes().len()) =>
        {
            Err(format!(
                "a TCP MD5 key has 1 to {LONGEST_KEY} octets, that of the secret {namespace:?}/{reference:?} has {}",
                password.as_bytes().len()
            ))
        }
        Some(Secret { password, .. }) => Ok(password.clone()),
    }
    .map_err(|message: String| {
        Fault::new(secret_name(), format!("{message}\nfailed to parse peer {name} password secret"))
    })
}
