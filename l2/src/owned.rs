// SPDX-License-Identifier: Apache-2.0
//! What the caller wants: the addresses of this node and where each may be answered. Not how it came to own them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

/// Where an owned address may be answered and announced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// On every link that has a responder.
    AllInterfaces,
    /// Only on the links of these names.
    Interfaces(BTreeSet<Box<str>>),
}

/// The addresses that this node owns.
pub type Desired = BTreeMap<IpAddr, Scope>;

impl Scope {
    /// Whether the link of this name is inside the scope.
    #[must_use]
    pub fn allows(&self, interface: &str) -> bool {
        match self {
            Self::AllInterfaces => true,
            Self::Interfaces(names) => names.contains(interface),
        }
    }
}

/// The solicited-node multicast address (RFC 4291 §2.7.1): ff02::1:ff00:0/104 with the low 24 bits of the address.
#[must_use]
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = address.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (high & 0xff), low)
}

/// The 32 bits by which the kernel filter knows an address: all of IPv4, the low bits of IPv6.
pub(crate) fn filter_key(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(v4) => v4.to_bits(),
        IpAddr::V6(v6) => {
            let [.., high, low] = v6.segments();
            u32::from(high) << 16 | u32::from(low)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solicited_node_keeps_the_low_24_bits() {
        // The example of RFC 4291 §2.7.1.
        let address = "4037::01:800:200e:8c6c".parse().unwrap();
        assert_eq!(solicited_node(address), "ff02::1:ff0e:8c6c".parse::<Ipv6Addr>().unwrap());
    }

    #[test]
    fn scope_by_name() {
        let scope = Scope::Interfaces(["eth1".into()].into());
        assert!(scope.allows("eth1") && !scope.allows("eth10"));
        assert!(Scope::AllInterfaces.allows("anything"));
    }
}
