// SPDX-License-Identifier: Apache-2.0
//! The rules and the count of connections with real packets, and what is missing without the permission.
#![cfg(feature = "net")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "parts of tests, which fail by panicking"
)]

mod lab;

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use caps::{CapSet, Capability};
use lab::{LINGER, Lab, keep};
use steer::net::conntrack::{self, Open};
use steer::net::{Error, Lack};

const ADDRESSES: [&str; 2] = ["192.0.2.10", "2001:db8::10"];
const DEADLINE: Duration = Duration::from_secs(10);

/// The client reaches the addresses by the node, which has them. The fellows are no stations that answer: what is led on to
/// them is seen on the client's side of the link.
fn joined() -> Lab {
    let lab = Lab::new();
    for (own, other, served) in [
        ("198.51.100.1/24", "198.51.100.9/24", "192.0.2.10/32"),
        ("2001:db8:1::1/64", "2001:db8:1::9/64", "2001:db8::10/128"),
    ] {
        lab.node.address("eth0", own);
        lab.client.address("eth0", other);
        lab.node.address("lo", served);
        let by = own.split('/').next().unwrap();
        lab.client.ip(&["route", "add", served, "via", by]);
    }
    for number in 2..4 {
        let hardware = format!("02:f5:00:00:00:0{number}");
        for fellow in [format!("198.51.100.{number}"), format!("2001:db8:1::{number}")] {
            lab.node.ip(&["neigh", "add", &fellow, "lladdr", &hardware, "dev", "eth0"]);
        }
    }
    lab
}

/// A connection, by its two ends.
fn connect(lab: &Lab, address: &str) -> (TcpStream, TcpStream) {
    let address: IpAddr = address.parse().unwrap();
    let listener =
        lab.node.inside(move || TcpListener::bind(SocketAddr::from((address, 80))).unwrap());
    let client = lab.client.inside(move || {
        TcpStream::connect_timeout(&SocketAddr::from((address, 80)), DEADLINE).unwrap()
    });
    (client, listener.accept().unwrap().0)
}

fn open(lab: &Lab, address: &str) -> Open {
    let address: IpAddr = address.parse().unwrap();
    let counts = lab.node.inside(move || conntrack::count(&[address].into())).unwrap();
    assert_eq!(counts.len(), 1);
    counts[&address]
}

