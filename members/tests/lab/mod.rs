// SPDX-License-Identifier: Apache-2.0
//! Network namespaces on a bridge, and members in them: ours, and HashiCorp's (e2e/ring). Everything that was made is taken away
//! on drop, also after a panic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "support of tests, which fail by panicking"
)]
#![allow(dead_code, reason = "each test program uses a part")]

mod judge;

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use members::net::{Events, LocalMember, Options};
use members::quorum::Fencing;
use members::{Detection, Event, Key, Settings, State};
use testlab::Namespace;

pub(crate) use judge::Judge;

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
pub(crate) const PORT: u16 = 7946;
pub(crate) const SECRET: &str = "abcdefghijklmnopqrstuv";

/// No run of a member has the number of another one.
static SESSIONS: AtomicU64 = AtomicU64::new(1);

/// Among members with metadata, which all speak the heartbeat.
pub(crate) fn detection() -> Detection {
    Detection {
        fencing: Fencing::Majority,
        session: SESSIONS.fetch_add(1, Ordering::Relaxed),
        start_wait: Duration::from_secs(2),
        alone: false,
        speaks: |meta| !meta.is_empty(),
        ..Detection::off()
    }
}

/// Suspicion takes a second or so.
pub(crate) const CONFIG: &str = r#"{
    "TCPTimeout": "2s", "IndirectChecks": 3, "RetransmitMult": 4, "SuspicionMult": 3, "SuspicionMaxTimeoutMult": 3,
    "PushPullInterval": "3s", "ProbeTimeout": "200ms", "ProbeInterval": "400ms", "DisableTcpPings": false,
    "AwarenessMaxMultiplier": 2, "GossipNodes": 3, "GossipInterval": "50ms", "GossipToTheDeadTime": "5s",
    "GossipVerifyIncoming": true, "GossipVerifyOutgoing": true, "EnableCompression": true, "HandoffQueueDepth": 1024,
    "UDPBufferSize": 1400, "QueueCheckInterval": "30s"
}"#;

/// Hosts on one bridge: number n has 192.0.2.n and 2001:db8::n.
pub(crate) struct Lab {
    pub(crate) hosts: Vec<Host>,
    bridge: Host,
}

/// A namespace.
pub(crate) struct Host {
    namespace: Namespace,
    pub(crate) number: usize,
}

/// How all members of a ring are set.
#[derive(Clone, Debug)]
pub(crate) struct Ring {
    pub(crate) encrypted: bool,
    pub(crate) label: &'static str,
    pub(crate) compressed: bool,
    pub(crate) ipv6: bool,
    /// As MetalLB's file of it.
    pub(crate) config: String,
    /// Octets of a file with the judges' configuration and of one with their secret live here.
    pub(crate) files: std::sync::Arc<Files>,
}

/// A folder with the files of the judges.
#[derive(Debug)]
pub(crate) struct Files(pub(crate) String);

/// One of ours.
pub(crate) struct Ours {
    pub(crate) members: LocalMember,
    pub(crate) events: Events,
}

/// What a member knows of another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Known {
    pub(crate) name: String,
    pub(crate) address: String,
    pub(crate) meta: String,
}

/// Waits until the condition gives something; `state` tells what there was instead.
pub(crate) fn eventually<T>(what: &str, condition: impl FnMut() -> Result<T, String>) -> T {
    testlab::eventually(DEADLINE, what, condition)
}

pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

impl Ring {
    pub(crate) fn new() -> Self {
        let n = testlab::unique();
        let folder = std::env::temp_dir().join(format!("members-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.json"), CONFIG).unwrap();
        std::fs::write(folder.join("secret"), SECRET).unwrap();
        let files = Files(folder.display().to_string());
        let (config, files) = (CONFIG.to_owned(), files.into());
        Self { encrypted: false, label: "", compressed: true, ipv6: false, config, files }
    }

    /// With other times and numbers.
    pub(crate) fn with(self, config: &str) -> Self {
        std::fs::write(format!("{}/config.json", self.files.0), config).unwrap();
        Self { config: config.to_owned(), ..self }
    }

