// SPDX-License-Identifier: Apache-2.0
//! Code points of the IANA registries "BGP Parameters", "Capability Codes" and "Address Family Numbers", each once.

/// Message types (RFC 4271 §4.1, RFC 2918).
pub mod message {
    #![allow(missing_docs, reason = "the names are the registry's")]
    pub const OPEN: u8 = 1;
    pub const UPDATE: u8 = 2;
    pub const NOTIFICATION: u8 = 3;
    pub const KEEPALIVE: u8 = 4;
    pub const ROUTE_REFRESH: u8 = 5;
}

/// Error codes and subcodes (RFC 4271 §4.5 and the RFCs named).
pub mod error {
    #![allow(missing_docs, reason = "the names are the registry's")]
    pub const MESSAGE_HEADER: u8 = 1;
    pub const NOT_SYNCHRONIZED: u8 = 1;
    pub const BAD_MESSAGE_LENGTH: u8 = 2;
    pub const BAD_MESSAGE_TYPE: u8 = 3;

    pub const OPEN: u8 = 2;
    pub const UNSPECIFIC: u8 = 0;
    pub const UNSUPPORTED_VERSION: u8 = 1;
    pub const BAD_PEER_AS: u8 = 2;
    pub const BAD_IDENTIFIER: u8 = 3;
    pub const UNSUPPORTED_OPTIONAL_PARAMETER: u8 = 4;
    pub const UNACCEPTABLE_HOLD_TIME: u8 = 6;
    /// RFC 5492.
    pub const UNSUPPORTED_CAPABILITY: u8 = 7;
    /// RFC 9234.
    pub const ROLE_MISMATCH: u8 = 11;

    pub const UPDATE: u8 = 3;
    pub const MALFORMED_ATTRIBUTE_LIST: u8 = 1;
    pub const UNRECOGNIZED_WELL_KNOWN: u8 = 2;
    pub const MISSING_WELL_KNOWN: u8 = 3;
    pub const ATTRIBUTE_FLAGS: u8 = 4;
    pub const ATTRIBUTE_LENGTH: u8 = 5;
    pub const INVALID_ORIGIN: u8 = 6;
    pub const INVALID_NEXT_HOP: u8 = 8;
    pub const OPTIONAL_ATTRIBUTE: u8 = 9;
    pub const INVALID_NETWORK_FIELD: u8 = 10;
    pub const MALFORMED_AS_PATH: u8 = 11;

    pub const HOLD_TIMER_EXPIRED: u8 = 4;

    /// Finite state machine error; subcodes by RFC 6608.
    pub const STATE_MACHINE: u8 = 5;
    pub const UNEXPECTED_IN_OPEN_SENT: u8 = 1;
    pub const UNEXPECTED_IN_OPEN_CONFIRM: u8 = 2;
    pub const UNEXPECTED_IN_ESTABLISHED: u8 = 3;

    /// Subcodes by RFC 4486.
    pub const CEASE: u8 = 6;
    pub const MAXIMUM_PREFIXES: u8 = 1;
    pub const ADMINISTRATIVE_SHUTDOWN: u8 = 2;
    pub const PEER_DECONFIGURED: u8 = 3;
    pub const ADMINISTRATIVE_RESET: u8 = 4;
    pub const CONNECTION_REJECTED: u8 = 5;
    pub const CONFIGURATION_CHANGE: u8 = 6;
    pub const COLLISION_RESOLUTION: u8 = 7;
    pub const OUT_OF_RESOURCES: u8 = 8;
    /// RFC 8538.
    pub const HARD_RESET: u8 = 9;
    /// RFC 9384.
    pub const BFD_DOWN: u8 = 10;

    /// ROUTE-REFRESH message error (RFC 7313).
    pub const ROUTE_REFRESH: u8 = 7;
    pub const ROUTE_REFRESH_LENGTH: u8 = 1;

    /// RFC 9687.
    pub const SEND_HOLD_TIMER_EXPIRED: u8 = 8;
}

/// Optional parameters of OPEN.
pub mod parameter {
    #![allow(missing_docs, reason = "the names are the registry's")]
    pub const CAPABILITIES: u8 = 2;
    /// RFC 9072.
    pub const EXTENDED_LENGTH: u8 = 255;
}

