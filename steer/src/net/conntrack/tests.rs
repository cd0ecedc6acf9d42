// SPDX-License-Identifier: Apache-2.0
//! Entries of conntrack, and which of them count.

use hex_literal::hex;

use super::super::message::Messages;
use super::*;

// Built by hand from linux/netfilter/nfnetlink_conntrack.h: 198.51.100.9:40000 to 192.0.2.10:80, ESTABLISHED, confirmed, seen
// in both directions, assured.
#[cfg(target_endian = "little")]
const ENTRY: [u8; 112] = hex!(
    "70000000 0001 0200 07000000 00000000" // length 112, conntrack, new; multipart; number 7
    "02 00 0000"                           // IPv4
    "3400 0180"                            // original direction
    "1400 0180 0800 0100 c6336409 0800 0200 c000020a"
    "1c00 0280 0500 0100 06000000 0600 0200 9c400000 0600 0300 00500000"
    "0800 0300 0000000e"                   // status
    "1000 0480 0c00 0180 0500 0100 03000000" // TCP, ESTABLISHED
    "0800 0700 00069780"                   // time-out
    "0800 0c00 00000001"                   // number of the entry
);

fn read(octets: &[u8]) -> Option<Entry> {
    Messages(octets).find_map(Entry::read)
}

#[test]
#[cfg(target_endian = "little")]
fn an_entry_is_read() {
    let destination = IpAddr::from([192, 0, 2, 10]);
    let client = Some((IpAddr::from([198, 51, 100, 9]), 40_000));
    let wanted = Entry { destination, client, protocol: TCP, status: 0xe, state: Some(3) };
    assert_eq!(read(&ENTRY), Some(wanted));
    for length in 0..ENTRY.len() {
        assert_eq!(read(&ENTRY[..length]), None, "{length}");
    }
}

#[test]
fn what_is_open_counts() {
    let destination = IpAddr::from([192, 0, 2, 10]);
    let mut counts = BTreeMap::from([(destination, Open::default())]);
    let mut tcp_states = Vec::new();
    for state in 0..12 {
        let before = counts[&destination].tcp;
        let entry = Entry {
            destination,
            client: None,
            protocol: TCP,
            status: CONFIRMED,
            state: Some(state),
        };
        entry.count(&mut counts);
        if counts[&destination].tcp > before {
            tcp_states.push(state);
        }
    }
    assert_eq!(tcp_states, [3, 4, 5]);
    for (protocol, status, state) in [
        (TCP, CONFIRMED, None),
        (TCP, 0, Some(3)),
        (TCP, CONFIRMED | DYING, Some(3)),
        (UDP, 0, None),
        (UDP, CONFIRMED | DYING, None),
        (1, CONFIRMED, None),
    ] {
        Entry { destination, client: None, protocol, status, state }.count(&mut counts);
    }
    assert_eq!(counts[&destination], Open { tcp: 3, udp: 0 });
    Entry { destination, client: None, protocol: UDP, status: CONFIRMED, state: None }
        .count(&mut counts);
    let other = IpAddr::from([192, 0, 2, 11]);
    Entry { destination: other, client: None, protocol: UDP, status: CONFIRMED, state: None }
        .count(&mut counts);
    assert_eq!(counts, BTreeMap::from([(destination, Open { tcp: 3, udp: 1 })]));
}

#[test]
fn a_flow_is_one_of_udp_that_is_confirmed() {
    let destination = IpAddr::from([192, 0, 2, 10]);
    let place = IpAddr::from([198, 51, 100, 9]);
    let client = Some((place, 40_000));
    let flow = |protocol, status, client| {
        Entry { destination, client, protocol, status, state: None }.flow()
    };
    let wanted = Flow { address: destination, client: place, client_port: 40_000 };
    assert_eq!(flow(UDP, CONFIRMED, client), Some(wanted));
    for (protocol, status, client) in [
        (TCP, CONFIRMED, client),
        (UDP, 0, client),
        (UDP, CONFIRMED | DYING, client),
        (UDP, CONFIRMED, None),
    ] {
        assert_eq!(flow(protocol, status, client), None);
    }
}
