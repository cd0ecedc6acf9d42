// SPDX-License-Identifier: Apache-2.0
//! Three nodes on a switch, each with the served addresses, and a client behind a router whose next hop for them is the first
//! node. Each node answers by its own name, so that the client sees who serves.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use steer::net::{Applied, Keep, Kernel};
use steer::{BUCKETS, HashBy, Spread, Station, Steps};
use testlab::Namespace;

use super::{LINGER, station};

pub(crate) const ADDRESSES: [&str; 2] = ["192.0.2.10", "2001:db8::10"];
pub(crate) const NAMES: [&str; 3] = ["a", "b", "c"];
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);
const PORT: u16 = 80;
/// The client's addresses, and the router's on both sides.
const CLIENT: [&str; 2] = ["203.0.113.2", "2001:db8:2::2"];
const ROUTER: [&str; 2] = ["203.0.113.1", "2001:db8:2::1"];
const NEAR: [&str; 2] = ["198.51.100.200", "2001:db8:1::200"];

pub(crate) struct Trio {
    pub(crate) nodes: Vec<Namespace>,
    pub(crate) router: Namespace,
    pub(crate) client: Namespace,
    kernels: Vec<Arc<Mutex<Kernel>>>,
    _switch: Namespace,
}

/// The length of a prefix on a link, by the family.
fn lengths(address: &str) -> (&'static str, &'static str) {
    if address.contains(':') { ("/64", "/128") } else { ("/24", "/32") }
}

impl Trio {
    pub(crate) fn new() -> Self {
        let switch = Namespace::new("steer", "switch");
        switch.ip(&["link", "add", "br0", "type", "bridge", "forward_delay", "0"]);
        switch.up("br0");
        let attach = |name: &str, number: u8| {
            let node = Namespace::new("steer", name);
            node.join("eth0", &switch, name);
            let hardware = format!("02:f5:00:00:00:{number:02x}");
            node.ip(&["link", "set", "eth0", "address", &hardware]);
            switch.ip(&["link", "set", "dev", name, "master", "br0"]);
            switch.ip(&["link", "set", "dev", name, "up"]);
            node.up("eth0");
            for near in [format!("198.51.100.{number}"), format!("2001:db8:1::{number}")] {
                node.address("eth0", &(near.clone() + lengths(&near).0));
            }
            for all in ["all", "default"] {
                let filter = format!("net.ipv4.conf.{all}.rp_filter=0");
                node.inside(move || testlab::run("sysctl", &["-q", "-w", &filter]));
            }
            node
        };
        let nodes: Vec<_> =
            NAMES.iter().zip(1..).map(|(name, number)| attach(name, number)).collect();
        let router = attach("router", 200);
        let client = Namespace::new("steer", "client");
        router.join("far", &client, "eth0");
        router.up("far");
        client.up("eth0");
        for forward in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
            router.inside(move || testlab::run("sysctl", &["-q", "-w", forward]));
        }
        for (place, served) in ADDRESSES.into_iter().enumerate() {
            let (link, host) = lengths(served);
            router.address("far", &(ROUTER[place].to_owned() + link));
            client.address("eth0", &(CLIENT[place].to_owned() + link));
            client.ip(&["route", "add", served, "via", ROUTER[place]]);
            for node in &nodes {
                node.address("lo", &(served.to_owned() + host));
                node.ip(&["route", "add", CLIENT[place], "via", NEAR[place]]);
            }
        }
        let kernel =
            |node: &Namespace| Arc::new(Mutex::new(node.inside(|| Kernel::open().unwrap())));
        let kernels = nodes.iter().map(kernel).collect();
        let trio = Self { nodes, router, client, kernels, _switch: switch };
        trio.route_to(0);
        trio.nodes.iter().zip(NAMES).for_each(|(node, name)| serve(node, name));
        trio
    }

    /// The router's next hop for the served addresses.
    pub(crate) fn route_to(&self, node: usize) {
        for (served, near) in ADDRESSES.into_iter().zip(["198.51.100.", "2001:db8:1::"]) {
            let by = format!("{near}{}", node + 1);
            self.router.ip(&["route", "replace", served, "via", &by]);
        }
    }

    /// Works with the kernel of a node.
    pub(crate) fn with<T: Send + 'static>(
        &self,
        node: usize,
        work: impl FnOnce(&mut Kernel) -> T + Send + 'static,
    ) -> T {
        let kernel = Arc::clone(&self.kernels[node]);
        self.nodes[node].inside(move || work(&mut kernel.lock().unwrap()))
    }

    pub(crate) fn apply(&self, node: usize, keep: &Keep) -> Applied {
        let keep = keep.clone();
        self.with(node, move |kernel| kernel.apply(&keep, LINGER)).unwrap()
    }

    /// The packets that a node has led on by bucket, all fellows together.
    pub(crate) fn led_on(&self, node: usize) -> u64 {
        self.with(node, |kernel| kernel.bucket_counters()).unwrap().into_values().sum()
    }

    /// A connection that was opened, and the name of the node that serves it.
    pub(crate) fn connect(&self, address: &str) -> (TcpStream, String) {
        let to = SocketAddr::from((address.parse::<IpAddr>().unwrap(), PORT));
        let mut stream =
            self.client.inside(move || TcpStream::connect_timeout(&to, DEADLINE).unwrap());
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let name = ask(&mut stream);
        (stream, name)
    }

    /// A socket of the client for datagrams to this address.
    pub(crate) fn datagrams(&self, address: &str) -> UdpSocket {
        let to = SocketAddr::from((address.parse::<IpAddr>().unwrap(), PORT));
        self.client.inside(move || {
            let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
            let socket = UdpSocket::bind(SocketAddr::from((any, 0))).unwrap();
            socket.connect(to).unwrap();
            socket.set_read_timeout(Some(DEADLINE)).unwrap();
            socket
        })
    }
}

