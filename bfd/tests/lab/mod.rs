// SPDX-License-Identifier: Apache-2.0
//! Network namespaces joined by a bridge or in a row, BFD inside them, and programs that run there. Everything that was
//! made is taken away on drop, also after a panic.

#![allow(clippy::unwrap_used, reason = "support of tests, which fail by panicking")]
#![allow(dead_code, reason = "each test program uses a part")]

pub(crate) mod routers;

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bfd::net::Bfd;
use bfd::{Hops, Profile, SessionKey, State, Status};
use testlab::Namespace;

pub(crate) use testlab::now;

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A namespace in which BFD may run.
pub(crate) struct Host(Namespace);

/// Two hosts on one line, 192.0.2.1 and .2, 2001:db8::1 and ::2, each by its eth0. The line can be cut without either
/// noticing.
pub(crate) struct Line {
    pub(crate) a: Host,
    pub(crate) b: Host,
    bridge: Host,
}

/// Hosts in a row that forward: link n is 10.0.n.0/24 and 2001:db8:n::/64, with .1 at the left end and .2 at the right.
pub(crate) struct Row {
    pub(crate) hosts: Vec<Host>,
}

/// BFD inside a host.
pub(crate) struct Running {
    pub(crate) bfd: Bfd,
    pub(crate) changes: Receiver<(SessionKey, Status)>,
}

/// Waits until the condition gives something.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    testlab::eventually(DEADLINE, what, || condition().ok_or_else(|| "nothing".to_owned()))
}

/// Does something that must take no session down. On a busy machine either side may stand still for the detection time
/// meanwhile: then it is done again, a few times.
pub(crate) fn unflapped<T: PartialEq>(what: &str, downs: impl Fn() -> T, act: impl Fn()) {
    let calm = (0..5).any(|_| {
        let before = downs();
        act();
        downs() == before
    });
    assert!(calm, "{what} takes the session down each time");
}

pub(crate) fn single(peer: &str) -> SessionKey {
    SessionKey { peer: peer.parse().unwrap(), local: None, interface: None, hops: Hops::Single }
}

pub(crate) fn multi(peer: &str, local: &str) -> SessionKey {
    SessionKey { local: Some(local.parse().unwrap()), hops: Hops::Multi, ..single(peer) }
}

/// 50 ms in both directions, times three.
pub(crate) fn fast() -> Profile {
    let interval = Duration::from_millis(50);
    Profile { receive_interval: interval, transmit_interval: interval, ..Profile::default() }
}

impl Deref for Host {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.0
    }
}

impl Host {
    fn new(side: &str) -> Self {
        Self(Namespace::new("bfdt", side))
    }

    pub(crate) fn sysctl(&self, setting: &str) {
        testlab::run("ip", &["netns", "exec", self.name(), "sysctl", "-qw", setting]);
    }

    pub(crate) fn bfd(&self, sessions: &[(SessionKey, Profile)]) -> Running {
        let (sender, changes) = channel();
        let bfd = self.inside(move || {
            Bfd::spawn(move |key, status| drop(sender.send((key.clone(), status.clone()))))
        });
        let running = Running { bfd: bfd.unwrap(), changes };
        running.set(sessions);
        running
    }

    /// A link up on both sides.
    fn linked(&self, device: &str, other: &Self, other_device: &str) {
        self.join(device, other, other_device);
        self.up(device);
        other.up(other_device);
    }

    fn addresses(&self, device: &str, v4: &str, v6: &str) {
        self.address(device, v4);
        self.address(device, v6);
    }
}

impl Line {
    pub(crate) fn new() -> Self {
        let line = Self { a: Host::new("a"), b: Host::new("b"), bridge: Host::new("line") };
        line.bridge.ip(&["link", "add", "br0", "type", "bridge"]);
        for (host, port, v4, v6) in [
            (&line.a, "port0", "192.0.2.1/24", "2001:db8::1/64"),
            (&line.b, "port1", "192.0.2.2/24", "2001:db8::2/64"),
        ] {
            host.linked("eth0", &line.bridge, port);
            host.addresses("eth0", v4, v6);
            line.bridge.ip(&["link", "set", port, "master", "br0"]);
        }
        line.mend();
        line
    }

    pub(crate) fn cut(&self) {
        self.bridge.ip(&["link", "set", "br0", "down"]);
    }

    pub(crate) fn mend(&self) {
        self.bridge.ip(&["link", "set", "br0", "up"]);
    }
}

impl Row {
    /// `count` hosts, from the first to the last by static routes.
    pub(crate) fn new(count: usize) -> Self {
        let hosts: Vec<Host> = (0..count).map(|n| Host::new(&format!("row{n}"))).collect();
        for (n, two) in hosts.windows(2).enumerate() {
            let [left, right] = two else { continue };
            left.linked("right", right, "left");
            left.addresses("right", &format!("10.0.{n}.1/24"), &format!("2001:db8:{n}::1/64"));
            right.addresses("left", &format!("10.0.{n}.2/24"), &format!("2001:db8:{n}::2/64"));
        }
        for (at, host) in hosts.iter().enumerate() {
            host.sysctl("net.ipv4.ip_forward=1");
            host.sysctl("net.ipv6.conf.all.forwarding=1");
            for link in 0..count - 1 {
                let (gateway, side) = match link {
                    link if link > at => (at, 2),
                    link if link + 1 < at => (at - 1, 1),
                    _ => continue,
                };
                let v4 = format!("10.0.{gateway}.{side}");
                let v6 = format!("2001:db8:{gateway}::{side}");
                host.ip(&["route", "add", &format!("10.0.{link}.0/24"), "via", &v4]);
                host.ip(&["route", "add", &format!("2001:db8:{link}::/64"), "via", &v6]);
            }
        }
        Self { hosts }
    }
}

impl Running {
    pub(crate) fn set(&self, sessions: &[(SessionKey, Profile)]) {
        self.bfd.set_sessions(sessions.iter().cloned().collect());
    }

    pub(crate) fn statuses(&self) -> BTreeMap<SessionKey, Status> {
        self.bfd.statuses()
    }

    pub(crate) fn status(&self, key: &SessionKey) -> Status {
        self.statuses().remove(key).unwrap()
    }

    /// Waits until the session is in the state.
    pub(crate) fn reaches(&self, key: &SessionKey, state: State) -> Status {
        let end = now() + DEADLINE;
        loop {
            let status = self.status(key);
            if status.state == state {
                return status;
            }
            assert!(now() < end, "{key} is not {state} within {DEADLINE:?}: {status:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the next change into the state, in the order in which the changes were told.
    pub(crate) fn change(&self, key: &SessionKey, state: State) -> Status {
        let end = now() + DEADLINE;
        loop {
            let left = end.saturating_duration_since(now());
            let (of, status) = self
                .changes
                .recv_timeout(left)
                .unwrap_or_else(|error| panic!("no change of {key} to {state}: {error}"));
            if of == *key && status.state == state {
                return status;
            }
        }
    }
}
