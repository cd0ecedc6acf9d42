// SPDX-License-Identifier: Apache-2.0
//! Real routers on the rack's switch, as judges: what they say of sessions and routes in one common form, whatever program it
//! is. Not here: anything that speaks BGP itself (`crate::raw`).

mod bird;
mod frr;
mod gobgp;
mod host;
mod kind;
mod neighbour;
mod said;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::Context;

use super::wait::{SOON, eventually, eventually_true};

pub use host::Router;
pub use kind::Kind;
pub use neighbour::{Families, Neighbour, Setup};
pub use said::{Route, Session};

impl Setup {
    /// The configuration.
    #[must_use]
    pub fn text(&self, kind: Kind) -> String {
        match kind {
            Kind::Frr => frr::config(self),
            Kind::Bird => bird::config(self),
            Kind::Gobgp => gobgp::config(self),
        }
    }
}

impl Router {
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
}