/// Capability codes.
pub mod capability {
    #![allow(missing_docs, reason = "the names are the registry's")]
    pub const MULTIPROTOCOL: u8 = 1;
    pub const ROUTE_REFRESH: u8 = 2;
    pub const EXTENDED_NEXT_HOP: u8 = 5;
    pub const EXTENDED_MESSAGE: u8 = 6;
    pub const ROLE: u8 = 9;
    pub const GRACEFUL_RESTART: u8 = 64;
    pub const FOUR_OCTET_ASN: u8 = 65;
    pub const ENHANCED_ROUTE_REFRESH: u8 = 70;
    pub const LONG_LIVED_GRACEFUL_RESTART: u8 = 71;
    pub const FQDN: u8 = 73;
}

/// Path attribute type codes.
pub mod attribute {
    #![allow(missing_docs, reason = "the names are the registry's")]
    pub const ORIGIN: u8 = 1;
    pub const AS_PATH: u8 = 2;
    pub const NEXT_HOP: u8 = 3;
    pub const MULTI_EXIT_DISC: u8 = 4;
    pub const LOCAL_PREF: u8 = 5;
    pub const ATOMIC_AGGREGATE: u8 = 6;
    pub const AGGREGATOR: u8 = 7;
    pub const COMMUNITIES: u8 = 8;
    pub const ORIGINATOR_ID: u8 = 9;
    pub const CLUSTER_LIST: u8 = 10;
    pub const MP_REACH_NLRI: u8 = 14;
    pub const MP_UNREACH_NLRI: u8 = 15;
    pub const EXTENDED_COMMUNITIES: u8 = 16;
    pub const AS4_PATH: u8 = 17;
    pub const AS4_AGGREGATOR: u8 = 18;
    pub const LARGE_COMMUNITY: u8 = 32;
    /// Only to Customer (RFC 9234).
    pub const ONLY_TO_CUSTOMER: u8 = 35;
}

/// Address families.
pub mod afi {
    #![allow(missing_docs, reason = "the names are the registry's")]
    pub const IPV4: u16 = 1;
    pub const IPV6: u16 = 2;
}

/// SAFI unicast.
pub const SAFI_UNICAST: u8 = 1;

/// The AS that stands for one of four octets where only two fit (RFC 6793).
pub const AS_TRANS: u16 = 23456;

/// Well-known communities that this speaker has to do with.
pub mod community {
    /// RFC 8326.
    pub const GRACEFUL_SHUTDOWN: u32 = 0xffff_0000;
}

