// SPDX-License-Identifier: Apache-2.0
//! Flows of UDP: the clients of an address, a few together, so that entries of several addresses fill a notice.

use std::net::IpAddr;

use steer::ToldFlows;

use super::super::message::octets;
use super::{number, octet, whole};

/// The clients of one entry at most: six entries of IPv4 fit into a notice, and two of IPv6.
const TOGETHER: usize = 24;

/// The octets of the entries. A client of the other version of IP is left out: no datagram of it reaches the address.
pub(super) fn octets_of(told: &ToldFlows) -> Vec<Vec<u8>> {
    let of_version = |client: &&(IpAddr, u16)| client.0.is_ipv4() == told.address.is_ipv4();
    let clients: Vec<(IpAddr, u16)> = told.clients.iter().filter(of_version).copied().collect();
    clients.chunks(TOGETHER).map(|clients| entry(told, clients)).collect()
}

fn entry(told: &ToldFlows, clients: &[(IpAddr, u16)]) -> Vec<u8> {
    let mut octets = octets(told.address);
    octets.extend(told.generation.to_be_bytes());
    octets.push(u8::try_from(clients.len()).unwrap_or(u8::MAX));
    for (client, port) in clients {
        match client {
            IpAddr::V4(client) => octets.extend(client.octets()),
            IpAddr::V6(client) => octets.extend(client.octets()),
        }
        octets.extend(port.to_be_bytes());
    }
    octets
}

pub(super) fn read(rest: &mut &[u8]) -> Option<ToldFlows> {
    let (address, generation) = (whole(rest)?, number(rest)?);
    let count = octet(rest)?;
    let clients = (0..count).map(|_| client(rest, address)).collect::<Option<Vec<_>>>()?;
    (!clients.is_empty()).then_some(ToldFlows { address, generation, clients })
}

fn client(rest: &mut &[u8], address: IpAddr) -> Option<(IpAddr, u16)> {
    let client = match address {
        IpAddr::V4(_) => IpAddr::from(taken::<4>(rest)?),
        IpAddr::V6(_) => IpAddr::from(taken::<16>(rest)?),
    };
    Some((client, u16::from_be_bytes(taken(rest)?)))
}

fn taken<const LENGTH: usize>(rest: &mut &[u8]) -> Option<[u8; LENGTH]> {
    let (octets, more) = rest.split_first_chunk()?;
    *rest = more;
    Some(*octets)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::super::super::message::OCTET_LIMIT;
    use super::super::KeepingMessage;
    use super::*;

    #[test]
    fn the_octets_are_those_of_the_head_of_the_file_above() {
        let clients = vec![("198.51.100.7".parse().unwrap(), 4_000)];
        let v4 = ToldFlows { address: "192.0.2.1".parse().unwrap(), generation: 3, clients };
        let clients =
            vec![("2001:db8::7".parse().unwrap(), 1), ("2001:db8::8".parse().unwrap(), 2)];
        let v6 = ToldFlows { address: "2001:db8::1".parse().unwrap(), generation: 4, clients };
        let message = KeepingMessage::Flows(vec![v4, v6]);
        let octets = [
            &b"\x0b\x04\xc0\0\x02\x01\0\0\0\0\0\0\0\x03\x01\xc6\x33\x64\x07\x0f\xa0"[..],
            b"\x10\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x04\x02",
            b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\0\x01",
            b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x08\0\x02",
        ]
        .concat();
        assert_eq!(message.encode(), std::slice::from_ref(&octets));
        assert_eq!(KeepingMessage::decode(&octets), Some(message));
        for place in 1..octets.len() {
            let whole = KeepingMessage::decode(&octets[..place]).is_some();
            assert_eq!(whole, [1, 21].contains(&place), "{place}");
        }
        for (place, octet) in [(1, 0x84), (14, 0), (14, 2), (46, 1)] {
            let mut foreign = octets.clone();
            foreign[place] = octet;
            assert_eq!(KeepingMessage::decode(&foreign), None, "{place}");
        }
    }

    #[test]
    fn a_client_of_the_other_version_is_left_out() {
        let clients = vec![(Ipv6Addr::LOCALHOST.into(), 1)];
        let told = ToldFlows { address: Ipv4Addr::LOCALHOST.into(), generation: 1, clients };
        assert!(KeepingMessage::Flows(vec![told]).encode().is_empty());
    }

    fn told() -> impl Strategy<Value = ToldFlows> {
        let v4 =
            prop::collection::vec((any::<Ipv4Addr>().prop_map(IpAddr::from), any::<u16>()), 0..200);
        let v6 =
            prop::collection::vec((any::<Ipv6Addr>().prop_map(IpAddr::from), any::<u16>()), 0..200);
        let v4 = (any::<Ipv4Addr>().prop_map(IpAddr::from), any::<u64>(), v4);
        let v6 = (any::<Ipv6Addr>().prop_map(IpAddr::from), any::<u64>(), v6);
        prop_oneof![v4, v6].prop_map(|(address, generation, clients)| ToldFlows {
            address,
            generation,
            clients,
        })
    }

    proptest! {
        #[test]
        fn all_flows_arrive(told in prop::collection::vec(told(), 0..12)) {
            let (mut read, mut sent) = (BTreeMap::new(), BTreeMap::new());
            let put = |into: &mut BTreeMap<_, Vec<_>>, told: &ToldFlows| {
                if !told.clients.is_empty() {
                    into.entry((told.address, told.generation)).or_default().extend(told.clients.clone());
                }
            };
            for notice in KeepingMessage::Flows(told.clone()).encode() {
                prop_assert!(notice.len() <= OCTET_LIMIT);
                let Some(KeepingMessage::Flows(part)) = KeepingMessage::decode(&notice) else { panic!() };
                part.iter().for_each(|told| put(&mut read, told));
            }
            told.iter().for_each(|told| put(&mut sent, told));
            prop_assert_eq!(read, sent);
        }
    }
}
