// SPDX-License-Identifier: Apache-2.0
//! A router's configuration as the scenarios say it, in each program's own language.

use super::kind::Kind;

/// Which families a session carries on the router's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// IPv4 unicast.
    V4,
    /// IPv6 unicast.
    V6,
    /// Both.
    Both,
}

impl Families {
    pub(super) fn v4(self) -> bool {
        self != Self::V6
    }

    pub(super) fn v6(self) -> bool {
        self != Self::V4
    }
}

/// One session of a router. Build it with [`Neighbour::new`] and set what differs.
#[derive(Clone, Debug)]
pub struct Neighbour {
    /// BIRD's name for it.
    pub name: String,
    /// The speaker's address.
    pub address: String,
    /// The speaker's AS.
    pub asn: u32,
    /// The router's own address for this session, if it is not its usual one (BIRD only).
    pub local: Option<String>,
    /// The router's own AS towards this neighbour, if it is not its usual one (BIRD only).
    pub local_asn: Option<u32>,
    /// The speaker's port.
    pub port: u16,
    /// The families.
    pub families: Families,
    /// TCP MD5.
    pub password: Option<String>,
    /// Never connects.
    pub passive: bool,
    /// Hold time in seconds.
    pub hold_time: Option<u16>,
    /// BFD; several hops when `multihop` is set.
    pub bfd: bool,
    /// The peer is not on the link.
    pub multihop: bool,
    /// Graceful restart; with BFD in the way that a killed speaker needs (RFC 5882 section 4.3).
    pub graceful_restart: bool,
    /// Long-lived graceful restart (RFC 9494).
    pub long_lived: bool,
    /// What the router is to the speaker (RFC 9234), who must say that it is the counterpart (not GoBGP).
    pub role: Option<String>,
    /// GTSM (RFC 5082).
    pub ttl_security: bool,
}

impl Neighbour {
    /// An IPv4 or IPv6 session by the address, the router waits for the speaker.
    #[must_use]
    pub fn new(name: &str, address: &str, asn: u32) -> Self {
        let families = if address.contains(':') { Families::V6 } else { Families::V4 };
        Self {
            name: name.to_owned(),
            address: address.to_owned(),
            asn,
            local: None,
            local_asn: None,
            port: 179,
            families,
            password: None,
            passive: true,
            hold_time: None,
            bfd: false,
            multihop: false,
            graceful_restart: false,
            long_lived: false,
            role: None,
            ttl_security: false,
        }
    }

    /// How the router calls the session in its answers.
    #[must_use]
    pub fn key(&self, kind: Kind) -> &str {
        match kind {
            Kind::Bird => &self.name,
            Kind::Frr | Kind::Gobgp => &self.address,
        }
    }
}

/// A whole router.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its AS.
    pub asn: u32,
    /// Its identifier.
    pub identifier: String,
    /// Its sessions.
    pub neighbours: Vec<Neighbour>,
    /// Puts routes into the kernel, equal ones side by side (not GoBGP).
    pub forward: bool,
}

impl Setup {
    /// With the usual AS and identifier of such a router.
    #[must_use]
    pub fn new(kind: Kind, neighbours: Vec<Neighbour>) -> Self {
        Self { asn: kind.asn(), identifier: kind.v4(), neighbours, forward: false }
    }
}
