// SPDX-License-Identifier: Apache-2.0
//! Real packets to addresses that three nodes serve by bucket.
#![cfg(feature = "net")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "parts of tests, which fail by panicking"
)]

mod lab;

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lab::trio::{ADDRESSES, MANY, NAMES, Trio, add_steps, ask, bucket, keep_of};
use steer::HashBy;
use steer::net::conntrack;

/// The node of a bucket where all three have a part.
fn in_turn(bucket: u16) -> usize {
    usize::from(bucket % 3)
}

fn spread(trio: &Trio, serves: fn(u16) -> usize, hash: HashBy) {
    for node in 0..3 {
        assert!(trio.apply(node, &keep_of(node, serves, hash)).left_out.is_empty());
    }
}

fn datagram(socket: &UdpSocket) -> String {
    socket.send(b"?").unwrap();
    received(socket)
}

/// The name of the node that answers. A receive with a time-out is not begun anew by the standard library after a signal.
fn received(socket: &UdpSocket) -> String {
    let mut name = [0];
    loop {
        match socket.recv(&mut name) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            received => break received.map(drop).unwrap(),
        }
    }
    String::from_utf8(name.into()).unwrap()
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_connection_lands_on_the_node_of_its_bucket() {
    let trio = Trio::new();
    spread(&trio, in_turn, HashBy::Connection);
    for address in ADDRESSES {
        let mut seen = BTreeSet::new();
        for owner in 0..3 {
            trio.route_to(owner);
            for _ in 0..40 {
                let (stream, name) = trio.connect(address);
                let port = stream.local_addr().unwrap().port();
                assert_eq!(name, NAMES[in_turn(bucket(address, Some(port)))], "port {port}");
                seen.insert(name);
            }
            assert!(trio.led_on(owner) > 0);
        }
        assert_eq!(seen.len(), 3);
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn the_hash_takes_what_was_asked_for() {
    let trio = Trio::new();
    for (hash, tcp, udp) in [
        (HashBy::Connection, true, false),
        (HashBy::ConnectionAndDatagram, true, true),
        (HashBy::Client, false, false),
    ] {
        spread(&trio, in_turn, hash);
        for address in ADDRESSES {
            for _ in 0..12 {
                let (stream, name) = trio.connect(address);
                let port = tcp.then(|| stream.local_addr().unwrap().port());
                assert_eq!(name, NAMES[in_turn(bucket(address, port))], "{hash:?}");
                let socket = trio.datagrams(address);
                let port = udp.then(|| socket.local_addr().unwrap().port());
                assert_eq!(datagram(&socket), NAMES[in_turn(bucket(address, port))], "{hash:?}");
            }
        }
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn all_fragments_of_a_datagram_reach_one_node() {
    let trio = Trio::new();
    // Nothing stays, and either node would miss what the other one gets.
    let serves = |bucket| 1 + usize::from(bucket % 2);
    spread(&trio, serves, HashBy::Connection);
    for address in ADDRESSES {
        for _ in 0..6 {
            let socket = trio.datagrams(address);
            socket.send(&[b'?'; 4_000]).unwrap();
            assert_eq!(received(&socket), NAMES[serves(bucket(address, None))]);
        }
    }
    assert!(trio.led_on(0) >= 3 * 12, "each fragment is a frame");
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_ring_of_nodes_that_disagree_ends_by_the_hops() {
    let trio = Trio::new();
    for node in 0..2 {
        // Each leads all to the other one, whose frames it does not know: the hardware address is another one.
        let mut keep = keep_of(node, |_| 1, HashBy::Connection);
        if node == 1 {
            keep = keep_of(node, |_| 0, HashBy::Connection);
        }
        for station in keep.fellows.values_mut() {
            station.hardware_address[5] += 100;
        }
        trio.apply(node, &keep);
    }
    for address in ADDRESSES {
        let before = trio.led_on(0) + trio.led_on(1);
        datagram(&trio.datagrams(address));
        // From 64 at the client, by a router, to 17: then the frame stays, and is answered.
        assert_eq!(trio.led_on(0) + trio.led_on(1) - before, 63 - 17);
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_fellows_frame_stays() {
    let trio = Trio::new();
    let mut keep = keep_of(0, |_| 1, HashBy::Connection);
    trio.apply(0, &keep);
    for address in ADDRESSES {
        assert_eq!(trio.connect(address).1, "b");
    }
    // The router's frames are a fellow's now.
    keep.fellows.get_mut("c").unwrap().hardware_address = [2, 0xf5, 0, 0, 0, 200];
    trio.apply(0, &keep);
    let before = trio.led_on(0);
    for address in ADDRESSES {
        assert_eq!(trio.connect(address).1, "a");
    }
    assert_eq!(trio.led_on(0), before);
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_frame_that_the_switch_floods_is_not_led_on() {
    let trio = Trio::new();
    for node in 0..3 {
        trio.apply(node, &keep_of(node, move |_| (node + 1) % 3, HashBy::Connection));
    }
    let neighbour = |hardware| {
        trio.router.ip(&["neigh", "replace", "198.51.100.1", "lladdr", hardware, "dev", "eth0"]);
    };
    let socket = trio.datagrams(ADDRESSES[0]);
    neighbour("02:f5:00:00:00:77");
    for _ in 0..5 {
        socket.send(b"?").unwrap();
    }
    neighbour("02:f5:00:00:00:01");
    // This one comes behind the others on each link.
    assert_eq!(datagram(&socket), "b");
    assert_eq!([0, 1, 2].map(|node| trio.led_on(node)), [1, 0, 0]);
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn an_error_about_a_packet_reaches_the_node_of_the_connection() {
    for address in ADDRESSES {
        let trio = Trio::new();
        // The router's device to the client takes shorter packets than both sides know of.
        trio.router.ip(&["link", "set", "far", "mtu", "1400"]);
        spread(&trio, |_| 1, HashBy::Connection);
        let (mut stream, name) = trio.connect(address);
        assert_eq!(name, "b");
        stream.write_all(b"!").unwrap();
        stream.read_exact(&mut vec![0; MANY]).unwrap();
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_change_of_content_has_no_gap() {
    let trio = Arc::new(Trio::new());
    let kept = [1, 2].map(|other| keep_of(0, move |_| other, HashBy::Connection));
    trio.apply(0, &kept[0]);
    let done = Arc::new(AtomicBool::new(false));
    let changes = std::thread::spawn({
        let (trio, done) = (Arc::clone(&trio), Arc::clone(&done));
        move || {
            for count in 1..=30 {
                assert!(trio.apply(0, &kept[count % 2]).operations > 0);
            }
            done.store(true, Ordering::Relaxed);
        }
    });
    let mut seen = BTreeSet::new();
    while !done.load(Ordering::Relaxed) {
        let socket = trio.datagrams(ADDRESSES[0]);
        seen.extend((0..20).map(|_| datagram(&socket)));
    }
    changes.join().unwrap();
    // Without any of both contents a datagram would stay here.
    assert_eq!(seen.into_iter().collect::<String>(), "bc");
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_connection_lives_where_its_bucket_was_before() {
    for address in ADDRESSES {
        let trio = Trio::new();
        spread(&trio, |_| 2, HashBy::Connection);
        let (mut first, name) = trio.connect(address);
        assert_eq!(name, "c");
        // The buckets go from c to b: steps first, then buckets.
        let mut keep = keep_of(1, |_| 1, HashBy::Connection);
        add_steps(&mut keep, Some("c"), &[]);
        trio.apply(1, &keep);
        trio.apply(0, &keep_of(0, |_| 1, HashBy::Connection));
        trio.apply(2, &keep_of(2, |_| 1, HashBy::Connection));
        assert_eq!(ask(&mut first), "c");
        let (mut second, name) = trio.connect(address);
        assert_eq!(name, "b");
        // And on to a, which gets them itself: a client's frame goes to b, and from there to c. Node b keeps the
        // step for what a still leads on by bucket.
        let mut keep = keep_of(0, |_| 0, HashBy::Connection);
        add_steps(&mut keep, Some("b"), &[]);
        let mut behind = keep_of(1, |_| 0, HashBy::Connection);
        add_steps(&mut behind, Some("c"), &[("a", "c")]);
        trio.apply(1, &behind);
        trio.apply(0, &keep);
        trio.apply(2, &keep_of(2, |_| 0, HashBy::Connection));
        assert_eq!((ask(&mut first), ask(&mut second)), ("c".into(), "b".into()));
        assert_eq!(trio.connect(address).1, "a");
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_flow_of_udp_lives_where_its_bucket_was_before() {
    let trio = Trio::new();
    for hash in [HashBy::Connection, HashBy::ConnectionAndDatagram, HashBy::Client] {
        spread(&trio, |_| 2, hash);
        let before = ADDRESSES.map(|address| trio.datagrams(address));
        before.iter().for_each(|socket| assert_eq!(datagram(socket), "c"));
        // Node c tells its flows, b learns them with its steps, and then the buckets go from c to b.
        let addresses: BTreeSet<_> = ADDRESSES.iter().map(|it| it.parse().unwrap()).collect();
        let flows = trio.nodes[2].inside(move || conntrack::flows(&addresses, 99)).unwrap();
        let mut keep = keep_of(1, |_| 1, hash);
        add_steps(&mut keep, Some("c"), &[]);
        keep.flows = flows;
        trio.apply(1, &keep);
        trio.apply(0, &keep_of(0, |_| 1, hash));
        trio.apply(2, &keep_of(2, |_| 1, hash));
        for (socket, address) in before.iter().zip(ADDRESSES) {
            assert_eq!(datagram(socket), "c", "{hash:?}");
            assert_eq!(datagram(&trio.datagrams(address)), "b", "{hash:?}");
        }
    }
}
