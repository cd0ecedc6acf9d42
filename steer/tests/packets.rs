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
use steer::Flow;
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

/// The client has the hardware address of this fellow, and its packets have so many hops.
fn pose_as_fellow(lab: &Lab, number: u8, address: &str, hops: &str) {
    let hardware = format!("02:f5:00:00:00:0{number}");
    lab.client.ip(&["link", "set", "eth0", "address", &hardware]);
    let by = if address.contains(':') { "2001:db8:1::1" } else { "198.51.100.1" };
    lab.client.ip(&["route", "replace", address, "via", by, "hoplimit", hops]);
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_fellows_frame_goes_its_own_step_or_stays() {
    for address in ADDRESSES {
        let lab = joined();
        pose_as_fellow(&lab, 2, address, "16");
        lab.apply(&keep());
        let _pair = forgotten(&lab, address);
        led_on_to(&lab, "c");

        let lab = joined();
        pose_as_fellow(&lab, 3, address, "16");
        lab.apply(&keep());
        let (_client, mut server) = forgotten(&lab, address);
        server.read_exact(&mut [0; 7]).unwrap();
        led_on_to(&lab, "nobody");
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_fellows_frame_with_more_hops_than_a_step_gives_is_a_clients() {
    for address in ADDRESSES {
        for number in [2, 3] {
            let lab = joined();
            pose_as_fellow(&lab, number, address, "17");
            lab.apply(&keep());
            let _pair = forgotten(&lab, address);
            led_on_to(&lab, "b");
        }
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

/// A client's socket for datagrams to an address, and the flow of its datagrams.
fn datagrams(lab: &Lab, address: &str) -> (UdpSocket, Flow) {
    let address: IpAddr = address.parse().unwrap();
    let client = lab.client.inside(move || {
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let client = UdpSocket::bind(any).unwrap();
        client.connect(SocketAddr::from((address, 9))).unwrap();
        client
    });
    let own = client.local_addr().unwrap();
    (client, Flow { address, client: own.ip(), client_port: own.port() })
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn a_flow_that_another_node_has_is_led_on_and_one_that_is_known_stays() {
    for address in ADDRESSES {
        let lab = joined();
        let mut keep = keep();
        lab.apply(&keep);
        let to: IpAddr = address.parse().unwrap();
        let server = lab.node.inside(move || UdpSocket::bind(SocketAddr::from((to, 9))).unwrap());
        server.set_read_timeout(Some(DEADLINE)).unwrap();
        let (known, known_flow) = datagrams(&lab, address);
        let (told, told_flow) = datagrams(&lab, address);
        known.send(b"known").unwrap();
        assert_eq!(server.recv(&mut [0; 9]).unwrap(), 5);
        let flows = |limit| lab.node.inside(move || conntrack::flows(&[to].into(), limit)).unwrap();
        assert_eq!(flows(9), [known_flow].into());
        assert_eq!(flows(0), [].into());

        keep.flows = [known_flow, told_flow].into();
        lab.apply(&keep);
        told.send(b"told").unwrap();
        led_on_to(&lab, "b");
        known.send(b"known").unwrap();
        // The next one that comes is of the flow that is known.
        assert_eq!(server.recv(&mut [0; 9]).unwrap(), 5);
        assert_eq!(flows(9), [known_flow].into(), "what is led on leaves no entry");

        // The flow is not told any more.
        keep.flows = [known_flow].into();
        assert_eq!(lab.apply(&keep).operations, 1);
        told.send(b"told").unwrap();
        assert_eq!(server.recv(&mut [0; 9]).unwrap(), 4);
    }
}

#[test]
#[ignore = "needs root and network namespaces; make test runs it"]
fn packets_renew_a_flow_and_a_comparison_does_not() {
    let lab = joined();
    let mut keep = keep();
    let (client, flow) = datagrams(&lab, ADDRESSES[0]);
    let other = Flow { client_port: flow.client_port ^ 1, ..flow };
    keep.flows = [flow, other].into();
    lab.apply(&keep);
    let listed = || lab.nft("list set ip ferrolb flows");
    /// The seconds that an element has left.
    fn left(listed: &str, flow: &Flow) -> u64 {
        let begin = format!(
            "{} . {} . {} timeout 3m expires ",
            flow.address, flow.client, flow.client_port
        );
        let rest = listed.split(&begin).nth(1).unwrap_or_else(|| panic!("{listed}"));
        let time = rest.split([',', ' ']).next().unwrap();
        let (minutes, rest) = time.split_once('m').unwrap_or(("0", time));
        let seconds = rest.split(['s', 'm']).next().unwrap().parse::<u64>().unwrap_or(0);
        minutes.parse::<u64>().unwrap() * 60 + seconds
    }
    let both = |listed: &str| (left(listed, &flow), left(listed, &other));
    testlab::eventually(DEADLINE, "both grow older", || {
        assert_eq!(lab.apply(&keep).operations, 0, "what is there runs on");
        let (first, second) = both(&listed());
        if first <= 177 && second <= 177 { Ok(()) } else { Err(format!("{first} {second}")) }
    });
    client.send(b"told").unwrap();
    testlab::eventually(DEADLINE, "the packet renews its flow alone", || {
        let (first, second) = both(&listed());
        if first >= second + 2 { Ok(()) } else { Err(format!("{first} {second}")) }
    });
    // A further flow touches none of the others, and one that has run out does not come back.
    let before = both(&listed());
    let third = Flow { client_port: flow.client_port ^ 2, ..flow };
    keep.flows.insert(third);
    assert_eq!(lab.apply(&keep).operations, 1);
    let now = both(&listed());
    assert!(now.0 <= before.0 && now.1 <= before.1, "{before:?} {now:?}");
    lab.nft("flush set ip ferrolb flows");
    assert_eq!(lab.apply(&keep).operations, 0);
    // Others' elements go.
    lab.nft("add element ip ferrolb flows { 192.0.2.10 . 198.51.100.9 . 7 }");
    assert_eq!(
        lab.repaired(&keep),
        ["table ip ferrolb: the set flows lacked 0 elements and had 1 others"]
    );
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
