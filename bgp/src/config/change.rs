// SPDX-License-Identifier: Apache-2.0
//! What a change of configuration does to a running session. A session is reset only for what an OPEN or a new TCP connection
//! has to carry.

use super::Config;

/// The consequence of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing differs.
    None,
    /// The session lives on. The text names the fields and when they take effect.
    Soft(String),
    /// The session has to begin anew (CEASE/6). The text names the fields.
    Reset(String),
}

/// When a changed field takes effect without a reset.
const AT_ONCE: &str = "at once";
const NEXT_OPEN: &str = "with the next OPEN";
const NEXT_CONNECTION: &str = "with the next connection";

pub(super) fn between(old: &Config, new: &Config) -> Change {
    // Named one by one, so that a new field cannot be forgotten here.
    let Config {
        name,
        local_asn,
        peer_asn,
        identifier,
        remote,
        port,
        source_address,
        bind_interface,
        hold_time,
        keepalive_time,
        connect_time,
        password,
        families,
        extended_next_hop,
        ipv6_next_hop,
        passive,
        listen_port,
        ttl_security,
        multihop_ttl,
        graceful_restart,
        long_lived_stale_time,
        role,
        extended_message,
        enhanced_route_refresh,
        fqdn,
        max_prefixes,
    } = old;
    let switched = |field: fn(&Config) -> bool| field(old) != field(new);
    let resets = [
        ("local AS", *local_asn != new.local_asn),
        ("peer AS", *peer_asn != new.peer_asn),
        ("identifier", *identifier != new.identifier),
        ("peer address", *remote != new.remote),
        ("port", *port != new.port),
        ("source address", *source_address != new.source_address),
        ("interface to bind to", *bind_interface != new.bind_interface),
        ("use of a password", switched(|config| config.password.is_some())),
        ("families", *families != new.families),
        ("extended next hop", *extended_next_hop != new.extended_next_hop),
        ("graceful restart", switched(|config| config.graceful_restart.is_some())),
        (
            "graceful restart on notification",
            switched(|config| config.graceful_restart.is_some_and(|restart| restart.notification)),
        ),
        ("long-lived graceful restart", switched(|config| config.long_lived_stale_time.is_some())),
        ("role", *role != new.role),
        ("extended message", *extended_message != new.extended_message),
        ("enhanced route refresh", *enhanced_route_refresh != new.enhanced_route_refresh),
    ];
    let softs = [
        ("name", *name != new.name, AT_ONCE),
        ("keepalive time", *keepalive_time != new.keepalive_time, AT_ONCE),
        ("connect time", *connect_time != new.connect_time, AT_ONCE),
        ("password", *password != new.password, AT_ONCE),
        ("TTL security", *ttl_security != new.ttl_security, AT_ONCE),
        ("TTL", *multihop_ttl != new.multihop_ttl, AT_ONCE),
        ("IPv6 next hop", *ipv6_next_hop != new.ipv6_next_hop, AT_ONCE),
        ("prefix limit", *max_prefixes != new.max_prefixes, AT_ONCE),
        ("hold time", *hold_time != new.hold_time, NEXT_OPEN),
        ("restart time", *graceful_restart != new.graceful_restart, NEXT_OPEN),
        ("long-lived stale time", *long_lived_stale_time != new.long_lived_stale_time, NEXT_OPEN),
        ("FQDN", *fqdn != new.fqdn, NEXT_OPEN),
        ("passive", *passive != new.passive, NEXT_CONNECTION),
        ("listen port", *listen_port != new.listen_port, NEXT_CONNECTION),
    ];
    let names: Vec<_> =
        resets.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect();
    if !names.is_empty() {
        return Change::Reset(format!("changed: {}", names.join(", ")));
    }
    let names: Vec<_> = softs
        .iter()
        .filter(|(_, differs, _)| *differs)
        .map(|(name, _, when)| format!("{name} ({when})"))
        .collect();
    if names.is_empty() {
        Change::None
    } else {
        Change::Soft(format!("changed: {}", names.join(", ")))
    }
}