/// Asks over a connection for the name of the node.
pub(crate) fn ask(stream: &mut TcpStream) -> String {
    stream.write_all(b"?").unwrap();
    let mut name = [0];
    stream.read_exact(&mut name).unwrap();
    String::from_utf8(name.into()).unwrap()
}

/// Answers `?` by the node's name, and `!` by many octets; datagrams by the name.
fn serve(node: &Namespace, name: &'static str) {
    for address in ADDRESSES {
        let to = SocketAddr::from((address.parse::<IpAddr>().unwrap(), PORT));
        let (listener, socket) =
            node.inside(move || (TcpListener::bind(to).unwrap(), UdpSocket::bind(to).unwrap()));
        // They end with the test program.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || answer(&mut stream, name));
            }
        });
        std::thread::spawn(move || {
            while let Ok((_, client)) = socket.recv_from(&mut [0; 9]) {
                let _ = socket.send_to(name.as_bytes(), client);
            }
        });
    }
}

fn answer(stream: &mut TcpStream, name: &str) -> Option<()> {
    loop {
        let mut asked = [0];
        stream.read_exact(&mut asked).ok()?;
        let many = [b'x'; MANY];
        stream.write_all(if asked == *b"!" { &many } else { name.as_bytes() }).ok()?;
    }
}

/// The octets of a long answer.
pub(crate) const MANY: usize = 100_000;

/// The value of a node: the fellow of each bucket is the one that serves it, and the node's own buckets stay.
pub(crate) fn keep_of(node: usize, serves: impl Fn(u16) -> usize, hash: HashBy) -> Keep {
    let fellow = |bucket| Some(serves(bucket)).filter(|it| *it != node).map(|it| NAMES[it].into());
    let spread = Spread { buckets: (0..BUCKETS).map(fellow).collect(), hash, ..Spread::default() };
    let spread = Arc::new(spread);
    let addresses = ADDRESSES.map(|address| (address.parse().unwrap(), Arc::clone(&spread)));
    let fellows = NAMES.into_iter().zip(1..).enumerate().filter(|(place, _)| *place != node);
    let fellows: BTreeMap<Arc<str>, Station> =
        fellows.map(|(_, (name, number))| (name.into(), station(number))).collect();
    Keep { fellows, spread: addresses.into(), loose: true, ..Keep::default() }
}

/// Gives the node these steps for all buckets.
pub(crate) fn add_steps(keep: &mut Keep, client: Option<&str>, fellows: &[(&str, &str)]) {
    let fellows = fellows.iter().map(|(origin, next)| ((*origin).into(), (*next).into()));
    let steps = Steps { client: client.map(Into::into), fellows: fellows.collect() };
    let all: Vec<u16> = (0..BUCKETS).collect();
    for spread in keep.spread.values_mut() {
        Arc::make_mut(spread).steps = BTreeMap::from([(steps.clone(), all.clone())]);
    }
}

/// The bucket of the client's packets to this address, computed as the kernel's `linux/jhash.h` says.
pub(crate) fn bucket(address: &str, port: Option<u16>) -> u16 {
    let client = CLIENT[usize::from(address.contains(':'))];
    let mut octets = match client.parse::<IpAddr>().unwrap() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    if let Some(port) = port {
        octets.extend(port.to_be_bytes());
        octets.extend([0, 0]);
    }
    let scaled = (u64::from(jhash(&octets, 0x5eed)) * u64::from(BUCKETS)) >> 32;
    u16::try_from(scaled).unwrap()
}

fn jhash(octets: &[u8], seed: u32) -> u32 {
    let length = u32::try_from(octets.len()).unwrap();
    let begin = 0xdead_beef_u32.wrapping_add(length).wrapping_add(seed);
    let [mut a, mut b, mut c] = [begin; 3];
    let words: Vec<u32> =
        octets.chunks(4).map(|it| u32::from_le_bytes(it.try_into().unwrap())).collect();
    let mut rest = words.as_slice();
    let add = |a: &mut u32, words: &[u32], place: usize| {
        *a = a.wrapping_add(words.get(place).copied().unwrap_or(0));
    };
    let part = |a: u32, c: u32, turn| a.wrapping_sub(c) ^ c.rotate_left(turn);
    while rest.len() > 3 {
        add(&mut a, rest, 0);
        add(&mut b, rest, 1);
        add(&mut c, rest, 2);
        a = part(a, c, 4);
        c = c.wrapping_add(b);
        b = part(b, a, 6);
        a = a.wrapping_add(c);
        c = part(c, b, 8);
        b = b.wrapping_add(a);
        a = part(a, c, 16);
        c = c.wrapping_add(b);
        b = part(b, a, 19);
        a = a.wrapping_add(c);
        c = part(c, b, 4);
        b = b.wrapping_add(a);
        rest = &rest[3..];
    }
    add(&mut a, rest, 0);
    add(&mut b, rest, 1);
    add(&mut c, rest, 2);
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}