/// A NOTIFICATION's code and subcode in words; for unknown ones, `unknown`.
#[must_use]
pub const fn error_name(code: u8, subcode: u8) -> &'static str {
    use self::error as e;
    match (code, subcode) {
        (e::MESSAGE_HEADER, e::NOT_SYNCHRONIZED) => {
            "Message Header Error/Connection Not Synchronized"
        }
        (e::MESSAGE_HEADER, e::BAD_MESSAGE_LENGTH) => "Message Header Error/Bad Message Length",
        (e::MESSAGE_HEADER, e::BAD_MESSAGE_TYPE) => "Message Header Error/Bad Message Type",
        (e::MESSAGE_HEADER, _) => "Message Header Error",
        (e::OPEN, e::UNSUPPORTED_VERSION) => "OPEN Message Error/Unsupported Version Number",
        (e::OPEN, e::BAD_PEER_AS) => "OPEN Message Error/Bad Peer AS",
        (e::OPEN, e::BAD_IDENTIFIER) => "OPEN Message Error/Bad BGP Identifier",
        (e::OPEN, e::UNSUPPORTED_OPTIONAL_PARAMETER) => {
            "OPEN Message Error/Unsupported Optional Parameter"
        }
        (e::OPEN, e::UNACCEPTABLE_HOLD_TIME) => "OPEN Message Error/Unacceptable Hold Time",
        (e::OPEN, e::UNSUPPORTED_CAPABILITY) => "OPEN Message Error/Unsupported Capability",
        (e::OPEN, e::ROLE_MISMATCH) => "OPEN Message Error/Role Mismatch",
        (e::OPEN, _) => "OPEN Message Error",
        (e::UPDATE, e::MALFORMED_ATTRIBUTE_LIST) => "UPDATE Message Error/Malformed Attribute List",
        (e::UPDATE, e::UNRECOGNIZED_WELL_KNOWN) => {
            "UPDATE Message Error/Unrecognized Well-known Attribute"
        }
        (e::UPDATE, e::MISSING_WELL_KNOWN) => "UPDATE Message Error/Missing Well-known Attribute",
        (e::UPDATE, e::ATTRIBUTE_FLAGS) => "UPDATE Message Error/Attribute Flags Error",
        (e::UPDATE, e::ATTRIBUTE_LENGTH) => "UPDATE Message Error/Attribute Length Error",
        (e::UPDATE, e::INVALID_ORIGIN) => "UPDATE Message Error/Invalid ORIGIN Attribute",
        (e::UPDATE, e::INVALID_NEXT_HOP) => "UPDATE Message Error/Invalid NEXT_HOP Attribute",
        (e::UPDATE, e::OPTIONAL_ATTRIBUTE) => "UPDATE Message Error/Optional Attribute Error",
        (e::UPDATE, e::INVALID_NETWORK_FIELD) => "UPDATE Message Error/Invalid Network Field",
        (e::UPDATE, e::MALFORMED_AS_PATH) => "UPDATE Message Error/Malformed AS_PATH",
        (e::UPDATE, _) => "UPDATE Message Error",
        (e::HOLD_TIMER_EXPIRED, _) => "Hold Timer Expired",
        (e::STATE_MACHINE, e::UNEXPECTED_IN_OPEN_SENT) => {
            "Finite State Machine Error/Unexpected Message in OpenSent"
        }
        (e::STATE_MACHINE, e::UNEXPECTED_IN_OPEN_CONFIRM) => {
            "Finite State Machine Error/Unexpected Message in OpenConfirm"
        }
        (e::STATE_MACHINE, e::UNEXPECTED_IN_ESTABLISHED) => {
            "Finite State Machine Error/Unexpected Message in Established"
        }
        (e::STATE_MACHINE, _) => "Finite State Machine Error",
        (e::CEASE, e::MAXIMUM_PREFIXES) => "Cease/Maximum Number of Prefixes Reached",
        (e::CEASE, e::ADMINISTRATIVE_SHUTDOWN) => "Cease/Administrative Shutdown",
        (e::CEASE, e::PEER_DECONFIGURED) => "Cease/Peer De-configured",
        (e::CEASE, e::ADMINISTRATIVE_RESET) => "Cease/Administrative Reset",
        (e::CEASE, e::CONNECTION_REJECTED) => "Cease/Connection Rejected",
        (e::CEASE, e::CONFIGURATION_CHANGE) => "Cease/Other Configuration Change",
        (e::CEASE, e::COLLISION_RESOLUTION) => "Cease/Connection Collision Resolution",
        (e::CEASE, e::OUT_OF_RESOURCES) => "Cease/Out of Resources",
        (e::CEASE, e::HARD_RESET) => "Cease/Hard Reset",
        (e::CEASE, e::BFD_DOWN) => "Cease/BFD Down",
        (e::CEASE, _) => "Cease",
        (e::ROUTE_REFRESH, e::ROUTE_REFRESH_LENGTH) => {
            "ROUTE-REFRESH Message Error/Invalid Message Length"
        }
        (e::ROUTE_REFRESH, _) => "ROUTE-REFRESH Message Error",
        (e::SEND_HOLD_TIMER_EXPIRED, _) => "Send Hold Timer Expired",
        (_, _) => "unknown",
    }
}

/// The name of a capability.
pub const fn capability_name(code: u8) -> &'static str {
    match code {
        capability::MULTIPROTOCOL => "Multiprotocol",
        capability::ROUTE_REFRESH => "Route Refresh",
        capability::EXTENDED_NEXT_HOP => "Extended Next Hop",
        capability::EXTENDED_MESSAGE => "Extended Message",
        capability::ROLE => "Role",
        capability::GRACEFUL_RESTART => "Graceful Restart",
        capability::FOUR_OCTET_ASN => "Four-octet AS Number",
        capability::ENHANCED_ROUTE_REFRESH => "Enhanced Route Refresh",
        capability::LONG_LIVED_GRACEFUL_RESTART => "Long-lived Graceful Restart",
        capability::FQDN => "FQDN",
        _ => "unknown",
    }
}
