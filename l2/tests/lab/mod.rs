// SPDX-License-Identifier: Apache-2.0
//! Two network namespaces, a node and its neighbour, and the programs that look at what the node does. Everything that was
//! made is taken away on drop, also after a panic.

#![allow(clippy::unwrap_used, reason = "support of tests, which fail by panicking")]

use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use l2::{Desired, Event, Layer2, LinkReport, MacAddress, Options, Scope};
use testlab::{Namespace, now};

pub(crate) const DEADLINE: Duration = Duration::from_secs(15);

/// The node on one side, the neighbour on the other.
pub(crate) struct Lab {
    pub(crate) node: Namespace,
    pub(crate) peer: Namespace,
}

/// A running responder inside the node.
pub(crate) struct Running {
    pub(crate) layer2: Layer2,
    pub(crate) events: Receiver<Event>,
}

/// A tcpdump whose lines are read as they come.
pub(crate) struct Capture {
    child: Child,
    lines: Receiver<String>,
}

/// Waits until the condition gives something.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    testlab::eventually(DEADLINE, what, || condition().ok_or_else(|| "nothing".to_owned()))
}

/// The address in a line of `ip -o link show`.
fn hardware_address(line: &str) -> MacAddress {
    let mut words = line.split_whitespace().skip_while(|word| *word != "link/ether");
    words.nth(1).unwrap().parse().unwrap()
}

fn start_in(
    namespace: &Namespace,
    options: Options,
    beside: impl Fn(&Event) + Send + 'static,
) -> Running {
    let (sender, events): (Sender<Event>, _) = channel();
    let told = std::sync::Mutex::new((sender, beside));
    let layer2 = namespace.inside(move || {
        Layer2::start(options, move |event| {
            let (sender, beside) = &*told.lock().unwrap();
            let _ = sender.send(event.clone());
            beside(&event);
        })
    });
    Running { layer2: layer2.unwrap(), events }
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self { node: Namespace::new("l2t", "node"), peer: Namespace::new("l2t", "peer") }
    }

    /// With the link eth0 of the node joined to peer0 of the neighbour.
    pub(crate) fn joined() -> Self {
        let lab = Self::new();
        lab.join(0);
        lab
    }

    /// Adds the link eth`n`, up on both sides; the neighbour is 192.0.2.1 + n and 2001:db8::1 + n.
    pub(crate) fn join(&self, n: u8) {
        let (eth, peer) = (format!("eth{n}"), format!("peer{n}"));
        self.node.join(&eth, &self.peer, &peer);
        self.peer.address(&peer, &format!("192.0.{}.1/24", 2 + n));
        self.peer.address(&peer, &format!("2001:db8:{n}::1/64"));
        self.node.up(&eth);
        self.peer.up(&peer);
    }

    pub(crate) fn node(&self, arguments: &[&str]) -> String {
        self.node.ip(arguments)
    }

    pub(crate) fn peer(&self, arguments: &[&str]) -> String {
        self.peer.ip(arguments)
    }

    /// Runs a program beside the neighbour; its output and whether it succeeded.
    pub(crate) fn beside_peer(&self, command: &[&str]) -> (bool, String) {
        let (program, arguments) = command.split_first().unwrap();
        let output = testlab::output(self.peer.command(program).args(arguments)).unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    }

    pub(crate) fn mac(&self, interface: &str) -> MacAddress {
        hardware_address(&self.node(&["-o", "link", "show", interface]))
    }

    pub(crate) fn peer_mac(&self, interface: &str) -> MacAddress {
        hardware_address(&self.peer(&["-o", "link", "show", interface]))
    }

    pub(crate) fn start(&self, options: Options) -> Running {
        self.start_with(options, |_| {})
    }

    /// As `start`, but the responder is the neighbour's.
    pub(crate) fn start_beside(&self, options: Options) -> Running {
        start_in(&self.peer, options, |_| {})
    }

    /// As `start`; `beside` runs in the answering thread with each event, after it was told.
    pub(crate) fn start_with(
        &self,
        options: Options,
        beside: impl Fn(&Event) + Send + 'static,
    ) -> Running {
        start_in(&self.node, options, beside)
    }

    /// Watches what the neighbour receives.
    pub(crate) fn capture(&self, interface: &str, expression: &str) -> Capture {
        let mut command = self.peer.command("tcpdump");
        command.args(["-l", "-n", "-e", "-Q", "in", "-i", interface, expression]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = testlab::start(&mut command).unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok())
        });
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        assert!(said.any(|line| line.unwrap().contains("listening on")), "tcpdump does not listen");
        std::thread::spawn(move || said.all(|line| line.is_ok()));
        Capture { child, lines }
    }
}

impl Running {
    pub(crate) fn own(&self, addresses: &[&str]) {
        self.layer2.publish(all(addresses));
    }

    pub(crate) fn link(&self, name: &str) -> Option<LinkReport> {
        self.layer2.links().iter().find(|report| &*report.name == name).cloned()
    }

    /// Waits until the link answers both protocols.
    pub(crate) fn ready(&self, name: &str) {
        eventually("both responders", || self.link(name).filter(|link| link.arp && link.ndp));
    }

    pub(crate) fn event(&self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        let end = now() + DEADLINE;
        loop {
            let left = end.saturating_duration_since(now());
            let event = self
                .events
                .recv_timeout(left)
                .unwrap_or_else(|error| panic!("no event {what}: {error}"));
            if wanted(&event) {
                return event;
            }
        }
    }
}

impl Capture {
    /// Waits for a line that holds all of these.
    pub(crate) fn line(&self, parts: &[&str]) -> String {
        let end = now() + DEADLINE;
        let mut seen = Vec::new();
        loop {
            let left = end.saturating_duration_since(now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no frame with {parts:?} among {seen:#?}")
            };
            if parts.iter().all(|part| line.contains(part)) {
                return line;
            }
            seen.push(line);
        }
    }
}

/// These addresses on all interfaces.
pub(crate) fn all(addresses: &[&str]) -> Desired {
    addresses
        .iter()
        .map(|address| (address.parse::<IpAddr>().unwrap(), Scope::AllInterfaces))
        .collect()
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