    pub(crate) fn address(&self, number: usize) -> SocketAddr {
        let ip =
            if self.ipv6 { format!("2001:db8::{number}") } else { format!("192.0.2.{number}") };
        SocketAddr::new(ip.parse().unwrap(), PORT)
    }

    pub(crate) fn known(&self, number: usize, meta: &str) -> Known {
        Known {
            name: format!("node-{number}"),
            address: self.address(number).to_string(),
            meta: meta.to_owned(),
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        let settings = Settings::from_json(&self.config).unwrap();
        Settings { enable_compression: self.compressed, ..settings }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

impl Lab {
    pub(crate) fn new(count: usize) -> Self {
        let bridge = Host::new(0);
        bridge.ip(&["link", "add", "br0", "type", "bridge"]);
        bridge.ip(&["link", "set", "br0", "up"]);
        let hosts = (1..=count).map(|number| Host::new(number).plugged(&bridge)).collect();
        Self { hosts, bridge }
    }

    /// Host number n, from 1.
    pub(crate) fn host(&self, number: usize) -> &Host {
        &self.hosts[number - 1]
    }

    /// Takes a host's cable out, without its noticing.
    pub(crate) fn cut(&self, number: usize) {
        self.bridge.ip(&["link", "set", &format!("port{number}"), "nomaster"]);
    }

    pub(crate) fn mend(&self, number: usize) {
        self.bridge.ip(&["link", "set", &format!("port{number}"), "master", "br0"]);
    }
}

impl Deref for Host {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

impl Host {
    pub(crate) fn new(number: usize) -> Self {
        Self { namespace: Namespace::new("membt", &number.to_string()), number }
    }

    fn plugged(self, bridge: &Self) -> Self {
        let port = format!("port{}", self.number);
        self.join("eth0", bridge, &port);
        bridge.ip(&["link", "set", &port, "master", "br0", "up"]);
        self.address("eth0", &format!("192.0.2.{}/24", self.number));
        self.address("eth0", &format!("2001:db8::{}/64", self.number));
        self.up("eth0");
        self
    }

    /// One of ours, that says `meta` of itself.
    pub(crate) fn ours(&self, ring: &Ring, meta: &[u8], detection: Detection) -> Ours {
        let options = Options {
            name: format!("node-{}", self.number),
            bind: ring.address(self.number),
            advertise: None,
            settings: ring.settings(),
            key: ring.encrypted.then(|| Key::from_secret(SECRET.as_bytes()).into()),
            label: ring.label.to_owned(),
            meta: meta.to_vec(),
            detection,
            permit: Default::default(),
        };
        let _guard = testlab::hold_starts();
        let (members, events) = self.inside(|| LocalMember::spawn(options)).unwrap();
        Ours { members, events }
    }

    /// One of HashiCorp's.
    pub(crate) fn judge(&self, ring: &Ring, meta: &[u8]) -> Judge {
        Judge::start(self, ring, meta)
    }
}

impl Ours {
    /// Who is there, as far as this member knows, itself included.
    pub(crate) fn known(&self) -> Vec<Known> {
        let snapshot = self.members.snapshot();
        let there = snapshot
            .members
            .iter()
            .filter(|member| matches!(member.state, State::Alive | State::Suspect));
        let known = there.map(|member| Known {
            name: member.name.to_string(),
            address: member.address.to_string(),
            meta: hex(&member.meta),
        });
        known.collect()
    }

    /// Waits for an event.
    pub(crate) fn event(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        let mut seen = Vec::new();
        eventually(what, || {
            loop {
                match self.events.try_recv() {
                    Some(event) if wanted(&event) => return Ok(event),
                    Some(event) => seen.push(event),
                    None => return Err(format!("{seen:?}")),
                }
            }
        })
    }

    pub(crate) fn sees(&self, expected: &[Known]) {
        eventually(&format!("a member of ours sees {expected:?}"), || {
            let known = self.known();
            if known == expected { Ok(()) } else { Err(format!("{known:?}")) }
        });
    }
}
