// SPDX-License-Identifier: Apache-2.0
//! Real routers on the rack's switch, as judges: what they say of sessions and routes in one common form, whatever program it
//! is. Not here: anything that speaks BGP itself (`crate::raw`).

mod bird;
mod frr;
mod gobgp;
mod neighbour;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::SOON;
use super::netns::Namespace;
use super::process::{Process, Rights, Start};
use super::topology::Switch;
use super::wait::{eventually, eventually_true};

pub use neighbour::{Families, Neighbour, Setup};

/// Which program a router runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// FRR: zebra, bgpd and bfdd.
    Frr,
    /// BIRD.
    Bird,
    /// gobgpd, which forwards nothing and knows no BFD.
    Gobgp,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Frr, Self::Bird, Self::Gobgp];

    /// Its name, also that of its namespace and its logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Frr => "frr",
            Self::Bird => "bird",
            Self::Gobgp => "gobgp",
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Frr => 1,
            Self::Bird => 2,
            Self::Gobgp => 3,
        }
    }

    /// The AS that the scenarios give it: 65001, 65002, 65003.
    #[must_use]
    pub fn asn(self) -> u32 {
        65000 + u32::from(self.number())
    }

    /// Its address on the switch: 172.30.0.121 to 123.
    #[must_use]
    pub fn v4(self) -> String {
        format!("172.30.0.{}", 120 + self.number())
    }

    /// Its address on the switch: fd30::121 to 123.
    #[must_use]
    pub fn v6(self) -> String {
        format!("fd30::{}", 120 + u16::from(self.number()))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What a router says of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// Whether it is Established.
    pub established: bool,
    /// The state as the router calls it, and its last error where it tells.
    pub state: String,
    /// Since when, and what else shows that it is still the same session: equal means not reset. Not the same form everywhere.
    pub since: String,
    /// The negotiated hold time in seconds, where it tells.
    pub hold_time: Option<u64>,
    /// UPDATE messages (GoBGP, FRR) or routes (BIRD) received.
    pub updates: Option<u64>,
    /// The capabilities that the speaker sent, in the router's words.
    pub capabilities: BTreeSet<String>,
    /// Routes are kept for a peer that restarts.
    pub restarting: bool,
}

/// What a router says of a path.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// `10.60.0.1/32`
    pub prefix: String,
    /// From whom: BIRD's protocol, otherwise the neighbour's address.
    pub neighbour: String,
    /// AS numbers with spaces between.
    pub as_path: String,
    /// Next hops, the global one first.
    pub next_hops: Vec<String>,
    /// `IGP`, as BIRD and FRR write it.
    pub origin: String,
    /// LOCAL_PREF, where it is told.
    pub local_pref: Option<u32>,
    /// MULTI_EXIT_DISC, where it is told.
    pub med: Option<u32>,
    /// `65535:0`
    pub communities: BTreeSet<String>,
    /// `1:2:3`
    pub large_communities: BTreeSet<String>,
    /// Kept for a peer that restarts.
    pub stale: bool,
}

/// A router.
#[derive(Debug)]
pub struct Router {
    // Before the namespace, so that they end first.
    processes: Vec<Process>,
    /// Which program it runs.
    pub kind: Kind,
    /// Where it lives.
    pub namespace: Namespace,
    folder: PathBuf,
    config: String,
}

impl Router {
    /// Attaches one to the switch with its addresses, not running yet.
    ///
    /// # Errors
    /// When it cannot be attached.
    pub fn new(kind: Kind, switch: &Switch, folder: &Path) -> anyhow::Result<Self> {
        let mac = format!("02:fb:00:00:00:{:02x}", 0xe0 + kind.number());
        let namespace = switch.attach(kind.name(), "eth0", &mac)?;
        namespace.ip(&format!(
            "address add {}/24 dev eth0\naddress add {}/64 dev eth0",
            kind.v4(),
            kind.v6()
        ))?;
        namespace.sysctl(&[
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/eth0/rp_filter", "0"),
            // What it forwards leaves by the link that it came from; nobody shall be told of a shorter way.
            ("net/ipv4/conf/all/send_redirects", "0"),
            ("net/ipv4/conf/eth0/send_redirects", "0"),
            ("net/ipv4/fib_multipath_hash_policy", "1"),
            ("net/ipv6/fib_multipath_hash_policy", "1"),
        ])?;
        Self::within(kind, namespace, folder)
    }

