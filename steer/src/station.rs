// SPDX-License-Identifier: Apache-2.0
//! The places of nodes on links: each node tells the hardware addresses and addresses of its links, and each finds by
//! them the fellows that are on a link with it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// The hardware address of a node on a link.
pub type HardwareAddress = [u8; 6];

/// One link of a node, as the node tells others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attachment {
    /// The hardware address that the node's frames come from.
    pub hardware_address: HardwareAddress,
    /// The node's addresses on the link, each with the length of the prefix that is on the link.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// A fellow as it is reached on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Station {
    /// The node's own device that leads to the fellow.
    pub interface: Arc<str>,
    /// The hardware address that the fellow's frames come from.
    pub hardware_address: HardwareAddress,
    /// The fellow's address on the link, if it has one of this family.
    pub address_v4: Option<Ipv4Addr>,
    /// The same of IPv6; one of link-local scope will do.
    pub address_v6: Option<Ipv6Addr>,
}

/// True if the prefix holds the address.
fn holds((prefix, length): (IpAddr, u8), address: IpAddr) -> bool {
    let length = u32::from(length);
    match (prefix, address) {
        (IpAddr::V4(prefix), IpAddr::V4(address)) => {
            let differ = u32::from(prefix) ^ u32::from(address);
            differ.leading_zeros() >= length.min(32)
        }
        (IpAddr::V6(prefix), IpAddr::V6(address)) => {
            let differ = u128::from(prefix) ^ u128::from(address);
            differ.leading_zeros() >= length.min(128)
        }
        _ => false,
    }
}

impl Station {
    /// Finds the fellow that tells these attachments on one of the own links: on the one where `known` is, the address at
    /// which the fellow's speaker is reached, or else on the first one that has an address of the fellow in a prefix of
    /// its own. None if they have no link in common.
    #[must_use]
    pub fn find(
        own: &[(Arc<str>, Attachment)],
        told: &[Attachment],
        known: Option<IpAddr>,
    ) -> Option<Self> {
        let pairs = || own.iter().flat_map(|link| told.iter().map(move |told| (link, told)));
        let has_known = |told: &Attachment| told.addresses.iter().any(|(it, _)| Some(*it) == known);
        let mut stations = pairs()
            .filter(|(_, told)| has_known(told))
            .chain(pairs().filter(|(_, told)| !has_known(told)))
            .filter_map(|((interface, own), told)| Self::on(interface, own, told));
        stations.next()
    }

    /// True if frames for an address of its family can be led on to the fellow.
    #[must_use]
    pub fn has_address_of(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.address_v4.is_some(),
            IpAddr::V6(_) => self.address_v6.is_some(),
        }
    }

    fn on(interface: &Arc<str>, own: &Attachment, told: &Attachment) -> Option<Self> {
        let is_here = |address: &IpAddr| {
            let distinct = own.addresses.iter().all(|(own, _)| own != address);
            distinct && own.addresses.iter().any(|prefix| holds(*prefix, *address))
        };
        let mut here = told.addresses.iter().map(|(address, _)| *address).filter(is_here);
        let address_v4 = here.clone().find_map(|address| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        let address_v6 = here.find_map(|address| match address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        });
        (address_v4.is_some() || address_v6.is_some()).then(|| Self {
            interface: Arc::clone(interface),
            hardware_address: told.hardware_address,
            address_v4,
            address_v6,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(last: u8, addresses: &[&str]) -> Attachment {
        let address = |text: &&str| {
            let (address, length) = text.split_once('/').unwrap();
            (address.parse().unwrap(), length.parse().unwrap())
        };
        let hardware_address = [2, 0, 0, 0, 0, last];
        Attachment { hardware_address, addresses: addresses.iter().map(address).collect() }
    }

    #[test]
    fn a_fellow_is_found_on_the_link_that_both_have() {
        let own = [
            ("cni0".into(), attachment(1, &["10.1.0.1/24"])),
            ("eth0".into(), attachment(2, &["192.0.2.1/24", "2001:db8::1/64"])),
            ("eth1".into(), attachment(3, &["198.51.100.1/25"])),
        ];
        let told = [
            attachment(11, &["10.2.0.1/24"]),
            attachment(12, &["198.51.100.2/25"]),
            attachment(13, &["192.0.2.2/24", "2001:db8::2/64", "2001:db8:1::2/64"]),
        ];
        let station = Station::find(&own, &told, Some("192.0.2.2".parse().unwrap())).unwrap();
        assert_eq!((&*station.interface, station.hardware_address[5]), ("eth0", 13));
        assert_eq!(station.address_v4, Some("192.0.2.2".parse().unwrap()));
        assert_eq!(station.address_v6, Some("2001:db8::2".parse().unwrap()));
        let second = Station::find(&own, &told[..2], None).unwrap();
        assert_eq!((&*second.interface, second.hardware_address[5]), ("eth1", 12));
        assert_eq!(Station::find(&own, &told[..1], None), None);
    }

    #[test]
    fn the_same_address_on_both_sides_is_no_link_in_common() {
        let docker = |last| attachment(last, &["172.17.0.1/16"]);
        assert_eq!(Station::find(&[("docker0".into(), docker(1))], &[docker(2)], None), None);
    }

    #[test]
    fn a_prefix_holds_what_begins_with_it() {
        let holds = |prefix: &str, length, address: &str| {
            holds((prefix.parse().unwrap(), length), address.parse().unwrap())
        };
        assert!(holds("10.0.0.1", 8, "10.255.0.9"));
        assert!(!holds("10.0.0.1", 8, "11.0.0.1"));
        assert!(holds("10.0.0.1", 0, "192.0.2.1"));
        assert!(holds("10.0.0.1", 32, "10.0.0.1"));
        assert!(!holds("10.0.0.1", 33, "10.0.0.2"));
        assert!(holds("2001:db8::1", 64, "2001:db8::ffff"));
        assert!(!holds("2001:db8::1", 64, "10.0.0.1"));
    }
}
