// SPDX-License-Identifier: Apache-2.0
//! The address that the others are told of a member that listens on every address: a private address of the host, as HashiCorp's library
//! chooses one (`GetPrivateIP`). The unspecified address would send each of the others to itself.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

/// A private address of this host of the family of `bound`.
pub(super) fn private(bound: IpAddr) -> io::Result<Option<IpAddr>> {
    Ok(choose(bound, addresses()?.into_iter()))
}

/// The first private address of that family: RFC 1918, RFC 6598 (shared address space) or RFC 4193 (unique local).
fn choose(bound: IpAddr, mut addresses: impl Iterator<Item = IpAddr>) -> Option<IpAddr> {
    addresses.find(|address| match address {
        IpAddr::V4(v4) => bound.is_ipv4() && (v4.is_private() || is_shared(*v4)),
        IpAddr::V6(v6) => bound.is_ipv6() && v6.is_unique_local(),
    })
}

/// True for 100.64.0.0/10.
fn is_shared(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && second & 0xc0 == 64
}

/// The addresses of all interfaces that are up, in the kernel's order: by interface.
fn addresses() -> io::Result<Vec<IpAddr>> {
    let all = getifaddrs()?.filter(|one| one.flags.contains(InterfaceFlags::IFF_UP));
    let read = |address: SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    Ok(all.filter_map(|one| read(one.address?)).collect())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn the_first_private_address_of_the_family_is_chosen() {
        let any = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        for (addresses, [v4, v6]) in [
            (
                &["127.0.0.1", "203.0.113.7", "fe80::1", "2001:db8::1", "10.0.0.7", "fd00::7"][..],
                [Some("10.0.0.7"), Some("fd00::7")],
            ),
            (&["100.127.0.1", "192.168.0.1"], [Some("100.127.0.1"), None]),
            (&["172.31.0.1"], [Some("172.31.0.1"), None]),
            (&["127.0.0.1", "::1", "100.128.0.1", "172.32.0.1", "169.254.0.1"], [None, None]),
        ] {
            for (bound, expected) in any.iter().zip([v4, v6]) {
                let addresses = addresses.iter().map(|it| it.parse().unwrap());
                let expected = expected.map(|it| it.parse().unwrap());
                assert_eq!(choose(*bound, addresses), expected, "{bound}");
            }
        }
    }

    #[test]
    fn the_hosts_addresses_are_read() {
        let addresses = addresses().unwrap();
        assert!(addresses.iter().all(|address| !address.is_unspecified()), "{addresses:?}");
    }
}
