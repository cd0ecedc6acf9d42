// SPDX-License-Identifier: Apache-2.0
//! The programs that routers run, and what follows from that: names, AS and addresses.

use std::fmt;

/// Which program a router runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// FRR: zebra, bgpd and bfdd.
    Frr,
    /// BIRD.
    Bird,
    /// gobgpd, which forwards nothing and knows no BFD.
    Gobgp,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Frr, Self::Bird, Self::Gobgp];

    /// Its name, also that of its namespace and its logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Frr => "frr",
            Self::Bird => "bird",
            Self::Gobgp => "gobgp",
        }
    }

    pub(super) fn number(self) -> u8 {
        match self {
            Self::Frr => 1,
            Self::Bird => 2,
            Self::Gobgp => 3,
        }
    }

    /// The AS that the scenarios give it: 65001, 65002, 65003.
    #[must_use]
    pub fn asn(self) -> u32 {
        65000 + u32::from(self.number())
    }

    /// Its address on the switch: 172.30.0.121 to 123.
    #[must_use]
    pub fn v4(self) -> String {
        format!("172.30.0.{}", 120 + self.number())
    }

    /// Its address on the switch: fd30::121 to 123.
    #[must_use]
    pub fn v6(self) -> String {
        format!("fd30::{}", 120 + u16::from(self.number()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