fn counted(lab: &Lab, address: &str, wanted: Open) {
    testlab::eventually(DEADLINE, &format!("{wanted:?} to {address}"), || {
        let open = open(lab, address);
        if open == wanted { Ok(()) } else { Err(format!("{open:?}")) }
    });
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_connection_that_is_not_known_is_led_on_with_the_hops_of_the_first_node() {
    for address in ADDRESSES {
        let lab = joined();
        lab.apply(&keep());
        let (mut client, mut server) = connect(&lab, address);
        client.write_all(b"known").unwrap();
        server.read_exact(&mut [0; 5]).unwrap();
        let counters = lab.with(|kernel| kernel.counters()).unwrap();
        assert_eq!(counters.into_values().collect::<Vec<_>>(), [0, 0], "a known one stays");

        let mut capture = lab.client.command("timeout");
        let filter = format!("ether dst 02:f5:00:00:00:02 and dst host {address}");
        let tcpdump = ["10", "tcpdump", "-l", "-n", "-v", "-c", "1", "-i", "eth0", &filter];
        capture.args(tcpdump);
        let capture = std::thread::spawn(move || testlab::output(&mut capture).unwrap());
        assert!(lab.succeeds("conntrack", &["-F"]));
        // The client sends again and again until it is answered, so that the capture need not have begun.
        client.write_all(b"unknown").unwrap();
        let output = capture.join().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let hops = if address.contains(':') { "hlim 15" } else { "ttl 15" };
        assert!(text.contains(hops) && !text.contains("bad cksum"), "{text}");
        let counters = lab.with(|kernel| kernel.counters()).unwrap();
        assert!(counters["b"] > 0 && counters["c"] == 0, "{counters:?}");
        drop(server);
    }
}

/// A connection that the node has forgotten, over which the client has sent something since.
fn forgotten(lab: &Lab, address: &str) -> (TcpStream, TcpStream) {
    let (mut client, server) = connect(lab, address);
    assert!(lab.succeeds("conntrack", &["-F"]));
    client.write_all(b"unknown").unwrap();
    for side in [&client, &server] {
        side.set_read_timeout(Some(DEADLINE)).unwrap();
    }
    (client, server)
}

fn led_on_to(lab: &Lab, fellow: &str) {
    testlab::eventually(DEADLINE, &format!("a packet to {fellow} alone"), || {
        let counters = lab.with(|kernel| kernel.counters()).unwrap();
        let alone = counters.iter().all(|(name, count)| (*count > 0) == (&**name == fellow));
        if alone { Ok(()) } else { Err(format!("{counters:?}")) }
    });
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_fellows_frame_goes_its_own_step_or_stays() {
    for address in ADDRESSES {
        let lab = joined();
        lab.client.ip(&["link", "set", "eth0", "address", "02:f5:00:00:00:02"]);
        lab.apply(&keep());
        let _pair = forgotten(&lab, address);
        led_on_to(&lab, "c");

        let lab = joined();
        lab.client.ip(&["link", "set", "eth0", "address", "02:f5:00:00:00:03"]);
        lab.apply(&keep());
        let (_client, mut server) = forgotten(&lab, address);
        server.read_exact(&mut [0; 7]).unwrap();
        led_on_to(&lab, "nobody");
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn the_last_hop_is_answered_by_a_reset() {
    for (address, by) in ADDRESSES.into_iter().zip(["198.51.100.1", "2001:db8:1::1"]) {
        let lab = joined();
        lab.apply(&keep());
        lab.client.ip(&["route", "change", address, "via", by, "hoplimit", "1"]);
        let (mut client, _server) = forgotten(&lab, address);
        let error = client.read(&mut [0; 1]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{address}");
        led_on_to(&lab, "nobody");
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_node_that_is_not_loose_leads_on_too() {
    for address in ADDRESSES {
        let lab = joined();
        lab.apply(&steer::net::Keep { loose: false, ..keep() });
        assert!(lab.succeeds("sysctl", &["-q", "net.netfilter.nf_conntrack_tcp_loose=0"]));
        let _pair = forgotten(&lab, address);
        led_on_to(&lab, "b");
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn open_connections_are_counted_and_ended_ones_are_not() {
    let lab = joined();
    // Without a rule that asks for it, conntrack does not look at the packets of a namespace.
    lab.apply(&keep());
    for address in ADDRESSES {
        assert_eq!(open(&lab, address), Open::default());
        let mut pair = connect(&lab, address);
        let other = connect(&lab, address);
        counted(&lab, address, Open { tcp: 2, udp: 0 });
        let to: IpAddr = address.parse().unwrap();
        let bound = move || UdpSocket::bind(SocketAddr::from((to, 9))).unwrap();
        let (server, any) =
            (lab.node.inside(bound), if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" });
        let client = lab.client.inside(move || UdpSocket::bind(any).unwrap());
        client.send_to(b"datagram", SocketAddr::from((to, 9))).unwrap();
        counted(&lab, address, Open { tcp: 2, udp: 1 });
        pair.0.shutdown(Shutdown::Write).unwrap();
        assert_eq!(pair.1.read(&mut [0; 1]).unwrap(), 0, "the end has come to the other side");
        counted(&lab, address, Open { tcp: 2, udp: 1 });
        drop(pair);
        counted(&lab, address, Open { tcp: 1, udp: 1 });
        drop((other, server));
        counted(&lab, address, Open { tcp: 0, udp: 1 });
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn the_kernel_has_all_and_trying_changes_nothing() {
    let lab = Lab::new();
    let before = lab.nft("--handle list ruleset");
    lab.with(|kernel| kernel.check()).unwrap();
    assert_eq!(lab.nft("--handle list ruleset"), before);
    lab.apply(&keep());
    lab.with(|kernel| kernel.check()).unwrap();
    assert_eq!(lab.apply(&keep()).operations, 0);
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn without_the_permission_that_is_said() {
    let lab = Lab::new();
    // A thread has permissions of its own; the one that works with the kernel ends afterwards.
    let errors = lab.with(|kernel| {
        caps::drop(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap();
        let count = conntrack::count(&["192.0.2.1".parse().unwrap()].into()).map(drop);
        let apply = kernel.apply(&keep(), LINGER).map(drop);
        [kernel.check(), apply, kernel.clear().map(drop), count].map(Result::unwrap_err)
    });
    for error in errors {
        assert!(matches!(error, Error::Lack(Lack::Permission)), "{error}");
    }
    lab.apply(&keep());
}