    /// A router in a namespace that has its links already, not running yet.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub fn within(kind: Kind, namespace: Namespace, folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.join(namespace.name());
        fs::create_dir_all(&folder)?;
        Ok(Self { processes: Vec::new(), kind, namespace, folder, config: String::new() })
    }

    /// Starts it with this configuration and waits until it answers questions.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(&mut self, config: &str) -> anyhow::Result<()> {
        config.clone_into(&mut self.config);
        self.restart()
    }

    /// Starts it again with the configuration that it had.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        match self.kind {
            Kind::Frr => frr::start(self)?,
            Kind::Bird => bird::start(self)?,
            Kind::Gobgp => gobgp::start(self)?,
        }
        eventually_true(&format!("{} answers", self.kind), SOON, || {
            self.sessions()?;
            Ok(true)
        })
    }

    /// Reads another configuration while it runs; sessions that are the same stay (BIRD, FRR).
    ///
    /// # Errors
    /// When it does not like it.
    pub fn reload(&mut self, config: &str) -> anyhow::Result<()> {
        config.clone_into(&mut self.config);
        match self.kind {
            Kind::Frr => frr::reload(self),
            Kind::Bird => bird::reload(self),
            Kind::Gobgp => anyhow::bail!("gobgpd is started again instead"),
        }
    }

    /// Ends all its programs at once, as a router that loses its power; its kernel keeps no route of theirs.
    pub fn kill(&mut self) {
        for process in self.processes.iter_mut().rev() {
            process.kill();
        }
        self.processes.clear();
        let _ = fs::remove_dir_all(&self.folder).and_then(|()| fs::create_dir_all(&self.folder));
        for family in ["-4", "-6"] {
            for protocol in ["bgp", "bird"] {
                let flush =
                    ["-n", self.namespace.name(), family, "route", "flush", "proto", protocol];
                let _ = std::process::Command::new("ip").args(flush).output();
            }
        }
    }

    /// What it says of its sessions.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn sessions(&self) -> anyhow::Result<BTreeMap<String, Session>> {
        match self.kind {
            Kind::Frr => frr::sessions(self),
            Kind::Bird => bird::sessions(self),
            Kind::Gobgp => gobgp::sessions(self),
        }
    }

    /// How often BIRD's session with a neighbour came up; asking costs it nothing.
    #[must_use]
    pub fn times_up(&self, neighbour: &str) -> usize {
        bird::times_up(self, neighbour)
    }

    /// What it says of one session; a session that it has none of is the default.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn session(&self, neighbour: &str) -> anyhow::Result<Session> {
        Ok(self.sessions()?.remove(neighbour).unwrap_or_default())
    }

    /// All paths of both families, by prefix and neighbour.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn routes(&self) -> anyhow::Result<Vec<Route>> {
        let mut routes = match self.kind {
            Kind::Frr => frr::routes(self),
            Kind::Bird => bird::routes(self),
            Kind::Gobgp => gobgp::routes(self),
        }?;
        routes.sort();
        Ok(routes)
    }

    /// The addresses of its BFD sessions, and whether each is up.
    ///
    /// # Errors
    /// When it does not answer or knows no BFD.
    pub fn bfd(&self) -> anyhow::Result<BTreeMap<String, bool>> {
        match self.kind {
            Kind::Frr => frr::bfd(self),
            Kind::Bird => bird::bfd(self),
            Kind::Gobgp => anyhow::bail!("gobgpd 3.10 has no BFD"),
        }
    }

    /// Asks a neighbour to send its routes again.
    ///
    /// # Errors
    /// When the router refuses.
    pub fn refresh(&self, neighbour: &str) -> anyhow::Result<()> {
        match self.kind {
            Kind::Frr => frr::refresh(self, neighbour),
            Kind::Bird => self.ask(&["reload", "in", neighbour]).map(drop),
            Kind::Gobgp => self.ask(&["neighbor", neighbour, "softresetin"]).map(drop),
        }
    }

    /// What its own command line answers.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn ask(&self, words: &[&str]) -> anyhow::Result<String> {
        match self.kind {
            Kind::Frr => frr::ask(self, words),
            Kind::Bird => bird::ask(self, words),
            Kind::Gobgp => gobgp::ask(self, words),
        }
    }

    /// Waits until a session is Established.
    ///
    /// # Errors
    /// When it is not in the end.
    pub fn wait_established(&self, neighbour: &str) -> anyhow::Result<Session> {
        let mut seen = Session::default();
        eventually(&format!("{} and {neighbour} are Established", self.kind), SOON, || {
            seen = self.session(neighbour)?;
            Ok(seen.established.then(|| seen.clone()))
        })
        .with_context(|| format!("last: {seen:?}"))
    }

    /// Waits until there is a session with each of these.
    ///
    /// # Errors
    /// When there is not in the end.
    pub fn wait_all_established(&self, neighbours: &[&str]) -> anyhow::Result<()> {
        neighbours.iter().try_for_each(|neighbour| self.wait_established(neighbour).map(drop))
    }

    /// Waits until its paths are such as `wanted` likes; all of them.
    ///
    /// # Errors
    /// When they are not in the end.
    pub fn wait_routes(
        &self,
        what: &str,
        mut wanted: impl FnMut(&[Route]) -> bool,
    ) -> anyhow::Result<Vec<Route>> {
        let mut seen = Vec::new();
        eventually(&format!("in {}: {what}", self.kind), SOON, || {
            seen = self.routes()?;
            Ok(wanted(&seen).then(|| seen.clone()))
        })
        .with_context(|| format!("last: {seen:#?}\n{}", self.evidence()))
    }

    /// Waits until exactly these prefixes come from a neighbour; their paths.
    ///
    /// # Errors
    /// When others do in the end.
    pub fn wait_prefixes(&self, neighbour: &str, prefixes: &[&str]) -> anyhow::Result<Vec<Route>> {
        let wanted: BTreeSet<&str> = prefixes.iter().copied().collect();
        let routes = self.wait_routes(&format!("{prefixes:?} from {neighbour}"), |routes| {
            let from = routes.iter().filter(|route| route.neighbour == neighbour);
            from.map(|route| route.prefix.as_str()).collect::<BTreeSet<_>>() == wanted
        })?;
        Ok(routes.into_iter().filter(|route| route.neighbour == neighbour).collect())
    }

    /// What helps to understand a failure.
    #[must_use]
    pub fn evidence(&self) -> String {
        let asked: &[&[&str]] = match self.kind {
            Kind::Frr => &[&["show bgp summary"]],
            Kind::Bird => &[&["show", "protocols"]],
            Kind::Gobgp => &[&["neighbor"]],
        };
        asked
            .iter()
            .map(|words| self.ask(words).unwrap_or_else(|error| error.to_string()))
            .collect()
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn spawn(&mut self, name: &str, program: &str, arguments: Vec<String>) -> anyhow::Result<()> {
        // The lane's folder, where the evidence of a failure is looked for.
        let logs = self.folder.parent().context("a folder of the lane")?.to_owned();
        self.processes.push(Process::start(
            &logs,
            Start {
                name: name.to_owned(),
                namespace: &self.namespace,
                program: Path::new(program),
                arguments,
                environment: Vec::new(),
                rights: Rights::All,
            },
        )?);
        Ok(())
    }
}
